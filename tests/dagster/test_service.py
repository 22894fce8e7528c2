"""The HTTP service answers from what is deployed, whatever is deployed while it runs."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from inspect import signature
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.kernels.target_items import TargetItems
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.store.catalog_file import load_catalog
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.cli import commands
from ptupcdr_dagster.service import app, deployed
from ptupcdr_dagster.service.deployed import Deployed

PAIR = "books__movies"
SETTINGS = Settings(epochs=1, embedding_size=3, mode="rating")
LIMIT = 20_000
HISTORY = [{"item_id": "books-01", "rating": 5}, {"item_id": "books-03", "rating": 4, "timestamp": "2024-01-01"}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, catalog_path: Path) -> Home:
    return deployed_pair(Home(tmp_path_factory.mktemp("service")), catalog_path, SETTINGS)


def deployed_pair(home: Home, catalog_path: Path, settings: Settings) -> Home:
    """A pair whose bundle is deployed without being judged."""
    catalog, warehouse = load_catalog(catalog_path), Warehouse(home.warehouse)
    for name in ("books", "movies"):
        ingest_domain(catalog.domain(name), warehouse)
    build_split(catalog.pair(PAIR), catalog.domain("books"), catalog.domain("movies"), warehouse, settings)
    for side in ("source", "target"):
        pretrain(home, PAIR, side, settings, _silent)  # type: ignore[arg-type]
    train_bridges(home, PAIR, settings, _silent)
    bundle_file(home, DEPLOYED, PAIR).parent.mkdir(parents=True, exist_ok=True)
    bundle_file(home, "candidate", PAIR).rename(bundle_file(home, DEPLOYED, PAIR))
    return home


@pytest.fixture
def pair(trained: Home) -> Deployed:
    return Deployed(trained, PAIR)


@pytest.fixture
def client(pair: Deployed, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(app, "watched", lambda pairs: deployed.watched(pairs, 0.05))
    with TestClient(app.make_app({PAIR: pair}, LIMIT)) as opened:
        yield opened


def test_everybody_is_answered(client: TestClient) -> None:
    people = [{"user_id": "user000"}, {"user_id": 7}, {"user_id": "me", "history": HISTORY, "seen": ["movies-01"]}]
    people += [{"user_id": "bad", "history": [{"item_id": "books-01", "rating": 9}]}]
    people += [{"user_id": "unrated", "history": [{"item_id": "books-01"}]}]
    asked = {"pair": PAIR, "k": 3, "people": people, "eligible": ["movies-01", "movies-02", "movies-03"]}
    answer = client.post("/recommend", json=asked).json()
    assert [one["user_id"] for one in answer["people"]] == ["user000", "7", "me", "bad", "unrated"]
    assert [one["status"] for one in answer["people"]] == ["known", "unknown", "given", "refused", "refused"]
    assert {item["item_id"] for item in answer["people"][2]["items"]} == {"movies-02", "movies-03"}
    first = answer["people"][0]["items"][0]
    assert {"rank", "item_id", "title", "score", "stars", "likely", "reasons"} == set(first)
    assert first["stars"] == pytest.approx(first["score"], abs=1e-4), "served by predicted ratings"
    assert 0 < first["likely"] < 1
    alone = client.get("/recommend", params={"user_id": "user000", "k": 3}).json()
    everything = client.post("/recommend", json={"people": people[:1], "k": 3}).json()
    assert alone == everything


def test_a_pair_that_predicts_no_ratings_shows_no_stars(home: Home, catalog_path: Path) -> None:
    lists = Deployed(deployed_pair(home, catalog_path, SETTINGS.model_copy(update={"mode": "ranking"})), PAIR)
    with TestClient(app.make_app({PAIR: lists}, LIMIT)) as opened:
        [person] = opened.get("/recommend", params={"user_id": "user000", "k": 2}).json()["people"]
        shown = opened.get("/openapi.json").json()["components"]["schemas"]["Item"]
    assert [set(item) for item in person["items"]] == [{"rank", "item_id", "title", "score", "reasons"}] * 2
    assert {"stars", "likely"} <= set(shown["properties"]) - set(shown["required"])


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"people": []}, 422, "at least 1"),
        ({"people": [{"user_id": "me", "histroy": []}]}, 422, "histroy"),
        ({"people": [{"user_id": "me", "history": [{"item_id": "x", "rating": "five"}]}]}, 422, "rating"),
        ({"people": [{"user_id": "me"}], "k": 0}, 422, "greater than or equal to 1"),
        ({"people": [{"user_id": "me"}] * 2000}, 413, "20,000 bytes"),
        ({"people": [{"user_id": "me"}], "pair": "no__pair"}, 404, f"there are: {PAIR}"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(client: TestClient, asked: object, status: int, said: str) -> None:
    answer = client.post("/recommend", json=asked)
    assert answer.status_code == status
    assert said in answer.text


def test_a_body_without_a_length_is_cut_off_too(client: TestClient) -> None:
    pieces = (b" " * 1000 for _ in range(100))
    assert client.post("/recommend", content=pieces).status_code == 413


def test_a_new_bundle_serves_without_a_restart(client: TestClient, trained: Home, pair: Deployed) -> None:
    path = bundle_file(trained, DEPLOYED, PAIR)
    whole, before = path.read_bytes(), client.post("/recommend", json={"people": [{"user_id": "user000"}]}).json()
    try:
        reversed_bundle(trained).save(path)
        _wait(lambda: client.get("/health").json()["pairs"][PAIR]["bundle"] != before["bundle"])
        after = client.post("/recommend", json={"people": [{"user_id": "user000"}]}).json()
        assert after["people"][0]["items"] != before["people"][0]["items"]
        path.write_bytes(whole[:1000])
        _wait(lambda: client.get("/health").json()["status"] == "degraded")
        assert client.post("/recommend", json={"people": [{"user_id": "user000"}]}).json() == after
        assert "deploy the pair again" in client.get("/health").json()["pairs"][PAIR]["problem"]
    finally:
        path.write_bytes(whole)
    _wait(lambda: client.get("/health").json()["status"] == "ok")
    assert pair.reloads == {"ok": 2, "failed": 1}
    found = client.get("/metrics").text
    assert f'ptupcdr_bundle_reloads_total{{pair="{PAIR}",result="failed"}} 1.0' in found
    assert f'ptupcdr_people_total{{pair="{PAIR}",status="known"}} 3.0' in found
    assert f'ptupcdr_request_seconds_count{{pair="{PAIR}"}} 3.0' in found


def test_the_approximate_search_answers_alike(trained: Home, pair: Deployed) -> None:
    asked = [deployed.Asked(f"user{number:03d}") for number in (0, 1, 2)]
    exact, graph = (one.now.answers.to(asked, 5) for one in (pair, Deployed(trained, PAIR, "approximate")))
    ids = [[[item.item_id for item in answer.items] for answer in answers] for answers in (exact, graph)]
    assert ids[0] == ids[1], "40 items: the graph finds them all"


def test_a_pair_of_several_sources_is_served_by_ids_that_say_of_which_they_are(
    catalog_path: Path, tmp_path: Path
) -> None:
    home, several = Home(tmp_path), Pair(source="books+music", target="movies")
    catalog, warehouse = load_catalog(catalog_path), Warehouse(home.warehouse)
    for name in several.domains:
        ingest_domain(catalog.domain(name), warehouse)
    build_split(several, catalog.domain(several.source), catalog.domain("movies"), warehouse, SETTINGS)
    for side in ("source", "target"):
        pretrain(home, several.key, side, SETTINGS, _silent)  # type: ignore[arg-type]
    train_bridges(home, several.key, SETTINGS, _silent)
    bundle_file(home, DEPLOYED, several.key).parent.mkdir(parents=True)
    bundle_file(home, "candidate", several.key).rename(bundle_file(home, DEPLOYED, several.key))
    history = [{"item_id": "books:books-01", "rating": 5}, {"item_id": "music:music-02", "rating": 4}]
    people = [{"user_id": "me", "history": [*history, {"item_id": "books-01", "rating": 5}]}, {"user_id": "user000"}]
    with TestClient(app.make_app({several.key: Deployed(home, several.key)}, LIMIT)) as client:
        me, known = client.post("/recommend", json={"pair": several.key, "k": 3, "people": people}).json()["people"]
        assert client.get("/recommend", params={"pair": several.key, "user_id": "user000"}).status_code == 200
    assert (me["status"], me["unknown_items"], known["status"]) == ("given", 1, "known")
    reasons = {reason["item_id"] for item in me["items"] for reason in item["reasons"]}
    assert reasons <= {one["item_id"] for one in history}


def test_its_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/").text
    assert "/static-offline-docs/swagger-ui-bundle.js" in page
    assert "https://" not in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200
    assert set(client.get("/openapi.json").json()["paths"]) == {"/recommend", "/health", "/metrics"}


def test_no_other_machine_is_let_in_unless_told_to() -> None:
    assert signature(commands.serve).parameters["host"].default == "127.0.0.1"


def test_nothing_deployed_is_said(home: Home) -> None:
    with pytest.raises(ArtifactError, match="nothing is deployed"):
        Deployed(home, PAIR)


def reversed_bundle(home: Home) -> Bundle:
    """A bundle that recommends what the other one recommends least."""
    bundle = deployed_bundle(home, PAIR)
    mode, served = bundle.mode()
    worst = TargetItems(-served.part.target.vectors, np.float32(6) - served.part.target.offset)
    return replace(bundle, modes={**bundle.modes, mode: replace(served, part=replace(served.part, target=worst))})


def _wait(fact: Callable[[], bool]) -> None:
    for _ in range(200):
        if fact():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about in time")


def _silent(epoch: int, metrics: dict[str, float]) -> None:
    pass
