"""Facts about ``bridged_embeddings``, ``cold_start_evaluation``, ``deployed_model`` and ``recommendations``."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from ptupcdr_core.settings import Mode
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, has_columns, no_rows, specs, unique
from ptupcdr_dagster.partitions import PAIRS
from ptupcdr_dagster.resources import SettingsResource

_COLD_USERS = (
    "(select user_id, cohort from read_duckdb('$split_file', table_name = 'split_users') "
    "where cohort in ('cold', 'test')) as cold"
)

_SPLIT_USERS = "read_duckdb('$split_file', table_name = 'split_users') as users"

EMBEDDING_FACTS = (
    Fact(
        "embeddings_have_the_declared_columns",
        "The table has the columns that inference and other programs read.",
        (
            has_columns(
                "bridged_embeddings",
                pair="VARCHAR",
                user_id="VARCHAR",
                cohort="VARCHAR",
                mode="VARCHAR",
                embedding="FLOAT[%]",
                made_by="VARCHAR",
            ),
        ),
    ),
    Fact(
        "one_row_per_cold_user_and_mode",
        "Every user of the cohorts cold and test has exactly one embedding a mode, and nobody else has one.",
        (
            unique("user_id", "mode"),
            no_rows(
                f"select cold.*, modes.mode from {_COLD_USERS} "
                "cross join (select distinct mode from bridged_embeddings union select unnest($modes)) as modes "
                "left join bridged_embeddings as e on e.user_id = cold.user_id and e.mode = modes.mode "
                "and e.cohort = cold.cohort where e.user_id is null"
            ),
            no_rows(
                "select e.user_id, e.cohort from bridged_embeddings as e "
                f"left join {_COLD_USERS} using (user_id, cohort) where cold.user_id is null"
            ),
        ),
    ),
    Fact(
        "embeddings_are_finite",
        "No coordinate is missing, NaN or infinite.",
        (
            no_rows(
                "select user_id, mode from bridged_embeddings where embedding is null "
                "or len(list_filter(embedding::float[], lambda x: x is null or not isfinite(x))) > 0"
            ),
        ),
    ),
    Fact(
        "embeddings_are_not_collapsed",
        "Users' embeddings differ: a bridge that collapsed says the same of everybody.",
        (
            no_rows(
                "select * from (select mode, count(*) as users, count(distinct embedding) as embeddings "
                "from bridged_embeddings where made_by = 'bridge' group by mode) as amounts "
                "where users > 1 and embeddings = 1"
            ),
        ),
    ),
    Fact(
        "norms_are_comparable_with_the_target_model",
        "The median length of a bridged embedding is within a factor of 20 of that of the target model's own users: "
        "a bridge that shrinks everybody to nothing, or blows them up, has not learned the target's space.",
        (
            no_rows(
                "select * from (select mode, "
                "median(sqrt(list_sum(list_transform(embedding::double[], lambda x: x * x)))) as bridged, "
                "($target_norm)::double as own from bridged_embeddings group by mode) as norms "
                "where bridged is null or bridged not between own / 20 and own * 20"
            ),
        ),
    ),
    Fact(
        "every_fallback_is_declared",
        "Each embedding says what made it: the personal bridge, or which fallback.",
        (
            no_rows(
                "select * from bridged_embeddings where made_by is null "
                "or made_by not in ('bridge', 'common_bridge', 'mean')"
            ),
        ),
    ),
)

EVALUATION_FACTS = (
    Fact(
        "methods_share_their_test_users",
        "Every method is measured on the same users and ratings; numbers of different sets cannot be compared.",
        (
            unique("method", "recipe", "mode"),
            no_rows(
                "select mode, count(distinct (users, ratings)) as sets from cold_start_evaluation "
                "group by mode having sets > 1"
            ),
            no_rows("select * from cold_start_evaluation where users <= 0 or ratings < users"),
        ),
    ),
    Fact(
        "errors_add_up",
        "MAE and RMSE of every method are those of its users' errors, which are kept for paired comparisons.",
        (
            no_rows(
                "select * from (select method, recipe, mode, count(*) as users, sum(ratings) as ratings, "
                "sum(absolute_error) / sum(ratings) as mae, sqrt(sum(squared_error) / sum(ratings)) as rmse "
                "from cold_start_errors group by all) as summed "
                "full outer join (from cold_start_evaluation where mode = 'rating') as e using (method, recipe, mode) "
                "where e.users is distinct from summed.users or e.ratings is distinct from summed.ratings "
                "or not coalesce(abs(e.mae - summed.mae) < 1e-4 and abs(e.rmse - summed.rmse) < 1e-4, false)"
            ),
        ),
    ),
    Fact(
        "bridge_beats_item_mean",
        "PTUPCDR's RMSE is below that of the damped item mean, which knows nothing of the user. Where it is not, "
        "the bridge carries nothing over, and the item mean is the better prediction.",
        (
            no_rows(
                "select p.recipe, p.mode, p.rmse as ptupcdr, i.rmse as item_mean from cold_start_evaluation as p "
                "join cold_start_evaluation as i using (mode) "
                "where p.method = 'ptupcdr' and i.method = 'item_mean' and not coalesce(p.rmse < i.rmse, false)"
            ),
        ),
        warning=True,
    ),
    Fact(
        "bridge_ranks_better_than_popularity",
        "PTUPCDR's NDCG@10 over all target items is above that of the most popular items, which are the same for "
        "everybody. Where it is not, show the popular ones.",
        (
            no_rows(
                "select p.recipe, p.ndcg_at_10 as ptupcdr, b.ndcg_at_10 as popularity from cold_start_evaluation as p "
                "join cold_start_evaluation as b using (mode) where p.mode = 'ranking' "
                "and p.method = 'ptupcdr' and b.method = 'popularity' "
                "and not coalesce(p.ndcg_at_10 > b.ndcg_at_10, false)"
            ),
        ),
        warning=True,
    ),
)

DEPLOYMENT_FACTS = (
    Fact(
        "refitted_embeddings_are_of_all_cold_users",
        "Models that were fitted again give every user of the cohorts cold and test one embedding a mode, without NaN "
        "or infinity. Models that are deployed as evaluated give none: those of bridged_embeddings hold.",
        (
            no_rows("select count(*) as deployments from deployed_model having deployments <> 1"),
            no_rows("select user_id, mode, count(*) as times from deployed_embeddings group by all having times > 1"),
            no_rows(
                f"select * from (select cold.*, unnest($modes) as mode from deployed_model, {_COLD_USERS} "
                "where refitted) as wanted anti join deployed_embeddings using (user_id, cohort, mode)"
            ),
            no_rows(
                "select user_id, mode from deployed_model, deployed_embeddings where not refitted or embedding is null "
                "or len(list_filter(embedding::float[], lambda x: x is null or not isfinite(x))) > 0"
            ),
        ),
    ),
)

RECOMMENDATION_FACTS = (
    Fact(
        "recommendations_have_the_declared_columns",
        "The table has the columns that other programs read.",
        (
            has_columns(
                "recommendations",
                pair="VARCHAR",
                user_id="VARCHAR",
                cohort="VARCHAR",
                mode="VARCHAR",
                rank="INTEGER",
                item_id="VARCHAR",
                score="FLOAT",
                made_by="VARCHAR",
                bridged="BOOLEAN",
                reasons="VARCHAR[]",
                reason_weights="FLOAT[]",
            ),
        ),
    ),
    Fact(
        "every_cold_user_has_recommendations",
        "Each user of the cohorts cold and test has a list, ranked 1, 2, 3, … by falling score; but for test users who "
        "have rated every target item.",
        (
            unique("user_id", "mode", "rank"),
            no_rows(
                f"select cold.* from {_COLD_USERS} anti join recommendations using (user_id) anti join ("
                f"select user_id from {_SPLIT_USERS} "
                "join read_duckdb('$split_file', table_name = 'split_target_ratings') as rated using (user_index) "
                "where part = 'test' group by user_id having count(*) >= "
                "(select count(*) from read_duckdb('$split_file', table_name = 'split_target_items'))) using (user_id)"
            ),
            no_rows(
                "select user_id, mode from recommendations group by user_id, mode "
                "having min(rank) <> 1 or max(rank) <> count(*)"
            ),
            no_rows(
                "select * from (select user_id, mode, rank, score, "
                "lag(score) over (partition by user_id, mode order by rank) as better "
                "from recommendations) as ranked where score is null or not isfinite(score) or score > better"
            ),
        ),
    ),
    Fact(
        "recommended_items_are_target_items",
        "Only items of the target domain are recommended, and none twice to one user.",
        (
            unique("user_id", "mode", "item_id"),
            no_rows(
                "select * from recommendations where item_id not in "
                "(select item_id from read_duckdb('$split_file', table_name = 'split_target_items'))"
            ),
        ),
    ),
    Fact(
        "recommended_items_are_unseen",
        "Nobody is recommended an item that they rated in the target's training part. A test user's held-out ratings "
        "are no part of it, so the list may find them, unless the models were fitted again on these too; a cold user "
        "has rated nothing there.",
        (
            no_rows(
                f"select user_id, item_id from recommendations join {_SPLIT_USERS} using (user_id) "
                "join read_duckdb('$split_file', table_name = 'split_target_items') as items using (item_id) "
                "semi join (from read_duckdb('$split_file', table_name = 'split_target_ratings') "
                "where part = 'train' or (select coalesce((settings ->> 'refit')::boolean, false) from provenance)) "
                "as rated using (user_index, item_index)"
            ),
        ),
    ),
    Fact(
        "reasons_are_from_the_history",
        "A recommendation names up to three source items of the user's own history, each with how much it raises the "
        "score, most first; it says whether the personal bridge or a fallback made it.",
        (
            no_rows(
                "select user_id, rank from recommendations where reasons is null or len(reasons) > 3 "
                "or len(reasons) is distinct from len(reason_weights) "
                "or list_reverse_sort(reason_weights) <> reason_weights "
                "or not coalesce(list_min(reason_weights) > 0, len(reasons) = 0) "
                "or bridged is distinct from (made_by = 'bridge')"
            ),
            no_rows(
                "select user_id, reason from (select user_id, unnest(reasons) as reason from recommendations) as named "
                f"left join {_SPLIT_USERS} using (user_id) "
                "left join read_duckdb('$split_file', table_name = 'split_source_items') as items on reason = item_id "
                "left join (select user_index, item_index, true as known from "
                "read_duckdb('$split_file', table_name = 'split_histories')) as own using (user_index, item_index) "
                "where known is null"
            ),
        ),
    ),
)


def split_file(home: Home, pair: str) -> str:
    """The pair's split, as it can stand between quotes in a query."""
    return str(Warehouse(home.warehouse).file("domain_splits", pair)).replace("'", "''")


