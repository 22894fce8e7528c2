"""The model that MLflow serves: this file is copied into every registered version, and read from there.

So it stands on its own: it needs numpy, pandas and safetensors, and nothing of this project. It reads the files that
``ptupcdr_core.serving.snapshot`` writes.
"""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from safetensors.numpy import load_file

DEFAULT_K = 10


class Snapshot:
    """One mode's users, items and numbers."""

    def __init__(self, folder: Path) -> None:
        """Read both files of a folder."""
        tensors = load_file(folder / "snapshot.safetensors")
        ids = json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))
        self.users, self.items = pd.Index(ids["users"]), pd.Index(ids["items"])
        self.made_by = np.array(ids["made_by"], dtype=object)
        self.embeddings, self.vectors, self.offsets = (tensors[n] for n in ("embeddings", "vectors", "offsets"))
        self.scale = tensors["scale"]

    def rate(self, users: Any, items: Any) -> Any:
        """Scores of users and items as people are shown them."""
        users, items = _places(self.users, users, "cold-start users"), _places(self.items, items, "target items")
        return self._shown(np.einsum("ne,ne->n", self.embeddings[users], self.vectors[items]) + self.offsets[items])

    def recommend(self, user: int, k: int) -> pd.DataFrame:
        """The items with the highest scores for the user in this place."""
        scores = self.vectors @ self.embeddings[user] + self.offsets
        best = np.argsort(-scores, kind="stable")[:k]
        return pd.DataFrame(
            {
                "user_id": self.users[user],
                "rank": np.arange(1, len(best) + 1),
                "item_id": self.items[best],
                "score": self._shown(scores[best]),
                "made_by": self.made_by[user],
            }
        )

    def _shown(self, scores: Any) -> Any:
        return np.clip(scores, *self.scale.astype(np.float32)) if len(self.scale) else scores


class ServedModel(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """Predicted ratings and recommendations for the cold-start users of one pair."""

    def load_context(self, context: Any) -> None:
        """Read the snapshots beside this file; recommendations come from the one made for lists, where there is one."""
        self.ratings = Snapshot(Path(context.artifacts["snapshot"]))
        lists = context.artifacts.get("ranking_snapshot")
        self.lists = Snapshot(Path(lists)) if lists else self.ratings

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Predict.

        Args:
            context: Not used.
            model_input: Column user_id, and either item_id, for predicted ratings, or k, for that many recommendations
                (10 where it is left out).
            params: Not used.

        Returns:
            The input's user_id and item_id with rating; or user_id, rank, item_id, score, made_by. Scores are stars
            only where the model was not trained for lists.

        Raises:
            ValueError: A user is not a cold-start user of the pair, or an item not one of its target domain.
        """
        users = model_input["user_id"]
        if "item_id" in model_input:
            rating = self.ratings.rate(users, model_input["item_id"])
            return model_input[["user_id", "item_id"]].assign(rating=rating)
        places = _places(self.lists.users, users, "cold-start users")
        wanted = model_input["k"] if "k" in model_input else [DEFAULT_K] * len(users)
        lists = [self.lists.recommend(int(user), int(k)) for user, k in zip(places, wanted, strict=True)]
        empty = pd.DataFrame(columns=["user_id", "rank", "item_id", "score", "made_by"])
        return pd.concat(lists, ignore_index=True) if lists else empty


def _places(known: pd.Index, wanted: pd.Series, what: str) -> Any:
    places = known.get_indexer(wanted)
    if (places < 0).any():
        raise ValueError(f"not among the {what} of this model: {', '.join(map(str, wanted[places < 0].unique()[:5]))}")
    return places


mlflow.models.set_model(ServedModel())
