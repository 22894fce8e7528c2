"""The page for people: one self-contained HTML file a pair."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.bridges import bridged_embeddings, meta_network
from ptupcdr_dagster.assets.results import cold_start_evaluation
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.assets.warm_start import warm_start_evaluation
from ptupcdr_dagster.metadata import picture
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    # Not the benchmark: it is optional, and the page is out of date when a newer one stands (report.store).
    deps=[meta_network, bridged_embeddings, cold_start_evaluation, warm_start_evaluation],
    partitions_def=PAIRS,
    group_name="report",
    kinds={"matplotlib"},
    code_version=str(RESULTS["pair_report"].version),
)
def pair_report(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """Which method is best and whether that is real, with pictures, as one self-contained HTML page."""
    from ptupcdr_core.report.page import make_report

    with stage(context, settings, home) as current:
        report = make_report(home, current.partition, current.settings, fingerprint=current.fingerprint)
        current.tracker.log_files([report.path])
        current.log_split()
        pictures = {drawn.name: picture(drawn.png, drawn.alt) for drawn in report.pictures}
        return current.result(
            {
                "page": dg.MetadataValue.url(report.path.as_uri()),
                "headline": f"{report.headline} {report.explanation}",
                **pictures,
            }
        )
