"""The meta network: from a user's source history to a bridge of their own.

Shapes: B batch, L history length, D embedding size, H hidden size, X by Y the bridge (D by D in the paper), O numbers
written for a user (X·Y in the paper; see ``models.forms``).
Source: Zhu et al., "Personalized Transfer of User Preferences for Cross-domain Recommendation" (WSDM 2022),
equations of the characteristic encoder and the meta network.
"""

from typing import Self

import torch
from torch import Tensor, nn

from ptupcdr_core.models.forms import BridgeForm, apply_bridges
from ptupcdr_core.models.layers import seeded
from ptupcdr_core.settings import Attention, BridgeFormName

__all__ = ["MetaNetwork", "apply_bridges"]


class MetaNetwork(nn.Module):
    """Attention over a user's history and a decoder that writes the user's X×Y bridge.

    Deviation from the reference implementation: padding is masked explicitly (there, item id 0 is both padding and a
    real item), and an empty history has no bridge here (there, it becomes the untrained row 0).

    Beyond the paper, a position's importance may have one more term, a learned weight (0 at first) times a number:
    how the user rated the item (``rated``), or how recent it is (``timed``).

    Args:
        embedding_size: D.
        hidden_size: H, hidden units of the decoder (50 in the paper).
        source_size: X, coordinates of the vectors that are bridged; None: D, as in the paper.
        target_size: Y, coordinates of the target items; None: D, as in the paper.
        form: of the bridges.
        rank: of low-rank bridges.
        attention: what importance depends on beside the item's vector.

    Example:
        >>> network = MetaNetwork(embedding_size=10, hidden_size=50)
        >>> history, mask = torch.randn(2, 20, 10), torch.ones(2, 20, dtype=torch.bool)
        >>> network(history, mask).shape
        torch.Size([2, 10, 10])
    """

    attention_signal: nn.Parameter | None

    def __init__(
        self,
        embedding_size: int,
        hidden_size: int,
        source_size: int | None = None,
        target_size: int | None = None,
        *,
        form: BridgeFormName = "full",
        rank: int = 0,
        attention: Attention = "items",
    ) -> None:
        """Create the layers with torch's default initial weights; ``start`` draws them from a seed."""
        super().__init__()
        self.embedding_size = embedding_size
        self.form = BridgeForm(
            form, source_size or embedding_size, target_size or embedding_size, rank if form == "low_rank" else 0
        )
        self.attention_kind = attention
        self.attention_hidden = nn.Linear(embedding_size, embedding_size)
        self.attention_out = nn.Linear(embedding_size, 1, bias=False)
        signal = None if attention == "items" else nn.Parameter(torch.zeros(()))
        self.register_parameter("attention_signal", signal)
        self.decoder_hidden = nn.Linear(embedding_size, hidden_size)
        self.decoder_out = nn.Linear(hidden_size, self.form.outputs)

    def start(self, seed: int, *, at_zero: bool = False) -> Self:
        """Draw initial weights and return the network.

        A low-rank bridge starts with an orthonormal B, the same for everybody, so that A alone gives its scale.

        Args:
            seed: fixes every weight.
            at_zero: start with every user's bridge at zero, as the correction of another bridge should.
        """
        seeded(self, seed)
        ends = self.form.outputs
        with torch.no_grad():
            if self.form.name == "low_rank":
                ends = self.form.source_size * self.form.rank
                basis = torch.empty(self.form.rank, self.form.target_size)
                nn.init.orthogonal_(basis, generator=torch.Generator().manual_seed(seed))
                self.decoder_out.weight[ends:] = 0
                self.decoder_out.bias[ends:] = basis.flatten()
            if at_zero:
                self.decoder_out.weight[:ends] = 0
                self.decoder_out.bias[:ends] = 0
        return self

    def attention(self, history_vectors: Tensor, mask: Tensor, stars: Tensor | None = None) -> Tensor:
        """Return (B, L) weights that sum to 1 over the real positions of each row and are exactly 0 elsewhere.

        Args:
            history_vectors: (B, L, D) float, source item vectors; padded positions may hold any finite number.
            mask: (B, L) bool, True where a position holds an item. Every row must have at least one: the softmax of an
                empty row is NaN, so users without a history need a fallback instead of this network.
            stars: (B, L) float, the user's rating of each item; needed only by attention ``rated``.

        Raises:
            ValueError: the stars are needed and missing.
        """
        return self._weights(self._importance(history_vectors), mask, stars)

    def _importance(self, history_vectors: Tensor) -> Tensor:
        importance: Tensor = self.attention_out(torch.relu(self.attention_hidden(history_vectors))).squeeze(-1)
        return importance

    def _weights(self, importance: Tensor, mask: Tensor, stars: Tensor | None) -> Tensor:
        if self.attention_signal is not None:
            importance = importance + self.attention_signal * self.signal(mask, stars)
        return torch.softmax(importance.masked_fill(~mask, -torch.inf), dim=-1)

    def signal(self, mask: Tensor, stars: Tensor | None) -> Tensor:
        """Return (B, L): stars above the mean of the user's history, or minus the logarithm of the place from the end.

        Args:
            mask: as for ``attention``; the signals of a row without items mean nothing.
            stars: as for ``attention``.
        """
        if self.attention_kind == "timed":
            places = mask.flip(-1).cumsum(-1).flip(-1)
            return -torch.log(places.clamp(min=1).float())
        if stars is None:
            raise ValueError("attention of the kind 'rated' needs the stars of the history")
        return stars - (stars * mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)

    def characteristics(self, history_vectors: Tensor, mask: Tensor, stars: Tensor | None = None) -> Tensor:
        """Return (B, D): each user's transferable characteristics, the attention-weighted mean of the history."""
        return torch.einsum("bl,bld->bd", self.attention(history_vectors, mask, stars), history_vectors)

    def outputs(self, history_vectors: Tensor, mask: Tensor, stars: Tensor | None = None) -> Tensor:
        """Return (B, O), what the decoder writes for each user; arguments as for ``attention``."""
        return self._written(self.characteristics(history_vectors, mask, stars))

    def _written(self, characteristics: Tensor) -> Tensor:
        written: Tensor = self.decoder_out(torch.relu(self.decoder_hidden(characteristics)))
        return written

    def forward(self, history_vectors: Tensor, mask: Tensor, stars: Tensor | None = None) -> Tensor:
        """Return (B, X, Y) personal bridges; arguments as for ``attention``."""
        return self.form.matrices(self.outputs(history_vectors, mask, stars))

    def bridge(
        self, user_vectors: Tensor, history_vectors: Tensor, mask: Tensor, stars: Tensor | None = None
    ) -> Tensor:
        """Return (B, Y) bridged embeddings; computes no matrix where the form does not need one.

        Args:
            user_vectors: (B, X) float.
            history_vectors: as for ``attention``.
            mask: as for ``attention``.
            stars: as for ``attention``.
        """
        return self.form.apply(user_vectors, self.outputs(history_vectors, mask, stars))

    def bridge_without(
        self,
        user_vectors: Tensor,
        history_vectors: Tensor,
        mask: Tensor,
        stars: Tensor | None,
        rows: Tensor,
        positions: Tensor,
    ) -> Tensor:
        """Return (M, Y) bridged embeddings of users with one item left out of their history.

        The same as ``bridge`` of M shortened histories, for little more work than for the B whole ones: an item's
        importance before the softmax does not depend on the others.

        Args:
            user_vectors: (M, X) float.
            history_vectors: as for ``attention``.
            mask: as for ``attention``; where the left-out item was the only one, the embedding is NaN.
            stars: as for ``attention``.
            rows: (M,) integers, the history's row.
            positions: (M,) integers, the position that is left out.
        """
        others = mask[:, None] & ~torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
        stars = None if stars is None else stars[:, None]
        weights = self._weights(self._importance(history_vectors)[:, None], others, stars)
        return self.form.apply(user_vectors, self._written((weights @ history_vectors)[rows, positions]))
