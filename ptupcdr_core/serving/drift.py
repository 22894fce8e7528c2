"""How far a night's data and lists are from what the deployed bundle was trained on, and from the night before.

Distributions are compared by the population stability index, sum (p - q) ln(p / q) over the bins of the older one:
below 0.1 it is taken for noise, above 0.2 for another population. Shares of less than ``LEAST`` count as that.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike

from ptupcdr_core.arrays import Floats
from ptupcdr_core.serving.data_summary import BINS, DataSummary
from ptupcdr_core.serving.today import Today
from ptupcdr_core.sql import literal
from ptupcdr_core.store.warehouse import Warehouse

LEAST = 1e-4
SCORES, OVERLAP = "scores", "list_overlap"
COUNT, STARS, UNKNOWN, LISTS = "count", "stars", "unknown", "lists"
TABLE = "drift"


@dataclass(frozen=True)
class Measure:
    """One number of a night beside what it is compared with.

    Args:
        kind: count, stars, unknown or lists.
        measure: its name.
        before: of the training data, the night of the deployment or the night before; None where there is none.
        tonight: of tonight.
        drift: how far they are apart: the relative change of a count, the stability index of a distribution, the
            share that is unknown, the share of list items that are new.
    """

    kind: str
    measure: str
    before: float | None
    tonight: float
    drift: float | None


def stability_index(before: ArrayLike, now: ArrayLike) -> float:
    """The population stability index of two distributions over the same bins, 0 where they are equal."""
    p, q = (np.maximum(np.asarray(shares, float), LEAST) for shares in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def data_drift(today: Today) -> list[Measure]:
    """Today's ratings beside those that the bundle was trained on; nothing where the bundle does not say."""
    if not today.served.origin.data:
        return []
    before, now = DataSummary(**today.served.origin.data), today.summary()
    found = [
        Measure(COUNT, name, float(count), float(now.counts[name]), now.counts[name] / max(1, count) - 1)
        for name, count in before.counts.items()
    ]
    for side in ("source", "target"):
        old, new = getattr(before, f"{side}_stars"), getattr(now, f"{side}_stars")
        found.append(Measure(STARS, f"{side}_stars", _mean(old), _mean(new), stability_index(old, new)))
    return [*found, *(Measure(UNKNOWN, f"{side}_items_unknown", 0.0, s, s) for side, s in today.unknown().items())]


def _mean(shares: list[float]) -> float:
    """Mean place on the scale, from 0 to 1, of stars by their tenths."""
    return float(np.dot(shares, (np.arange(BINS) + 0.5) / BINS))


@dataclass(frozen=True)
class Scores:
    """How the scores of lists are spread, in ten bins that held as many each on the night of the deployment.

    Args:
        bundle: digest of the bundle that made them.
        edges: (9,) between the bins.
        shares: (10,).
        mean: of all scores.
    """

    bundle: str
    edges: list[float]
    shares: list[float]
    mean: float

    @classmethod
    def of(cls, bundle: str, scores: Floats, edges: list[float] | None = None) -> "Scores":
        """Of (N,) scores, in bins of their own unless given."""
        if edges is None:
            edges = [float(edge) for edge in np.quantile(scores, np.arange(1, BINS) / BINS)] if len(scores) else []
        counted = np.bincount(np.searchsorted(edges, scores, side="right"), minlength=len(edges) + 1)
        mean = float(scores.mean()) if len(scores) else 0.0
        return cls(bundle, edges, [float(share) for share in counted / max(1, counted.sum())], mean)


def list_drift(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, pair: str, bundle: str, scores: Floats
) -> list[Measure]:
    """Tonight's lists beside those of the night of the deployment (scores) and of the night before (items).

    Keeps how scores were spread at the deployment in the table ``deployment_scores``.

    Args:
        connection: writes tonight's table ``recommendations``, which is complete.
        warehouse: has last night's.
        pair: its key.
        bundle: digest of what serves.
        scores: (N,) of tonight's lists.
    """
    found, first = [], Scores.of(bundle, scores)
    last = warehouse.file("recommendations", pair)
    if last.is_file():
        connection.commit()
        connection.execute(f"attach {literal(last)} as last_night (read_only)")
        try:
            first = _at_deployment(connection, bundle) or first
            found.append(_overlap(connection))
        finally:
            connection.execute("detach last_night")
        connection.begin()
    now = Scores.of(bundle, scores, first.edges)
    found.append(Measure(LISTS, SCORES, first.mean, now.mean, stability_index(first.shares, now.shares)))
    kept = pa.table({name: [value] for name, value in vars(first).items()})
    connection.register("kept_scores", kept)
    connection.execute("create table deployment_scores as from kept_scores")
    connection.unregister("kept_scores")
    return found


def _at_deployment(connection: duckdb.DuckDBPyConnection, bundle: str) -> Scores | None:
    known = connection.execute(
        "select 1 from duckdb_tables() where database_name = 'last_night' and table_name = 'deployment_scores'"
    ).fetchone()
    if known is None:
        return None
    query = "select bundle, edges, shares, mean from last_night.deployment_scores where bundle = ?"
    row = connection.execute(query, [bundle]).fetchone()
    return None if row is None else Scores(*row)


def _overlap(connection: duckdb.DuckDBPyConnection) -> Measure:
    """The share of a person's items that stood in last night's list too, over those who had one."""
    [(overlap,)] = connection.execute(
        "select avg(shared / length) from (select count(last.item_id) as shared, count(*) as length "
        "from recommendations as now semi join last_night.recommendations as known using (user_id) "
        "left join last_night.recommendations as last using (user_id, item_id) group by user_id)"
    ).fetchall()
    if overlap is None:  # nobody of tonight had a list
        return Measure(LISTS, OVERLAP, None, 0.0, None)
    return Measure(LISTS, OVERLAP, 1.0, float(overlap), 1 - float(overlap))


def write_drift(connection: duckdb.DuckDBPyConnection, pair: str, bundle: str, measures: list[Measure]) -> None:
    """Make the table ``drift`` of tonight."""
    connection.execute(
        f"create table {TABLE} (pair varchar, bundle varchar, kind varchar, measure varchar, before double, "
        "tonight double, drift double)"
    )
    for measure in measures:
        row = [pair, bundle, *vars(measure).values()]
        connection.execute(f"insert into {TABLE} values (?, ?, ?, ?, ?, ?, ?)", row)


def metrics_of(measures: list[Measure]) -> Mapping[str, float]:
    """What is drawn over the nights: each drift, under its measure's name."""
    return {f"drift_{m.measure}": m.drift for m in measures if m.drift is not None}
