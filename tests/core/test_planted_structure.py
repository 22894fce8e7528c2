"""On the generated demo, the personal bridge finds what was planted, and the gain is significant."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.pipeline import make_pipeline

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import PairData, load_pair, user_ids
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.evaluation.significance import compare, pair_errors
from ptupcdr_core.experiments.benchmark import run_benchmark
from ptupcdr_core.experiments.grid import Grid
from ptupcdr_core.experiments.readout import read_cell_errors
from ptupcdr_core.modes.ranking.bridging import RankingBridges, RankingTask
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_ranking_task
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.demo import clusters
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

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
    """Over three seeds: medians are whole stars, so absolute errors show less about a person than squared ones."""
    grid = Grid(
        betas=(0.2,), seeds=(2020, 900, 1000), base_models=("mf",), recipes=("calibrated",),
        methods=("item_mean", "source_offset", "emcdr", "ptupcdr"),
    )  # fmt: skip
    run_benchmark(home, PAIR, *DOMAINS, grid, Settings(), lambda progress: None)
    errors = pair_errors(read_cell_errors(home, PAIR.key, "calibrated", 0.2, "mf"))
    table = compare(errors, [("ptupcdr", "emcdr"), ("emcdr", "source_offset"), ("emcdr", "item_mean")])
    assert (table["difference"] < 0).all()
    assert table["different"].all()


@dataclass(frozen=True)
class Ranked:
    """A pair's data and its ranking bridges, trained with the default settings."""

    data: PairData
    ids: np.ndarray
    task: RankingTask
    bridges: RankingBridges


@pytest.fixture(scope="module")
def ranked(home) -> Ranked:
    warehouse, settings = Warehouse(home.warehouse), Settings()
    build_split(PAIR, *DOMAINS, warehouse, settings)
    for side in ("source", "target"):
        pretrain(home, PAIR.key, side, settings, lambda epoch, metrics: None)
    train_bridges(home, PAIR.key, settings, lambda epoch, metrics: None)
    data = load_pair(warehouse, PAIR.key)
    return Ranked(data, user_ids(warehouse, data), load_ranking_task(home, data), load_ranking_bridges(home, data))


def test_the_clusters_can_be_read_off_the_personal_bridges(ranked):
    data, of = ranked.data, clusters()

    def matrices(users: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        users = users[data.histories[users, 0] > 0]
        items = data.histories[users]
        with torch.inference_mode():
            vectors = torch.from_numpy(ranked.task.history_vectors[items])
            written = ranked.bridges.personal.network(vectors, torch.from_numpy(items > 0))
        return written.numpy().reshape(len(users), -1), np.array([of[name] for name in ranked.ids[users]])

    known, labels = matrices(data.cohorts["bridge"])
    unseen, truth = matrices(data.cohorts["test"])
    reader = make_pipeline(PCA(16, random_state=0), LinearDiscriminantAnalysis()).fit(known, labels)
    right, guessed = reader.score(unseen, truth), np.bincount(truth).max() / len(truth)
    assert right > 0.7 > 2 * guessed, f"{right:.0%} of the test users' clusters are read rightly, {guessed:.0%} guessed"


def test_the_personal_bridge_ranks_better_than_the_common_one(ranked):
    relevant = ranked.data.target_test
    users = np.unique(relevant.users)
    common, personal = (
        rank_by_vectors(ranked.task.target, bridge.embed(ranked.task, users), users, relevant)
        for bridge in (ranked.bridges.common, ranked.bridges.personal)
    )
    for measure in ("ndcg_at_10", "ndcg_at_50"):
        assert personal.certainty_beyond(common, measure) > 2
