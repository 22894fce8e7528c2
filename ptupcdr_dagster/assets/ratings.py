"""Ratings of one domain, cleaned."""

from ptupcdr_dagster.assets.stage import Materialized, Stage, stage_asset
from ptupcdr_dagster.metadata import counts_table
from ptupcdr_dagster.partitions import CATALOG, DOMAINS


@stage_asset(deps=[], partitions=DOMAINS, group="ratings", kinds={"duckdb"}, scored=True)
def raw_ratings(stage: Stage) -> Materialized:
    """One domain's ratings: one per user and item, on the declared scale. Rejected rows are kept apart with reasons."""
    from ptupcdr_core.stages.row_engine import engine_of

    domain = CATALOG.domain(stage.partition)
    report = engine_of(domain).ingest_domain(domain, stage.warehouse, stage.fingerprint)
    counts = {"rows_read": report.rows_read, "kept": report.kept, "users": report.users, "items": report.items}
    rejected = {f"rejected_{reason}": count for reason, count in report.rejected.items()}
    stage.tracker.log_metrics(counts | rejected)
    stage.tracker.log_dataset(report.domain, stage.fingerprint, counts)
    people = {"people": counts_table(report.people, "ids")} if report.people else {}
    return stage.result({**counts, "rejected": counts_table(report.rejected, "reason"), **people})
