"""The page: facts to sections to one HTML file that needs nothing but itself."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib import rc_context

from ptupcdr_core.data.pair_data import source_item_ids, user_ids
from ptupcdr_core.report import sections
from ptupcdr_core.report.about import about, examples
from ptupcdr_core.report.attention import Attention, attend
from ptupcdr_core.report.drawing import FONT, Picture
from ptupcdr_core.report.facts import Facts, gather
from ptupcdr_core.report.reliability import reliability
from ptupcdr_core.report.store import report_path, write_report
from ptupcdr_core.report.verdict import judge
from ptupcdr_core.settings import Settings
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


def make_report(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> PairReport:
    """Write a pair's page (asset ``pair_report``) from what its runs have left.

    Raises:
        WarehouseError: the pair has not been evaluated.
        ArtifactError: its models are missing or belong to another split.
    """
    facts = gather(home, pair)
    verdict, attended = judge(facts), attend(facts)
    with rc_context(FONT):
        parts = sections.written(
            [
                sections.intervals(facts),
                sections.rankings(facts),
                sections.betas(facts),
                sections.curves(facts),
                sections.user_embeddings(facts),
                sections.attention(facts, attended),
                reliability(facts),
                sections.slices(facts),
                sections.warm(facts),
            ]
        )
    source, target = pair.split("__", 1)
    page = _template().render(
        pair=pair,
        source=source,
        target=target,
        labels=facts.labels,
        verdict=verdict,
        sections=parts,
        people=_people(home, facts, attended),
        about=about(home, pair),
        chosen=settings.model_dump(mode="json"),
        examples=examples(home, pair),
        share=sections.share,
        fingerprint=fingerprint,
        settings=json.dumps(settings.model_dump(mode="json"), sort_keys=True),
    )
    path = write_report(report_path(home, pair), page)
    return PairReport(
        path, verdict.headline, verdict.explanation, [picture for part in parts for picture in part.pictures]
    )


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


def _people(home: Home, facts: Facts, attended: Attention | None) -> list[dict[str, Any]]:
    """The attention of a few people, with ids instead of indices."""
    if attended is None:
        return []
    warehouse = Warehouse.from_environment(home.warehouse)
    users, items = user_ids(warehouse, facts.pair), source_item_ids(warehouse, facts.pair)
    return [
        {
            "id": str(users[person.user]),
            "length": person.length,
            "even": 1 / person.length,
            "widest": max(person.items[0].weight, 1 / person.length),
            "items": [(str(items[seen.item]), seen.stars, seen.weight) for seen in person.items],
        }
        for person in attended.people
    ]
