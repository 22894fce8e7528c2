"""A benchmark as files for other programs, and as a picture of mean ranks."""

import math

import numpy as np
import pandas as pd
import pytest

from ptupcdr_core.experiments.export import latex, told_seeds
from ptupcdr_core.report.ranks import picture, ranks


def summary(deviation: float, seeds: int) -> pd.DataFrame:
    row = {"recipe": "calibrated", "beta": 0.2, "base_model": "mf", "seeds": seeds, "mae": 0.61, "rmse": 0.8}
    more = {"mae_std": deviation, "rmse_std": deviation, "best_mae": True, "best_rmse": False}
    return pd.DataFrame([row | more | {"method": "item_mean"}])


def test_one_seed_is_never_called_a_mean() -> None:
    table = latex(summary(math.nan, 1))
    assert "one seed" in table
    assert "mean" not in table.replace(r"item\_mean", "")
    assert r"\pm" not in table
    assert r"item\_mean & $\mathbf{0.6100}$ & $0.8000$ \\" in table


def test_several_seeds_have_a_deviation() -> None:
    table = latex(summary(0.02, 5))
    assert told_seeds(5) in table
    assert r"$\mathbf{0.6100 \pm 0.0200}$ & $0.8000 \pm 0.0200$" in table


def cells(errors: dict[str, list[float]]) -> pd.DataFrame:
    rows = [
        {"recipe": "honest", "beta": 0.2, "seed": seed, "base_model": "mf", "method": method, "rmse": error}
        for method, own in errors.items()
        for seed, error in enumerate(own)
    ]
    return pd.DataFrame(rows)


def test_the_critical_difference_is_demsars() -> None:
    """Four methods, fourteen data sets: 2.569 √(4 · 5 / (6 · 14)) = 1.25."""
    rng = np.random.default_rng(0)
    found = ranks(cells({name: list(rng.random(14)) for name in "abcd"}), "honest")
    assert found is not None
    assert found.critical == pytest.approx(1.25, abs=0.005)
    assert sum(found.means.values()) == pytest.approx(1 + 2 + 3 + 4)


def test_who_is_always_ahead_is_joined_with_nobody() -> None:
    count = 40
    rng = np.random.default_rng(1)
    noise = rng.random((2, count)) * 0.01
    errors = {"best": [0.1] * count, "one": list(0.5 + noise[0]), "other": list(0.5 + noise[1])}
    found = ranks(cells(errors), "honest")
    assert found is not None
    assert found.means["best"] == 1
    assert found.cliques() == [
        (found.means[min("one", "other", key=found.means.__getitem__)], max(found.means.values()))
    ]
    assert found.p < 1e-6
    assert picture(found, "honest").png.startswith(b"\x89PNG")


def test_too_few_are_not_ranked() -> None:
    assert ranks(cells({"a": [1, 2, 3], "b": [2, 3, 1]}), "honest") is None
    assert ranks(cells({"a": [1, 2], "b": [2, 3], "c": [1, 3]}), "honest") is None
