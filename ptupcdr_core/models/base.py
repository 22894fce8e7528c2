"""The base models: factorizations of one domain's ratings.

Shapes: B batch, D embedding size, U users, I items. Row 0 of every table is padding and stays zero.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.models.bridge_rows import BridgeRows, Prior

BaseModelKind = Literal["mf", "gmf", "dnn"]
Integers = NDArray[np.integer]


@dataclass(frozen=True)
class BaseModel:
    """A matrix factorization whose score is always a dot product of a user vector and an item vector.

    | kind | user vector | item vector | weight | bias |
    | --- | --- | --- | --- | --- |
    | mf  | u | v | - | - |
    | gmf | u | weight ∘ v | (D,) | - |
    | dnn | u weightᵀ + bias | v | (D, D) | (D,) |

    Args:
        kind: the formula above.
        user_embedding: (U+1, D) float32, row 0 zero.
        item_embedding: (I+1, D) float32, row 0 zero.
        weight: the linear layer's weight, or None.
        bias: the linear layer's bias, or None.

    Raises:
        ValueError: when the shapes do not fit together or to the kind.
    """

    kind: BaseModelKind
    user_embedding: Floats
    item_embedding: Floats
    weight: Floats | None = None
    bias: Floats | None = None

    def __post_init__(self) -> None:
        """Refuse shapes that do not belong together."""
        size = self.user_embedding.shape[1]
        if self.item_embedding.shape[1] != size:
            raise ValueError(f"user embeddings have size {size}, item embeddings {self.item_embedding.shape[1]}")
        given = {name: None if value is None else value.shape for name, value in _layer(self).items()}
        if given != (wanted := _layer_shapes(self.kind, size)):
            raise ValueError(f"a {self.kind} model of size {size} has {wanted}, not {given}")

    @property
    def size(self) -> int:
        """D, the embedding size."""
        return int(self.user_embedding.shape[1])

    def user_vectors(self) -> Floats:
        """Return (U+1, D) float32: the user side of the score; row 0 is zero."""
        if self.weight is None or self.bias is None:
            return self.user_embedding
        vectors: Floats = self.user_embedding @ self.weight.T + self.bias
        vectors[0] = 0
        return vectors

    def item_vectors(self) -> Floats:
        """Return (I+1, D) float32: the item side of the score; row 0 is zero."""
        if self.weight is None or self.bias is not None:
            return self.item_embedding
        return self.item_embedding * self.weight

    def source_vectors(self) -> Floats:
        """(U+1, D) its users as a bridge reads them."""
        return self.user_vectors()

    def history_vectors(self) -> Floats:
        """(I+1, D) its items as the meta network reads them."""
        return self.item_vectors()

    def target_items(self) -> TargetItems:
        """The items' side of every score."""
        items = self.item_vectors()
        return TargetItems(items, np.zeros(len(items), np.float32))

    def target_users(self) -> Floats:
        """(U+1, D) its own users in the target items' coordinates."""
        return self.user_vectors()

    def bridge_rows(self, data: PairData) -> BridgeRows:
        """The bridge users' own ratings of its items."""
        ratings = data.bridge_ratings
        return BridgeRows(ratings.users, self.item_vectors(), ratings.items, ratings.stars)

    def prior(self, source_vectors: Floats, rows: BridgeRows) -> Prior:
        """No prior: zeros."""
        return Prior(np.zeros((source_vectors.shape[1], self.size), np.float32))

    def score(self, users: Integers, items: Integers) -> Floats:
        """Return (B,) float32 predicted ratings of B users for B items (indices from 1)."""
        scores: Floats = np.einsum("bd,bd->b", self.user_vectors()[users], self.item_vectors()[items])
        return scores

    def tensors(self) -> dict[str, Floats]:
        """Return the parameters by name, as a checkpoint stores them."""
        tables = {"user_embedding": self.user_embedding, "item_embedding": self.item_embedding}
        return tables | {name: value for name, value in _layer(self).items() if value is not None}

    @classmethod
    def from_tensors(cls, kind: BaseModelKind, tensors: Mapping[str, Floats]) -> Self:
        """Make the model that ``tensors()`` described; names must be exactly its names."""
        return cls(kind, **tensors)


def initialize(kind: BaseModelKind, users: int, items: int, embedding_size: int, rng: np.random.Generator) -> BaseModel:
    """Draw a base model's initial values as the paper's reference implementation does.

    Args:
        kind: mf, gmf or dnn.
        users: U.
        items: I.
        embedding_size: D.
        rng: the source of every random number.

    Returns:
        Embeddings from N(0, 1) and a linear layer from uniform(-1/√D, 1/√D), torch's defaults;
        row 0 of the embeddings is zero (the reference leaves it random).
    """
    if kind not in get_args(BaseModelKind):
        raise ValueError(f"unknown base model {kind!r}; known: {', '.join(get_args(BaseModelKind))}")
    user_embedding, item_embedding = (
        rng.standard_normal((rows + 1, embedding_size), dtype=np.float32) for rows in (users, items)
    )
    user_embedding[0] = item_embedding[0] = 0
    bound = 1 / np.sqrt(embedding_size)
    layer = {
        name: None if shape is None else rng.uniform(-bound, bound, shape).astype(np.float32)
        for name, shape in _layer_shapes(kind, embedding_size).items()
    }
    return BaseModel(kind, user_embedding, item_embedding, **layer)


def _layer(model: BaseModel) -> dict[str, Floats | None]:
    return {"weight": model.weight, "bias": model.bias}


def _layer_shapes(kind: BaseModelKind, size: int) -> dict[str, tuple[int, ...] | None]:
    return {
        "weight": {"mf": None, "gmf": (size,), "dnn": (size, size)}[kind],
        "bias": (size,) if kind == "dnn" else None,
    }
