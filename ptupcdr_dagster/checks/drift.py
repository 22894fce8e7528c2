"""Facts about the nights that ``recommendations`` were made in: all of them warn, with their numbers."""

from ptupcdr_dagster.checks.facts import Fact, facts_about

FACTS = facts_about(
    "drift",
    Fact(
        "counts_are_near_those_of_the_training",
        "There are about as many users, items and ratings tonight as the deployed bundle was trained on.",
        warning=True,
    ),
    Fact(
        "ratings_are_spread_as_in_the_training",
        "Tonight's ratings are spread over the scale as those that the deployed bundle was trained on.",
        warning=True,
    ),
    Fact(
        "rated_items_are_known_to_the_bundle",
        "The deployed bundle knows the items that cold-start people have rated, and those of the target: what it does "
        "not know it can neither read nor recommend.",
        warning=True,
    ),
    Fact(
        "scores_are_spread_as_on_the_first_night",
        "The best scores of tonight's lists are spread as on the first night of the deployed bundle.",
        warning=True,
    ),
    Fact(
        "lists_resemble_those_of_the_night_before",
        "Whoever had a list the night before finds some of it in tonight's.",
        warning=True,
    ),
    Fact(
        "no_training_is_due",
        "Nothing that is measured of tonight recommends training the deployed bundle again.",
        warning=True,
    ),
)
