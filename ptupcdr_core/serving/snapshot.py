"""A pair's model as it is deployed: everything that serves its cold-start users, in two files, without the warehouse.

``snapshot.safetensors`` has the numbers, ``snapshot.json`` the ids of their rows. Users and items go by id, so that a
snapshot can be measured on a later split too, on what both know.

Shapes: R cold-start users, T target items, E coordinates of a bridged embedding, N ratings.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import Ratings, Scale, target_item_ids
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.serving import load_serving
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

TENSORS, IDS = "snapshot.safetensors", "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """What serves a pair's cold-start users in one mode.

    Args:
        users: (R,) user ids.
        held_out: (R,) bool: test users, no target rating of whom was trained on.
        made_by: (R,) what made each embedding.
        embeddings: (R, E) float32.
        items: (T,) target item ids.
        target: the items' offsets (T,) and vectors (T, E), in the order of ``items``.
        scale: what scores are clipped to; None where they are no stars.
    """

    users: NDArray[np.object_]
    held_out: NDArray[np.bool_]
    made_by: NDArray[np.object_]
    embeddings: Floats
    items: NDArray[np.object_]
    target: TargetItems
    scale: Scale | None

    @classmethod
    def take(cls, home: Home, pair: str, mode: str) -> Self:
        """Read a pair that has been materialized.

        Raises:
            WarehouseError: its split or its embeddings are not there.
            ArtifactError: its models are missing, or belong to another split.
        """
        warehouse, serving = Warehouse.from_environment(home.warehouse), load_serving(home, pair, mode)
        with warehouse.read("bridged_embeddings", pair) as connection:
            query = "select user_id, cohort, made_by, embedding from bridged_embeddings where mode = ? order by user_id"
            rows: pa.Table = connection.sql(query, params=[mode]).to_arrow_table()
        embeddings = rows["embedding"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1)
        return cls(
            users=_objects(rows["user_id"]),
            held_out=_objects(rows["cohort"]) == "test",
            made_by=_objects(rows["made_by"]),
            embeddings=embeddings.astype(np.float32),
            items=target_item_ids(warehouse, pair)[1:],
            target=TargetItems(serving.target.vectors[1:], serving.target.offset[1:]),
            scale=serving.scale,
        )

    def knows(self, ratings: pd.DataFrame, *, held_out: bool) -> NDArray[np.bool_]:
        """(N,) which of these ratings it can predict: user and item are its own.

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
            raise ValueError("a rating's user or item is not of this snapshot; ask knows() first")
        scores = self.target.score(self.embeddings, rows, items)
        return scores if self.scale is None else self.scale.clip(scores)

    def among(self, items: NDArray[np.object_]) -> Self:
        """The same model where there are no other target items than these."""
        kept = np.asarray(pd.Index(self.items).isin(items))
        target = TargetItems(self.target.vectors[kept], self.target.offset[kept])
        return replace(self, items=self.items[kept], target=target)

    def rankings(self, ratings: pd.DataFrame) -> pd.DataFrame:
        """How well lists out of all its items find what users took, in the form of ``cold_start_rankings``.

        Args:
            ratings: N that it knows, each user and item once; columns user_id, item_id and rating.

        Returns:
            One row a user, by id: user_id, ratings (how many there are) and the measures of ``ranking.evaluation``.
        """
        rows, users = pd.factorize(ratings["user_id"], sort=True)
        items = pd.Index(self.items).get_indexer(ratings["item_id"]) + 1
        taken = Ratings(rows.astype(np.int32), items.astype(np.int32), ratings["rating"].to_numpy(np.float32))
        target = TargetItems(np.pad(self.target.vectors, ((1, 0), (0, 0))), np.pad(self.target.offset, (1, 0)))
        embeddings = self.embeddings[pd.Index(self.users).get_indexer(users)]
        found = rank_by_vectors(target, embeddings, np.arange(len(users), dtype=np.int32), taken)
        return pd.DataFrame({"user_id": users, "ratings": found.counts, **found.values})

    def save(self, folder: Path) -> None:
        """Write both files into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        scale = [] if self.scale is None else [self.scale.low, self.scale.high]
        tensors = {
            "embeddings": self.embeddings,
            "held_out": self.held_out.astype(np.uint8),
            "vectors": self.target.vectors,
            "offsets": self.target.offset,
            "scale": np.array(scale, np.float64),
        }
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, folder / TENSORS)
        ids = {"users": self.users.tolist(), "made_by": self.made_by.tolist(), "items": self.items.tolist()}
        (folder / IDS).write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        try:
            tensors = load_file(folder / TENSORS)
            ids = json.loads((folder / IDS).read_text(encoding="utf-8"))
            return cls(
                users=np.array(ids["users"], dtype=object),
                held_out=tensors["held_out"].astype(bool),
                made_by=np.array(ids["made_by"], dtype=object),
                embeddings=tensors["embeddings"],
                items=np.array(ids["items"], dtype=object),
                target=TargetItems(tensors["vectors"], tensors["offsets"]),
                scale=Scale(*tensors["scale"].tolist()) if len(tensors["scale"]) else None,
            )
        except (OSError, KeyError, ValueError, SafetensorError) as error:
            raise ArtifactError(f"{folder}: not a snapshot of a pair ({error})") from error


def _objects(column: pa.ChunkedArray) -> NDArray[np.object_]:
    return np.asarray(column.to_numpy(), dtype=object)
