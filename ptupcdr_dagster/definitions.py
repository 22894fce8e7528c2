"""The whole project on one screen."""

import os

import dagster as dg

from ptupcdr_dagster.assets.benchmark import benchmark
from ptupcdr_dagster.assets.bridges import bridged_embeddings, meta_network
from ptupcdr_dagster.assets.champion import champion
from ptupcdr_dagster.assets.deployment import deployed_model, recommendations
from ptupcdr_dagster.assets.evaluation import cold_start_evaluation
from ptupcdr_dagster.assets.pretraining import source_model, target_model
from ptupcdr_dagster.assets.ratings import raw_ratings
from ptupcdr_dagster.assets.report import pair_report
from ptupcdr_dagster.assets.splits import domain_splits
from ptupcdr_dagster.assets.warm_start import fine_tuned_embeddings, warm_start_evaluation
from ptupcdr_dagster.automation import SCHEDULES, SENSORS
from ptupcdr_dagster.checks.benchmark import benchmark_checks
from ptupcdr_dagster.checks.champion import champion_checks
from ptupcdr_dagster.checks.cold_start import (
    bridged_embeddings_checks,
    cold_start_evaluation_checks,
    deployed_model_checks,
    recommendations_checks,
)
from ptupcdr_dagster.checks.models import MODEL_CHECKS
from ptupcdr_dagster.checks.ratings import raw_ratings_checks
from ptupcdr_dagster.checks.splits import domain_splits_checks
from ptupcdr_dagster.checks.warm_start import fine_tuned_embeddings_checks, warm_start_evaluation_checks
from ptupcdr_dagster.jobs import benchmark_pair_job, bridge_pair_job, ingest_domain_job, score_pair_job
from ptupcdr_dagster.resources import default_settings, home_resource
from ptupcdr_dagster.running.executors import chosen_executor

defs = dg.Definitions(
    assets=[
        raw_ratings,
        domain_splits,
        source_model,
        target_model,
        meta_network,
        bridged_embeddings,
        cold_start_evaluation,
        fine_tuned_embeddings,
        champion,
        deployed_model,
        warm_start_evaluation,
        recommendations,
        pair_report,
        benchmark,
    ],
    asset_checks=[
        raw_ratings_checks,
        domain_splits_checks,
        *MODEL_CHECKS,
        bridged_embeddings_checks,
        fine_tuned_embeddings_checks,
        cold_start_evaluation_checks,
        champion_checks,
        warm_start_evaluation_checks,
        deployed_model_checks,
        recommendations_checks,
        benchmark_checks,
    ],
    jobs=[ingest_domain_job, bridge_pair_job, score_pair_job, benchmark_pair_job],
    sensors=SENSORS,
    schedules=SCHEDULES,
    resources={"settings": default_settings(), "home": home_resource},
    executor=chosen_executor(os.environ),
)
