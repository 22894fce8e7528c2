"""People who can be asked about by their id: those in a table that travels with a bundle, or those of a split."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ptupcdr_core.data.pair_data import SPLIT
from ptupcdr_core.serving.answers import ITEMS, RATINGS
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class TabledPeople:
    """People whose ratings are in a table.

    Args:
        rated: columns user_id, item_id, rating and timestamp.
    """

    rated: pa.Table

    def ratings(self, users: Sequence[str]) -> pa.Table:
        """See ``KnownPeople``."""
        asked = pc.is_in(self.rated["user_id"], value_set=pa.array(users, pa.string()))
        return self.rated.filter(asked).select(RATINGS.names).cast(RATINGS)

    def seen(self, users: Sequence[str]) -> pa.Table:
        """Nothing: whoever is cold-start has rated nothing in the target."""
        return ITEMS.empty_table()


@dataclass(frozen=True)
class SplitUsers:
    """People who are cold-start in the present split of a pair, read from the warehouse whenever they are asked for.

    Args:
        warehouse: has the split.
        pair: its key.
        rated_is_seen: whether to leave out what they have rated in the target, as models that were fitted on it must.
    """

    warehouse: Warehouse
    pair: str
    rated_is_seen: bool

    def ratings(self, users: Sequence[str]) -> pa.Table:
        """See ``KnownPeople``."""
        return self._of(users, 'item_id, rating, "timestamp"', "source").cast(RATINGS)

    def seen(self, users: Sequence[str]) -> pa.Table:
        """See ``KnownPeople``."""
        return self._of(users, "item_id", "target") if self.rated_is_seen else ITEMS.empty_table()

    def _of(self, users: Sequence[str], columns: str, side: str) -> pa.Table:
        with self.warehouse.read(SPLIT, self.pair) as connection:
            connection.register("asked", pa.table({"user_id": pa.array(users, pa.string())}))
            found: pa.Table = connection.sql(
                "with people as (select user_index, user_id from split_users semi join asked using (user_id) "  # nosec B608 # ours
                "where cohort in ('cold', 'test')) "
                f"select user_id, {columns} from split_{side}_ratings join people using (user_index) "
                f"join split_{side}_items using (item_index) order by user_index, item_index"
            ).to_arrow_table()
        return found
