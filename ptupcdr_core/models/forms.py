"""Forms of a bridge: how many numbers the decoder writes for a user, and which matrix they encode.

Shapes: B batch, X by Y the bridge, r its rank, K = min(X, Y), O numbers written for a user.

``full`` is the paper's: all X·Y entries. The decoder has H·O weights, so that a full bridge grows with D²; ``low_rank``
writes W = A B and grows with D·r; ``diagonal`` scales coordinate by coordinate, as LHUC does with hidden units
(Swietojanski and Renals, "Learning Hidden Unit Contributions for Unsupervised Speaker Adaptation", SLT 2014).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from ptupcdr_core.settings import BridgeFormName


@dataclass(frozen=True)
class BridgeForm:
    """One form for bridges of one size.

    Args:
        name: full; low_rank: A (X, r) and B (r, Y), in this order; diagonal: entries (k, k) of the first K coordinates.
        source_size: X.
        target_size: Y.
        rank: r, from 1 to K; used by low_rank only.

    Raises:
        ValueError: the form is low_rank and the rank is not in 1..K.

    Example:
        >>> form = BridgeForm("low_rank", source_size=128, target_size=128, rank=4)
        >>> form.outputs
        1024
        >>> form.apply(torch.randn(2, 128), torch.randn(2, 1024)).shape
        torch.Size([2, 128])
    """

    name: BridgeFormName
    source_size: int
    target_size: int
    rank: int = 0

    def __post_init__(self) -> None:
        """Refuse a rank that no matrix of this size has."""
        if self.name == "low_rank" and not 1 <= self.rank <= self.shortest:
            raise ValueError(f"a {self.source_size} by {self.target_size} bridge cannot have rank {self.rank}")

    @property
    def shortest(self) -> int:
        """K."""
        return min(self.source_size, self.target_size)

    @property
    def outputs(self) -> int:
        """O."""
        if self.name == "full":
            return self.source_size * self.target_size
        return self.rank * (self.source_size + self.target_size) if self.name == "low_rank" else self.shortest

    def factors(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return A (B, X, r) and B (B, r, Y) of the low-rank form, from outputs (B, O)."""
        ends = self.source_size * self.rank
        left, right = outputs[:, :ends], outputs[:, ends:]
        return left.view(-1, self.source_size, self.rank), right.view(-1, self.rank, self.target_size)

    def matrices(self, outputs: Tensor) -> Tensor:
        """Return (B, X, Y) matrices W from outputs (B, O)."""
        if self.name == "full":
            return outputs.view(-1, self.source_size, self.target_size)
        if self.name == "low_rank":
            left, right = self.factors(outputs)
            return left @ right
        whole = torch.diag_embed(outputs)
        return torch.nn.functional.pad(
            whole, (0, self.target_size - self.shortest, 0, self.source_size - self.shortest)
        )

    def apply(self, vectors: Tensor, outputs: Tensor) -> Tensor:
        """Return (B, Y) vectors u W, for u (B, X) and outputs (B, O), without computing W where the form does not need
        it."""
        if self.name == "full":
            return apply_bridges(vectors, self.matrices(outputs))
        if self.name == "low_rank":
            left, right = self.factors(outputs)
            return apply_bridges(apply_bridges(vectors, left), right)
        scaled = vectors[:, : self.shortest] * outputs
        return torch.nn.functional.pad(scaled, (0, self.target_size - self.shortest))

    def squares(self, outputs: Tensor) -> Tensor:
        """Return (B,) |W|², the sum of a bridge's squared entries, from outputs (B, O)."""
        if self.name == "low_rank":
            left, right = self.factors(outputs)
            return ((left.mT @ left) * (right @ right.mT)).sum((1, 2))
        return outputs.square().sum(1)


def apply_bridges(user_vectors: Tensor, bridges: Tensor) -> Tensor:
    """Return (B, Y) bridged embeddings û = u W: row vector (B, X) times each user's own matrix (B, X, Y)."""
    return torch.einsum("bx,bxy->by", user_vectors, bridges)
