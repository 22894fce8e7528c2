"""On released research data, if it lies beside the checkout, folding in gives the vectors of training."""

from pathlib import Path

import numpy as np
import pytest
from test_folding import ENOUGH
from test_released_data import DATA, domain

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.pair_data import load_pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.modes.rating.mode import source_space
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.calibrated_model import CalibratedModel

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no released data in {DATA}")


@pytest.mark.parametrize(("source", "target"), [("category_3", "category_4"), ("book", "music")])
def test_who_was_in_training_is_folded_in_where_training_put_them(source: str, target: str, tmp_path: Path) -> None:
    """In all coordinates together, and in the factors alone, which are the part that least squares find."""
    settings, warehouse = Settings(), Warehouse(tmp_path / "warehouse", threads=1)
    pair, sides = Pair(source=source, target=target), (domain(source), domain(target))
    for side in sides:
        ingest_domain(side, warehouse)
    build_split(pair, *sides, warehouse, settings)
    data = load_pair(warehouse, pair.key)
    model = Experiment(data, settings).source_model
    assert isinstance(model, CalibratedModel)
    space = source_space(model)
    enough = np.flatnonzero(model.user_counts >= ENOUGH)
    own, folded = space.coordinates(model)[enough], space.fold_in(data.source, data.user_count)[enough]
    for coordinates in (slice(None), slice(settings.embedding_size)):
        a, b = own[:, coordinates], folded[:, coordinates]
        cosines = np.einsum("rx,rx->r", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        assert cosines.min() >= 0.98
        assert np.median(cosines) >= 0.999
