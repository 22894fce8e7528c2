"""The report: everything is on one page, nothing is loaded from elsewhere, and ids are shown as plain text only."""

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Lineage
from small_lineage import PAIR, domains, read, run

from ptupcdr_core.evaluation.significance import PairedErrors
from ptupcdr_core.report import charts, page, verdict
from ptupcdr_core.report.about import LIST, PEOPLE, examples
from ptupcdr_core.report.drawing import drawable
from ptupcdr_core.report.embeddings import Embedded
from ptupcdr_core.report.facts import gather, score_intervals
from ptupcdr_core.report.nights import drifted
from ptupcdr_core.report.page import PairReport, make_report
from ptupcdr_core.report.store import read_provenance, report_path
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

SECTIONS = {
    "headline",
    "methods",
    "intervals",
    "beta",
    "learning",
    "embeddings",
    "attention",
    "reliability",
    "slices",
    "warm",
    "nights",
}
HOSTILE = '<script>alert("$x_$")</script>'


class Page(HTMLParser):
    """Every tag's attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def copied(lineage: Lineage, folder: Path) -> Home:
    shutil.copytree(lineage.home.root, folder / "home")
    return Home(folder / "home")


@pytest.fixture(scope="module")
def home(lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return copied(lineage, tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def report(lineage: Lineage, home: Home) -> PairReport:
    return make_report(home, PAIR, lineage.settings, fingerprint="abc")


def test_the_page_holds_every_section(report: PairReport, home: Home) -> None:
    assert report.path == report_path(home, PAIR)
    found = {attributes.get("id") for _, attributes in Page(report.path.read_text()).tags}
    assert found >= SECTIONS


def test_the_page_needs_nothing_but_itself(report: PairReport) -> None:
    parsed = Page(report.path.read_text())
    assert not {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object", "base"}
    addresses = [a[name] or "" for _, a in parsed.tags for name in ("src", "href", "srcset", "action") if name in a]
    elsewhere = [address for address in addresses if not address.startswith(("data:image/png;base64,", "#"))]
    assert elsewhere == ["../data_docs/index.html"], "a link for readers, by which nothing is fetched"
    assert not re.search(r"url\(|@import", report.path.read_text())


def test_it_says_when_which_model_and_which_data(report: PairReport, lineage: Lineage) -> None:
    text = Page(report.path.read_text()).text
    [(digest,)] = read(lineage.home, "domain_splits", "select vocabulary from split_summary")
    assert digest[:16] in text
    assert re.search(r"Measured\s*20\d\d-\d\d-\d\d \d\d:\d\d UTC", text)
    assert "version 1. The gate: " in text
    assert re.search(rf"embedding_size\s*{lineage.settings.embedding_size}\D", text)


def test_people_are_shown_with_history_list_and_reasons(report: PairReport, lineage: Lineage) -> None:
    shown = examples(lineage.home, PAIR)
    assert len(shown) == PEOPLE
    text = " ".join(Page(report.path.read_text()).text.split())
    for person in shown:
        assert f"{person.id} {person.length} items in books; the latest: {person.history[0]['item']}" in text
        first = person.recommended[0]
        told = f"{first['stars']:.1f} ★, {100 * first['likely']:.0f} % to like it"
        assert f"{first['item_id']} {told} for {first['reasons'][0]} (+" in text
        assert [row["rank"] for row in person.recommended] == [*range(1, LIST + 1)]


def test_the_headline_is_about_the_strongest_simple_baseline(report: PairReport) -> None:
    assert "strongest simple baseline, item mean + source offset" in report.headline
    assert report.headline in Page(report.path.read_text()).text


def test_pictures_are_png_and_have_a_text(report: PairReport) -> None:
    assert [picture.name for picture in report.pictures][:1] == ["methods_with_intervals"]
    assert {"learning_curves", "embeddings", "reliability", "errors_by_slice"} <= {
        picture.name for picture in report.pictures
    }
    assert all(picture.png.startswith(b"\x89PNG") and picture.alt for picture in report.pictures)


def test_equal_content_makes_an_equal_page(report: PairReport, lineage: Lineage, tmp_path: Path) -> None:
    again = make_report(copied(lineage, tmp_path), PAIR, lineage.settings, fingerprint="abc")
    assert again.path.read_bytes() == report.path.read_bytes()


def test_what_is_missing_says_how_to_get_it(report: PairReport) -> None:
    text = Page(report.path.read_text()).text
    assert f"ptupcdr benchmark {PAIR}" in text


def test_a_hostile_id_is_shown_as_text(lineage: Lineage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hostile(warehouse: Warehouse, pair: str) -> np.ndarray:
        return np.full(100_000, HOSTILE, dtype=object)

    monkeypatch.setattr(page, "source_item_ids", hostile)
    monkeypatch.setattr(page, "user_ids", hostile)
    [first, second, third, *_] = (row["item_id"] for row in examples(lineage.home, PAIR)[0].recommended)
    web, quoted = "https://shop.example/1?a=b&c", 'https://shop.example/" onerror="alert(1)'
    told = Items(
        titles={first: HOSTILE},
        links={first: web, second: "javascript:alert(1)", third: "//shop.example"},
        images={first: quoted, second: "data:text/html,<script>", third: "file:///etc/passwd"},
    )
    items = {"source": Items(), "target": told}
    text = make_report(copied(lineage, tmp_path), PAIR, lineage.settings, items=items).path.read_text()
    assert HOSTILE not in text
    assert HOSTILE in Page(text).text
    assert "script" not in {tag for tag, _ in Page(text).tags}
    tags = Page(text).tags
    assert {attributes["href"] for tag, attributes in tags if tag == "a" and "rel" in attributes} == {web}
    outside = [attributes for tag, attributes in tags if tag == "img" and "loading" in attributes]
    assert {attributes["src"] for attributes in outside} == {quoted}
    assert not any("onerror" in attributes for attributes in outside)


def test_the_page_tells_what_it_was_made_from(report: PairReport, lineage: Lineage, home: Home) -> None:
    provenance = read_provenance(home, PAIR)
    assert provenance == {"fingerprint": "abc", "settings": lineage.settings.model_dump(mode="json")}


def test_a_page_that_is_gone_or_older_than_the_benchmark_does_not_stand(
    report: PairReport, home: Home, lineage: Lineage, tmp_path: Path
) -> None:
    other = Home(tmp_path)
    assert read_provenance(other, PAIR) is None
    report_path(other, PAIR).parent.mkdir()
    shutil.copy(report.path, report_path(other, PAIR))
    assert read_provenance(other, PAIR) is not None
    with Warehouse(other.warehouse).write("benchmark", PAIR) as connection:
        connection.execute("create table benchmark (pair varchar)")
    assert read_provenance(other, PAIR) is None


def test_the_published_setting_has_a_page_too(published_lineage: Lineage, tmp_path: Path) -> None:
    report = make_report(copied(published_lineage, tmp_path), PAIR, published_lineage.settings)
    found = {attributes.get("id") for _, attributes in Page(report.path.read_text()).tags}
    assert found >= SECTIONS


def test_where_everybody_gave_five_stars_there_is_a_page_without_a_map_of_people(
    lineage: Lineage, tmp_path: Path
) -> None:
    for file in lineage.files.glob("*.parquet"):
        ratings = pq.read_table(file)
        place = ratings.schema.get_field_index("rating")
        pq.write_table(ratings.set_column(place, "rating", pa.array([5.0] * len(ratings))), tmp_path / file.name)
    home = Home(tmp_path / "home")
    run(home, domains(tmp_path), lineage.settings)
    page = make_report(home, PAIR, lineage.settings).path.read_text(encoding="utf-8")
    assert "or all are put in the same place" in page


def test_nights_are_drawn_beside_their_bounds(lineage: Lineage, tmp_path: Path) -> None:
    """One night is told, two are drawn; the last one's stars have gone another way, so a training is due."""
    home = copied(lineage, tmp_path)
    alone = drifted(home, PAIR)
    assert "Nothing is beyond its bound." in alone.caption
    assert not alone.pictures
    with duckdb.connect(str(Warehouse(home.warehouse).file("recommendations", PAIR))) as connection:
        connection.execute(
            "insert into drift select * replace (night + interval 1 day as night, "
            "case kind when 'stars' then chance + 1 else drift end as drift) from drift"
        )
    found = drifted(home, PAIR)
    assert "Beyond its bound: source stars, target stars." in found.caption
    assert found.caption[-1] == f"A training is due: `ptupcdr backfill {PAIR}`."
    assert [picture.name for picture in found.pictures] == ["nights"]
    [(_, table)] = found.tables
    assert {"source users", "target stars", "best scores"} <= set(table["measure"])
    rated = table.set_index("measure").loc["source ratings"]
    assert rated["before"] == rated["tonight"]
    assert re.fullmatch(r"\d{1,3}(,\d{3})+", rated["before"]), "thousands are written out"


