"""Implicit-feedback factors of one domain (iALS): who took what, whatever they thought of it.

Shapes: U users, I items, D embedding size. Row 0 of every table is padding and stays zero.
Source: Hu, Koren and Volinsky (ICDM 2008), with the weights of Rendle et al. (RecSys 2022): an observed pair of a user
and an item weighs 1 and any pair α.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.data.pair_data import SIDES, PairData, Ratings, Side
from ptupcdr_core.engines.base import Engine
from ptupcdr_core.engines.compiled import COMPILED
from ptupcdr_core.kernels.csr import numbered
from ptupcdr_core.kernels.least_squares import Ridge
from ptupcdr_core.settings import Settings
from ptupcdr_core.training.als import Entries, Plan
from ptupcdr_core.training.beside import als_beside
from ptupcdr_core.training.epochs import OnEpoch

UNOBSERVED_WEIGHT = 0.1
"""α: weight of any pair of user and item, relative to 1 for an observed one. Best of 0.03, 0.1 and 0.3 on validation
users of several pairs."""
REGULARIZATION = 5.0
"""λ: penalty of the factors. Best of 1, 2, 5 and 20 on the same users."""
ITERATIONS = 6
LOSS_SAMPLE = 100_000


@dataclass(frozen=True)
class ImplicitFactors:
    """Factors of one domain: p · q is near 1 for items that the user took, and near 0 for others.

    Args:
        user_embedding: (U+1, D) float32, p.
        item_embedding: (I+1, D) float32, q.
        item_counts: (I+1,) float32, how many users took each item.
    """

    user_embedding: Floats
    item_embedding: Floats
    item_counts: Floats

    def tensors(self) -> dict[str, Floats]:
        """Return the parameters by name, as a checkpoint stores them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Floats]) -> Self:
        """Make the factors that ``tensors()`` described."""
        return cls(**{field.name: tensors[field.name] for field in fields(cls)})


def train_side(
    data: PairData, side: Side, settings: Settings, on_epoch: OnEpoch, engine: Engine = COMPILED
) -> ImplicitFactors:
    """Factorize one side of a pair as a run's settings say; see ``train_factors``."""
    ratings, items = data.trained_on(side)
    seed = settings.seed * 2 + SIDES.index(side)
    return train_factors(
        ratings,
        data.user_count,
        items,
        blocks=data.blocks_of(side),
        size=settings.ranking_size,
        seed=seed,
        on_epoch=on_epoch,
        users_last=side == "source",
        engine=engine,
    )


def train_factors(
    ratings: Ratings,
    user_count: int,
    item_count: int,
    *,
    blocks: Blocks | None = None,
    size: int,
    seed: int,
    on_epoch: OnEpoch,
    users_last: bool = False,
    engine: Engine = COMPILED,
) -> ImplicitFactors:
    """Factorize who took what.

    Args:
        ratings: N pairs of user and item; the stars are not read.
        user_count: U.
        item_count: I.
        blocks: the items of several domains, each of which has its own factors; None: of one.
        size: D of a domain.
        seed: fixes the initial item vectors.
        on_epoch: called after every iteration with the mean of p · q over a sample of the observed pairs.
        users_last: end by solving the users, so that folding in later gives the same vectors as training.
        engine: solves.
    """
    sample = slice(None, None, max(1, len(ratings) // LOSS_SAMPLE))
    # Many people of a pair have nothing in this domain; in every iteration all of a table is read and written.
    people, own = numbered(ratings.users)
    users, items = own[sample], ratings.items[sample]

    def tell(iteration: int, p: Floats, q: Floats) -> None:
        on_epoch(iteration, {"ranking_fit": float(np.einsum("nd,nd->n", p[users], q[items]).mean(dtype=np.float64))})

    ridge = Ridge(REGULARIZATION, weighted=False, unobserved_weight=UNOBSERVED_WEIGHT)
    vectors, item_embedding = als_beside(
        Entries(own, ratings.items, np.ones(len(ratings), np.float32), len(people), item_count),
        blocks or Blocks((item_count,)),
        Plan(size, ridge, ridge, ITERATIONS, seed, users_last),
        on_iteration=tell,
        engine=engine,
    )
    user_embedding = np.zeros((user_count + 1, vectors.shape[1]), np.float32)
    user_embedding[people] = vectors[1:]
    counts = np.bincount(ratings.items, minlength=item_count + 1).astype(np.float32)
    return ImplicitFactors(user_embedding, item_embedding, counts)
