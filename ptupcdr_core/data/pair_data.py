"""One pair's split as arrays: what the training and the evaluation read.

Shape letters, here and everywhere: U users, I items (S source, T target), L history length, N ratings.
Index 0 is padding in every vocabulary; users and items count from 1.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal, get_args

import duckdb
import numpy as np
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.data.blocks import Blocks
from ptupcdr_core.errors import SettingsError
from ptupcdr_core.sql import statement
from ptupcdr_core.store.warehouse import CONTENT, Warehouse

SPLIT = "domain_splits"
Side = Literal["source", "target"]
SIDES: tuple[Side, ...] = get_args(Side)


@dataclass(frozen=True)
class Ratings:
    """Ratings as parallel arrays of length N.

    Args:
        users: int32 user indices.
        items: int32 item indices.
        stars: float32; NaN in a domain of events without stars.
        times: float32 in the source's own unit (seconds, rounded to about a minute), NaN where unknown; None where not
            read.
    """

    users: Index
    items: Index
    stars: Floats
    times: Floats | None = None

    def __len__(self) -> int:
        """Return N."""
        return len(self.users)

    def of_users(self, users: Index, user_count: int) -> "Ratings":
        """Keep only the ratings of these users, in their order."""
        wanted = np.zeros(user_count + 1, dtype=bool)
        wanted[users] = True
        return self.where(wanted[self.users])

    def where(self, keep: NDArray[np.bool_]) -> "Ratings":
        """Keep the ratings that the mask (N,) marks."""
        times = None if self.times is None else self.times[keep]
        return Ratings(self.users[keep], self.items[keep], self.stars[keep], times)


@dataclass(frozen=True)
class Scale:
    """Lowest and highest rating of a domain."""

    low: float
    high: float

    def clip(self, scores: Floats) -> Floats:
        """Move scores outside the scale to its nearer end."""
        return np.clip(scores, self.low, self.high)


@dataclass(frozen=True)
class Reading:
    """How source ratings are read.

    Args:
        scale: of the source domain; None where it has events without stars.
        positive_above: a rating above this is positive; None: every event is.
        history_length: L, number of last positive items in a user's history.
    """

    scale: Scale | None
    positive_above: float | None
    history_length: int


@dataclass(frozen=True)
class Outline:
    """What is known of a pair's split without its ratings.

    Args:
        pair: its key.
        reading: how source ratings are read.
        target_scale: None where the target has events without stars.
        split: identifies this split; a checkpoint fits only the one it was trained on.
    """

    pair: str
    reading: Reading
    target_scale: Scale | None
    split: str

    @property
    def rated(self) -> bool:
        """Whether both domains have stars."""
        return self.reading.scale is not None and self.target_scale is not None


@dataclass(frozen=True)
class PairData:
    """The split of one pair: ratings of both sides, users by cohort, and source histories.

    Args:
        pair: its key.
        user_count: U.
        source_item_count: S.
        target_item_count: T.
        source: all ratings of the source domain.
        target_train: target ratings of everybody but test and validation users.
        target_validation: target ratings of validation users.
        target_test: target ratings of test users.
        cohorts: user indices, ascending, by cohort: test, validation, bridge, cold, target_only.
        histories: (U+1, L) last positive source items, oldest first, padded with 0 at the end.
        history_stars: (U+1, L) ratings of those items; 0 where padded, NaN where the source has no stars.
        source_scale: None where the source has events without stars.
        target_scale: the same of the target.
        split: identifies this split; a checkpoint fits only the one it was trained on.
        source_blocks: how many items each source domain has, in the order of the indices; empty: there is one domain.
        people: (U+1,) each user's index in the split, where only some were read; None: everybody was.
    """

    pair: str
    user_count: int
    source_item_count: int
    target_item_count: int
    source: Ratings
    target_train: Ratings
    target_validation: Ratings
    target_test: Ratings
    cohorts: dict[str, Index]
    histories: Index
    history_stars: Floats
    source_scale: Scale | None
    target_scale: Scale | None
    split: str
    source_blocks: tuple[int, ...] = ()
    people: Index | None = None

    @property
    def rated(self) -> bool:
        """Whether both domains have stars."""
        return self.source_scale is not None and self.target_scale is not None

    @property
    def scale(self) -> Scale:
        """The target's scale, for predicted ratings.

        Raises:
            SettingsError: it has none, so there is nothing to predict.
        """
        if self.target_scale is None:
            raise SettingsError(f"{self.pair}: the target domain has events without stars; only lists can be ranked")
        return self.target_scale

    @property
    def bridge_ratings(self) -> Ratings:
        """Target ratings of the bridge-training users: the rows of task-oriented training."""
        return self.target_train.of_users(self.cohorts["bridge"], self.user_count)

    def in_split(self, users: Index) -> Index:
        """(R,) the indices that these users have in the split."""
        return users if self.people is None else self.people[users]

    def people_read(self) -> dict[str, float]:
        """How many people were read, as a metric; empty if everybody was."""
        return {} if self.people is None else {"people_read": float(self.user_count)}

    @property
    def cold_users(self) -> Index:
        """Users who get a bridged embedding: real cold-start users and held-out test users, ascending."""
        return np.sort(np.concatenate([self.cohorts["cold"], self.cohorts["test"]]))

    def trained_on(self, side: Side) -> tuple[Ratings, int]:
        """The training ratings of one side's domain, and how many items it has."""
        if side == "source":
            return self.source, self.source_item_count
        return self.target_train, self.target_item_count

    def blocks_of(self, side: Side) -> Blocks:
        """Which of a side's items belong to which domain."""
        if side == "source" and self.source_blocks:
            return Blocks(self.source_blocks)
        return Blocks((self.trained_on(side)[1],))

    def holding_out(self, users: Index, cohort: Literal["validation", "test"]) -> "PairData":
        """The same pair with some bridge users held out in place of its validation or test users, who leave it.

        Args:
            users: int32, ascending, of the bridge users.
            cohort: the cohort that they replace.
        """
        train = self.target_train
        chosen = np.zeros(self.user_count + 1, bool)
        chosen[users] = True
        held, bridge = train.where(chosen[train.users]), self.cohorts["bridge"]
        return replace(
            self,
            target_train=train.where(~chosen[train.users]),
            target_validation=held if cohort == "validation" else self.target_validation,
            target_test=held if cohort == "test" else self.target_test,
            cohorts=self.cohorts | {cohort: users, "bridge": bridge[~chosen[bridge]]},
        )

    def with_nobody_held_out(self) -> "PairData":
        """The same pair with test and validation users among the bridge users, and their target ratings trained on.

        Models trained on it can be deployed, but nobody is left to choose or measure on.
        """
        parts = self.target_train, self.target_validation, self.target_test
        users, items, stars = (np.concatenate(column) for column in zip(*map(_columns, parts), strict=True))
        order = np.lexsort((items, users))  # the order in which parts are read
        overlapping = np.sort(np.concatenate([self.cohorts[name] for name in ("bridge", "validation", "test")]))
        nothing, nobody = Ratings(users[:0], items[:0], stars[:0]), overlapping[:0]
        return replace(
            self,
            target_train=Ratings(users[order], items[order], stars[order]),
            target_validation=nothing,
            target_test=nothing,
            cohorts=self.cohorts | {"bridge": overlapping, "validation": nobody, "test": nobody},
        )