def target_norm(home: Home, pair: str, mode: Mode) -> float:
    """Median length of the target model's own user vectors, in the bridge's coordinates; unknown users left out."""
    import numpy as np

    from ptupcdr_core.data.pair_data import load_pair
    from ptupcdr_core.modes.registry import MODES

    own = MODES[mode].target_users(home, load_pair(Warehouse.from_environment(home.warehouse), pair))
    norms = np.linalg.norm(own[1:].astype(float), axis=1)
    return float(np.median(norms[norms > 0]))


def _file(home: Home, asset: str, pair: str) -> Path:
    return Warehouse(home.warehouse).file(asset, pair)


@dg.multi_asset_check(specs=specs("bridged_embeddings", EMBEDDING_FACTS, PAIRS), name="bridged_embeddings_checks")
def bridged_embeddings_checks(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one pair's embeddings against its split and its target model."""
    from ptupcdr_dagster.checks.validation import validate_table

    asset, pair, modes = "bridged_embeddings", context.partition_key, settings.to_settings().modes
    norms = " ".join(f"when '{mode}' then {target_norm(home, pair, mode)}" for mode in modes)
    parameters = {
        "split_file": split_file(home, pair),
        "modes": str([*modes]),
        "target_norm": f"case mode {norms} end",
    }
    yield from validate_table(_file(home, asset, pair), asset, asset, EMBEDDING_FACTS, parameters)


@dg.multi_asset_check(
    specs=specs("cold_start_evaluation", EVALUATION_FACTS, PAIRS), name="cold_start_evaluation_checks"
)
def cold_start_evaluation_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one pair's evaluation against its own per-user errors."""
    from ptupcdr_dagster.checks.validation import validate_table

    asset = "cold_start_evaluation"
    yield from validate_table(_file(home, asset, context.partition_key), asset, asset, EVALUATION_FACTS)


@dg.multi_asset_check(specs=specs("deployed_model", DEPLOYMENT_FACTS, PAIRS), name="deployed_model_checks")
def deployed_model_checks(
    context: dg.AssetCheckExecutionContext, settings: SettingsResource, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate what one pair deploys against its split."""
    from ptupcdr_dagster.checks.validation import validate_table

    asset, pair = "deployed_model", context.partition_key
    parameters = {"split_file": split_file(home, pair), "modes": str([*settings.to_settings().modes])}
    yield from validate_table(_file(home, asset, pair), asset, asset, DEPLOYMENT_FACTS, parameters)


@dg.multi_asset_check(specs=specs("recommendations", RECOMMENDATION_FACTS, PAIRS), name="recommendations_checks")
def recommendations_checks(
    context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]
) -> Iterator[dg.AssetCheckResult]:
    """Validate one pair's recommendations against its split."""
    from ptupcdr_dagster.checks.validation import validate_table

    asset, pair = "recommendations", context.partition_key
    parameters = {"split_file": split_file(home, pair)}
    yield from validate_table(_file(home, asset, pair), asset, asset, RECOMMENDATION_FACTS, parameters)
