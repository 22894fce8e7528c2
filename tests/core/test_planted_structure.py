"""On the generated demo the personal bridge finds what was planted, and the difference is real."""

from collections import Counter

import numpy as np
import pytest
import torch

from ptupcdr_core.benchmark.grid import Grid
from ptupcdr_core.benchmark.run import run_benchmark
from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.evaluation.readout import read_cell_errors
from ptupcdr_core.evaluation.significance import compare, pair_errors
from ptupcdr_core.home import Home
from ptupcdr_core.ingest import ingest_domain
from ptupcdr_core.methods.experiment import Experiment
from ptupcdr_core.pair_data import load_pair, user_ids
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.demo import CLUSTERS, clusters
from ptupcdr_core.splits import build_split
from ptupcdr_core.warehouse import Warehouse

PAIR = Pair(source="books", target="movies")
DOMAINS = tuple(Domain(name=name, format="demo") for name in ("books", "movies"))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    home = Home(tmp_path_factory.mktemp("demo"))
    for domain in DOMAINS:
        ingest_domain(domain, Warehouse(home.warehouse))
    return home


def test_personal_beats_common_beats_item_mean(home):
    grid = Grid(
        betas=(0.2,), seeds=(2020,), base_models=("mf",), settings=("calibrated",),
        methods=("item_mean", "source_offset", "emcdr", "ptupcdr"),
    )  # fmt: skip
    run_benchmark(home, PAIR, *DOMAINS, grid, Settings(), lambda progress: None)
    errors = pair_errors(read_cell_errors(home, PAIR.key, "calibrated", 0.2, "mf"))
    table = compare(errors, [("ptupcdr", "emcdr"), ("emcdr", "source_offset"), ("emcdr", "item_mean")])
    assert (table["difference"] < 0).all()
    assert table["different"].all()


def test_the_clusters_can_be_read_off_the_personal_bridges(home):
    warehouse = Warehouse(home.warehouse)
    build_split(PAIR, *DOMAINS, warehouse, Settings())
    data, ids = load_pair(warehouse, PAIR.key), user_ids(warehouse, PAIR.key)
    experiment = Experiment(data, Settings())
    bridges = experiment.calibrated_bridges
    assert bridges.personal.strength > 0
    of = clusters()

    def matrices(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        users = users[data.histories[users, 0] > 0]
        items = data.histories[users]
        with torch.inference_mode():
            vectors = torch.from_numpy(experiment.task.history_vectors[items])
            written = bridges.personal.network(vectors, torch.from_numpy(items > 0))
        return written.numpy().reshape(len(users), -1), np.array([of[name] for name in ids[users]])

    known, labels = matrices(data.cohorts["bridge"])
    centers = np.stack([known[labels == cluster].mean(0) for cluster in range(CLUSTERS)])
    unseen, truth = matrices(data.cohorts["test"])
    nearest = np.square(unseen[:, None] - centers).sum(-1).argmin(1)
    right = float((nearest == truth).mean())
    assert right > 0.8, (
        f"{right:.0%} of the test users lie nearest to their own cluster's mean bridge: {Counter(truth)}"
    )
