"""What a bundle's mode predicts for held-out people: all that the gate measures it by.

Users and items are known by id, so that a bundle can be measured on a later split too, on what both know.

Shapes: R held-out users, T target items, E coordinates of a bridged embedding, N ratings.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings, Scale, reading_some
from ptupcdr_core.data.splits import is_test_user
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.deployed import SplitPeople
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class Judged:
    """What one mode predicts for the present split's test users.

    Args:
        users: (R,) user ids.
        held_out: (R,) bool, users whom the mode was not trained on.
        embeddings: (R, E) float32, folded in and bridged as when served, with the further coordinates of a search for
            lists.
        items: (T,) target item ids.
        target: the items' offsets (T,) and vectors (T, E), in the order of ``items``.
        scale: what scores are clipped to; None where they are not stars.
        extra: (R, T) what is added to their scores; None: nothing.
    """

    users: NDArray[np.object_]
    held_out: NDArray[np.bool_]
    embeddings: Floats
    items: NDArray[np.object_]
    target: TargetItems
    scale: Scale | None
    extra: sp.csr_matrix | None = None

    @classmethod
    def of(cls, home: Home, pair: str, served: BundledMode) -> Self:
        """Serve the test users of the present split, of a large pair those that are read of it.

        Raises:
            WarehouseError: the pair was not split.
        """
        warehouse = Warehouse.from_environment(home.warehouse)
        with reading_some(warehouse, pair) as connection:
            query = (
                "select user_index, user_id from partition_file.split_users as u "
                "semi join split_users as r using (user_id) where cohort = 'test' order by user_index"
            )
            users: pa.Table = connection.sql(query).to_arrow_table()
        people = SplitPeople.of(warehouse, pair, served)(users["user_index"].to_numpy())
        part, ids = served.part, users["user_id"].combine_chunks()
        settings = served.origin.settings
        held_out = [
            not served.origin.refitted and is_test_user(user, settings["seed"], settings["beta"])
            for user in ids.to_pylist()
        ]
        sought = part.sought(people, part.embed(people, ids)[0])
        return cls(
            users=_objects(ids),
            held_out=np.array(held_out, bool),
            embeddings=sought.vectors,
            items=_objects(served.target_ids)[1:],
            target=TargetItems(part.target.vectors[1:], part.target.offset[1:]),
            scale=part.scale,
            extra=None if sought.extra is None else sought.extra(np.arange(len(ids)))[:, 1:].tocsr(),
        )

    def knows(self, ratings: pd.DataFrame, *, held_out: bool) -> NDArray[np.bool_]:
        """(N,) which of these ratings it can predict: it knows both user and item.

        Args:
            ratings: columns user_id and item_id.
            held_out: only users whom it was not trained on.
        """
        users = self.users[self.held_out] if held_out else self.users
        return np.asarray(ratings["user_id"].isin(users) & ratings["item_id"].isin(self.items))

    def scores(self, ratings: pd.DataFrame) -> Floats:
        """(N,) float32 predictions for ratings that it knows, as people are shown them."""
        rows = pd.Index(self.users).get_indexer(ratings["user_id"])
        items = pd.Index(self.items).get_indexer(ratings["item_id"])
        if (rows < 0).any() or (items < 0).any():
            raise ValueError("a rating's user or item is not known here; ask knows() first")
        scores = self.target.score(self.embeddings, rows, items)
        return scores if self.scale is None else self.scale.clip(scores)

    def among(self, items: NDArray[np.object_]) -> Self:
        """The same model, restricted to these target items."""
        kept = np.asarray(pd.Index(self.items).isin(items))
        target = TargetItems(self.target.vectors[kept], self.target.offset[kept])
        extra = None if self.extra is None else self.extra[:, np.flatnonzero(kept)].tocsr()
        return replace(self, items=self.items[kept], target=target, extra=extra)

    def rankings(self, ratings: pd.DataFrame) -> pd.DataFrame:
        """How well lists out of all its items find what users took, in the form of ``cold_start_rankings``.

        Args:
            ratings: N that it knows, each user and item once; columns user_id, item_id and rating.

        Returns:
            One row a user, by id: user_id, ratings (how many there are) and the measures of ``evaluation.rankings``.
        """
        rows, users = pd.factorize(ratings["user_id"], sort=True)
        items = pd.Index(self.items).get_indexer(ratings["item_id"]) + 1
        taken = Ratings(rows.astype(np.int32), items.astype(np.int32), ratings["rating"].to_numpy(np.float32))
        target = TargetItems(np.pad(self.target.vectors, ((1, 0), (0, 0))), np.pad(self.target.offset, (1, 0)))
        places = pd.Index(self.users).get_indexer(users)
        everybody, extra = np.arange(len(users), dtype=np.int32), None
        if self.extra is not None:
            padded = sp.hstack([sp.csr_matrix((len(self.users), 1), dtype=np.float32), self.extra]).tocsr()[places]
            extra = padded.__getitem__
        found = rank_by_vectors(target, self.embeddings[places], everybody, taken, extra)
        return pd.DataFrame({"user_id": users, "ratings": found.counts, **found.values})


def judged(home: Home, pair: str, bundle: Bundle) -> Mapping[Mode, Judged]:
    """What each of a bundle's modes predicts for the present test users."""
    return {name: Judged.of(home, pair, served) for name, served in bundle.modes.items()}


def _objects(column: pa.Array) -> NDArray[np.object_]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=object)
