"""The cold-start protocol: which users are held out, what may be trained on, and each user's source history.

Everything happens in ``sql/split.sql``, from file to file; no rating passes through Python.
"""

import hashlib
from collections.abc import Set
from dataclasses import dataclass

import duckdb

from ptupcdr_core.catalog import TOGETHER, Domain, Pair
from ptupcdr_core.errors import SplitError
from ptupcdr_core.settings import Settings
from ptupcdr_core.sql import literal, statement
from ptupcdr_core.store.warehouse import Warehouse, attach

ASSET = "domain_splits"
RATINGS = "raw_ratings"
COHORTS = ("test", "validation", "bridge", "cold", "target_only")
PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitReport:
    """How a pair's users and ratings were divided.

    Args:
        pair: its key.
        users: number of users by cohort; 0 for one without users.
        source_items: number of source items.
        target_items: number of target items.
        source_ratings: number of source ratings.
        target_ratings: number of target ratings by part.
        histories: entries of all source histories together.
        shared_item_ids: item ids that occur in both domains: more than a few hint at a leak from source to target.
        shared_ratings: (user, item id) pairs that occur in both domains: the leak itself.
        vocabulary: hash of the ids of users, source items and target items.
        overlapping_read: the share of overlapping users whom stages read that hold a pair in memory; below 1 where
            the pair has more than ``most_ratings``.
        others_read: the same of all other users.
    """

    pair: str
    users: dict[str, int]
    source_items: int
    target_items: int
    source_ratings: int
    target_ratings: dict[str, int]
    histories: int
    shared_item_ids: int
    shared_ratings: int
    vocabulary: str
    overlapping_read: float
    others_read: float


def build_split(
    pair: Pair,
    source: Domain,
    target: Domain,
    warehouse: Warehouse,
    settings: Settings,
    fingerprint: str = "",
    into: Warehouse | None = None,
) -> SplitReport:
    """Divide a pair's users and ratings for the cold-start protocol and build the source histories.

    An overlapping user is a test user iff h("seed:user") < beta, else a validation user iff h("seed:validation:user") <
    validation_fraction, else a bridge user, where h is the first 13 hexadecimal digits of the MD5 over 16^13. So the
    division depends only on seed and id, and a larger beta only adds test users.

    Args:
        pair: the pair.
        source: its source domain; ``positive_above`` is by default the middle of its scale, and every event is
            positive.
        target: its target domain.
        warehouse: holds ``raw_ratings`` of both, and takes the split.
        settings: those that decide a split are used, and kept in ``provenance``.
        fingerprint: kept in ``provenance``.
        into: another warehouse that takes the split instead, so that the pair's own stays as it is.

    Raises:
        WarehouseError: one of the two domains was not ingested yet.
        SplitError: there is nothing to learn from or nothing to measure with.
    """
    for domain in (*source.each, target):
        warehouse.require(RATINGS, domain.name)
    used = settings.deciding("split")
    with (into or warehouse).write(ASSET, pair.key, fingerprint=fingerprint, settings=used) as connection:
        for side, domain in (("source", source), ("target", target)):
            give(connection, warehouse, side, domain.name)
        for name, value in split_variables(pair, source, target, settings).items():
            connection.execute(f"set variable {name} = ?", [value])
        connection.execute(statement("people"))
        connection.execute(statement("split"))
        return summarized(connection, pair, settings)


def summarized(connection: duckdb.DuckDBPyConnection, pair: Pair, settings: Settings) -> SplitReport:
    """Make ``split_summary``, and count a pair's users and ratings.

    Args:
        connection: has the other ``split_*`` tables, ``split_totals`` and the variables that the split was made with.
        pair: the pair.
        settings: the settings of the split.

    Raises:
        SplitError: there is nothing to learn from or nothing to measure with.
    """
    for name, share in zip(("overlapping_read", "others_read"), _shares_read(connection, settings), strict=True):
        connection.execute(f"set variable {name} = ?", [share])
    connection.execute(statement("split_summary"))
    report = _report(connection, pair)
    _require_all_parts(report, settings)
    return report


def is_test_user(user_id: str, seed: int, beta: float) -> bool:
    """Whether ``build_split`` holds an overlapping user out for testing with these settings."""
    digits = hashlib.md5(f"{seed}:{user_id}".encode(), usedforsecurity=False).hexdigest()[:13]
    return int(digits, 16) / 16**13 < beta


def split_variables(pair: Pair, source: Domain, target: Domain, settings: Settings) -> dict[str, str | float | None]:
    """The variables of a split, by their names in statements and in ``split_summary``."""
    ends = {"source": source.stars or (None, None), "target": target.stars or (None, None)}
    positive_above = None  # every event is positive
    if source.stars:
        middle = sum(source.stars) / 2
        positive_above = middle if settings.positive_above is None else settings.positive_above
    return {
        **settings.deciding("split"),
        "pair": pair.key,
        "positive_above": positive_above,
        **{f"{side}_low": low for side, (low, _) in ends.items()},
        **{f"{side}_high": high for side, (_, high) in ends.items()},
    }


