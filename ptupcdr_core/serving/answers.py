"""Answers to requests: everybody who is asked about gets one, whatever is wrong with the others.

A person is given by a known id or by a history. Anybody else gets the bundle's fallback, and the answer says so. A
history that cannot be read is refused with the reason; the others of a request are answered all the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import pyarrow as pa

from ptupcdr_core.errors import SourceError
from ptupcdr_core.kernels.exact_search import Search, top_items
from ptupcdr_core.serving.bundle import Bundle

Status = Literal["given", "known", "unknown", "refused"]
"""How somebody was served: by the history of the request; by known ratings; by the fallback; not at all."""
ITEMS = pa.schema([("user_id", pa.string()), ("item_id", pa.string())])
RATINGS = pa.schema([*ITEMS, ("rating", pa.string()), ("timestamp", pa.string())])
"""All columns are texts, as in a file; a text that is not a number is refused with its place."""


class KnownPeople(Protocol):
    """People who can be asked about by their id alone."""

    def ratings(self, users: Sequence[str]) -> pa.Table:
        """Source ratings of those of the users who are known, with the columns of ``RATINGS``."""

    def seen(self, users: Sequence[str]) -> pa.Table:
        """Target items, with the columns of ``ITEMS``, that are not to be recommended to these users."""


@dataclass(frozen=True)
class Asked:
    """A person who is asked about.

    Args:
        user_id: the person's; two requests with one id are answered separately.
        history: their source ratings as (item, rating, time or None); None: the ratings known for the id.
        seen: target items that are not to be recommended.
    """

    user_id: str
    history: Sequence[tuple[str, object, object]] | None = None
    seen: Sequence[str] = ()


@dataclass(frozen=True)
class Named:
    """A source item that a recommendation rests on, and how much the score would fall without it."""

    item_id: str
    title: str | None
    weight: float


@dataclass(frozen=True)
class Item:
    """A recommended item: ``serving.deployed.Recommendation`` with titles, None where they are not known."""

    rank: int
    item_id: str
    title: str | None
    score: float
    stars: float | None
    likely: float | None
    reasons: tuple[Named, ...]


@dataclass(frozen=True)
class Answer:
    """What one person gets.

    Args:
        user_id: as it was asked for.
        status: how they were served.
        made_by: what made the list: bridge, common_bridge, popularity or mean; None if refused.
        message: why it was refused, or a note about the answer.
        unknown_items: number of items of the history that the bundle does not know; they were ignored.
        items: best first.
    """

    user_id: str
    status: Status
    made_by: str | None
    message: str | None
    unknown_items: int
    items: tuple[Item, ...]


@dataclass(frozen=True)
class Answers:
    """Answers requests from a bundle.

    Args:
        bundle: of the pair.
        known: people who can be asked about by id.
        source_titles: titles by source item id, as far as they are known.
        target_titles: titles by target item id.
        search: finds items, exactly or approximately.
        again: an exact search for people who have seen items of their list.
    """

    bundle: Bundle
    known: KnownPeople
    source_titles: Mapping[str, str] = field(default_factory=dict)
    target_titles: Mapping[str, str] = field(default_factory=dict)
    search: Search = top_items
    again: Search = top_items

    def to(self, asked: Sequence[Asked], k: int = 10, eligible: Iterable[str] | None = None) -> list[Answer]:
        """One answer to each, in their order.

        Args:
            asked: R people.
            k: how many items, at least 1; fewer come where fewer are left.
            eligible: the only target items that may be recommended; None: all.
        """
        bundle = self.bundle if eligible is None else self.bundle.among(pa.array(list(eligible), pa.string()))
        rows = self._rows(asked)
        found = self._found(bundle, range(len(asked)), rows, k) if asked else {}
        return [_answer(person, rows[place], found[place]) for place, person in enumerate(asked)]

    def _rows(self, asked: Sequence[Asked]) -> list["_Rows"]:
        """Everybody's source ratings, and what they have seen."""
        ids = list(dict.fromkeys(person.user_id for person in asked if person.history is None))
        known: dict[str, list[_Rating]] = defaultdict(list)
        seen: dict[str, list[str]] = defaultdict(list)
        if ids:
            for user, *rating in zip(*self.known.ratings(ids).to_pydict().values(), strict=True):
                known[user].append(tuple(rating))
            for user, item in zip(*self.known.seen(ids).to_pydict().values(), strict=True):
                seen[user].append(item)
        return [
            _Rows(known.get(person.user_id, []), [*person.seen, *seen.get(person.user_id, [])])
            if person.history is None
            else _Rows(person.history, person.seen)
            for person in asked
        ]

    def _found(self, bundle: Bundle, places: range, rows: Sequence["_Rows"], k: int) -> dict[int, "_Found"]:
        """The bundle's answers by place. If it refuses a batch because of one person, each half is tried alone."""
        try:
            people = bundle.recommend(
                _table(RATINGS, ((place, rating) for place in places for rating in rows[place].ratings)),
                k,
                users=map(str, places),
                seen=_table(ITEMS, ((place, (item,)) for place in places for item in rows[place].seen)),
                origin="the history",
                search=self.search,
                again=self.again,
            )
        except SourceError as error:
            if len(places) == 1:
                return {places[0]: _Found(None, 0, (), str(error))}
            half = len(places) // 2
            return self._found(bundle, places[:half], rows, k) | self._found(bundle, places[half:], rows, k)
        items: dict[str, list[Item]] = defaultdict(list)
        makers = dict(zip(people.user_ids, people.made_by, strict=True))
        for row in people.recommendations.to_pylist():
            items[row["user_id"]].append(self._item(row))
            makers[row["user_id"]] = row["made_by"]
        return {
            int(user): _Found(str(makers[user]), int(unknown), tuple(items[user]))
            for user, unknown in zip(people.user_ids, people.unknown_items, strict=True)
        }

    def _item(self, row: Mapping[str, Any]) -> Item:
        reasons = zip(row["reasons"], row["reason_weights"], strict=True)
        named = tuple(Named(item, self.source_titles.get(item), weight) for item, weight in reasons)
        title = self.target_titles.get(row["item_id"])
        return Item(row["rank"], row["item_id"], title, row["score"], row.get("stars"), row.get("likely"), named)


_Rating = tuple[object, ...]


class _Rows(NamedTuple):
    """A person's source ratings, and target items that they have seen."""

    ratings: Sequence[_Rating]
    seen: Sequence[str]


class _Found(NamedTuple):
    """The bundle's answer for a person, or why it was refused."""

    made_by: str | None
    unknown_items: int
    items: tuple[Item, ...]
    refused: str | None = None


def _answer(person: Asked, rows: _Rows, found: _Found) -> Answer:
    status: Status = "given" if person.history is not None else "known" if rows.ratings else "unknown"
    message = (
        f"nobody is known by this id, so this is the fallback for people of whom nothing is known ({found.made_by})"
    )
    return Answer(
        person.user_id,
        "refused" if found.refused else status,
        found.made_by,
        found.refused or (message if status == "unknown" else None),
        found.unknown_items,
        found.items,
    )


def _table(schema: pa.Schema, rows: Iterable[tuple[int, Sequence[object]]]) -> pa.Table:
    """Rows whose user ids are people's places in the request, so that ids given by users cannot clash."""
    columns: list[list[str | None]] = [[] for _ in schema]
    for place, values in rows:
        for column, value in zip(columns, (place, *values), strict=True):
            column.append(None if value is None else str(value))
    return pa.table(columns, schema=schema)
