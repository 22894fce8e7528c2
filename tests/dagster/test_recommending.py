"""Printed recommendations: titles if there are any, and no columns about stars if there are none."""

import pandas as pd

from ptupcdr_core.sources.items import Items
from ptupcdr_dagster.cli.recommending import COLUMNS, Shown, for_people

REASONS = [[{"item_id": "b1", "weight": 0.25}]]


def shown(stars: float | None, **known: Items) -> pd.DataFrame:
    row = pd.DataFrame([[1, "m1", 0.5, stars, stars and 0.8, "bridge", None]], columns=COLUMNS).assign(reasons=REASONS)
    return Shown(known.get("source", Items()), known.get("target", Items()), frozenset()).as_known(row)


def test_without_stars_none_are_printed() -> None:
    assert {"stars", "likely"} & {*shown(None), *for_people(shown(None))} == set()
    [told] = for_people(shown(4.26)).to_dict("records")
    assert (told["stars"], told["likely"]) == ("4.3", "80%")


def test_titles_stand_beside_the_ids() -> None:
    frame = shown(None, source=Items({"b1": "A Book"}), target=Items({"m1": "A Movie"}))
    assert [*frame][:3] == ["rank", "item_id", "title"]
    assert frame["title"].tolist() == ["A Movie"]
    assert frame["reasons"].tolist() == [[{"item_id": "b1", "title": "A Book", "weight": 0.25}]]
    assert for_people(frame)["reasons"].tolist() == ["A Book +0.25"]
