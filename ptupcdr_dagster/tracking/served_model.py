"""The model that MLflow serves: this file is copied into every registered version, and read from there.

The version contains the bundle, the code of ``ptupcdr_core`` that reads it, and the source ratings of cold-start users,
so that they can be asked for by id.
"""

from dataclasses import asdict, replace
from typing import Any

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow.pyfunc.model import PythonModel

RATED = ["item_id", "rating", "timestamp"]


class ServedModel(PythonModel):
    """Recommendations and predicted ratings for people of one pair."""

    def load_context(self, context: Any) -> None:
        """Read the version's bundle and people."""
        from ptupcdr_core.serving.answers import Answers
        from ptupcdr_core.serving.bundle import Bundle
        from ptupcdr_core.serving.known import TabledPeople
        from ptupcdr_core.sources.items import Items

        self.bundle, people = Bundle.load(context.artifacts["bundle"]), pq.read_table(context.artifacts["people"])
        self.known, offered = TabledPeople(people), self.bundle.items.get("target", Items())

        def answers(items: Items) -> Answers:
            bundle = self.bundle.offering(items)
            return Answers(bundle, self.known, bundle.titles("source"), bundle.titles("target"))

        self.answers, self.of_all = answers(offered), answers(replace(offered, eligible=None))

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Recommend to everybody in the input, or predict ratings.

        Args:
            context: Not used.
            model_input: A user_id alone asks for a person who was cold-start when this version was registered. If a
                person's source ratings are given, they are used instead: as rows of user_id, item_id, rating and, if
                known, timestamp, or in one row as history, a list of such objects. seen lists target items that are not
                to be recommended. With target_item_id, the person's rating of that target item is predicted.
            params: k, how many items are recommended; eligible, the only target items that may be, instead of those of
                the day this version was registered. The catalog's limit on items of one group is that day's too.

        Returns:
            One row per person: user_id; status, ``given`` (served by the input's ratings), ``known`` (by those of this
            version), ``unknown`` (by the fallback, since nothing is known) or ``refused`` (the message says why);
            made_by; message; unknown_items, how many items of the history were not known; and items, each with rank,
            item_id, title, score, reasons and, where ratings are predicted, stars (the expected rating) and likely (the
            probability that the person likes it). Or, with target_item_id, the input's user_id and target_item_id with
            status, rating, and likely; the last two are empty for items that are not of the target domain.
        """
        chosen = params or {}
        asked = [self._asked(str(user), rows) for user, rows in model_input.groupby("user_id", sort=False)]
        if "target_item_id" in model_input and model_input["target_item_id"].notna().any():
            return self._rated(asked, model_input)
        eligible = [item for item in chosen.get("eligible", []) if item] or None
        found = (self.of_all if eligible else self.answers).to(asked, int(chosen.get("k", 10)), eligible)
        return pd.DataFrame([asdict(answer) for answer in found])

    def _asked(self, user: str, rows: pd.DataFrame) -> Any:
        """One person, described by one row or by several."""
        from ptupcdr_core.serving.answers import Asked

        given = rows[rows["item_id"].notna()] if "item_id" in rows else rows[:0]
        history = [tuple(row) for row in given.reindex(columns=RATED).astype(object).itertuples(index=False)]
        lists = [told for told in rows.get("history", ()) if _is_list(told)]
        history += [tuple(rated.get(name) for name in RATED) for told in lists for rated in told]
        seen = [str(item) for items in rows.get("seen", ()) if _is_list(items) for item in items]
        known_times = [(item, rating, None if pd.isna(time) else time) for item, rating, time in history]
        return Asked(user, known_times if len(given) or lists else None, seen)

    def _rated(self, asked: list[Any], model_input: pd.DataFrame) -> pd.DataFrame:
        """Predicted ratings of the input's target items."""
        from ptupcdr_core.serving.answers import RATINGS

        wanted = model_input.loc[model_input["target_item_id"].notna(), ["user_id", "target_item_id"]]
        known = self.known.ratings([person.user_id for person in asked if person.history is None])
        given = [(one.user_id, *map(_text, row)) for one in asked for row in one.history or ()]
        columns = [*zip(*given, strict=True)] or [()] * len(RATINGS)
        ratings = pa.concat_tables([known, pa.table([pa.array(column, pa.string()) for column in columns], RATINGS)])
        status = dict.fromkeys(model_input["user_id"], "unknown") | dict.fromkeys(known["user_id"].to_pylist(), "known")
        status |= {person.user_id: "given" for person in asked if person.history is not None}
        couples = pa.Table.from_pandas(wanted, preserve_index=False).rename_columns(["user_id", "item_id"])
        rating, likely = self.bundle.rate(ratings, couples), self.bundle.foretell(ratings, couples)["likely"]
        told = {"status": wanted["user_id"].map(status), "rating": rating, "likely": likely.to_numpy()}
        return wanted.assign(**told).reset_index(drop=True)


def _is_list(value: object) -> bool:
    return not isinstance(value, str) and hasattr(value, "__len__")


def _text(value: object) -> str | None:
    return None if value is None else str(value)


mlflow.models.set_model(ServedModel())