def test_the_benchmark_and_the_warm_start_are_drawn_where_they_are(lineage: Lineage, tmp_path: Path) -> None:
    home = copied(lineage, tmp_path)
    rows = [
        {"pair": PAIR, "recipe": "honest", "mode": "rating", "beta": beta, "base_model": "mf", "method": method,
         "seed": seed, "mae": error + beta, "rmse": error + 0.2 + beta, "seconds": 1.0}
        for beta in (0.2, 0.5) for seed in (1, 2) for method, error in (("ptupcdr", 0.6), ("tgt", 4.0))
    ]  # fmt: skip
    warm = [{"method": "ptupcdr", "known_ratings": n, "mae": 0.7, "rmse": 0.9} for n in ("half", "8", "0")]
    for asset, table in (("benchmark", pd.DataFrame(rows)), ("warm_start_evaluation", pd.DataFrame(warm))):
        with Warehouse(home.warehouse).write(asset, PAIR) as connection:
            connection.register("frame", table)
            connection.execute(f"create table {asset} as select * from frame")
    report = make_report(home, PAIR, lineage.settings)
    assert {"beta_curves_honest", "warm_start"} <= {picture.name for picture in report.pictures}
    assert "The scale is logarithmic" in Page(report.path.read_text()).text


def test_what_would_flatten_the_others_is_named_not_drawn() -> None:
    assert drawable({"tgt": 4.3, "ptupcdr": 0.6, "item_mean": 0.7}) == (
        ["ptupcdr", "item_mean"],
        "Off the scale, with their largest error: TGT (4.30).",
    )


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (0.2, "PTUPCDR predicts best"),
        (0.0, "No method is significantly better than the strongest simple baseline, item mean"),
        (-0.2, "The simple baseline item mean predicts best"),
    ],
)
def test_the_headline_follows_the_significance(gain: float, words: str, home: Home) -> None:
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, (2, 400)) + 0.7
    absolute = np.stack([noise[0], noise[1] - gain])
    errors = PairedErrors(("item_mean", "ptupcdr"), np.ones(400), absolute, absolute**2)
    facts = gather(home, PAIR)
    judged = verdict.judge(replace(facts, errors=errors, scores=score_intervals(errors)))
    assert judged.headline.startswith(words)


