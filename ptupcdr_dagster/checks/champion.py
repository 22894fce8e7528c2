"""Facts about ``champion``."""

from collections.abc import Iterator

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, facts_about, specs
from ptupcdr_dagster.partitions import PAIRS

ASSET = "champion"

FACTS = facts_about(
    ASSET,
    Fact(
        "new_model_is_in_use",
        "The newly trained model was at least as good as the strongest simple baseline and as the champion so far, in "
        "predicted ratings and, where it has them, in ranked lists, and took its place. Where it was not, what was in "
        "use before stays in use.",
        warning=True,
    ),
)


@dg.multi_asset_check(specs=specs(ASSET, FACTS, PAIRS), name="champion_checks")
def champion_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate a pair's decision, and show its reason in any case."""
    from ptupcdr_dagster.checks.validation import validate_table

    warehouse, pair = Warehouse(home.warehouse), context.partition_key
    with warehouse.read(ASSET, pair) as connection:
        [(decision,)] = connection.execute("select distinct reason from champion").fetchall()
    for result in validate_table(warehouse.file(ASSET, pair), ASSET, ASSET, FACTS, documented=(home, pair)):
        yield result.with_metadata({**result.metadata, "decision": decision})
