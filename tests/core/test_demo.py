"""The generated domains are the same everywhere, and what was planted in them is there."""

import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import pearsonr

from ptupcdr_core.sources import demo


@pytest.fixture(scope="module")
def books() -> pa.Table:
    return demo.generate("books")


@pytest.fixture(scope="module")
def movies() -> pa.Table:
    return demo.generate("movies")


def mean_by_user(table: pa.Table) -> dict[str, float]:
    """Every person's mean rating less the rated items' means."""
    frame = table.to_pandas()
    frame["left"] = frame["rating"] - frame.groupby("item_id")["rating"].transform("mean")
    return frame.groupby("user_id")["left"].mean().to_dict()


def test_a_domain_is_some_35000_ratings_by_people_of_items_once_each(books: pa.Table) -> None:
    frame = books.to_pandas()
    assert len(frame) == pytest.approx(35_000, rel=0.1)
    assert not frame.duplicated(["user_id", "item_id"]).any()
    assert set(frame["rating"]) == {1, 2, 3, 4, 5}
    assert frame["timestamp"].between(demo.FIRST_SECOND, demo.LAST_SECOND).all()
    assert frame["user_id"].nunique() == pytest.approx(demo.PEOPLE * demo.SHARE_IN_DOMAIN, rel=0.05)
    assert frame["item_id"].nunique() == demo.ITEMS


def test_a_name_fixes_a_domain_and_domains_differ(books: pa.Table, movies: pa.Table) -> None:
    assert demo.generate("books").equals(books)
    assert not books["rating"].equals(movies["rating"])


def test_another_process_with_another_hash_seed_generates_the_same(books: pa.Table) -> None:
    code = (
        "import hashlib; from ptupcdr_core.sources import demo; t = demo.generate('books').to_pandas();"
        "print(hashlib.sha256(t.to_csv().encode()).hexdigest(), sorted(demo.clusters().items())[:3])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] != ""


def test_people_are_shared_between_domains(books: pa.Table, movies: pa.Table) -> None:
    shared = set(books["user_id"].to_pylist()) & set(movies["user_id"].to_pylist())
    assert len(shared) == pytest.approx(demo.PEOPLE * demo.SHARE_IN_DOMAIN**2, rel=0.1)
    assert shared <= demo.clusters().keys()


def test_clusters_are_about_equally_large() -> None:
    sizes = np.bincount(list(demo.clusters().values()))
    assert len(sizes) == demo.CLUSTERS
    assert sizes.min() > demo.PEOPLE / demo.CLUSTERS * 0.8


def test_popularity_has_a_long_tail(books: pa.Table) -> None:
    counts = books.to_pandas()["item_id"].value_counts()
    assert counts.head(demo.ITEMS // 5).sum() > 0.4 * len(books)
    assert counts.max() > 5 * counts.median()


def test_harshness_carries_over(books: pa.Table, movies: pa.Table) -> None:
    here, there = mean_by_user(books), mean_by_user(movies)
    shared = sorted(here.keys() & there.keys())
    found = pearsonr([here[user] for user in shared], [there[user] for user in shared])
    assert found.statistic > 0.2
    assert found.pvalue < 1e-6


def test_a_cluster_shows_in_what_its_people_rate(books: pa.Table) -> None:
    """Half of the people show which cluster rates an item most; from that the other half's clusters are guessed."""
    frame = books.to_pandas()
    cluster = demo.clusters()
    frame["cluster"] = frame["user_id"].map(cluster)
    first = frame["user_id"].str[-1].astype(int) % 2 == 0
    meets = frame[first].groupby(["item_id", "cluster"]).size().unstack(fill_value=0)
    share = np.log((meets + 1) / (meets + 1).sum())
    told = frame[~first].join(share, on="item_id").groupby("user_id")[list(share.columns)].sum().idxmax(axis=1)
    right = np.mean([cluster[user] == guess for user, guess in told.items()])
    assert right > 0.8, f"{right:.0%} of the clusters were recognized; chance is 25 %"
