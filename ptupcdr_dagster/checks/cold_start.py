"""Facts about ``bridged_embeddings``, ``cold_start_evaluation``, ``deployed_model`` and ``recommendations``."""

from typing import Any

from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.bounds import bounds
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.drift import FACTS as DRIFT_FACTS
from ptupcdr_dagster.checks.facts import (
    Fact,
    facts_about,
    given_rows,
    has_columns,
    pair_modes,
    raw_ratings_of,
    split_of,
    table_checks,
    unique,
)

EMBEDDINGS, EVALUATION = "bridged_embeddings", "cold_start_evaluation"
DEPLOYMENT, RECOMMENDATIONS = "deployed_model", "recommendations"

EMBEDDING_FACTS = facts_about(
    EMBEDDINGS,
    Fact(
        "embeddings_have_the_declared_columns",
        "The table has the columns that inference and other programs read.",
        (
            has_columns(
                EMBEDDINGS,
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
        "Every user of the cohorts cold and test has exactly one embedding per mode; nobody else has one.",
        (unique("user_id", "mode"),),
    ),
    Fact("embeddings_are_finite", "No coordinate is missing, NaN or infinite."),
    Fact(
        "embeddings_are_not_collapsed",
        "Users' embeddings differ: a collapsed bridge gives everybody the same one. Lists then do without it, and the "
        "gate decides whether its ratings may serve.",
        warning=True,
    ),
    Fact(
        "norms_are_comparable_with_the_target_model",
        "The median length of a bridged embedding is within a factor of 20 (bounds.toml) of that of the target model's "
        "own users: a bridge that shrinks everybody to nothing, or blows them up, has not learned the target's space. "
        "Lists then do without it, and the gate decides whether its ratings may serve.",
        warning=True,
    ),
    Fact(
        "every_fallback_is_declared",
        "Each embedding says what made it: the personal bridge, or which fallback.",
    ),
)

EVALUATION_FACTS = facts_about(
    EVALUATION,
    Fact(
        "methods_share_their_test_users",
        "Every method is measured on the same users and ratings; numbers from different ones cannot be compared.",
        (unique("method", "recipe", "mode"),),
    ),
    Fact(
        "errors_add_up",
        "MAE and RMSE of every method are those of its users' errors, which are kept for paired comparisons.",
        mode="rating",
    ),
    Fact(
        "bridge_beats_item_mean",
        "PTUPCDR's RMSE is below that of the damped item mean, which knows nothing of the user. Where it is not, "
        "the bridge carries nothing over, and the item mean is the better prediction.",
        warning=True,
        mode="rating",
    ),
    Fact(
        "bridge_ranks_better_than_popularity",
        "PTUPCDR's NDCG@10 over all target items is above that of the most popular items, which are the same for "
        "everybody. Where it is not, popular items are the better list.",
        warning=True,
        mode="ranking",
    ),
)

DEPLOYMENT_FACTS = facts_about(
    DEPLOYMENT,
    Fact(
        "every_mode_is_served_or_said_why",
        "Each mode of the run has one row: what serves it (the new model, the one that was kept, or nothing), the "
        "gate's reason, and on how many people and ratings it was trained.",
    ),
)

RECOMMENDATION_FACTS = facts_about(
    RECOMMENDATIONS,
    Fact(
        "recommendations_have_the_declared_columns",
        "The table has the columns that other programs read.",
        (
            has_columns(
                RECOMMENDATIONS,
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
        "Each user who today has source ratings and no target rating, and each user held out from the deployed model, "
        "has a list, ranked 1, 2, 3, … by falling score; nobody else has one. Held-out users who have rated every "
        "target item have none.",
        (unique("user_id", "mode", "rank"),),
    ),
    Fact(
        "recommended_items_are_target_items",
        "Only items of the target domain that are eligible today are recommended, and none twice to one user.",
        (unique("user_id", "mode", "item_id"),),
    ),
    Fact(
        "recommended_items_are_unseen",
        "Nobody is recommended an item that they have rated in the target, except held-out users, unless the models "
        "were fitted again on their ratings.",
    ),
    Fact(
        "reasons_are_from_the_history",
        "A recommendation names up to three source items that the user has rated, each with how much it raises the "
        "score, largest first, and says whether the personal bridge or a fallback made it.",
    ),
)


def target_norm(home: Home, pair: str, mode: Mode) -> float:
    """Median length of the target model's own user vectors, in the bridge's coordinates; unknown users left out."""
    import numpy as np

    from ptupcdr_core.data.pair_data import load_pair
    from ptupcdr_core.modes.registry import MODES

    own = MODES[mode].target_users(home, load_pair(Warehouse.from_environment(home.warehouse), pair))
    norms = np.linalg.norm(own[1:].astype(float), axis=1)
    return float(np.median(norms[norms > 0]))


def _modes(home: Home, pair: str, settings: Settings) -> dict[str, Any]:
    return {"modes": str(pair_modes(home, pair, settings))}


def _modes_and_norm(home: Home, pair: str, settings: Settings) -> dict[str, Any]:
    norms = " ".join(f"when '{mode}' then {target_norm(home, pair, mode)}" for mode in pair_modes(home, pair, settings))
    return {**_modes(home, pair, settings), **bounds()[EMBEDDINGS], "target_norm": f"case mode {norms} end"}


def _deployment(home: Home, pair: str, settings: Settings) -> dict[str, Any]:
    """Whether anything is deployed, whether it was fitted again on everybody, the seed and β that chose its held-out
    users, today's ratings, and the bounds of drift.
    """
    from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle

    asked = {**given_rows(pair), **bounds()["drift"]}
    if not bundle_file(home, DEPLOYED, pair).is_file():
        return {"deployed": False, "refitted": False, "seed": 0, "beta": 0, **asked}
    origin = deployed_bundle(home, pair).mode()[1].origin
    held_out = {name: origin.settings[name] for name in ("seed", "beta")}
    return {"deployed": True, "refitted": origin.refitted, **held_out, **asked}


bridged_embeddings_checks = table_checks(EMBEDDINGS, EMBEDDING_FACTS, against=split_of, parameters=_modes_and_norm)
cold_start_evaluation_checks = table_checks(EVALUATION, EVALUATION_FACTS)
deployed_model_checks = table_checks(DEPLOYMENT, DEPLOYMENT_FACTS, against=split_of, parameters=_modes)
recommendations_checks = table_checks(
    RECOMMENDATIONS, (*RECOMMENDATION_FACTS, *DRIFT_FACTS), against=raw_ratings_of, parameters=_deployment
)
