"""What a pair's recommendations come from: the evaluated models, or those that were fitted again on everybody.

Models that were fitted again (setting ``refit``) know the target ratings of test and validation users, so nothing that
measures may read them: they have checkpoints and a table of embeddings of their own, and are found through here alone.

Shapes: R users, T target items, N ratings.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ptupcdr_core.arrays import Index
from ptupcdr_core.data.pair_data import SPLIT, load_outline
from ptupcdr_core.errors import WarehouseError
from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

ASSET, EMBEDDINGS = "deployed_model", "deployed_embeddings"


@dataclass(frozen=True)
class Deployment:
    """What is deployed for a pair.

    Args:
        home: its ``models`` are the deployed ones.
        pair: the pair's key.
    """

    home: Home
    pair: str

    @classmethod
    def of(cls, home: Home, pair: str) -> Self:
        """Read what the stage ``deployed_model`` decided; before it, the evaluated models serve.

        Raises:
            WarehouseError: the models were fitted again, but are gone, or of another split than the present one.
        """
        warehouse = Warehouse.from_environment(home.warehouse)
        if not warehouse.exists(ASSET, pair):
            return cls(home, pair)
        with warehouse.read(ASSET, pair) as connection:
            [(refitted, split)] = connection.execute(f"select refitted, split from {ASSET}").fetchall()
        if not refitted:
            return cls(home, pair)
        deployed = cls(home.with_refitted_models(), pair)
        bridges = deployed.home.models / "meta_network" / f"{pair}.json"
        if not bridges.is_file() or split != load_outline(warehouse, pair).split:
            raise WarehouseError(
                f"{bridges}: not there, or trained on another split than the present one; "
                f"materialize {ASSET} for {pair} again"
            )
        return deployed

    def users(self, mode: Mode, user_id: str | None = None) -> pa.Table:
        """Rows with the columns of ``bridged_embeddings``, ordered by user.

        Args:
            mode: which embeddings.
            user_id: this cold-start user alone; None: all of them.

        Raises:
            WarehouseError: nobody has been bridged yet.
        """
        asset, table = (ASSET, EMBEDDINGS) if self.home.refitted else ("bridged_embeddings", "bridged_embeddings")
        with self._warehouse.read(asset, self.pair) as connection:
            query = f"select * from {table} where mode = ? and coalesce(user_id = ?, true) order by user_id"
            rows: pa.Table = connection.sql(query, params=[mode, user_id]).to_arrow_table()
        return rows

    def seen(self, users: Index) -> NDArray[np.int64]:
        """What these users are known to have rated in the target: nothing, for whoever is held out from the models.

        Args:
            users: (R,) user indices.

        Returns:
            (N,) numbers place · (T+1) + item index, as ``unseen_items`` takes them.
        """
        if not self.home.refitted:
            return np.zeros(0, np.int64)
        with self._warehouse.read(SPLIT, self.pair) as connection:
            places = pa.table({"user_index": users, "user_place": np.arange(len(users), dtype=np.int64)})
            connection.register("places", places)
            keys: NDArray[np.int64] = connection.execute(
                "select user_place * (select count(*) + 1 from split_target_items) + item_index as seen "
                "from split_target_ratings join places using (user_index)"
            ).fetchnumpy()["seen"]
        return keys

    @property
    def _warehouse(self) -> Warehouse:
        return Warehouse.from_environment(self.home.warehouse)
