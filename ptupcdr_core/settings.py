"""The settings that all stages of one run share."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Setting = Literal["calibrated", "published"]
Mode = Literal["rating"]
BaseModelName = Literal["mf"]


class Settings(BaseModel):
    """What a run computes: the split, the models and their training.

    Defaults of the ``published`` numbers are those of the paper and its reference implementation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    setting: Setting = Field(
        default="calibrated", description="calibrated: contains the strongest simple baseline; published: as the paper"
    )
    mode: Mode = Field(default="rating", description="what the bridge is trained for")
    base_model: BaseModelName = Field(default="mf", description="how a domain's own ratings are factorized")
    beta: float = Field(default=0.2, gt=0, lt=1, description="fraction of overlapping users held out as test users")
    seed: int = Field(default=2020, ge=0, description="fixes the split and every random number")
    validation_fraction: float = Field(
        default=0.1, gt=0, lt=1, description="fraction of the other overlapping users that choose the epoch"
    )
    history_length: int = Field(default=20, ge=1, description="at most this many last positive source items a user")
    positive_above: float | None = Field(
        default=None, description="a rating above this is positive; None: the middle of the source scale"
    )
    embedding_size: int = Field(default=10, ge=1, description="D, the size of user and item embeddings")
    meta_hidden_size: int = Field(default=50, ge=1, description="hidden units of the meta network's decoder")
    epochs: int = Field(default=10, ge=1, description="passes over the training rows, in every stage")
    learning_rate: float = Field(default=0.01, gt=0, description="Adam's step size")
    source_batch_size: int = Field(
        default=256, ge=1, description="ratings a step of source pretraining (published setting)"
    )
    target_batch_size: int = Field(
        default=256, ge=1, description="ratings a step of target pretraining (published setting)"
    )
    meta_batch_size: int = Field(default=128, ge=1, description="ratings a step of the meta network")
    mapping_batch_size: int = Field(
        default=64, ge=1, description="users a step of the common bridge (published setting)"
    )
    top_k: int = Field(default=10, ge=1, description="recommendations stored for every cold-start user")
