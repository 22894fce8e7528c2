"""The gate: what is registered, what is put in use, and that the registered model serves on its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from conftest import CATALOG_PATH, PAIR, SETTINGS, tamper
from ptupcdr_core.serving.inference import recommend
from ptupcdr_core.serving.snapshot import Snapshot

from ptupcdr_core.gate.decision import held_out_ratings
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BRIDGE_PAIR, INGEST_DOMAIN
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.tracking.registry import CHAMPION, Registry
from ptupcdr_dagster.tracking.runs import open_store, own_store

HALF = SETTINGS.model_copy(update={"beta": 0.5})
"""As many test users as a comparison of two models asks for."""
TRAINED = ["domain_splits", "source_model", "target_model", "meta_network", "bridged_embeddings",
           "cold_start_evaluation"]  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """A trained and evaluated pair, whose model can be judged again and again."""

    home: Home
    instance: dg.DagsterInstance
    settings: Settings = HALF

    def materialize(self, job: str, partition: str, assets: list[str]) -> dg.ExecuteInProcessResult:
        result = defs.resolve_job_def(job).execute_in_process(
            run_config=run_config(self.settings),
            instance=self.instance,
            partition_key=partition,
            asset_selection=[dg.AssetKey(asset) for asset in assets],
        )
        assert result.success
        return result

    def train(self) -> None:
        """Make all that is judged."""
        self.materialize(BRIDGE_PAIR, PAIR, TRAINED)

    def judge(self) -> dg.AssetCheckEvaluation:
        """Make ``champion``; its check."""
        [check] = self.materialize(BRIDGE_PAIR, PAIR, ["champion"]).get_asset_check_evaluations()
        return check

    def spoil(self, factor: float, *modes: Mode) -> None:
        """Another training, as it were: embeddings times factor, which says less (or the opposite) of a user."""
        tamper(
            Warehouse(self.home.warehouse).file("bridged_embeddings", PAIR),
            f"update bridged_embeddings set embedding = list_transform(embedding, lambda x: x * {factor})"
            f"where mode in {modes or get_args(Mode)};"
            f"update provenance set fingerprint = fingerprint || ' {' '.join(modes)} times {factor}'",
        )

    def foresee(self) -> None:
        """Good lists: embeddings that score what a test user took near 1 and all else near 0, as the items allow."""
        snapshot, ratings = Snapshot.take(self.home, PAIR, "ranking"), held_out_ratings(self.home, PAIR)
        taken = ratings.assign(took=1).pivot_table("took", "user_id", "item_id", fill_value=0)
        wanted = (
            taken.reindex(columns=snapshot.items, fill_value=0).to_numpy() @ np.linalg.pinv(snapshot.target.vectors).T
        )
        tamper(
            Warehouse(self.home.warehouse).file("bridged_embeddings", PAIR),
            "".join(
                f"update bridged_embeddings set embedding = {embedding.tolist()} "
                f"where mode = 'ranking' and user_id = '{user}';"
                for user, embedding in zip(taken.index, wanted, strict=True)
            ),
        )

    def rows(self) -> dict[str, dict[str, object]]:
        """The table by mode."""
        with Warehouse(self.home.warehouse).read("champion", PAIR) as connection:
            return connection.execute("select * from champion").fetchdf().set_index("mode").to_dict("index")

    def row(self) -> dict[str, object]:
        return self.rows()["rating"]

    @property
    def registry(self) -> Registry:
        return Registry(open_store(self.home)[0], self.home, PAIR)

    def versions(self) -> dict[str, dict[str, str]]:
        """Tags by version."""
        found = self.registry.client.search_model_versions(f"name = 'ptupcdr-{PAIR}'")
        return {str(version.version): dict(version.tags) for version in found}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    root = tmp_path_factory.mktemp("gate")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PTUPCDR_HOME", str(root / "home"))
        patch.setenv("PTUPCDR_CATALOG", str(CATALOG_PATH))
        (root / "dagster").mkdir()
        with dg.DagsterInstance.local_temp(str(root / "dagster")) as instance:
            gate = Gate(Home(root / "home"), instance)
            for domain in ("books", "movies"):
                gate.materialize(INGEST_DOMAIN, domain, ["raw_ratings"])
            gate.train()
            yield gate


@pytest.fixture
def gate(trained: Gate, home: Home, tmp_path: Path) -> Iterator[Gate]:
    """A copy of it without a champion, and with the copy's own store."""
    shutil.copytree(trained.home.root, home.root, ignore=shutil.ignore_patterns("mlflow"))
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Gate(home, instance)


