"""Ratings of one domain, cleaned."""

import dagster as dg

from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.assets.stage import stage
from ptupcdr_dagster.metadata import counts_table
from ptupcdr_dagster.partitions import CATALOG, DOMAINS
from ptupcdr_dagster.resources import SettingsResource


@dg.asset(
    partitions_def=DOMAINS, group_name="ratings", kinds={"duckdb"}, code_version=str(RESULTS["raw_ratings"].version)
)
def raw_ratings(
    context: dg.AssetExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> dg.MaterializeResult:
    """One domain's ratings: one a user and item, on the declared scale. Rejected rows stand apart with their reason."""
    from ptupcdr_core.sources.ingest import ingest_domain

    with stage(context, settings, home) as current:
        report = ingest_domain(CATALOG.domain(current.partition), current.warehouse, current.fingerprint)
        counts = {"rows_read": report.rows_read, "kept": report.kept, "users": report.users, "items": report.items}
        rejected = {f"rejected_{reason}": count for reason, count in report.rejected.items()}
        current.tracker.log_metrics(counts | rejected)
        current.tracker.log_dataset(report.domain, current.fingerprint, counts)
        return current.result(
            {**counts, "rejected": counts_table(report.rejected, "reason")},
            table="raw_ratings",
        )
