"""Predicted ratings as people see them: stars, a median, and how likely they are to like the item."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from conftest import Lineage
from scipy.special import expit
from small_lineage import PAIR
from small_pair import calibrated_models, small_pair

from ptupcdr_core.data.pair_data import Scale
from ptupcdr_core.evaluation.calibration import Calibrator
from ptupcdr_core.models.ordinal import Levels, OrdinalCalibration
from ptupcdr_core.modes.rating.mode import source_space
from ptupcdr_core.modes.stars import StarDistribution
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import cold_start_ratings, deployed_bundle, recommend, recommend_new
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.folding import CalibratedSpace

STARS = Levels(np.arange(1.0, 6), np.arange(1.5, 5), np.full(5, 0.2))
THRESHOLDS = np.array([-4.0, -2.0, 0.0, 2.0])
RATINGS = pa.table({"user_id": ["a"] * 3, "item_id": ["books-0001", "books-0002", "books-0003"], "rating": [*"541"]})


def test_liking_is_a_rating_above_the_middle_of_the_scale() -> None:
    calibration = OrdinalCalibration(STARS, 4.0, 2.0, THRESHOLDS, np.array([1.0, 0.0]))
    said = StarDistribution(calibration, np.zeros(3, np.float32), Scale(1, 5))(
        np.array([4, 3.2, 4.5], np.float32), np.array([0, 0, 0.5], np.float32), np.array([1, 2, 1])
    )
    logits = np.array([0, -1.6, 1]) * np.exp([0, 0, -0.5])
    np.testing.assert_allclose(said.likely, expit(logits), rtol=1e-5)  # P(4 or 5), whose threshold is 0
    assert said.medians.tolist() == [3, 3, 4]


def test_whoever_is_folded_in_rates_as_widely_as_in_training_and_as_in_the_evaluation() -> None:
    data = small_pair()
    model = calibrated_models(data)[0]
    space = source_space(model)
    assert isinstance(space, CalibratedSpace)
    folded = space.spread(space.fold_in(data.source, data.user_count))
    np.testing.assert_allclose(folded, model.user_spread, atol=1e-4)
    np.testing.assert_allclose(folded, Calibrator.of(data).user_spread, atol=1e-4)


def test_a_bundle_foretells_ratings_and_says_nothing_of_strange_items(lineage: Lineage, tmp_path: Path) -> None:
    bundle = deployed_bundle(lineage.home, PAIR)
    items = bundle.modes["rating"].target_ids.to_pylist()[1:9]
    couples = pa.table({"user_id": ["a"] * 9, "item_id": [*items, "no movie"]})
    said = bundle.foretell(RATINGS, couples)
    np.testing.assert_allclose(said["stars"].to_numpy()[:8], bundle.rate(RATINGS, couples)[:8], rtol=1e-6)
    assert set(said["median"].to_pylist()[:8]) <= {1, 2, 3, 4, 5}
    assert all(0 < likely < 1 for likely in said["likely"].to_pylist()[:8])
    assert said.slice(8).to_pylist() == [
        {"user_id": "a", "item_id": "no movie", "stars": None, "median": None, "likely": None}
    ]
    bundle.save(tmp_path / "again.safetensors")
    assert Bundle.load(tmp_path / "again.safetensors").foretell(RATINGS, couples).equals(said)


def test_recommended_items_come_with_their_predicted_ratings(lineage: Lineage) -> None:
    bundle = deployed_bundle(lineage.home, PAIR)
    rows = bundle.recommend(RATINGS, 5).recommendations
    said = bundle.foretell(RATINGS, rows.select(["user_id", "item_id"]))
    for name in ("stars", "median", "likely"):
        assert rows[name].equals(said[name])


def test_stored_lists_say_the_same(lineage: Lineage) -> None:
    warehouse = Warehouse.from_environment(lineage.home.warehouse)
    with warehouse.read("recommendations", PAIR) as connection:
        columns = "user_id, item_id, score, stars, median, likely"
        stored = connection.execute(f"select {columns} from recommendations where user_id > 'person-004'").fetchdf()
    couples = pa.Table.from_pandas(stored[["user_id", "item_id"]])
    said = deployed_bundle(lineage.home, PAIR).foretell(cold_start_ratings(warehouse, PAIR), couples).to_pandas()
    np.testing.assert_allclose(stored[["stars", "likely"]], said[["stars", "likely"]], atol=1e-4)
    assert stored["median"].equals(said["median"])
    np.testing.assert_allclose(stored["stars"], stored["score"], atol=1e-5)  # this pair is served by predicted ratings


def test_a_known_user_is_told_the_same_as_by_their_ratings(lineage: Lineage) -> None:
    ratings = cold_start_ratings(Warehouse.from_environment(lineage.home.warehouse), PAIR)
    told = {
        row["item_id"]: row
        for row in recommend_new(lineage.home, PAIR, ratings, 5).recommendations.to_pylist()
        if row["user_id"] == "untold"
    }
    for found in recommend(lineage.home, PAIR, "untold", 5):
        assert found.stars == pytest.approx(told[found.item_id]["stars"], abs=1e-4)
        assert found.likely == pytest.approx(told[found.item_id]["likely"], abs=1e-4)
