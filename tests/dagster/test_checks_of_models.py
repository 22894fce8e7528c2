"""A checkpoint with a diverged or collapsed matrix fails the check that says so."""

import numpy as np
import pytest
from conftest import PAIR

from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.models import FACTS, MODEL_CHECKS, read_checkpoint, summarize
from ptupcdr_dagster.running.freshness import MODELS


def failing(tensors: dict[str, np.ndarray]) -> set[str]:
    from ptupcdr_dagster.checks.validation import validate_frame

    return {
        r.check_name for r in validate_frame(summarize(tensors), "source_model", FACTS["source_model"]) if not r.passed
    }


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    users, items = (random.normal(size=(30, 4)).astype(np.float32) for _ in range(2))
    bridge = np.zeros((4, 4), np.float32)
    return {"user_embedding": users, "item_embedding": items, "network.out.weight": users.copy(), "prior": bridge}


def test_a_sound_model_passes(tensors: dict[str, np.ndarray]) -> None:
    assert failing(tensors) == set()


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["user_embedding", "item_embedding", "network.out.weight", "prior"])
def test_a_weight_that_is_not_finite(tensors: dict[str, np.ndarray], name: str, value: float) -> None:
    tensors[name].flat[7] = value
    assert failing(tensors) == {"weights_are_finite"}


@pytest.mark.parametrize("level", [0.0, 3.0])
@pytest.mark.parametrize("name", ["item_embedding", "user_embedding"])
def test_rows_that_are_all_the_same(tensors: dict[str, np.ndarray], name: str, level: float) -> None:
    tensors[name][1:] = level  # the padding row is another one, and does not count
    assert failing(tensors) == {"embeddings_are_not_collapsed"}


def test_each_model_asset_is_checked() -> None:
    keys = {key.to_user_string() for checks in MODEL_CHECKS for key in checks.check_keys}
    assert keys == {f"{model}:{fact.name}" for model, facts in FACTS.items() for fact in facts}
    assert FACTS.keys() == MODELS


def test_a_checkpoint_of_another_split_is_refused(tensors: dict[str, np.ndarray], home: Home) -> None:
    with Warehouse(home.warehouse).write("domain_splits", PAIR) as connection:
        ends = "1.0 as source_low, 5.0 as source_high, 1.0 as target_low, 5.0 as target_high"
        connection.execute(f"create table split_summary as select {ends}, 20 as history_length, 3.0 as positive_above")
    artifacts.save(home.models / "source_model", PAIR, tensors, split="yesterday's", manifest={})
    with pytest.raises(ArtifactError, match="another split"):
        read_checkpoint(home, "source_model", PAIR)