def test_nearness_is_one_at_the_own_place_and_half_by_chance() -> None:
    own = np.random.default_rng(0).normal(size=(200, 4))
    other = np.random.default_rng(1).normal(size=(200, 4))
    users = np.arange(1, 201, dtype=np.int32)
    embedded = Embedded(users, own, {"ptupcdr": own, "emcdr": other, "tgt": np.zeros((200, 4))})
    assert embedded.nearer_than_others("ptupcdr") == 1
    assert embedded.nearer_than_others("emcdr") == pytest.approx(0.5, abs=0.05)
    assert embedded.spread("ptupcdr") == 1
    assert embedded.spread("tgt") == 0


def test_a_bucket_says_what_is_in_it() -> None:
    assert charts.bucket_label({"at_least": 1, "at_most": 2, "ratings": 1234}) == "1–2\nn=1,234"
    assert charts.bucket_label({"at_least": 0, "at_most": 0, "ratings": 5}) == "0\nn=5"
    assert charts.bucket_label({"at_least": 20, "at_most": pd.NA, "ratings": 5}) == "20+\nn=5"


def test_curves_are_kept_with_the_checkpoint(home: Home) -> None:
    manifest = json.loads((home.models / "source_model" / f"{PAIR}.json").read_text())
    assert [epoch for epoch, _ in manifest["curves"]["training_loss"]] == list(range(1, 16))
