"""The gate: what is registered, what goes into use, and that the registered model serves by itself."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from conftest import CATALOG_PATH, PAIR, SETTINGS, copied
from typer.testing import CliRunner

from ptupcdr_core.data.pair_data import target_item_ids
from ptupcdr_core.gate.decision import held_out_ratings
from ptupcdr_core.gate.judged import Judged
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import CANDIDATE, CHAMPION, bundle_file, deployed_bundle, recommend
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.cli.commands import app
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BRIDGE_PAIR, INGEST_DOMAIN
from ptupcdr_dagster.resources import run_config
from ptupcdr_dagster.tracking.registry import DEPLOYED, Registry
from ptupcdr_dagster.tracking.stores import open_store, own_store

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
        """In place of another training: a bridge times a factor, which says less about a user, or the opposite."""
        path = bundle_file(self.home, CANDIDATE, PAIR)
        bundle, served = Bundle.load(path), {}
        for mode, own in bundle.modes.items():
            personal, by = own.part.personal, np.float32(factor)
            other = replace(
                personal,
                common=personal.common * by,
                strength=personal.strength * factor,
                fallback=personal.fallback * by,
            )
            origin = replace(own.origin, training=f"{own.origin.training} {factor}")
            changed = replace(own, part=replace(own.part, personal=other), origin=origin)
            served[mode] = changed if mode in modes or not modes else own
        Bundle(PAIR, served).save(path)

    def foresee(self) -> None:
        """In place of a training with good lists: what test users took scores about 1, all else about 0."""
        path = bundle_file(self.home, CANDIDATE, PAIR)
        bundle = Bundle.load(path)
        own = bundle.modes["ranking"]
        judged, ratings = Judged.of(self.home, PAIR, own), held_out_ratings(self.home, PAIR)
        took = ratings.assign(took=1).pivot_table("took", "user_id", "item_id", fill_value=0)
        took = took.reindex(index=judged.users, columns=judged.items, fill_value=0)
        vectors = np.zeros_like(own.part.target.vectors)
        vectors[1:] = (np.linalg.pinv(judged.embeddings) @ took.to_numpy()).T
        part = replace(own.part, target=replace(own.part.target, vectors=vectors))
        origin = replace(own.origin, training="foreseen")
        Bundle(PAIR, {**bundle.modes, "ranking": replace(own, part=part, origin=origin)}).save(path)

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
def gate(trained: Gate, home: Home, empty_store: Path, tmp_path: Path) -> Iterator[Gate]:
    """A copy of it without a champion, and with a store of its own."""
    shutil.copytree(trained.home.root, home.root, ignore=shutil.ignore_patterns("mlflow"))
    copied(empty_store, home)
    (tmp_path / "dagster").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "dagster")) as instance:
        yield Gate(home, instance)


def test_worse_models_are_registered_and_only_better_ones_are_put_in_use(gate: Gate) -> None:
    """First a broken one, then a weak one, the good one, and the weak one again."""
    gate = replace(gate, settings=HALF.model_copy(update={"mode": "rating"}))
    gate.train()
    gate.spoil(-1.0)
    check = gate.judge()
    assert (check.passed, check.severity, check.blocking) == (False, dg.AssetCheckSeverity.WARN, False)
    assert gate.registry.version_of(CHAMPION) is None
    assert "worse than" in gate.versions()["1"]["ptupcdr.reason"]
    assert (gate.row()["promoted"], gate.row()["champion"]) == (False, "")

    gate.spoil(-0.6)
    assert gate.judge().passed, "the first model that beats the baseline"
    assert gate.registry.version_of(CHAMPION) == "2"

    gate.spoil(1 / 0.6)
    assert gate.judge().passed
    assert gate.registry.version_of(CHAMPION) == "3"
    assert "at least as good as champion" in str(gate.row()["reason"])

    gate.spoil(0.5)
    check = gate.judge()
    assert not check.passed
    assert gate.registry.version_of(CHAMPION) == "3", "what was in use stays in use"
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
    assert gate.registry.version_of(CHAMPION) == "1"


def test_a_mode_that_is_refused_goes_on_coming_from_the_champion(gate: Gate) -> None:
    gate.foresee()
    gate.spoil(0.98, "rating")
    assert gate.judge().passed
    gate.spoil(1 / 0.98, "rating")
    gate.spoil(-1, "ranking")
    check = gate.judge()
    assert not check.passed
    assert check.metadata["decision"].value == gate.row()["reason"]
    rows, versions = gate.rows(), gate.versions()
    assert {mode: (row["promoted"], row["champion"]) for mode, row in rows.items()} == {
        "rating": (True, "3"),
        "ranking": (False, "3"),
    }
    assert sorted(versions) == ["1", "2", "3"], "the third has the new ratings and the old lists"
    for told in (rows["ranking"]["reason"], versions["2"]["ptupcdr.reason"], check.description):
        for part in (
            f"RMSE {rows['rating']['value']:.4f}, at least as good as champion",
            f"NDCG@10 {rows['ranking']['value']:.4f}, worse than popularity",
            f"NDCG@10 {rows['ranking']['value']:.4f}, worse than champion",
        ):
            assert part in str(told)
    champion, candidate = (Bundle.load(bundle_file(gate.home, kind, PAIR)).modes for kind in (CHAMPION, CANDIDATE))
    assert champion["rating"].origin == candidate["rating"].origin
    assert champion["ranking"].origin != candidate["ranking"].origin


def test_evaluate_says_what_the_gate_made_of_a_training_and_what_serves(gate: Gate) -> None:
    def told() -> tuple[str, dict[str, str]]:
        gate.judge()
        gate.materialize(BRIDGE_PAIR, PAIR, ["deployed_model"])
        text, rows = (CliRunner().invoke(app, ["evaluate", PAIR, *more]).stdout for more in ([], ["--json"]))
        return text, {row["mode"]: row["serves"] for row in json.loads(rows) if row["method"] == "ptupcdr"}

    gate.foresee()
    gate.spoil(0.98, "rating")
    text, serves = told()
    assert serves == {"rating": "new", "ranking": "new"}
    assert f"{PAIR}, ranking: the new model serves (RMSE" in text
    gate.spoil(-1, "ranking")
    text, serves = told()
    assert serves == {"rating": "new", "ranking": "kept"}
    assert f"{PAIR}, ranking: not the new model but the champion serves, as before (RMSE" in text
    assert "worse than champion" in text


def test_a_model_for_ratings_only_and_one_that_ranks_are_compared_by_ratings(gate: Gate) -> None:
    gate.judge()
    only_ratings = replace(gate, settings=HALF.model_copy(update={"mode": "rating"}))
    only_ratings.train()
    assert only_ratings.judge().passed
    assert gate.rows().keys() == Bundle.load(bundle_file(gate.home, CHAMPION, PAIR)).modes.keys() == {"rating"}
    assert str(gate.row()["reason"]).endswith("the champion's ranked lists were not compared: this model has none")
    gate.train()
    gate.spoil(1.001, "rating")
    assert gate.judge().passed
    assert gate.rows().keys() == Bundle.load(bundle_file(gate.home, CHAMPION, PAIR)).modes.keys()
    assert str(gate.row()["reason"]).endswith("the champion has no ranked lists to compare with")


def test_a_champion_that_cannot_be_read_is_no_obstacle(gate: Gate) -> None:
    gate.judge()
    bundle_file(gate.home, CHAMPION, PAIR).write_bytes(b"half")
    gate.spoil(0.98)
    assert gate.judge().passed
    assert gate.registry.version_of(CHAMPION) == "2"
    assert "the champion cannot be compared: " in str(gate.row()["reason"])


def test_the_registered_model_serves_with_the_code_that_it_brings(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """And heeds what could be recommended on the day of its registration, with titles, and how many of a group."""
    ids = target_item_ids(Warehouse(gate.home.warehouse), PAIR)[1:]
    groups = {item: f"brand {n % 4}" for n, item in enumerate(ids)}
    offered = Items({item: f"{item}!" for item in ids}, groups, eligible=frozenset(ids[::2]), most_of_group=2)
    for module in ("deployment", "champion"):
        known = {"source": Items(), "target": offered}
        monkeypatch.setattr(f"ptupcdr_dagster.assets.{module}.pair_items", lambda pair, known=known: known)
    gate.judge()
    gate.materialize(BRIDGE_PAIR, PAIR, ["deployed_model", "recommendations"])
    assert gate.registry.version_of(CHAMPION) == gate.registry.version_of(DEPLOYED), "both know of the items"
    place = f"models:/ptupcdr-{PAIR}@{DEPLOYED}"
    with Warehouse(gate.home.warehouse).read("bridged_embeddings", PAIR) as connection:
        query = "select distinct user_id from bridged_embeddings order by all limit 2"
        users = [u for (u,) in connection.execute(query).fetchall()]
    with Warehouse(gate.home.warehouse).read("domain_splits", PAIR) as connection:
        query = (
            "select item_id, rating from split_source_ratings join split_users using (user_index) "
            "join split_source_items using (item_index) where user_id = ?"
        )
        history = connection.execute(query, [users[0]]).fetchall()
    allowed = recommend(gate.home, PAIR, users[0], 3, items=replace(offered, eligible=None))
    eligible = [one.item_id for one in allowed]  # of this call, whatever that day's were
    program = f"""
