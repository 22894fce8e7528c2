"""Input and output of the registered model, as its page shows them and MLflow's server enforces them."""

from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa

if TYPE_CHECKING:
    from mlflow.models import ModelSignature


def signature(*, rated: bool, predicted: bool) -> "ModelSignature":
    """The columns of input and output, and the parameters.

    Args:
        rated: Whether histories have ratings; otherwise they are events without stars.
        predicted: Whether ratings are predicted.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array, Object, Property

    text, real, whole = DataType.string, DataType.double, DataType.long
    reason = Object([Property("item_id", text), Property("title", text, required=False), Property("weight", real)])
    item = Object(
        [
            Property("rank", whole),
            Property("item_id", text),
            Property("title", text, required=False),
            Property("score", real),
            *([Property(name, real, required=False) for name in ("stars", "likely")] if predicted else []),
            Property("reasons", Array(reason)),
        ]
    )
    given: dict[str, Any] = {"item_id": text, "timestamp": text}
    given |= {"rating": real} if rated else {}
    given |= {"target_item_id": text} if predicted else {}
    # Typed as lists, MLflow would refuse a request in which only some people have them.
    given |= {"history": AnyType(), "seen": AnyType()}  # type: ignore[no-untyped-call]
    answered: dict[str, Any] = {"made_by": text, "message": text, "unknown_items": whole, "items": Array(item)}
    answered |= {"target_item_id": text, "rating": real, "likely": real} if predicted else {}
    return ModelSignature(
        Schema([ColSpec(text, "user_id"), *_optional(given)]),
        Schema([ColSpec(text, "user_id"), ColSpec(text, "status"), *_optional(answered)]),
        ParamSchema([ParamSpec("k", whole, 10), ParamSpec("eligible", text, [], shape=(-1,))]),
    )


def input_example(people: pa.Table) -> pd.DataFrame:
    """A person who is known by their id, if there is one, and one who is described by a history.

    Args:
        people: Source ratings of the people whom the model knows.
    """
    rated = people.slice(0, 2).to_pylist()
    history = [
        {"item_id": row["item_id"]} | ({} if row["rating"] is None else {"rating": float(row["rating"])})
        for row in rated
    ]
    known = [{"user_id": str(row["user_id"]), "history": None} for row in rated[:1]]
    return pd.DataFrame([*known, {"user_id": "somebody new", "history": history}])


def _optional(columns: dict[str, Any]) -> list[Any]:
    from mlflow.types import ColSpec

    return [ColSpec(kind, name, required=False) for name, kind in columns.items()]