def _columns(ratings: Ratings) -> tuple[Index, Index, Floats]:
    return ratings.users, ratings.items, ratings.stars


def load_pair(warehouse: Warehouse, pair: str, *, test_ratings: bool = True, everybody: bool = False) -> PairData:
    """One pair's split from the warehouse; do not modify its arrays, which are cached.

    Args:
        warehouse: has the split.
        pair: its key.
        test_ratings: False leaves ``target_test`` empty, for a choice that may not see them.
        everybody: read everybody even of a pair with more ratings than the setting ``most_ratings``.

    Raises:
        WarehouseError: the pair has not been split yet.
    """
    file = warehouse.require(SPLIT, pair).stat()
    with warehouse.read(SPLIT, pair) as connection:
        everybody = everybody or _shares(connection) == (1, 1)
    return _read_pair(warehouse, pair, test_ratings, everybody, (file.st_ino, file.st_mtime_ns))


@contextmanager
def reading_some(warehouse: Warehouse, pair: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a pair's split in which the tables hold the people that are read of a pair with more ratings
    than ``most_ratings``, numbered from 1; of other pairs, everybody.

    Raises:
        WarehouseError: the pair has not been split yet.
    """
    with warehouse.read(SPLIT, pair) as connection:
        if _shares(connection) != (1, 1):
            connection.execute(statement("people"))
            connection.execute(statement("people_read"))
        yield connection


def _shares(connection: duckdb.DuckDBPyConnection) -> tuple[float, float]:
    """Of overlapping users and of others, the shares that are read; 1 in splits of earlier releases."""
    summary = connection.execute("select * from split_summary").fetchdf().iloc[0]
    return float(summary.get("overlapping_read", 1)), float(summary.get("others_read", 1))


@lru_cache(maxsize=1)
def _read_pair(
    warehouse: Warehouse, pair: str, test_ratings: bool, everybody: bool, _version: tuple[int, int]
) -> PairData:
    # The stages of a pair read the same split one after the other, so the last one is cached.
    with warehouse.read(SPLIT, pair) if everybody else reading_some(warehouse, pair) as connection:
        summary = connection.execute("select * from split_summary").fetchdf().iloc[0]
        sizes = [_largest(connection, *column) for column in _VOCABULARIES]
        histories, history_stars = _histories(connection, sizes[0], int(summary["history_length"]))
        part = {
            name: _ratings(connection, "split_target_ratings", f"part = '{name}' and {test_ratings or name != 'test'}")
            for name in _PARTS
        }
        return PairData(
            pair=pair,
            user_count=sizes[0],
            source_item_count=sizes[1],
            target_item_count=sizes[2],
            source=_ratings(connection, "split_source_ratings", "true", with_times=True),
            target_train=part["train"],
            target_validation=part["validation"],
            target_test=part["test"],
            cohorts={name: _cohort(connection, name) for name in _COHORTS},
            histories=histories,
            history_stars=history_stars,
            source_scale=_scale(summary["source_low"], summary["source_high"]),
            target_scale=_scale(summary["target_low"], summary["target_high"]),
            split=_identity(connection),
            source_blocks=_blocks(connection),
            people=None if everybody else _people(connection),
        )


def load_outline(warehouse: Warehouse, pair: str) -> Outline:
    """Read what needs no ratings.

    Raises:
        WarehouseError: the pair has not been split yet.
    """
    with warehouse.read(SPLIT, pair) as connection:
        query = (
            "select source_low, source_high, target_low, target_high, history_length, positive_above from split_summary"
        )
        *ends, length, above = connection.execute(query).fetchall()[0]
        return Outline(pair, Reading(_scale(*ends[:2]), above, length), _scale(*ends[2:]), _identity(connection))


def _scale(low: float | None, high: float | None) -> Scale | None:
    """None where a domain has no stars."""
    return None if low is None or high is None or math.isnan(low) else Scale(float(low), float(high))


def last_user(warehouse: Warehouse, pair: str) -> int:
    """The last index of a user in a pair's split, U."""
    with warehouse.read(SPLIT, pair) as connection:
        return _largest(connection, *_VOCABULARIES[0])


def target_ratings(warehouse: Warehouse, pair: str, *, held_out: bool) -> int:
    """How many target ratings of everybody a pair's split has to train on, with or without those that are held out."""
    with warehouse.read(SPLIT, pair) as connection:
        query = "select count(*) from split_target_ratings where part = 'train' or ?"
        [(count,)] = connection.execute(query, [held_out]).fetchall()
    return int(count)


def user_ids(warehouse: Warehouse, data: PairData) -> NDArray[np.object_]:
    """(U + 1,) ids by user index; entry 0, the padding, is empty."""
    with warehouse.read(SPLIT, data.pair) if data.people is None else reading_some(warehouse, data.pair) as connection:
        return _ids(connection, "split_users", "user")


def source_item_ids(warehouse: Warehouse, pair: str) -> NDArray[np.object_]:
    """(S + 1,) ids by source item index; entry 0, the padding, is empty."""
    with warehouse.read(SPLIT, pair) as connection:
        return _ids(connection, "split_source_items", "item")


def target_item_ids(warehouse: Warehouse, pair: str) -> NDArray[np.object_]:
    """(T + 1,) ids by target item index; entry 0, the padding, is empty."""
    with warehouse.read(SPLIT, pair) as connection:
        return _ids(connection, "split_target_items", "item")


_VOCABULARIES = (
    ("split_users", "user_index"),
    ("split_source_items", "item_index"),
    ("split_target_items", "item_index"),
)
_PARTS = ("train", "validation", "test")
_COHORTS = ("test", "validation", "bridge", "cold", "target_only")


def _identity(connection: duckdb.DuckDBPyConnection) -> str:
    # The summary has the settings of the split and the hash of all ids; the content digest covers the rest.
    row = connection.execute(
        f"select sha256(to_json(split_summary)::varchar || {CONTENT}) from split_summary, provenance"  # nosec B608 # ours
    ).fetchone()
    assert row is not None
    return str(row[0])


def _blocks(connection: duckdb.DuckDBPyConnection) -> tuple[int, ...]:
    query = "select count(*) from split_source_items group by domain order by min(item_index)"
    return tuple(count for (count,) in connection.execute(query).fetchall())


def _largest(connection: duckdb.DuckDBPyConnection, table: str, column: str) -> int:
    row = connection.execute(f"select coalesce(max({column}), 0) from {table}").fetchone()  # nosec B608 # ours
    assert row is not None
    return int(row[0])


def _ratings(connection: duckdb.DuckDBPyConnection, table: str, condition: str, *, with_times: bool = False) -> Ratings:
    # The order is fixed because training shuffles rows by position: without it a seed would not fix the result.
    time = ', "timestamp"::float t' if with_times else ""
    columns = connection.execute(
        f"select user_index::integer u, item_index::integer i, rating::float r{time} from {table} "  # nosec B608 # ours
        f"where {condition} order by u, i"
    ).fetchnumpy()
    times = known_times(columns["t"]) if with_times else None
    return Ratings(columns["u"], columns["i"], known_stars(columns["r"]), times)


def known_stars(column: NDArray[Any]) -> Floats:
    """(N,) float32 with NaN for missing ones, of a column as DuckDB gives it."""
    return np.ma.filled(column.astype(np.float32), np.nan)


def known_times(column: NDArray[Any]) -> Floats | None:
    """(N,) float32 with NaN for missing ones, of a column as DuckDB gives it; None where all are missing."""
    times = known_stars(column)
    return None if np.isnan(times).all() else times


def _cohort(connection: duckdb.DuckDBPyConnection, name: str) -> Index:
    query = "select user_index::integer u from split_users where cohort = ? order by u"
    users: Index = connection.execute(query, [name]).fetchnumpy()["u"]
    return users


def _histories(connection: duckdb.DuckDBPyConnection, user_count: int, length: int) -> tuple[Index, Floats]:
    rows = connection.execute(
        "select user_index::integer u, position::integer p, item_index::integer i, rating::float r from split_histories"
    ).fetchnumpy()
    items = np.zeros((user_count + 1, length), dtype=np.int32)
    stars = np.zeros((user_count + 1, length), dtype=np.float32)
    items[rows["u"], rows["p"]] = rows["i"]
    stars[rows["u"], rows["p"]] = known_stars(rows["r"])
    return items, stars


def _people(connection: duckdb.DuckDBPyConnection) -> Index:
    people: Index = connection.execute("select of_split from people_read order by user_index").fetchnumpy()["of_split"]
    return np.concatenate([np.zeros(1, np.int32), people.astype(np.int32)])


def _ids(connection: duckdb.DuckDBPyConnection, table: str, kind: str) -> NDArray[np.object_]:
    ids = connection.execute(f"select {kind}_id from {table} order by {kind}_index").fetchnumpy()[f"{kind}_id"]  # nosec B608 # ours
    return np.concatenate([np.array([""], dtype=object), np.asarray(ids, dtype=object)])