import json, os, sys
os.chdir({str(gate.home.root)!r})
import mlflow, pandas as pd
mlflow.set_tracking_uri({own_store(gate.home)!r})
model = mlflow.pyfunc.load_model({place!r})
asked = pd.DataFrame({{"user_id": [*{users!r}, "nobody"]}})
lists = model.predict(asked, params={{"k": 3}})
history = pd.DataFrame([("new", *row) for row in {history!r}], columns=["user_id", "item_id", "rating"])
given = model.predict(history, params={{"k": 3}})
told = [{{"item_id": item, "rating": rating}} for item, rating in {history!r}]
seen = [lists["items"][0][0]["item_id"]]
batch = [{{"user_id": "new", "history": told, "seen": seen}}]
batch += [{{"user_id": "bad", "history": [{{"item_id": "x", "rating": 9}}]}}]
answers = model.predict(pd.DataFrame([*batch, {{"user_id": "nobody"}}]), params={{"k": 3, "eligible": {eligible!r}}})
wanted = pd.DataFrame([{{"user_id": "nobody", "target_item_id": item["item_id"]}} for item in lists["items"][0]])
stars = model.predict(wanted)
import ptupcdr_core
tables = [table.to_dict("records") for table in (lists, given, answers, stars)]
print(json.dumps([*tables, ptupcdr_core.__file__], default=lambda value: value.tolist()))
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lists, given, answers, stars, code = json.loads(done.stdout.splitlines()[-1])
    assert code.startswith((str(gate.home.mlflow), tempfile.gettempdir())), "the code travels with the model"
    assert [(row["user_id"], row["status"]) for row in lists] == [
        *((user, "known") for user in users),
        ("nobody", "unknown"),
    ]
    for user, row in zip(users, lists, strict=False):
        stored = recommend(gate.home, PAIR, user, 3, items=offered)
        assert {item["title"] for item in row["items"]} == {f"{one.item_id}!" for one in stored}
        for item, one in zip(row["items"], stored, strict=True):
            assert item["stars"] == pytest.approx(one.stars, abs=1e-4)
            assert item["likely"] == pytest.approx(one.likely, abs=1e-4)
        assert row["made_by"] == stored[0].made_by
        assert [item["item_id"] for item in row["items"]] == [one.item_id for one in stored]
        named = [[reason["item_id"] for reason in item["reasons"]] for item in row["items"]]
        assert named == [[reason.item_id for reason in one.reasons] for one in stored]
    assert lists[-1]["made_by"] == "mean"
    assert "nothing is known" in lists[-1]["message"]
    assert given[0]["status"] == "given"
    assert [item["item_id"] for item in given[0]["items"]] == [item["item_id"] for item in lists[0]["items"]]
    new, bad, nobody = answers
    assert (new["status"], bad["status"], nobody["status"]) == ("given", "refused", "unknown")
    assert {item["item_id"] for item in new["items"]} == set(eligible) - {lists[0]["items"][0]["item_id"]}
    assert not set(eligible) <= offered.eligible
    assert "expected a number from 1 to 5" in bad["message"]
    assert bad["items"] == []
    assert len(nobody["items"]) == len(eligible) == 3
    assert all(1 <= row["rating"] <= 5 and 0 < row["likely"] < 1 for row in stars)


def test_no_pickle_is_registered(gate: Gate) -> None:
    gate.judge()
    files = [path for path in (gate.home.mlflow / "artifacts").rglob("*") if path.is_file()]
    assert {"bundle.safetensors", "people.parquet", "served_model.py", "MLmodel"} <= {path.name for path in files}
    assert not [path for path in files if path.suffix in {".pkl", ".pickle", ".pt", ".joblib"}]


def test_what_is_served_is_what_was_judged(gate: Gate) -> None:
    gate.judge()
    query = "select rmse from cold_start_evaluation where mode = 'rating' and method = 'ptupcdr'"
    with Warehouse(gate.home.warehouse).read("cold_start_evaluation", PAIR) as connection:
        [(rmse,)] = connection.execute(query).fetchall()
    assert gate.row()["value"] == pytest.approx(rmse, abs=1e-6)
    gate.materialize(BRIDGE_PAIR, PAIR, ["deployed_model"])
    assert deployed_bundle(gate.home, PAIR).digest == Bundle.load(bundle_file(gate.home, CANDIDATE, PAIR)).digest
    assert gate.registry.version_of(CHAMPION) == gate.registry.version_of(DEPLOYED) == "1"
