"""The stage that measures every method on the test users."""

import pandas as pd

from ptupcdr_core.data.pair_data import load_pair, user_ids
from ptupcdr_core.evaluation.labels import LABELS
from ptupcdr_core.kernels.threads import one_thread
from ptupcdr_core.modes.registry import MODES, modes_of
from ptupcdr_core.settings import Settings
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.tables import write_tables
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "cold_start_evaluation"


def evaluate_cold_start(home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
    """Measure every method and baseline on the test users (asset ``cold_start_evaluation``)."""
    warehouse = Warehouse.from_environment(home.warehouse)
    data = load_pair(warehouse, pair)
    ids = user_ids(warehouse, data)
    summaries, report = [], StageReport(data.people_read())
    tables: dict[str, pd.DataFrame] = {}
    for mode in modes_of(settings, data):
        with one_thread():
            found = mode.evaluate(home, data, settings, ids)
        summaries.append(found.summary)
        tables |= found.details
        report.metrics.update(found.metrics)
        report.tables.update(found.shown)
    measured = [name for mode in MODES.values() for name in mode.columns]
    summary = pd.concat(summaries, ignore_index=True).reindex(columns=[*LABELS, "users", "ratings", *measured])
    write_tables(warehouse, ASSET, pair, {ASSET: summary} | tables, settings, fingerprint, absent=measured)
    return report
