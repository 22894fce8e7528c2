"""The bundle: everything that serves one pair's people, by ids, in one file.

It needs no warehouse, no orchestration and no split: source ratings go in, recommendations with reasons come out.
Trained models are kept, measured, judged by the gate, registered, deployed and served in this one form.

Shapes: R people, K recommended items, S source items, T target items, X coordinates of a source vector, Y coordinates
of a bridged embedding.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as encode

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.newcomers import newcomers
from ptupcdr_core.data.pair_data import Side
from ptupcdr_core.data.people import People
from ptupcdr_core.errors import ArtifactError, SettingsError
from ptupcdr_core.kernels.exact_search import Search, top_items
from ptupcdr_core.serving.bundled_items import items_as_tensors, items_from_tensors
from ptupcdr_core.serving.bundled_mode import BundledMode, digest_of, under
from ptupcdr_core.serving.foretelling import Foretelling, foretold
from ptupcdr_core.serving.lists import best_lists
from ptupcdr_core.serving.recommending import explained
from ptupcdr_core.settings import Mode
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store import formats
from ptupcdr_core.store.artifacts import Tensors, require_finite
from ptupcdr_core.store.replacing import replaced

NEW = "new"
"""The cohort of people who are served by their ratings alone."""


@dataclass(frozen=True)
class NewPeople:
    """R people who were served by their ratings alone, by user id.

    Args:
        user_ids: (R,) text.
        embeddings: (R, Y) float32 in the target domain.
        made_by: (R,) bridge; common_bridge where no known source item was rated above the middle; mean, the average
            target user, where no known source item was rated at all.
        known_items: (R,) rated source items that the bundle knows.
        unknown_items: (R,) others, which were ignored.
        recommendations: columns of the warehouse's table ``recommendations``, with the cohort ``new``; and, if the
            bundle predicts ratings, those of ``foretelling.foretold``.
    """

    user_ids: NDArray[np.object_]
    embeddings: Floats
    made_by: NDArray[np.object_]
    known_items: NDArray[np.int64]
    unknown_items: NDArray[np.int64]
    recommendations: pa.Table


@dataclass(frozen=True)
class Bundle:
    """Everything that serves one pair.

    Args:
        pair: its key, source first.
        modes: by name; recommendations come from the last one.
        items: what was known of source and target items when it was deployed: titles, groups, and which may be
            recommended. It takes effect through ``offering``; without that, a bundle recommends every target item.
    """

    pair: str
    modes: Mapping[Mode, BundledMode]
    items: Mapping[Side, Items] = field(default_factory=dict)

    def mode(self, name: Mode | None = None) -> tuple[Mode, BundledMode]:
        """A mode by its name; None: the one that recommends, and its name.

        Raises:
            SettingsError: the bundle has no such mode.
        """
        name = name or [*self.modes][-1]
        if name not in self.modes:
            raise SettingsError(f"{self.pair} is not served in the mode {name!r}; there are: {', '.join(self.modes)}")
        return name, self.modes[name]

    def among(self, items: pa.Array) -> Self:
        """The same bundle, restricted to the target items with these ids."""
        return replace(self, modes={name: mode.among(items) for name, mode in self.modes.items()})

    def titles(self, side: Side) -> Mapping[str, str]:
        """Titles of a side's items by id, as far as they were known when it was deployed."""
        return self.items.get(side, Items()).titles

    def offering(self, known: Items, exclude: frozenset[str] = frozenset()) -> Self:
        """The same bundle, restricted to what the catalog allows; see ``BundledMode.offering``."""
        return replace(self, modes={name: mode.offering(known, exclude=exclude) for name, mode in self.modes.items()})

    @property
    def rated(self) -> bool:
        """Whether histories hold ratings; False: events without stars."""
        return self.mode()[1].reading.scale is not None

    @property
    def digest(self) -> str:
        """Digest of all its contents: bundles with equal digests serve alike."""
        heads = json.dumps(self._heads(), sort_keys=True).encode()
        return digest_of(self._tensors() | {"heads": np.frombuffer(heads, np.uint8)})

    def recommend(
        self,
        ratings: pa.Table,
        k: int = 10,
        *,
        users: Iterable[str] = (),
        seen: pa.Table | None = None,
        mode: Mode | None = None,
        origin: str = "ratings",
        search: Search = top_items,
        again: Search = top_items,
    ) -> NewPeople:
        """Fold people in by their source ratings, bridge them, and find their best k target items.

        Nothing is trained or stored. A training user gets the same vector as in training; not so in the reference's
        recipes, whose user vectors are trained by gradient steps and cannot be solved from ratings.

        Args:
            ratings: columns user_id, item_id, rating and, for the order of the history, timestamp (seconds or ISO
                dates).
            k: how many items, at least 1.
            users: ids of people to serve even if they have no rating.
            seen: columns user_id, item_id: target items that are not to be recommended to these people.
            mode: which models; None: those that recommend.
            origin: what messages call the ratings, such as the name of their file.
            search: finds items, exactly or approximately.
            again: an exact search for people who have seen items of their list.

        Raises:
            SourceError: a column is missing, or a value is not what it should be.
            SettingsError: the bundle has no such mode.
        """
        name, served = self.mode(mode)
        new = newcomers(ratings, served.source_ids, served.reading, users=users, origin=origin)
        embeddings, made_by = served.part.embed(new.people)
        people = served_people(self.pair, name, NEW, new.user_ids, served.part.lists_made_by(made_by))
        hidden = seen_keys(seen, new.user_ids, served.target_ids)
        found = best_lists(served.part, new.people, embeddings, k, hidden, search, again, served.cap)

        def read(own: BundledMode) -> People:
            return newcomers(ratings, own.source_ids, own.reading, users=new.user_ids.to_pylist()).people

        told = Foretelling.of(self.modes, served, new.people, read)
        rows = explained(found, people, new.people.__getitem__, served, told)
        return NewPeople(
            new.user_ids.to_numpy(zero_copy_only=False),
            embeddings,
            made_by,
            new.known_items,
            new.unknown_items,
            pa.concat_tables(rows),
        )

    def rate(self, ratings: pa.Table, couples: pa.Table) -> NDArray[np.float32]:
        """(N,) float32 predicted ratings of N couples of a person and a target item.

        Args:
            ratings: the people's source ratings, as for ``recommend``.
            couples: N rows with user_id and item_id; NaN is returned for a target item that the bundle does not know.

        Raises:
            SourceError: a column is missing, or a value is not what it should be.
            SettingsError: the bundle has no mode ``rating``.
        """
        served = self.mode("rating")[1]
        users = couples["user_id"].cast(pa.string()).combine_chunks()
        new = newcomers(ratings, served.source_ids, served.reading, users=users.to_pylist())
        embeddings, _ = served.part.embed(new.people)
        rows = pc.index_in(users, value_set=new.user_ids).to_numpy(zero_copy_only=False)
        items = pc.index_in(couples["item_id"].cast(pa.string()).combine_chunks(), value_set=served.target_ids)
        places = pc.fill_null(items, 0).to_numpy(zero_copy_only=False)
        scores = served.part.shown(
            served.part.target.score(served.part.sought(new.people, embeddings).vectors, rows, places)
        )
        return np.where(places > 0, scores, np.float32(np.nan))

    def foretell(self, ratings: pa.Table, couples: pa.Table) -> pa.Table:
        """Predicted ratings of N couples of a person and a target item, as distributions.

        Args:
            ratings: the people's source ratings, as for ``recommend``.
            couples: N rows with user_id and item_id.

        Returns:
            The couples with stars, median and likely; see ``foretelling.foretold``.

        Raises:
            SourceError: a column is missing, or a value is not what it should be.
            SettingsError: the bundle has no mode ``rating``.
        """
        served = self.mode("rating")[1]
        users, items = (couples[name].cast(pa.string()).combine_chunks() for name in ("user_id", "item_id"))
        new = newcomers(ratings, served.source_ids, served.reading, users=users.to_pylist())
        rows = pc.index_in(users, value_set=new.user_ids).to_numpy(zero_copy_only=False)
        said = foretold(served, new.people, rows, items)
        return pa.table([users, items, *said.columns], names=["user_id", "item_id", *said.column_names])

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            ArtifactError: a number is NaN or infinite; the old file stays.
            StorageError: it cannot be written; the old file stays.
        """
        head = {"format": formats.BUNDLE, "pair": self.pair, "modes": self._heads()}
        tensors = {name: np.asarray(tensor, order="C") for name, tensor in self._tensors().items()}
        require_finite(tensors, f"the bundle {path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        with replaced(path) as temporary:
            temporary.write_bytes(encode(tensors, {"bundle": json.dumps(head)}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: there is no such file, it is damaged, or of another format.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                head = json.loads((file.metadata() or {})["bundle"])
                remedy = "deploy the pair again with this version, or read it with the version that wrote it"
                refused = formats.refusal("a bundle", path, head.get("format"), formats.BUNDLE, remedy)
                if refused and head.get("format") != formats.BUNDLE_BEFORE:
                    raise ArtifactError(refused)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            modes = {name: BundledMode.of(own, under(tensors, f"{name}/")) for name, own in head["modes"].items()}
            return cls(head["pair"], modes, items_from_tensors(tensors))
        except (OSError, KeyError, ValueError, SafetensorError, pa.ArrowInvalid) as error:
            raise ArtifactError(f"{path}: not a readable bundle ({error}); deploy the pair again") from error

    def _heads(self) -> dict[str, Any]:
        return {name: mode.head() for name, mode in self.modes.items()}

    def _tensors(self) -> Tensors:
        models = {
            f"{mode}/{name}": tensor for mode, own in self.modes.items() for name, tensor in own.tensors().items()
        }
        return models | items_as_tensors(self.items)


def served_people(
    pair: str, mode: str, cohort: str | pa.Array, ids: pa.Array, made_by: NDArray[np.object_]
) -> pa.Table:
    """(R, ...) people as ``recommendation_rows`` takes them."""
    count = len(ids)
    return pa.table(
        {
            "pair": pa.repeat(pair, count),
            "user_id": ids,
            "cohort": pa.repeat(cohort, count) if isinstance(cohort, str) else cohort,
            "mode": pa.repeat(mode, count),
            "made_by": pa.array(made_by, pa.string()),
        }
    )


def seen_keys(seen: pa.Table | None, people: pa.Array, items: pa.Array) -> NDArray[np.int64]:
    """(N,) what people have seen, as ``unseen_items`` takes it: place · (T+1) + item index.

    Args:
        seen: columns user_id and item_id; rows of other people and unknown items do not count. None: nothing.
        people: (R,) user ids.
        items: (T+1,) target item ids.
    """
    if seen is None or not len(seen):  # saves hashing all items in each request
        return np.zeros(0, np.int64)
    person = pc.index_in(seen["user_id"].cast(pa.string()), value_set=people)
    item = pc.index_in(seen["item_id"].cast(pa.string()), value_set=items)
    keys = pc.add(pc.multiply(person.cast(pa.int64()), len(items)), item.cast(pa.int64()))
    return np.asarray(pc.unique(keys.drop_null()).to_numpy())
