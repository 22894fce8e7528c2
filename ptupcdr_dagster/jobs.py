"""Jobs: ingest a domain, train a pair (two jobs, since one run has partitions of one kind only), score, benchmark."""

import dagster as dg

INGEST_DOMAIN = "ingest_domain"
BRIDGE_PAIR = "bridge_pair"
SCORE_PAIR = "score_pair"
BENCHMARK_PAIR = "benchmark_pair"

ingest_domain_job = dg.define_asset_job(
    INGEST_DOMAIN,
    selection=dg.AssetSelection.assets("raw_ratings"),
    description="One domain's raw ratings, cleaned and checked.",
)

bridge_pair_job = dg.define_asset_job(
    BRIDGE_PAIR,
    selection=dg.AssetSelection.assets("domain_splits").downstream(),
    description="One pair from its split to evaluation and recommendations; its two domains must have been ingested.",
)

score_pair_job = dg.define_asset_job(
    SCORE_PAIR,
    selection=dg.AssetSelection.assets("recommendations"),
    description="Lists from the deployed bundle for all users who are cold-start today; nothing is trained.",
)

benchmark_pair_job = dg.define_asset_job(
    BENCHMARK_PAIR,
    selection=dg.AssetSelection.assets("benchmark"),
    config={"ops": {"benchmark": {"config": {"measure": True}}}},
    description="The paper's grid on one pair, for hours on large data; its two domains must have been ingested.",
)