def test_worse_models_are_registered_and_only_better_ones_are_put_in_use(gate: Gate) -> None:
    """First a broken one, then a weak one, the good one, and the weak one again."""
    gate.spoil(-1.0)
    check = gate.judge()
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert gate.registry.champion() is None
    assert "worse than" in gate.versions()["1"]["ptupcdr.reason"]
    assert (gate.row()["promoted"], gate.row()["champion"]) == (False, "")

    gate.spoil(-0.6)
    assert gate.judge().passed, "the first model that beats the baseline"
    assert gate.registry.champion() == "2"

    gate.spoil(1 / 0.6)
    assert gate.judge().passed
    assert gate.registry.champion() == "3"
    assert "at least as good as champion" in str(gate.row()["reason"])

    gate.spoil(0.5)
    check = gate.judge()
    assert not check.passed
    assert gate.registry.champion() == "3", "what was in use stays in use"
    assert "worse than champion" in str(gate.row()["reason"])
    promoted = {version: tags["ptupcdr.promoted"] for version, tags in gate.versions().items()}
    assert promoted == {"1": "false", "2": "true", "3": "true", "4": "false"}
    client, experiment = open_store(gate.home)
    stages = client.search_runs([experiment], "tags.`dagster.asset` = 'champion'", order_by=["start_time desc"])
    assert stages[0].data.tags["ptupcdr.model"] == f"ptupcdr-{PAIR}/4"
    assert stages[0].data.tags["ptupcdr.promoted"] == "false"
    assert stages[0].data.metrics["rmse"] > stages[0].data.metrics["rmse_champion"]


def test_judging_the_same_model_again_registers_nothing(gate: Gate) -> None:
    gate.judge()
    before, row = gate.versions(), gate.row()
    gate.judge()
    assert gate.versions() == before
    assert list(before) == ["1"]
    assert gate.row() == row
    assert gate.registry.champion() == "1"


def test_better_ratings_with_worse_lists_are_not_put_in_use(gate: Gate) -> None:
    gate.foresee()
    gate.spoil(0.6, "rating")
    check = gate.judge()
    assert check.passed
    assert check.metadata["decision"].value == gate.row()["reason"]
    assert gate.rows()["ranking"]["value"] > 0.6
    gate.spoil(1 / 0.6, "rating")
    gate.spoil(-1, "ranking")
    check = gate.judge()
    assert not check.passed
    assert gate.registry.champion() == "1"
    rows, tags = gate.rows(), gate.versions()["2"]
    assert {mode: (row["promoted"], row["champion"], row["as_good"]) for mode, row in rows.items()} == {
        "rating": (False, "1", True),
        "ranking": (False, "1", False),
    }
    assert {mode: f"{row['value']:.4f}" for mode, row in rows.items()} == {
        "rating": tags["ptupcdr.rmse"],
        "ranking": tags["ptupcdr.ndcg_at_10"],
    }
    for told in (rows["ranking"]["reason"], tags["ptupcdr.reason"], check.description):
        for part in (
            f"RMSE {rows['rating']['value']:.4f}, at least as good as champion",
            f"NDCG@10 {rows['ranking']['value']:.4f}, worse than popularity",
            f"NDCG@10 {rows['ranking']['value']:.4f}, worse than champion",
        ):
            assert part in str(told)


