"""Facts about the checkpoints: signs of a training that diverged or collapsed."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from ptupcdr_core.store.artifacts import Checkpoint, load
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.model_folders import standing
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.facts import Fact, between, specs
from ptupcdr_dagster.partitions import PAIRS

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FINITE = Fact(
    "weights_are_finite",
    "No weight is NaN or infinite, as weights are after a training that diverged.",
    (between("not_finite", 0, 0),),
)
NOT_COLLAPSED = Fact(
    "embeddings_are_not_collapsed",
    "The embeddings of users differ, and so do those of items; after a collapsed training all are the same.",
    (between("spread", 1e-6, None),),
)

# A meta network may rightly be constant: it starts as no correction of the common bridge, and stays so if validation
# users are not served better by one. Whether its result collapsed is a fact about the bridged embeddings.
FACTS = {
    "source_model": (FINITE, NOT_COLLAPSED),
    "target_model": (FINITE, NOT_COLLAPSED),
    "meta_network": (FINITE,),
}


def read_checkpoint(home: Home, asset: str, pair: str) -> Checkpoint:
    """The checkpoint of one pair; refused if it belongs to another split than the present one."""
    from ptupcdr_core.data.pair_data import load_outline

    split = load_outline(Warehouse.from_environment(home.warehouse), pair).split
    return load(standing(home.models, asset, pair)[0], pair, split=split)


def summarize(tensors: "dict[str, NDArray[Any]]") -> "pd.DataFrame":
    """One row for each tensor: its entries, how many are not finite, and the spread of its rows.

    Spread is the largest standard deviation of a column over the rows, row 0 (padding) left out; only embeddings have
    one.
    """
    import pandas as pd

    return pd.DataFrame([_summary(name, tensor) for name, tensor in sorted(tensors.items())])


def _summary(name: str, tensor: "NDArray[np.floating[Any]]") -> "dict[str, str | float | int | None]":
    import numpy as np

    finite = np.isfinite(tensor)
    spread = None
    if name.endswith("_embedding") and len(tensor) > 2:
        spread = float(np.where(finite, tensor, 0)[1:].std(axis=0).max())
    return {"tensor": name, "entries": int(tensor.size), "not_finite": int((~finite).sum()), "spread": spread}


def _model_checks(asset: str) -> dg.AssetChecksDefinition:
    @dg.multi_asset_check(specs=specs(asset, FACTS[asset], PAIRS), name=f"{asset}_checks")
    def checks(context: dg.AssetCheckExecutionContext, home: dg.ResourceParam[Home]) -> Iterator[dg.AssetCheckResult]:
        from ptupcdr_dagster.checks.validation import validate_frame

        pair = context.partition_key
        summary = summarize(read_checkpoint(home, asset, pair).tensors)
        yield from validate_frame(summary, asset, FACTS[asset], documented=(home, pair))

    return checks


MODEL_CHECKS = [_model_checks(asset) for asset in FACTS]
