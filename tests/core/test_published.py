"""Published numbers stand where they belong, and nowhere else."""

import pandas as pd
import pytest

from ptupcdr_core.catalog import Domain
from ptupcdr_core.experiments.published import (
    beside_published,
    count_problems,
    publications,
    published_for,
    published_name,
)

MOVIES = Domain(name="films", format="amazon-2014", path="raw/reviews_Movies_and_TV_5.json.gz")
MUSIC = Domain(name="music", format="amazon-2014", path="https://example.org/x/reviews_CDs_and_Vinyl_5.json.gz")


@pytest.mark.parametrize(
    ("domain", "name"),
    [
        (MOVIES, "Movies_and_TV"),
        (MUSIC, "CDs_and_Vinyl"),
        (Domain(name="books", format="amazon-2014", path="reviews_Books_5.json"), "Books"),
        (Domain(name="books", format="amazon-2014", path="ratings_Books.csv"), None),
        (Domain(name="Books", format="amazon-2018", path="reviews_Books_5.json.gz"), None),
        (Domain(name="Books", format="demo"), None),
    ],
    ids=["in a folder", "at an address", "unpacked", "not 5-core", "another release", "only named so"],
)
def test_a_domain_is_known_by_its_format_and_file(domain, name):
    assert published_name(domain) == name


def test_known_counts():
    assert count_problems(MOVIES, users=123960, items=50052, ratings=1697533) == []
    (problem,) = count_problems(MOVIES, users=123960, items=50052, ratings=1697532)
    assert problem.startswith("films: 1,697,532 ratings, but the 5-core Movies_and_TV of 2014 has 1,697,533")
    assert count_problems(Domain(name="x", format="demo"), users=1, items=1, ratings=1) == []


def test_published_numbers_of_a_pair():
    table = published_for(MOVIES, MUSIC)
    row = table[(table["beta"] == 0.2) & (table["method"] == "ptupcdr") & table["verified"]].iloc[0]
    assert (row["mae"], row["rmse"]) == (1.1099, 1.4543)
    assert set(table["publication"]) <= set(publications())
    assert not table.loc[table["publication"] == "ptupcdr-2022", "verified"].any()
    assert table.groupby("beta").size().tolist() == [9, 9, 9]
    assert published_for(MUSIC, MOVIES).empty, "the other direction was not published"


def test_ours_stands_beside_it():
    ours = pd.DataFrame(
        [
            {"recipe": "honest", "beta": 0.2, "base_model": "mf", "method": "emcdr", "mae": 1.5, "rmse": 2.0},
            {"recipe": "honest", "beta": 0.2, "base_model": "gmf", "method": "emcdr", "mae": 9.0, "rmse": 9.0},
            {"recipe": "honest", "beta": 0.2, "base_model": "none", "method": "item_mean", "mae": 0.8, "rmse": 1.0},
        ]
    )
    table = beside_published(MOVIES, MUSIC, ours)
    emcdr = table[(table["beta"] == 0.2) & (table["method"] == "emcdr")].set_index("publication")
    assert emcdr.loc["diffcdr-2024", ["published_mae", "honest_mae"]].tolist() == [1.3596, 1.5]
    simple = table[table["method"] == "item_mean"].iloc[0]
    assert simple["honest_rmse"] == 1.0
    assert pd.isna(simple["published_rmse"])
    assert beside_published(MUSIC, MOVIES, ours).empty