def test_a_model_for_ratings_only_and_one_that_ranks_are_compared_by_ratings(gate: Gate) -> None:
    gate.judge()
    only_ratings = replace(gate, settings=HALF.model_copy(update={"mode": "rating"}))
    only_ratings.train()
    assert only_ratings.judge().passed
    assert gate.rows().keys() == gate.registry.load("2").keys() == {"rating"}
    assert str(gate.row()["reason"]).endswith("the champion's ranked lists were not compared: this model has none")
    gate.train()
    gate.spoil(0.999, "rating")
    assert gate.judge().passed
    assert gate.rows().keys() == gate.registry.load("3").keys() == {"rating", "ranking"}
    assert str(gate.row()["reason"]).endswith("the champion has no ranked lists to compare with")


def test_a_champion_whose_files_are_gone_is_no_obstacle(gate: Gate) -> None:
    gate.judge()
    shutil.rmtree(gate.home.mlflow / "artifacts")
    gate.spoil(0.9)
    assert gate.judge().passed
    assert gate.registry.champion() == "2"
    assert "the champion cannot be compared: " in str(gate.row()["reason"])


def test_the_registered_model_serves_without_this_project(gate: Gate) -> None:
    gate.judge()
    place = f"models:/ptupcdr-{PAIR}@{CHAMPION}"
    with Warehouse(gate.home.warehouse).read("bridged_embeddings", PAIR) as connection:
        users = [u for (u,) in connection.execute("select user_id from bridged_embeddings order by all").fetchall()]
    program = f"""
import sys, json, mlflow, pandas as pd
mlflow.set_tracking_uri({own_store(gate.home)!r})
model = mlflow.pyfunc.load_model({place!r})
lists = model.predict(pd.DataFrame({{"user_id": {users[:3]!r}, "k": [2, 3, 1]}}))
tenner = model.predict(pd.DataFrame({{"user_id": {users[:1]!r}}}))
stars = model.predict(lists[["user_id", "item_id"]])
try:
    model.predict(pd.DataFrame({{"user_id": ["nobody"]}}))
    refused = ""
except ValueError as error:
    refused = str(error)
ours = [name for name in sys.modules if name.startswith("ptupcdr")]
print(json.dumps([lists.to_dict("records"), len(tenner), stars.to_dict("records"), refused, ours]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    lists, tenner, stars, refused, ours = json.loads(done.stdout.splitlines()[-1])
    assert tenner == 10
    assert refused == "not among the cold-start users of this model: nobody"
    assert ours == []
    expected = [
        {"user_id": user, "rank": r.rank, "item_id": r.item_id, "made_by": r.made_by, "score": pytest.approx(r.score)}
        for user, k in zip(users, (2, 3, 1), strict=False)
        for r in recommend(gate.home, PAIR, user, k)
    ]
    assert lists == expected
    ratings = gate.registry.load("1")["rating"]
    assert [row["rating"] for row in stars] == pytest.approx(ratings.scores(pd.DataFrame(lists)).tolist())


def test_no_pickle_is_registered(gate: Gate) -> None:
    gate.judge()
    files = [path for path in (gate.home.mlflow / "artifacts").rglob("*") if path.is_file() and "model" in path.parts]
    assert {"snapshot.safetensors", "snapshot.json", "served_model.py", "MLmodel"} <= {path.name for path in files}
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".joblib"}]


def test_what_is_served_is_what_was_judged(gate: Gate) -> None:
    gate.judge()
    models = gate.registry.load("1")
    query = "select rmse from cold_start_evaluation where mode = 'rating' and method = 'ptupcdr'"
    with Warehouse(gate.home.warehouse).read("cold_start_evaluation", PAIR) as connection:
        [(rmse,)] = connection.execute(query).fetchall()
    assert gate.row()["value"] == pytest.approx(rmse, abs=1e-6)
    snapshot = models["ranking"]
    couples = pd.DataFrame({"user_id": snapshot.users[:2], "item_id": snapshot.items[:2]})
    lists = {user: recommend(gate.home, PAIR, user, len(snapshot.items)) for user in couples["user_id"]}
    expected = [next(r.score for r in lists[row.user_id] if r.item_id == row.item_id) for row in couples.itertuples()]
    assert snapshot.scores(couples).tolist() == pytest.approx(expected)
