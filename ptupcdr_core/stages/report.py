"""The result of a stage, for whoever runs it."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd


@dataclass(frozen=True)
class StageReport:
    """What a stage made and measured.

    Args:
        metrics: numbers by name.
        curves: a metric's value after each epoch, by name.
        files: the checkpoint's files.
        tables: small tables to show.
        chosen: names of the metrics that are settings chosen by the training itself.
        notes: short texts by name.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[float]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    chosen: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
