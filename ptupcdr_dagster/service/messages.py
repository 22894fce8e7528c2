"""Requests and answers of the service, as its OpenAPI page shows them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ptupcdr_core.serving.answers import Asked, Status

MOST_PEOPLE, MOST_ITEMS, MOST_RATINGS = 1_000, 1_000, 10_000
"""Limits of a request: people, items in a list, ratings in a history."""
Text = Annotated[str, Field(max_length=1_000)]


def _is_none(value: object) -> bool:
    return value is None


class _Message(BaseModel):
    # Ids may be sent as numbers; an unknown key is taken for a typing error and refused.
    model_config = ConfigDict(coerce_numbers_to_str=True, extra="forbid", from_attributes=True)


class Rating(_Message):
    """One rating of a history."""

    item_id: Text = Field(description="Item of the source domain; unknown ones are ignored and counted.")
    rating: float | None = Field(
        default=None,
        description="Within the source domain's scale; leave it out if the domain has events without stars.",
        allow_inf_nan=False,
    )
    timestamp: Text | None = Field(
        default=None, description="As in the source (seconds), or an ISO date; left out: the list is oldest first."
    )


class Person(_Message):
    """A person to recommend to."""

    user_id: Text = Field(description="Repeated in the answer.")
    history: list[Rating] | None = Field(
        default=None,
        max_length=MOST_RATINGS,
        description="Their source ratings, for people who came after the pair was split last. Without it, the ratings "
        "known for the id are used.",
    )
    seen: list[Text] = Field(default=[], description="Target items not to recommend to them.")

    def asked(self) -> Asked:
        """The person in the core's form."""
        rated = self.history
        history = None if rated is None else [(one.item_id, one.rating, one.timestamp) for one in rated]
        return Asked(self.user_id, history, self.seen)


class Request(_Message):
    """People to recommend to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "pair": "books__movies",
                    "k": 3,
                    "people": [
                        {"user_id": "person-00001"},
                        {"user_id": "somebody new", "history": [{"item_id": "books-0001", "rating": 5}]},
                    ],
                }
            ]
        }
    )
    people: list[Person] = Field(min_length=1, max_length=MOST_PEOPLE)
    pair: Text | None = Field(default=None, description="May be left out if only one pair is served.")
    k: int = Field(default=10, ge=1, le=MOST_ITEMS, description="How many items for each person.")
    eligible: list[Text] | None = Field(
        default=None, description="The only target items that may be recommended; left out: all."
    )


class Reason(_Message):
    """An item of the history, and how far the score would fall without its rating."""

    item_id: str
    title: str | None
    weight: float


class Item(_Message):
    """A recommended item."""

    rank: int
    item_id: str
    title: str | None
    score: float = Field(description="Higher is better; in stars only if predicted ratings serve the pair.")
    stars: float | None = Field(
        default=None, exclude_if=_is_none, description="The expected rating; absent if none is predicted."
    )
    likely: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Probability (0 to 1) that the person likes the item, i.e. rates it above the middle of the scale. "
        "Absent if no rating is predicted.",
    )
    reasons: list[Reason]


class Served(_Message):
    """What one person gets."""

    user_id: str
    status: Status = Field(
        description="given: served by the request's history; known: by the ratings known for the id; unknown: by the "
        "fallback, since nothing is known; refused: the history cannot be used, the message says why."
    )
    made_by: str | None = Field(description="bridge, common_bridge, popularity or mean.")
    message: str | None
    unknown_items: int = Field(description="Items of the history that the source domain does not know.")
    items: list[Item]


class Response(_Message):
    """One answer for each person, in the request's order."""

    pair: str
    bundle: str = Field(description="Digest of the bundle that answered.")
    people: list[Served]


class PairHealth(_Message):
    """What serves a pair."""

    bundle: str
    loaded_at: str
    modes: list[str]
    target_items: int
    search: str
    problem: str | None = Field(description="Why a newer bundle could not be read, if so; the old one serves.")


class Health(_Message):
    """Whether everything is served as deployed."""

    status: str = Field(description="ok, or degraded if a newer bundle could not be read.")
    pairs: dict[str, PairHealth]
