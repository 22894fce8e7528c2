"""Summary of tonight's lists, as the command line shows it: one row for each pair."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.cli.printing import print_frame

_NIGHT = "select count(distinct user_id) as people, count(*) as recommendations from recommendations"


def print_scored(console: Console, home: Home, pairs: Sequence[str]) -> None:
    """Print how many people have a list, and how many recommendations there are."""
    warehouse, rows = Warehouse.from_environment(home.warehouse), []
    for pair in pairs:
        with warehouse.read("recommendations", pair) as connection:
            rows.append(connection.execute(_NIGHT).fetchdf().assign(pair=pair))
    if rows:
        frame = pd.concat(rows)
        print_frame(console, frame[["pair", *frame.columns.drop("pair")]], "tonight's lists, from what is deployed")
