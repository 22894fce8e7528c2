"""The meta network: from a user's source history to a bridge of their own.

Shapes: B batch, L history length, D embedding size, H hidden size, X by Y the bridge (D by D as published).
Source: Zhu et al., "Personalized Transfer of User Preferences for Cross-domain Recommendation" (WSDM 2022),
equations of the characteristic encoder and the meta network.
"""

import torch
from torch import Tensor, nn


class MetaNetwork(nn.Module):
    """Attention over a user's history and a decoder that writes the user's X×Y bridge.

    Deviation from the reference implementation: padding is masked by an explicit mask (there, item id 0 is padding
    and a real item at once), and an empty history is refused (there, it becomes the untrained row 0).

    Args:
        embedding_size: D.
        hidden_size: H, hidden units of the decoder (50 in the paper).
        source_size: X, coordinates of the vectors that are bridged; D when left out, as published.
        target_size: Y, coordinates of the target items; D when left out, as published.

    Example:
        >>> network = MetaNetwork(embedding_size=10, hidden_size=50)
        >>> history, mask = torch.randn(2, 20, 10), torch.ones(2, 20, dtype=torch.bool)
        >>> network(history, mask).shape
        torch.Size([2, 10, 10])
    """

    def __init__(
        self, embedding_size: int, hidden_size: int, source_size: int | None = None, target_size: int | None = None
    ) -> None:
        """Create the layers with torch's default initial weights."""
        super().__init__()
        self.embedding_size = embedding_size
        self.bridge_shape = (source_size or embedding_size, target_size or embedding_size)
        self.attention_hidden = nn.Linear(embedding_size, embedding_size)
        self.attention_out = nn.Linear(embedding_size, 1, bias=False)
        self.decoder_hidden = nn.Linear(embedding_size, hidden_size)
        self.decoder_out = nn.Linear(hidden_size, self.bridge_shape[0] * self.bridge_shape[1])

    def attention(self, history_vectors: Tensor, mask: Tensor) -> Tensor:
        """Return (B, L) weights that sum to 1 over the real positions of each row and are exactly 0 elsewhere.

        Args:
            history_vectors: (B, L, D) float, source item vectors; padded positions may hold any finite number.
            mask: (B, L) bool, True where a position holds an item. Every row must have at least one: the softmax of a
                row without is NaN, so users without a history need a fallback instead of this network.
        """
        importance = self.attention_out(torch.relu(self.attention_hidden(history_vectors))).squeeze(-1)
        return torch.softmax(importance.masked_fill(~mask, -torch.inf), dim=-1)

    def characteristics(self, history_vectors: Tensor, mask: Tensor) -> Tensor:
        """Return (B, D): each user's transferable characteristics, the attention-weighted mean of the history."""
        return torch.einsum("bl,bld->bd", self.attention(history_vectors, mask), history_vectors)

    def forward(self, history_vectors: Tensor, mask: Tensor) -> Tensor:
        """Return (B, X, Y) personal bridges; arguments as for ``attention``."""
        characteristics = self.characteristics(history_vectors, mask)
        bridges: Tensor = self.decoder_out(torch.relu(self.decoder_hidden(characteristics)))
        return bridges.view(-1, *self.bridge_shape)


def apply_bridges(user_vectors: Tensor, bridges: Tensor) -> Tensor:
    """Return (B, Y) bridged embeddings û = u W: row vector (B, X) times each user's own matrix (B, X, Y)."""
    return torch.einsum("bx,bxy->by", user_vectors, bridges)
