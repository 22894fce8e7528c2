"""The page: facts become sections, and these one HTML file that needs no other file."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.pair_data import Side, load_outline, source_item_ids, user_ids
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.modes.registry import modes_of
from ptupcdr_core.report import sections
from ptupcdr_core.report.about import about, examples
from ptupcdr_core.report.attention import Attention, attend
from ptupcdr_core.report.drawing import FONT, Picture
from ptupcdr_core.report.facts import Facts, gather
from ptupcdr_core.report.groups import by_group, lists_of_test_users
from ptupcdr_core.report.lists import gather_lists, judge_lists
from ptupcdr_core.report.nights import drifted
from ptupcdr_core.report.reliability import reliability
from ptupcdr_core.report.several import beside_each_source
from ptupcdr_core.report.store import report_path, write_report
from ptupcdr_core.report.verdict import judge
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.items import Items
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse


@dataclass(frozen=True)
class PairReport:
    """What was written.

    Args:
        path: the page.
        headline: its first sentence.
        explanation: the numbers behind it.
        pictures: in the order of the page.
    """

    path: Path
    headline: str
    explanation: str
    pictures: list[Picture]


def make_report(
    home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Mapping[Side, Items] | None = None
) -> PairReport:
    """Write a pair's page (asset ``pair_report``) from what its runs have left; items go by their titles, if known.

    Raises:
        WarehouseError: the pair has not been evaluated.
        ArtifactError: its models are missing or belong to another split.
    """
    outline = load_outline(Warehouse.from_environment(home.warehouse), pair)
    predicted = any(mode.name == "rating" for mode in modes_of(settings, outline))
    known = items or {"source": Items(), "target": Items()}
    with one_thread():
        content = _of_ratings(home, pair, known["source"]) if predicted else _of_lists(home, pair)
    if known["target"].groups:
        content["sections"].append(by_group(home, lists_of_test_users(home, pair), known["target"]))
    named = Pair.of(pair)
    if len(named.sources) > 1:
        content["sections"].append(beside_each_source(home, named))
    with rc_context(FONT):
        content["sections"].append(drifted(home, pair))
    page = _template().render(
        pair=pair,
        source=named.source,
        target=named.target,
        **content,
        titles=known,
        page_of=Items.page,
        picture_of=Items.picture,
        about=about(home, pair),
        chosen=settings.model_dump(mode="json"),
        examples=examples(home, pair),
        share=sections.share,
        fingerprint=fingerprint,
        settings=json.dumps(settings.model_dump(mode="json"), sort_keys=True),
    )
    path, verdict = write_report(report_path(home, pair), page), content["verdict"]
    pictures = [picture for part in content["sections"] for picture in part.pictures]
    return PairReport(path, verdict.headline, verdict.explanation, pictures)


def _of_ratings(home: Home, pair: str, known: Items) -> dict[str, Any]:
    """What a page shows of a pair whose ratings are predicted."""
    facts = gather(home, pair)
    attended = attend(facts)
    with rc_context(FONT):
        parts = sections.written(
            [
                sections.intervals(facts),
                sections.rankings(facts.rankings),
                sections.betas(facts),
                sections.curves(facts),
                sections.user_embeddings(facts),
                sections.attention(facts, attended),
                reliability(facts),
                sections.slices(facts),
                sections.warm(facts),
            ]
        )
    return {
        "metrics": {"mae": "MAE", "rmse": "RMSE"},
        "compared": "RMSE",
        "labels": facts.labels,
        "verdict": judge(facts),
        "sections": parts,
        "people": _people(home, facts, attended, known),
    }


def _of_lists(home: Home, pair: str) -> dict[str, Any]:
    """What a page shows of a pair for which only lists are made."""
    facts = gather_lists(home, pair)
    return {
        "metrics": {"ndcg_at_10": "NDCG@10"},
        "compared": "NDCG@10",
        "labels": facts.labels,
        "verdict": judge_lists(facts),
        "sections": sections.written([sections.rankings(facts.rankings)]),
        "people": [],
    }


def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["base64"] = lambda payload: base64.b64encode(payload).decode()
    return environment.get_template("page.html.j2")


def _people(home: Home, facts: Facts, attended: Attention | None, known: Items) -> list[dict[str, Any]]:
    """The attention of a few people, with ids and titles instead of indices."""
    if attended is None:
        return []
    warehouse = Warehouse.from_environment(home.warehouse)
    users, items = user_ids(warehouse, facts.data), source_item_ids(warehouse, facts.pair)
    return [
        {
            "id": str(users[person.user]),
            "length": person.length,
            "even": 1 / person.length,
            "widest": max(person.items[0].weight, 1 / person.length),
            "items": [
                (str(items[seen.item]), known.title(str(items[seen.item])), seen.stars, seen.weight)
                for seen in person.items
            ],
        }
        for person in attended.people
    ]
