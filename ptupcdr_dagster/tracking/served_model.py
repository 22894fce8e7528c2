"""The model that MLflow serves: this file is copied into every registered version, and read from there.

The version brings the bundle, the code of ``ptupcdr_core`` that reads it, and the source ratings of the people who are
cold-start, so that they can be asked for by their id.
"""

from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mlflow.pyfunc.model import PythonModel

HISTORY = ("user_id", "item_id", "rating", "timestamp")
ANSWER = ["user_id", "status", "rank", "item_id", "score", "made_by", "reasons", "reason_weights"]


class ServedModel(PythonModel):
    """Predicted ratings and recommendations for people of one pair."""

    def load_context(self, context: Any) -> None:
        """Read what lies beside this file."""
        from ptupcdr_core.serving.bundle import Bundle

        self.bundle = Bundle.load(context.artifacts["bundle"])
        self.people = pq.read_table(context.artifacts["people"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Recommend to everybody in the input, or predict ratings.

        Args:
            context: Not used.
            model_input: Rows of user_id alone ask for people who were cold-start when this version was registered. Rows
                of user_id, item_id, rating and, if known, timestamp are a person's source ratings, which count instead.
                With target_item_id, the person's rating of that target item is predicted.
            params: k, how many items are recommended.

        Returns:
            A row a recommended item: user_id; status, ``given`` (by the ratings of the input), ``known`` (by those of
            this version) or ``unknown``, who get what the average user gets; rank, item_id, score, made_by, reasons and
            reason_weights. Or, with target_item_id, the input's user_id and target_item_id with status and rating,
            which is empty for items that are not of the target domain.
        """
        asked = pa.Table.from_pandas(model_input, preserve_index=False)
        users = pc.unique(asked["user_id"].cast(pa.string()))
        ratings, status = self._ratings(asked, users)
        if "target_item_id" in model_input:
            wanted = model_input.loc[model_input["target_item_id"].notna(), ["user_id", "target_item_id"]]
            couples = pa.Table.from_pandas(wanted, preserve_index=False).rename_columns(["user_id", "item_id"])
            rating = self.bundle.rate(ratings, couples)
            return wanted.assign(status=wanted["user_id"].map(status), rating=rating).reset_index(drop=True)
        k = int((params or {}).get("k", 10))
        found = self.bundle.recommend(ratings, k, users=users.to_pylist(), origin="the input").recommendations
        return found.to_pandas().assign(status=lambda rows: rows["user_id"].map(status))[ANSWER]

    def _ratings(self, asked: pa.Table, users: pa.Array) -> tuple[pa.Table, dict[str, str]]:
        """The source ratings to serve people by, and where each person's come from."""
        given = pa.table({name: pa.array([], pa.string()) for name in HISTORY})
        if "item_id" in asked.column_names:
            rated = asked.filter(pc.is_valid(asked["item_id"]))
            columns = [name for name in HISTORY if name in asked.column_names]
            given = rated.select(columns).cast(pa.schema([(name, pa.string()) for name in columns]))
        others = pc.invert(pc.is_in(self.people["user_id"], value_set=pc.unique(given["user_id"].combine_chunks())))
        known = self.people.filter(pc.and_(others, pc.is_in(self.people["user_id"], value_set=users)))
        status = dict.fromkeys(users.to_pylist(), "unknown")
        status |= dict.fromkeys(known["user_id"].to_pylist(), "known")
        status |= dict.fromkeys(given["user_id"].to_pylist(), "given")
        texts = pa.schema([(name, pa.string()) for name in HISTORY])
        return pa.concat_tables([given, known.cast(texts)], promote_options="default"), status


mlflow.models.set_model(ServedModel())
