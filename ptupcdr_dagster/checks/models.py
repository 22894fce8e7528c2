"""Facts about the checkpoints: what a diverged or collapsed training would break."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ptupcdr_core.artifacts import Checkpoint, load
from ptupcdr_core.home import Home
from ptupcdr_core.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, between, specs
from ptupcdr_dagster.partitions import PAIRS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FACTS = (
    Fact(
        "weights_are_finite",
        "No weight is NaN or infinite, as they are after a training that diverged.",
        (between("not_finite", 0, 0),),
    ),
    Fact(
        "embeddings_are_not_collapsed",
        "The rows of every embedding and weight matrix differ: a training that collapsed says the same of everybody.",
        (between("spread", 1e-6, None),),
    ),
)


def read_checkpoint(home: Home, asset: str, pair: str) -> Checkpoint:
    """The checkpoint of one pair, refused when it belongs to another vocabulary than the present split."""
    with Warehouse(home.warehouse).read("domain_splits", pair) as connection:
        [(vocabulary,)] = connection.execute("select vocabulary from split_summary").fetchall()
    return load(home.models / asset, pair, vocabulary=vocabulary)


def summarize(tensors: "dict[str, NDArray[Any]]") -> "pd.DataFrame":
    """One row a matrix (several rows and columns) or other tensor: entries, how many are not finite, spread of rows.

    Spread is the largest standard deviation of a column over the rows, row 0 (padding) left out; for anything that
    is not a matrix it is 1, since nothing can be said of its rows.
    """
    import pandas as pd

    return pd.DataFrame([{"tensor": name} | _summary(tensor) for name, tensor in sorted(tensors.items())])


def _summary(tensor: "NDArray[np.floating[Any]]") -> dict[str, float | int]:
    import numpy as np

    finite = np.isfinite(tensor)
    is_matrix = tensor.ndim == 2 and tensor.shape[0] > 2
    rows = np.where(finite, tensor, 0)[1:] if is_matrix else tensor
    spread = float(rows.std(axis=0).max()) if is_matrix else 1.0
    return {"entries": int(tensor.size), "not_finite": int((~finite).sum()), "spread": spread}


def _model_checks(asset: str) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(specs=specs(asset, FACTS, PAIRS), name=f"{asset}_checks")
    def checks(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.AssetCheckResult]:
        from ptupcdr_dagster.checks.validation import validate_frame

        checkpoint = read_checkpoint(home, asset, context.partition_key)
        yield from validate_frame(summarize(checkpoint.tensors), asset, FACTS)

    return checks


MODEL_CHECKS = [_model_checks(asset) for asset in ("source_model", "target_model", "meta_network")]
