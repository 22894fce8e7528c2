"""Cleaning: one domain's ratings as they lie become ``raw_ratings``; what is left out stands apart with its reason."""

from dataclasses import dataclass
from importlib.resources import files

from ptupcdr_core.catalog import Domain
from ptupcdr_core.errors import SourceError
from ptupcdr_core.sources import stage
from ptupcdr_core.warehouse import Warehouse

ASSET = "raw_ratings"


@dataclass(frozen=True)
class IngestReport:
    """What became of a domain's rows."""

    domain: str
    rows_read: int
    kept: int
    rejected: dict[str, int]
    users: int
    items: int


def ingest_domain(domain: Domain, warehouse: Warehouse, fingerprint: str = "") -> IngestReport:
    """Read, clean and store one domain's ratings.

    Raises:
        SourceError: the files cannot be read, or not one rating is left; the old table stays.
    """
    with warehouse.write(ASSET, domain.name, fingerprint=fingerprint) as connection:
        stage(connection, domain)
        low, high = domain.scale
        for name, value in {"domain": domain.name, "low": low, "high": high}.items():
            connection.execute(f"set variable {name} = ?", [value])
        connection.execute(files("ptupcdr_core.sql").joinpath("clean_ratings.sql").read_text(encoding="utf-8"))
        kept, users, items = connection.execute(
            "select count(*), count(distinct user_id), count(distinct item_id) from raw_ratings"
        ).fetchall()[0]
        read = connection.execute("select coalesce(sum(rows_read), 0)::bigint from ingest_counts").fetchall()[0][0]
        rejected = dict(
            connection.execute("select reason, count(*) from rejected_ratings group by all order by all").fetchall()
        )
        if kept == 0:
            raise SourceError(f"domain {domain.name}: no rating is left of {read} rows; rejected: {rejected}")
    return IngestReport(domain.name, read, kept, rejected, users, items)
