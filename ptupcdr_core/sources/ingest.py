"""Cleaning: one domain's ratings as they lie become ``raw_ratings``; what is left out stands apart with its reason."""

from dataclasses import dataclass
from pathlib import Path

import duckdb

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources.nothing_left import nothing_left
from ptupcdr_core.sources.staging import stage
from ptupcdr_core.sql import statement
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "raw_ratings"


@dataclass(frozen=True)
class IngestReport:
    """What became of a domain's rows."""

    domain: str
    rows_read: int
    kept: int
    rejected: dict[str, int]
    """Rows left out, by reason."""
    users: int
    items: int


def ingest_domain(
    domain: Domain, warehouse: Warehouse, fingerprint: str = "", downloads: Path | None = None
) -> IngestReport:
    """Read, clean and store one domain's ratings.

    Of a repeated (user, item) the latest by time is kept, among equals the last in the file.

    Args:
        domain: what to read.
        warehouse: where ``raw_ratings``, ``rejected_ratings`` and ``ingest_counts`` go.
        fingerprint: kept in ``provenance``.
        downloads: where files from http(s) addresses are kept; the home's ``downloads`` unless given.

    Raises:
        SourceError: the files cannot be read as the catalog describes them, or not one rating is left. The old
            tables stay.
    """
    home = Home(warehouse.root.parent)
    with warehouse.write(
        ASSET, domain.name, fingerprint=fingerprint, settings=domain.entry(), read_by_others=ASSET
    ) as connection:
        stage(connection, domain, downloads or home.downloads, home.reads / domain.name)
        low, high = domain.scale
        for name, value in {"domain": domain.name, "low": low, "high": high}.items():
            connection.execute(f"set variable {name} = ?", [value])
        connection.execute(statement("typed"))
        connection.execute(statement("clean_ratings"))
        return _report(connection, domain)


def _report(connection: duckdb.DuckDBPyConnection, domain: Domain) -> IngestReport:
    kept, users, items = connection.execute(
        "select count(*), count(distinct user_id), count(distinct item_id) from raw_ratings"
    ).fetchall()[0]
    rejected = dict(
        connection.execute("select reason, count(*) from rejected_ratings group by all order by all").fetchall()
    )
    read = _balance(connection, kept, sum(rejected.values()))
    if kept == 0:
        raise nothing_left(connection, domain, read, rejected)
    return IngestReport(domain.name, read, kept, rejected, users, items)


def _balance(connection: duckdb.DuckDBPyConnection, kept: int, rejected: int) -> int:
    for file, read, file_kept, file_rejected in connection.execute(
        "select source_file, rows_read, kept, rejected from ingest_counts where rows_read <> kept + rejected"
    ).fetchall():
        raise SourceError(f"{file}: {read} rows read, but {file_kept} kept and {file_rejected} rejected")
    read = connection.execute("select coalesce(sum(rows_read), 0)::bigint from ingest_counts").fetchall()[0][0]
    if read != kept + rejected:
        raise SourceError(f"{read} rows read, but {kept} kept and {rejected} rejected")
    return int(read)
