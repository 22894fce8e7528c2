"""One domain with very many ratings: is it ingested and split within the memory limit?"""

from collections.abc import Iterator
from pathlib import Path

import duckdb
from measure import Cost, measured

from ptupcdr_core.catalog import Columns, Domain, Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse

COLUMNS = Columns(user="user_id", item="item_id", rating="rating", timestamp="timestamp")
# Powers of uniform numbers, so that few users and items have many ratings; some users rate an item twice.
RATINGS = """
copy (
    select
        (pow(hash(4 * i) / pow(2, 64), 2) * {users})::bigint as user_id,
        (pow(hash(4 * i + 1) / pow(2, 64), 3) * {items})::bigint as item_id,
        (1 + hash(4 * i + 2) % 5)::tinyint as rating,
        (1000000000 + hash(4 * i + 3) % 400000000)::bigint as timestamp
    from range({ratings}) as t(i)
) to '{path}' (format parquet)
"""


def run(work: Path, ratings: int) -> Iterator[tuple[str, Cost, str]]:
    """Generate a large domain and a small one; ingest both and split the pair.

    Args:
        work: A folder on a disk with about 110 free bytes per rating.
        ratings: How many ratings the large domain has: on average 33 per user and 125 per item.

    Yields:
        What was done, what it cost, and its result.
    """
    sizes = {"many": ratings, "few": max(1_000, ratings // 50)}
    domains = {name: _domain(work, name, ratings, amount) for name, amount in sizes.items()}
    warehouse = Warehouse.from_environment(work / "warehouse")
    for name, domain in domains.items():
        with measured() as cost:
            report = ingest_domain(domain, warehouse)
        yield f"ingest {name}", cost, f"{report.kept:,} kept, {sum(report.rejected.values()):,} rejected"
    with measured() as cost:
        split = build_split(Pair(source="many", target="few"), domains["many"], domains["few"], warehouse, Settings())
    yield "split", cost, f"{sum(split.users.values()):,} users, {split.histories:,} entries of histories"


def _domain(work: Path, name: str, ratings: int, amount: int) -> Domain:
    path = work / f"{name}.parquet"
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(work / "spill")}) as connection:
        connection.execute("set enable_progress_bar = false")
        users, items = max(100, ratings // 33), max(50, ratings // 125)
        connection.execute(RATINGS.format(users=users, items=items, ratings=amount, path=path))
    return Domain(name=name, format="parquet", path=str(path), columns=COLUMNS, scale=(1, 5))
