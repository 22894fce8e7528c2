"""Reading stored evaluations."""

import pandas as pd

from ptupcdr_core.home import Home
from ptupcdr_core.warehouse import Warehouse


def read_evaluation(home: Home, pair: str) -> pd.DataFrame:
    """The evaluation of a pair, one row a method.

    Raises:
        WarehouseError: it has not been evaluated.
    """
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
        return connection.execute("select * from cold_start_evaluation order by rmse desc").fetchdf()
