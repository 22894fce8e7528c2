"""The settings that all stages of one run share; each field says what its setting decides.

Which settings matter to a stage, a benchmark or a search is derived from that: see ``Settings.deciding``.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Recipe = Literal["calibrated", "honest", "published", "published_test_best"]
Mode = Literal["rating", "ranking"]
Search = Literal["exact", "approximate"]
BaseModelName = Literal["mf", "gmf", "dnn"]
BridgeFormName = Literal["full", "low_rank", "diagonal"]
Attention = Literal["items", "rated", "timed"]

REFERENCE_RECIPES: tuple[Recipe, ...] = ("honest", "published", "published_test_best")
"""The recipes that train as the paper's reference implementation does; they differ in which epoch is kept, and whether
predictions are clipped.

``honest``: the epoch with the best validation RMSE, predictions clipped to the scale. ``published``: the same rule,
predictions not clipped. ``published_test_best``: not clipped, and the best epoch on the *test* users, chosen once for
MAE and once for RMSE, as the reference reports; only for comparison with numbers that were chosen in this way.
"""

Part = Literal["split", "rating", "ranking", "modes", "deployment", "recommendations"]
"""Parts of what is computed. ``split``: who is held out, and what histories hold; ``rating``, ``ranking``: the models
of each mode and their measures; ``modes``: which modes there are; ``deployment``: which models are deployed;
``recommendations``: the stored lists."""
EVALUATED: tuple[Part, ...] = ("split", "rating", "ranking", "modes")
"""All that an evaluation depends on."""


@dataclass(frozen=True)
class Decides:
    """What a setting decides; part of its field's annotation.

    Args:
        parts: the parts whose results it may change.
        varied: whether a benchmark's grid varies it.
    """

    parts: tuple[Part, ...]
    varied: bool = False


_SPLIT = Decides(("split",))
_RATING, _RANKING = Decides(("rating",)), Decides(("ranking",))
_BOTH_MODES = Decides(("rating", "ranking"))


class Settings(BaseModel):
    """What a run computes: the split, the models and their training.

    Where the recipe ``published`` reads a number, its default is that of the paper or its reference implementation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    recipe: Annotated[Recipe, Decides(("rating", "modes"), varied=True)] = Field(
        default="calibrated",
        description="calibrated: contains the strongest simple baseline; published: as in the paper; honest: the same, "
        "clipped; published_test_best: epoch chosen on the test users, for the benchmark only",
    )
    mode: Annotated[Literal["rating", "ranking", "both"], Decides(("modes",))] = Field(
        default="both",
        description="what bridges are trained for: predicted ratings, ranked lists, or both; recommendations come from "
        "the lists where there are any (calibrated alone: the reference's recipes rank nothing). A pair without stars "
        "has lists alone",
    )
    base_model: Annotated[BaseModelName, Decides(("rating",), varied=True)] = Field(
        default="mf", description="how a domain's own ratings are factorized"
    )
    beta: Annotated[float, Decides(("split",), varied=True)] = Field(
        default=0.2, gt=0, lt=1, description="fraction of overlapping users held out as test users"
    )
    seed: Annotated[int, Decides(("split", "rating", "ranking"), varied=True)] = Field(
        default=2020, ge=0, le=2**63 - 1, description="fixes the split and every random number"
    )
    validation_fraction: Annotated[float, _SPLIT] = Field(
        default=0.1, gt=0, lt=1, description="fraction of the other overlapping users kept for validation"
    )
    history_length: Annotated[int, _SPLIT] = Field(
        default=20, ge=1, description="a user's history holds at most this many of the last positive source items"
    )
    positive_above: Annotated[float | None, _SPLIT] = Field(
        default=None, description="a rating above this is positive; None: the middle of the source scale"
    )
    most_ratings: Annotated[int, _SPLIT] = Field(
        default=200_000_000,
        ge=1,
        description="of a pair with more ratings, meta network, evaluation, gate and report read about so many: "
        "those of people drawn by a hash of their ids; base models, embeddings and lists are made from all",
    )
    embedding_size: Annotated[int, _RATING] = Field(
        default=10, ge=1, description="D, the size of user and item embeddings"
    )
    # Chosen on bridge users in place of test users, 20 splits of five released pairs: with 128, NDCG@10 of the common
    # bridge is 3.4 % above that with 64 (standard error 1.5), NDCG@50 3.1 % (1.1); with 256, for three times the time,
    # 2.2 % (1.8) and 1.7 % (1.4).
    ranking_size: Annotated[int, _RANKING] = Field(
        default=128, ge=1, description="D of the embeddings for ranked lists"
    )
    meta_hidden_size: Annotated[int, _BOTH_MODES] = Field(
        default=50, ge=2, description="hidden units of the meta network's decoder; calibrated starts them in pairs"
    )
    bridge_form: Annotated[BridgeFormName, _RATING] = Field(
        default="full",
        description="what the meta network writes for a user: every entry of a matrix, two thin matrices whose product "
        "it is, or its diagonal",
    )
    bridge_rank: Annotated[int, _RATING] = Field(
        default=4, ge=1, validate_default=True, description="rank of a low_rank bridge, at most D"
    )
    residual: Annotated[bool, _RATING] = Field(
        default=False,
        description="personal bridges are corrections of the common one (EMCDR's); calibrated ones are in any case",
    )
    attention: Annotated[Attention, _RATING] = Field(
        default="items",
        description="items: a history item's weight depends on its vector; rated: also on the user's rating; timed: "
        "also on how recent it is",
    )
    epochs: Annotated[int, _RATING] = Field(
        default=10, ge=1, description="passes over the training rows, in every stage"
    )
    learning_rate: Annotated[float, _RATING] = Field(default=0.01, gt=0, description="Adam's step size")
    source_batch_size: Annotated[int, _RATING] = Field(
        default=256, ge=1, description="ratings per step of source pretraining (published recipe)"
    )
    target_batch_size: Annotated[int, _RATING] = Field(
        default=256, ge=1, description="ratings per step of target pretraining (published recipe)"
    )
    meta_batch_size: Annotated[int, _RATING] = Field(
        default=128, ge=1, description="ratings per step of the meta network"
    )
    mapping_batch_size: Annotated[int, _RATING] = Field(
        default=64, ge=1, description="users per step of the common bridge (published recipe)"
    )
    top_k: Annotated[int, Decides(("recommendations",))] = Field(
        default=10, ge=1, description="recommendations stored for every cold-start user"
    )
    search: Annotated[Search, Decides(("recommendations",))] = Field(
        default="exact",
        description="how best items are found: exact, or approximate by a graph of the items, which misses a few in a "
        "thousand and pays off from a million items and some 50,000 users on",
    )
    long_tail: Annotated[float, Decides(("recommendations",))] = Field(
        default=0.0,
        ge=0,
        le=1,
        description="by how much stored lists prefer, among each person's best items, those that few people took: 0 "
        "not at all; more shows more of the target's items and hits less (measured in docs/carry_over.md)",
    )
    refit: Annotated[bool, Decides(("deployment",))] = Field(
        default=False,
        description="once the evaluation is done, fit again on all overlapping users, test users too, and recommend "
        "from that; nothing is chosen again and no measured number changes (calibrated alone)",
    )
    no_gate: Annotated[bool, Decides(("deployment",))] = Field(
        default=False,
        description="deploy the new model even if the gate refuses it; the decision is made and recorded all the same",
    )

    @field_validator("mode")
    @classmethod
    def _reference_ranks_nothing(cls, mode: str, others: ValidationInfo) -> str:
        if mode == "ranking" and others.data.get("recipe") != "calibrated":
            raise ValueError("ranked lists are made in the recipe calibrated alone; use mode rating or both")
        return mode

    @field_validator("base_model")
    @classmethod
    def _calibrated_needs_mf(cls, base_model: BaseModelName, others: ValidationInfo) -> BaseModelName:
        if others.data.get("recipe") == "calibrated" and base_model != "mf":
            raise ValueError(
                f"the recipe calibrated is made for base model mf; {base_model} needs one of the recipes "
                f"{', '.join(REFERENCE_RECIPES)}"
            )
        return base_model

    @field_validator("refit")
    @classmethod
    def _reference_is_not_refitted(cls, refit: bool, others: ValidationInfo) -> bool:
        if refit and others.data.get("recipe") != "calibrated":
            raise ValueError("models are fitted again in the recipe calibrated alone; the others serve as evaluated")
        return refit

    @field_validator("bridge_rank")
    @classmethod
    def _rank_is_low(cls, rank: int, others: ValidationInfo) -> int:
        size = others.data.get("embedding_size", rank)
        if others.data.get("bridge_form") == "low_rank" and rank > size:
            raise ValueError(f"a bridge between vectors of size {size} has no higher rank than {size}")
        return rank

    @classmethod
    def names_that_decide(cls, *parts: Part) -> tuple[str, ...]:
        """The settings that can change the result of some of these parts, in their order.

        Raises:
            TypeError: a setting does not say what it decides.
        """
        return tuple(name for name in cls.model_fields if set(cls._decides(name).parts) & set(parts))

    @classmethod
    def names_varied(cls) -> tuple[str, ...]:
        """The settings that a benchmark's grid varies."""
        return tuple(name for name in cls.model_fields if cls._decides(name).varied)

    @classmethod
    def _decides(cls, name: str) -> Decides:
        for mark in cls.model_fields[name].metadata:
            if isinstance(mark, Decides):
                return mark
        raise TypeError(f"the setting {name} does not say what it decides: annotate its field with Decides(...)")

    def deciding(self, *parts: Part) -> dict[str, Any]:
        """The values, as JSON has them, of the settings that can change the result of some of these parts."""
        return self.model_dump(mode="json", include=set(self.names_that_decide(*parts)))

    @property
    def modes(self) -> tuple[Mode, ...]:
        """What bridges are to be trained for, where a pair has stars (see ``modes.registry.modes_of``)."""
        if self.mode != "both":
            return (self.mode,)
        return ("rating", "ranking") if self.recipe == "calibrated" else ("rating",)

    @property
    def clipped(self) -> bool:
        """Whether predictions are moved into the rating scale; the paper's reference implementation does not."""
        return self.recipe in ("calibrated", "honest")
