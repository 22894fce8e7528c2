"""What a night's lists come to, as the command line shows it: one row a pair."""

from collections.abc import Sequence

import pandas as pd
from rich.console import Console

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.cli.printing import print_frame

_NIGHT = """
select
    (select count(distinct user_id) from recommendations) as people,
    (select count(*) from recommendations) as recommendations,
    (select tonight from drift where measure = 'list_overlap') as as_last_night,
    (select max(drift) from drift where kind = 'stars') as drift_of_stars,
    (select max(drift) from drift where kind = 'unknown') as unknown_items,
    (select left(any_value(bundle), 12) from drift) as bundle"""


def print_scored(console: Console, home: Home, pairs: Sequence[str]) -> None:
    """Print how many people have a list, and how far the night is from the training."""
    warehouse, rows = Warehouse.from_environment(home.warehouse), []
    for pair in pairs:
        with warehouse.read("recommendations", pair) as connection:
            rows.append(connection.execute(_NIGHT).fetchdf().assign(pair=pair))
    if rows:
        frame = pd.concat(rows)
        print_frame(console, frame[["pair", *frame.columns.drop("pair")]], "tonight's lists, from what is deployed")
