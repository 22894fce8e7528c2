"""What the service takes and answers, as its OpenAPI page shows it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ptupcdr_core.serving.answers import Asked, Status

MOST_PEOPLE, MOST_ITEMS, MOST_RATINGS = 1_000, 1_000, 10_000
"""Of a request: people, items of a list, ratings of a history."""
Text = Annotated[str, Field(max_length=1_000)]


def _is_none(value: object) -> bool:
    return value is None


class _Message(BaseModel):
    # Ids that are numbers come as such; a key that nobody reads is a typing error.
    model_config = ConfigDict(coerce_numbers_to_str=True, extra="forbid", from_attributes=True)


class Rating(_Message):
    """One rating of a history."""

    item_id: Text = Field(description="Of the source domain; unknown ones are ignored and counted.")
    rating: float | None = Field(
        default=None,
        description="Within the source domain's scale; left out where that has events without stars.",
        allow_inf_nan=False,
    )
    timestamp: Text | None = Field(
        default=None, description="Seconds or an ISO date; without it, the order of the list counts."
    )


class Person(_Message):
    """Somebody to recommend to."""

    user_id: Text = Field(description="Comes back with the answer.")
    history: list[Rating] | None = Field(
        default=None,
        max_length=MOST_RATINGS,
        description="Their ratings in the source domain, for people who were not there when the pair was split last. "
        "Without it, what is known by the id counts.",
    )
    seen: list[Text] = Field(default=[], description="Target items that are not to be recommended to them.")

    def asked(self) -> Asked:
        """As the core takes it."""
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
    pair: Text | None = Field(default=None, description="May be left out where a single pair is served.")
    k: int = Field(default=10, ge=1, le=MOST_ITEMS, description="How many items for each.")
    eligible: list[Text] | None = Field(
        default=None, description="The only target items that may be recommended; else all."
    )


class Reason(_Message):
    """An item of the history, and how much the score would fall had it not been rated."""

    item_id: str
    title: str | None
    weight: float


class Item(_Message):
    """A recommended item."""

    rank: int
    item_id: str
    title: str | None
    score: float = Field(description="Higher is better; stars only where the pair is served by predicted ratings.")
    stars: float | None = Field(
        default=None, exclude_if=_is_none, description="The rating that is expected; absent where none is predicted."
    )
    likely: float | None = Field(
        default=None,
        exclude_if=_is_none,
        description="How probably the person likes the item, 0 to 1: rates it above the middle of the scale. Absent "
        "where no rating is predicted.",
    )
    reasons: list[Reason]


class Served(_Message):
    """What one person gets."""

    user_id: str
    status: Status = Field(
        description="given: by the history of the request; known: by ratings known of the id; unknown: nothing is "
        "known, so the fallback; refused: the history cannot be used, the message says why."
    )
    made_by: str | None = Field(description="bridge, common_bridge, popularity or mean.")
    message: str | None
    unknown_items: int = Field(description="Items of the history that the source domain does not know.")
    items: list[Item]


class Response(_Message):
    """An answer to each person, in their order."""

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
    problem: str | None = Field(description="Why a newer bundle could not be read, if so; the one before serves.")


class Health(_Message):
    """Whether all is well."""

    status: str = Field(description="ok, or degraded where a newer bundle could not be read.")
    pairs: dict[str, PairHealth]
