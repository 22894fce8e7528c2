"""Facts about drift, each time ``recommendations`` are made: all of them only warn, with their numbers."""

from ptupcdr_dagster.checks.facts import Fact, facts_about

FACTS = facts_about(
    "drift",
    Fact(
        "counts_are_near_those_of_the_training",
        "Tonight there are about as many users, items and ratings as the deployed bundle was trained on.",
        warning=True,
    ),
    Fact(
        "ratings_are_spread_as_in_the_training",
        "Tonight's ratings are distributed over the scale like those that the deployed bundle was trained on.",
        warning=True,
    ),
    Fact(
        "rated_items_are_known_to_the_bundle",
        "The deployed bundle knows the items that cold-start users have rated, and those of the target: it can neither "
        "read nor recommend an item that it does not know.",
        warning=True,
    ),
    Fact(
        "scores_are_spread_as_on_the_first_night",
        "The best scores of tonight's lists are distributed as on the deployed bundle's first night.",
        warning=True,
    ),
    Fact(
        "lists_resemble_those_of_the_night_before",
        "Users who had a list the night before find some of its items in tonight's.",
        warning=True,
    ),
    Fact(
        "no_training_is_due",
        "None of tonight's measures recommends training again.",
        warning=True,
    ),
)
