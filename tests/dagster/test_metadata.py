"""What the UI shows of a stage, for values that JSON and pictures find hard."""

import base64
import json

import numpy as np
import pandas as pd
import pytest

from ptupcdr_dagster.metadata import counts_table, frame_table, learning_curves, number


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
