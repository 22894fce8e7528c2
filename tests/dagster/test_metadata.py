"""What the UI shows of a stage, for values that are difficult in JSON and in pictures."""

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.metadata import counts_table, describe_tables, frame_table, learning_curves, number
from ptupcdr_dagster.tracking.signature import signature


def test_a_table_holds_values_of_every_kind() -> None:
    frame = pd.DataFrame({"method": ["a"], "users": [np.int64(3)], "rmse": [np.nan], "penalty": [np.inf], "ok": [True]})
    [record] = frame_table(frame).records
    assert record.data == {"method": "a", "users": 3, "rmse": "nan", "penalty": "inf", "ok": True}
    json.dumps(record.data, allow_nan=False)


def test_no_counts_are_an_empty_table() -> None:
    assert counts_table({}, "reason").records == []


@pytest.mark.parametrize(
    ("value", "shown"),
    [(1, 1.0), (0.719009983, 0.71901), (1234567.8, 1234568.0), (np.inf, "inf"), (np.nan, "nan")],
)
def test_numbers(value: float, shown: float | str) -> None:
    assert number(value) == shown


def test_curves_of_one_quantity_share_a_panel() -> None:
    def width(*names: str) -> int:
        picture = learning_curves({name: [2.0, 1.0] for name in names}).value.partition("base64,")[2].rstrip(")")
        return int.from_bytes(base64.b64decode(picture)[16:20], "big")

    alone = width("training_loss")
    assert width("emcdr_validation_rmse", "ptupcdr_validation_rmse") == alone
    assert width("ptupcdr_training_loss", "ptupcdr_validation_rmse") == 2 * alone


@pytest.mark.parametrize(("rows", "shown"), [("('ann', null)", ["user_id"]), ("('ann', 3)", ["user_id", "stars"])])
def test_empty_columns_are_not_shown(tmp_path: Path, rows: str, shown: list[str]) -> None:
    home = Home(tmp_path)

    with Warehouse(home.warehouse).write("kept", "books") as connection:
        connection.execute("create table kept (user_id varchar, stars double)")
        connection.execute(f"insert into kept values {rows}")
        connection.execute("create table rejected (reason varchar)")
    told = describe_tables(home, "kept", "books", "kept")
    assert [column.name for column in told["dagster/column_schema"].columns] == shown
    tables = {record.data["table"]: record.data for record in told["tables"].records}
    assert tables["kept"] == {"table": "kept", "rows": 1, "columns": ", ".join(shown)}
    assert tables["rejected"] == {"table": "rejected", "rows": 0, "columns": ""}


@pytest.mark.parametrize(
    ("rated", "predicted", "named"),
    [
        (True, True, {"rating", "target_item_id", "stars", "likely"}),
        (True, False, {"rating"}),
        (False, False, set()),
    ],
)
def test_a_model_names_stars_only_where_there_are_some(rated: bool, predicted: bool, named: set[str]) -> None:
    text = json.dumps(signature(rated=rated, predicted=predicted).to_dict())
    assert {word for word in ("rating", "target_item_id", "stars", "likely") if word in text} == named
