"""Cleaning: one domain's ratings or events become ``raw_ratings``; rejected rows are kept apart, with the reason."""

from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.nothing_left import nothing_left
from ptupcdr_core.sources.people import Forgotten, note_people
from ptupcdr_core.sources.staging import stage
from ptupcdr_core.sql import statement
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "raw_ratings"


@dataclass(frozen=True)
class IngestReport:
    """What became of a domain's rows.

    Args:
        domain: its name.
        rows_read: rows in its files.
        kept: rows kept; several events can become one row of ``raw_ratings``.
        rejected: rows left out, by reason.
        users: number of users in ``raw_ratings``.
        items: number of items in ``raw_ratings``.
        people: users by what the table of people says of their ids: joined, not_listed, set_apart (see
            ``ingest_people``).
    """

    domain: str
    rows_read: int
    kept: int
    rejected: dict[str, int]
    users: int
    items: int
    people: dict[str, int] = field(default_factory=dict)


def ingest_domain(
    domain: Domain, warehouse: Warehouse, fingerprint: str = "", downloads: Path | None = None
) -> IngestReport:
    """Read, clean and store one domain's ratings or events.

    If a user rated an item repeatedly, the latest rating by time is kept, and among equal times the last in the file.
    Repeated events become one row with their number, the sum of their weights, and the first and last time.

    Args:
        domain: what to read.
        warehouse: where ``raw_ratings``, ``rejected_ratings`` and ``ingest_counts`` go.
        fingerprint: kept in ``provenance``.
        downloads: where files from http(s) addresses are kept; None: the home's ``downloads``.

    Raises:
        SourceError: the files cannot be read as the catalog describes them, or nothing is left. The old
            tables stay.
    """
    home = Home(warehouse.root.parent)
    with warehouse.write(
        ASSET, domain.name, fingerprint=fingerprint, settings=domain.entry(), read_by_others=ASSET
    ) as connection:
        stage(connection, domain, downloads or home.downloads, home.reads / domain.name, Forgotten.of(home))
        note_people(connection, domain, home)
        judge(connection, domain)
        kind, value = ("ratings", "rating") if domain.stars else ("events", "weight")
        connection.execute(statement(f"keep_{kind}"))
        connection.execute(statement("account_for_rows").format(value=value))
        connection.execute(statement("count_people"))
        return balanced(connection, domain)


def judge(connection: duckdb.DuckDBPyConnection, domain: Domain) -> None:
    """Note what is wrong with each staged row (``judged``), and the rows' places in their files (``gaps``)."""
    for name, value in _variables(domain).items():
        connection.execute(f"set variable {name} = ?", [value])
    for step in ("typed", "judge_rows", "gaps"):
        connection.execute(statement(step))


def _variables(domain: Domain) -> dict[str, object]:
    """The variables that rows are judged by; null where they do not matter."""
    low, high = domain.stars or (None, None)
    weighed = not domain.stars and domain.columns.weight is not None
    return {
        "domain": domain.name,
        "rated": domain.stars is not None,
        "low": low,
        "high": high,
        "weighed": weighed,
        "least_weight": domain.least_weight if weighed else None,
    }


def balanced(connection: duckdb.DuckDBPyConnection, domain: Domain) -> IngestReport:
    """What became of a domain's rows, once all of them are accounted for.

    Args:
        connection: has ``raw_ratings``, ``rejected_ratings``, ``ingest_counts``, ``ingest_people`` and
            ``source_files``.
        domain: what was read.

    Raises:
        SourceError: a row is missing, or nothing is left.
    """
    kept, users, items = connection.execute(
        f"select {kept_rows(domain)}, count(distinct user_id), count(distinct item_id) from raw_ratings"  # nosec B608 # own expression
    ).fetchall()[0]
    rejected = dict(
        connection.execute("select reason, count(*) from rejected_ratings group by all order by all").fetchall()
    )
    read = _balance(connection, kept, sum(rejected.values()))
    if kept == 0:
        raise nothing_left(connection, domain, read, rejected)
    people = dict(connection.execute("select is_person, users from ingest_people order by all").fetchall())
    return IngestReport(domain.name, read, kept, rejected, users, items, people)


def kept_rows(domain: Domain) -> str:
    """SQL for how many source rows a domain's ``raw_ratings`` holds."""
    return "count(*)" if domain.stars else "coalesce(sum(events), 0)::bigint"


def _balance(connection: duckdb.DuckDBPyConnection, kept: int, rejected: int) -> int:
    for file, read, file_kept, file_rejected in connection.execute(
        "select source_file, rows_read, kept, rejected from ingest_counts where rows_read <> kept + rejected"
    ).fetchall():
        raise SourceError(f"{file}: {read} rows read, but {file_kept} kept and {file_rejected} rejected")
    read = connection.execute("select coalesce(sum(rows_read), 0)::bigint from ingest_counts").fetchall()[0][0]
    if read != kept + rejected:
        raise SourceError(f"{read} rows read, but {kept} kept and {rejected} rejected")
    return int(read)
