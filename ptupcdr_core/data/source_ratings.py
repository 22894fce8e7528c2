"""All that a base model of a source domain is made from: the domain's own users, and their ratings.

Nothing of the target is in it. The pair's other users only shift the numbers of these.

Shapes: n users with ratings of the source.
"""

import hashlib
from collections.abc import Iterator

import duckdb
import numpy as np

from ptupcdr_core.arrays import Index

_OWN = "select distinct user_index from split_source_ratings"


def source_digest(connection: duckdb.DuckDBPyConnection) -> str:
    """SHA-256 of a split's source ratings, the same in every pair with this source.

    It covers the tables' rows in any order, by sums of the rows' hashes, as the digest of a partition's content does.

    Args:
        connection: has the split's tables.
    """
    items = "select min(item_index), max(item_index), domain from split_source_items group by domain order by all"
    rows = connection.execute(
        f"with own as (select user_index, row_number() over (order by user_index) as number from ({_OWN})), "  # nosec B608 # ours
        'rows as (select number, item_index, rating::float as rating, "timestamp" '
        "from split_source_ratings join own using (user_index)) "
        "select count(*), sum(hash(r)::hugeint), sum(hash(17, r)::hugeint) from rows as r"
    ).fetchone()
    return hashlib.sha256(repr((connection.execute(items).fetchall(), rows)).encode()).hexdigest()


def source_users(connection: duckdb.DuckDBPyConnection, at_once: int) -> Iterator[Index]:
    """The indices of the n users, ascending, some thousand at a time.

    Args:
        connection: has the split's tables; nothing else may be asked of it meanwhile.
        at_once: about so many.
    """
    for batch in connection.sql(f"{_OWN} order by all").to_arrow_reader(at_once):
        yield np.asarray(batch["user_index"], np.int32)
