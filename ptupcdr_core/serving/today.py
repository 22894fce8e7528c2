"""Who is cold-start today, and what they rated: read from the raw ratings as they stand, whatever split was trained on.

So people who came since the training are served without a new split, and those who have rated in the target meanwhile
are no longer recommended anything.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Self

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ptupcdr_core.arrays import Floats
from ptupcdr_core.data.pair_data import SIDES, Side
from ptupcdr_core.data.people import People, people
from ptupcdr_core.data.splits import RATINGS, give
from ptupcdr_core.serving.bundle import Bundle, seen_keys
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.data_summary import DataSummary, Scales, summarized
from ptupcdr_core.settings import Mode
from ptupcdr_core.sources.items import Items
from ptupcdr_core.sql import statement
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class Today:
    """Reads a pair's people from the raw ratings of its two domains, as a mode of a bundle knows them.

    Args:
        warehouse: has the raw ratings.
        source: the source domain's name, or several joined by ``+``.
        target: the target domain's.
        served: the mode.
    """

    warehouse: Warehouse
    source: str
    target: str
    served: BundledMode

    @classmethod
    def of(cls, home: Home, bundle: Bundle, mode: Mode | None = None) -> Self:
        """Of a bundle's mode (None: the one that recommends), without target items that nobody has rated any more.

        Raises:
            WarehouseError: one of the two domains was not ingested.
        """
        warehouse, (source, target) = Warehouse.from_environment(home.warehouse), bundle.pair.split("__")
        return cls(warehouse, source, target, bundle.mode(mode)[1]).among(rated_items(warehouse, target))

    def among(self, items: pa.Array) -> Self:
        """The same, restricted to the target items with these ids."""
        return replace(self, served=self.served.among(items))

    def offering(self, known: Items, exclude: frozenset[str] = frozenset()) -> Self:
        """The same, restricted to what the catalog allows; see ``BundledMode.offering``."""
        return replace(self, served=self.served.offering(known, self.offered, exclude))

    @property
    def offered(self) -> pa.Array:
        """(T,) ids of the target items that may be recommended."""
        return self.served.target_ids.slice(1)

    def users(self, user_id: str | None = None) -> pa.Table:
        """(R, 2) user_id and cohort of everybody who is cold-start today, by id.

        Cohort ``cold`` has rated in the source and not in the target; ``test`` has rated in both, and was held out from
        the bundle's training if it came before.

        Args:
            user_id: this user alone; None: everybody.
        """
        settings = self.served.origin.settings
        with self.raw() as connection:
            for name, value in {"seed": settings["seed"], "beta": settings["beta"], "asked": user_id}.items():
                connection.execute(f"set variable {name} = ?", [value])
            found: pa.Table = connection.sql(statement("cold_today")).to_arrow_table()
        return found

    def people(self, users: pa.Array) -> People:
        """These (R,) users, in this order."""
        reading = self.served.reading
        with self.raw() as connection:
            self._ask(connection, users)
            for name in ("positive_above", "history_length"):
                connection.execute(f"set variable {name} = ?", [getattr(reading, name)])
            connection.execute(statement("people_today"))
            ratings = connection.execute("from asked_ratings order by person, item_index").fetchnumpy()
            entries = connection.execute("from asked_histories").fetchnumpy()
        return people(len(users), reading.history_length, ratings, entries)

    def seen(self, users: pa.Array) -> NDArray[np.int64]:
        """What these users have rated in the target, if the mode was trained on it, as ``unseen_items`` takes it.

        With evaluated models nothing is left out: the only target ratings are test users' held-out ones, which lists
        must be free to find. Models that were fitted again on everybody were trained on them.
        """
        if not self.served.origin.refitted:
            return seen_keys(None, users, self.served.target_ids)
        with self.raw() as connection:
            connection.register("asked", pa.table({"user_id": users}))
            query = "select user_id, item_id from target_given semi join asked using (user_id)"
            rated: pa.Table = connection.sql(query).to_arrow_table()
        return seen_keys(rated, users, self.served.target_ids)

    def taken(self) -> Floats:
        """(T+1,) float32, how many people have rated each of the mode's target items."""
        with self.raw() as connection:
            counts = connection.sql(
                "select item_id, count(*)::float as taken from target_given group by item_id"
            ).to_arrow_table()
        places = pc.index_in(self.served.target_ids, value_set=counts["item_id"].combine_chunks())
        return np.asarray(pc.fill_null(counts["taken"].take(places), 0.0).to_numpy(), np.float32)

    def summary(self, scales: Scales) -> DataSummary:
        """Today's ratings in a few numbers, on these scales."""
        with self.raw() as connection:
            for side in SIDES:
                connection.execute(
                    f"create temp view {side}_rows as select user_id as person, item_id as item, rating "  # nosec B608 # ours
                    f"from {side}_given"
                )
            return summarized(connection, scales)

    def unknown(self) -> dict[Side, float]:
        """Shares of today's ratings whose item the mode does not know: of cold-start people's histories (source), and
        of all ratings in the target.
        """
        with self.raw() as connection:
            for side, known in (("source", self.served.source_ids), ("target", self.served.target_ids)):
                connection.register(f"known_{side}", pa.table({"item_id": known}).slice(1))
            [shares] = connection.execute(statement("unknown_items")).fetchall()
        return dict(zip(SIDES, map(float, shares), strict=True))

    def _ask(self, connection: duckdb.DuckDBPyConnection, users: pa.Array) -> None:
        places = pa.array(np.arange(1, len(users) + 1, dtype=np.int32))
        items = self.served.source_ids
        known = pa.table({"item_id": items, "item_index": np.arange(len(items), dtype=np.int32)})
        connection.register("asked", pa.table({"user_id": users, "person": places}))
        connection.register("known_source_items", known.slice(1))

    @contextmanager
    def raw(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The raw ratings of both domains, as source_given and target_given."""
        with self.warehouse.scratch() as connection:
            for side, domain in (("source", self.source), ("target", self.target)):
                give(connection, self.warehouse, side, domain)
            connection.execute(statement("people"))
            yield connection


def rated_items(warehouse: Warehouse, domain: str) -> pa.Array:
    """(I,) ids of the items that somebody has rated in a domain, in order.

    Raises:
        WarehouseError: it was not ingested.
    """
    with warehouse.read(RATINGS, domain) as connection:
        items = connection.sql("select distinct item_id from raw_ratings order by item_id").to_arrow_table()
    return items["item_id"].combine_chunks()
