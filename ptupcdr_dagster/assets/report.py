"""The report: one self-contained HTML page for each pair."""

import dagster as dg

from ptupcdr_dagster.assets.bridges import meta_network
from ptupcdr_dagster.assets.champion import champion
from ptupcdr_dagster.assets.deployment import recommendations
from ptupcdr_dagster.assets.evaluation import cold_start_evaluation
from ptupcdr_dagster.assets.items import pair_items
from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset
from ptupcdr_dagster.assets.warm_start import warm_start_evaluation
from ptupcdr_dagster.metadata import picture


@stage_asset(
    # Not the benchmark: it is optional; the page is out of date once there is a newer one (report.store).
    deps=[meta_network, cold_start_evaluation, warm_start_evaluation, champion, recommendations],
    group="report",
    kinds={"matplotlib"},
)
def pair_report(stage: Stage) -> Materialized:
    """Which method is best and whether that is significant, with pictures, as one self-contained HTML page."""
    from ptupcdr_core.report.page import make_report

    items = pair_items(stage.partition)
    report = make_report(stage.home, stage.partition, stage.settings, stage.fingerprint, items)
    stage.tracker.log_files([report.path])
    stage.log_split()
    return stage.result(
        {
            "page": dg.MetadataValue.url(report.path.as_uri()),
            "headline": f"{report.headline} {report.explanation}",
            **{drawn.name: picture(drawn.png, drawn.alt) for drawn in report.pictures},
        }
    )
