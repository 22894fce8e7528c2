"""Facts about ``fine_tuned_embeddings`` and ``warm_start_evaluation``."""

from dataclasses import replace

from ptupcdr_dagster.checks.facts import Fact, facts_about, has_columns, split_of, table_checks, unique

TUNED, EVALUATION = "fine_tuned_embeddings", "warm_start_evaluation"


def about_ratings(asset: str, *facts: Fact) -> tuple[Fact, ...]:
    """Facts about predicted ratings, the only mode with a warm start."""
    return tuple(replace(fact, mode="rating") for fact in facts_about(asset, *facts))


TUNED_FACTS = about_ratings(
    TUNED,
    Fact(
        "fine_tuned_embeddings_have_the_declared_columns",
        "The table has the columns that other programs read.",
        (
            has_columns(
                TUNED,
                pair="VARCHAR",
                user_id="VARCHAR",
                mode="VARCHAR",
                known_ratings="VARCHAR",
                known_count="INTEGER",
                embedding="FLOAT[%]",
                started_from="VARCHAR",
            ),
        ),
    ),
    Fact(
        "one_row_per_test_user_and_known_ratings",
        "Every test user has exactly one embedding for each number of known ratings, tuned on that many or, if there "
        "are fewer, on the first half of the user's ratings; nobody else has one.",
        (unique("user_id", "mode", "known_ratings"),),
    ),
    Fact("fine_tuned_embeddings_are_finite", "No coordinate is missing, NaN or infinite."),
    Fact(
        "every_start_is_declared",
        "Each embedding says where its tuning started: at the personal bridge's, or at which fallback's.",
    ),
)

EVALUATION_FACTS = about_ratings(
    EVALUATION,
    Fact(
        "methods_share_their_second_halves",
        "Every method is measured on the same users and ratings, however many ratings are known.",
        (unique("method", "recipe", "mode", "known_ratings"),),
    ),
    Fact(
        "warm_start_errors_add_up",
        "MAE and RMSE of every method are finite, and are those of its users' errors, kept for paired comparisons.",
    ),
    Fact(
        "bridged_start_beats_random_start",
        "The RMSE after fine-tuning from the bridged embedding is below that from a random start, for every number of "
        "known ratings. Where it is not, the bridge gives no head start.",
        warning=True,
    ),
)

fine_tuned_embeddings_checks = table_checks(TUNED, TUNED_FACTS, against=split_of)
warm_start_evaluation_checks = table_checks(EVALUATION, EVALUATION_FACTS)