def columns_of(connection: duckdb.DuckDBPyConnection, table: str) -> set[str]:
    """The names of a table's columns."""
    return {str(name) for name, *_ in connection.execute(f"describe {table}").fetchall()}


def place_of(columns: Set[str]) -> str:
    """The expression for a row's place in ``raw_ratings``; tables of earlier versions have no such column."""
    return "place" if "place" in columns else "rowid"


def give(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, side: str, domain: str) -> None:
    """Attach raw ratings of a domain, or of several that act as one, as the view ``source_given`` or ``target_given``:
    with a rating (null for events), and each row's place in the file's order.

    With several domains, an item's id starts with its domain's name; without times, the last rows of each domain count
    as the last of all.

    Args:
        connection: to a database in which nothing of that side is attached yet.
        warehouse: has the ratings.
        side: source or target.
        domain: its name, or several joined by ``+``.

    Raises:
        WarehouseError: one of them was not ingested, or its file is damaged.
    """
    parts, rows = domain.split(TOGETHER), []
    for at, part in enumerate(parts):
        file = f"{side}_file_{at}"
        attach(connection, warehouse.require(RATINGS, part), file)
        columns = columns_of(connection, f"{file}.raw_ratings")
        rating = "rating" if "rating" in columns else "null::double as rating"
        item, place = "item_id", place_of(columns)
        if len(parts) > 1:
            item = f"{literal(part + ':')} || item_id as item_id"
            place = f"-row_number() over (partition by user_id order by {place} desc)"
        rows.append(
            f'select user_id, {item}, {rating}, "timestamp", {place} as place, item_id as own_id, '  # nosec B608 # quoted
            f"{literal(part)} as domain from {file}.raw_ratings"
        )
    connection.execute(f"create temp view {side}_given as {' union all '.join(rows)}")


def _shares_read(connection: duckdb.DuckDBPyConnection, settings: Settings) -> tuple[float, float]:
    """Of overlapping users and of others, the shares that are read by stages that hold a pair in memory.

    Overlapping users, who are all that bridges learn from and are measured on, get half of the room, and what others
    leave.
    """
    sides = "split_source_ratings", "split_target_ratings"
    ratings = sum(connection.execute(f"select count(*) from {side}").fetchall()[0][0] for side in sides)  # nosec B608 # ours
    most = settings.most_ratings
    if ratings <= most:
        return 1.0, 1.0
    overlap = "semi join (from split_users where cohort in ('test', 'validation', 'bridge')) using (user_index)"
    counted = (connection.execute(f"select count(*) from {side} {overlap}").fetchall()[0][0] for side in sides)  # nosec B608 # ours
    overlapping = sum(counted)
    others = ratings - overlapping
    share = min(1.0, max(most / 2, most - others) / overlapping) if overlapping else 1.0
    return share, min(1.0, (most - share * overlapping) / others) if others else 1.0


def _report(connection: duckdb.DuckDBPyConnection, pair: Pair) -> SplitReport:
    users = connection.execute("select cohort, count(*) from split_users group by all").fetchall()
    parts = connection.execute("select part, count(*) from split_target_ratings group by all").fetchall()
    counts = connection.execute(
        """select (select count(*) from split_source_items), (select count(*) from split_target_items),
                  (select count(*) from split_source_ratings), (select count(*) from split_histories),
                  shared_item_ids, shared_ratings, vocabulary, overlapping_read, others_read
           from split_summary"""
    ).fetchall()[0]
    return SplitReport(
        pair=pair.key,
        users=dict.fromkeys(COHORTS, 0) | dict(users),
        source_items=counts[0],
        target_items=counts[1],
        source_ratings=counts[2],
        target_ratings=dict.fromkeys(PARTS, 0) | dict(parts),
        histories=counts[3],
        shared_item_ids=counts[4],
        shared_ratings=counts[5],
        vocabulary=counts[6],
        overlapping_read=counts[7],
        others_read=counts[8],
    )


def _require_all_parts(report: SplitReport, settings: Settings) -> None:
    held = {cohort: report.users[cohort] for cohort in ("test", "validation", "bridge")}
    overlapping = sum(held.values())
    if overlapping == 0:
        raise SplitError(
            f"pair {report.pair}: no user has ratings in both domains; the two must write user ids the same way"
        )
    remedies = {
        "test": f"raise beta (now {settings.beta})",
        "validation": f"raise validation_fraction (now {settings.validation_fraction})",
        "bridge": f"lower beta (now {settings.beta}) or validation_fraction (now {settings.validation_fraction})",
    }
    for cohort, amount in held.items():
        if amount == 0:
            raise SplitError(
                f"pair {report.pair}: none of the {overlapping} overlapping users fell to {cohort}; "
                f"{remedies[cohort]}, take another seed (now {settings.seed}), or add users"
            )
    # Bridge users have target ratings, so this part cannot be empty here, unless a join is broken.
    if report.target_ratings["train"] == 0:
        raise SplitError(f"pair {report.pair}: no rating is left to train the target model; lower beta")
