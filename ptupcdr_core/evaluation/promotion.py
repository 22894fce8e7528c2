"""Whether a newly trained model may be deployed: it must be at least as good as what it would replace.

At least as good, on the same held-out ratings and in RMSE, is a model that

- is not worse by more than ``TOLERANCE`` of the other's error, however few users tell, and
- is not significantly worse: where it is worse at all, a paired test over users leaves room for chance.

It is asked twice: against the strongest simple baseline, and against the champion so far. The champion is measured
again, on the present test ratings of users whom neither model was trained on and of items that both know, so a split
that has changed since is no matter; unless that leaves fewer than ``LEAST_USERS``, and then the baseline alone decides.
"""

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from ptupcdr_core.evaluation.significance import compare, pair_errors
from ptupcdr_core.home import Home
from ptupcdr_core.methods.simple import METHODS
from ptupcdr_core.settings import Settings
from ptupcdr_core.snapshot import Snapshot
from ptupcdr_core.warehouse import Warehouse

ASSET = "champion"
METRIC = "rmse"
TOLERANCE = 0.002
"""Of the other's error: about half of what the bridge gains over the strongest baseline on real pairs (0.36 %)."""
CONFIDENCE = 0.95
LEAST_USERS = 30
ROUNDING = 1e-6
"""Stars; two models that differ by less are the same model in float32."""
BASELINES = tuple(method.name for method in METHODS)
CANDIDATE, CHAMPION = "candidate", "champion"


@dataclass(frozen=True)
class Comparison:
    """The candidate against one other on the same ratings.

    Args:
        against: a simple baseline's name, or ``champion``.
        users: whose ratings they are.
        ratings: how many.
        candidate: its RMSE, in stars.
        other: the other's.
        low: lower end of the interval of candidate - other, by resampling users.
        high: its upper end.
        p: of the test that they are equally good.
    """

    against: str
    users: int
    ratings: int
    candidate: float
    other: float
    low: float
    high: float
    p: float

    @property
    def as_good(self) -> bool:
        """Whether the candidate is at least as good."""
        worse_by = self.candidate - self.other
        significant = worse_by > ROUNDING and self.p < 1 - CONFIDENCE
        return worse_by <= TOLERANCE * self.other and not significant

    def __str__(self) -> str:
        """The comparison in words."""
        verdict = "at least as good as" if self.as_good else "worse than"
        return (
            f"RMSE {self.candidate:.4f}, {verdict} {self.against} ({self.other:.4f}; "
            f"p = {self.p:.2g}, {self.users} users)"
        )


@dataclass(frozen=True)
class Decision:
    """What the comparisons come to.

    Args:
        comparisons: against the strongest simple baseline, then against the champion if it could be compared.
        note: why the champion was not compared; empty if it was.
    """

    comparisons: tuple[Comparison, ...]
    note: str = ""

    @property
    def promoted(self) -> bool:
        """Whether the candidate may be deployed."""
        return all(comparison.as_good for comparison in self.comparisons)

    @property
    def reason(self) -> str:
        """In words."""
        return "; ".join([*map(str, self.comparisons), *([self.note] if self.note else [])])

    def table(self) -> pd.DataFrame:
        """One row a comparison."""
        return pd.DataFrame([{**asdict(c), "metric": METRIC, "as_good": c.as_good} for c in self.comparisons])


def decide(
    home: Home, pair: str, candidate: Snapshot, mode: str, champion: Snapshot | None, note: str = ""
) -> Decision:
    """Compare a model that was just evaluated with the strongest simple baseline and with the champion.

    Args:
        home: has the pair's present split and evaluation.
        pair: its key.
        candidate: the model of that evaluation.
        mode: of the models.
        champion: the model in use; None where there is none to compare with.
        note: why there is none.

    Raises:
        WarehouseError: the pair was not split or not evaluated.
    """
    ratings = held_out_ratings(home, pair)
    baselines = _baseline_errors(home, pair, mode)
    sums = baselines.groupby("method")[["squared_error", "ratings"]].sum()
    strongest = str((sums["squared_error"] / sums["ratings"]).idxmin())
    own = _errors(CANDIDATE, candidate, ratings)
    comparisons = [_compare(strongest, own, baselines[baselines["method"] == strongest])]
    if champion is not None:
        shared = ratings[champion.knows(ratings, held_out=True)]
        if shared["user_id"].nunique() >= LEAST_USERS:
            both = _errors(CANDIDATE, candidate, shared), _errors(CHAMPION, champion, shared)
            comparisons.append(_compare(CHAMPION, *both))
        else:
            note = (
                f"the champion cannot be compared: only {shared['user_id'].nunique()} of the present test users were "
                f"held out from its training too, and fewer than {LEAST_USERS} say little"
            )
    return Decision(tuple(comparisons), note)


def write_decision(
    home: Home,
    pair: str,
    decision: Decision,
    settings: Settings,
    *,
    mode: str,
    model: str,
    version: str,
    champion: str | None,
    fingerprint: str = "",
) -> None:
    """Write the tables ``champion`` (one row) and ``champion_comparisons`` (asset ``champion``).

    Args:
        home: takes them.
        pair: its key.
        decision: to be written.
        settings: of the candidate.
        mode: what the models predict.
        model: registered name of the pair's models.
        version: the candidate's.
        champion: the version in use after the decision; None where there is none.
        fingerprint: kept in ``provenance``.
    """
    labels = {"pair": pair, "mode": mode, "model": model, "version": version}
    outcome = {"promoted": decision.promoted, "champion": champion or "", "reason": decision.reason}
    comparisons = decision.table()
    tables = {
        "champion": pd.DataFrame([labels | outcome]),
        "champion_comparisons": comparisons.assign(**labels)[[*labels, *comparisons.columns]],
    }
    with Warehouse.from_environment(home.warehouse).write(
        ASSET, pair, fingerprint=fingerprint, settings=settings.model_dump()
    ) as connection:
        for name, table in tables.items():
            connection.register("frame", table)
            connection.execute(f"create table {name} as select * from frame")
            connection.unregister("frame")


def held_out_ratings(home: Home, pair: str) -> pd.DataFrame:
    """The present test ratings by id: user_id, item_id, rating.

    Raises:
        WarehouseError: the pair was not split.
    """
    with Warehouse.from_environment(home.warehouse).read("domain_splits", pair) as connection:
        return connection.execute(
            "select user_id, item_id, rating from split_target_ratings join split_users using (user_index) "
            "join split_target_items using (item_index) where part = 'test' order by user_index, item_index"
        ).fetchdf()


def _baseline_errors(home: Home, pair: str, mode: str) -> pd.DataFrame:
    with Warehouse.from_environment(home.warehouse).read("cold_start_evaluation", pair) as connection:
        return connection.execute(
            "select method, user_id, ratings, absolute_error, squared_error from cold_start_errors "
            "where mode = ? and method in (select unnest(?))",
            [mode, list(BASELINES)],
        ).fetchdf()


def _errors(name: str, model: Snapshot, ratings: pd.DataFrame) -> pd.DataFrame:
    """A model's errors by user, in the form of ``cold_start_errors``."""
    errors = model.scores(ratings).astype(np.float64) - ratings["rating"]
    columns = {"ratings": 1, "absolute_error": np.abs(errors), "squared_error": errors**2}
    by_user = ratings[["user_id"]].assign(**columns).groupby("user_id", as_index=False).sum()
    return by_user.assign(method=name)


def _compare(against: str, candidate: pd.DataFrame, other: pd.DataFrame) -> Comparison:
    errors = pair_errors(pd.concat([candidate, other]))
    values = dict(zip(errors.methods, errors.measures(np.ones((len(errors.counts), 1)))[METRIC][:, 0], strict=True))
    table = compare(errors, [(CANDIDATE, against)], confidence=CONFIDENCE)
    row = table[table["metric"] == METRIC].iloc[0]
    return Comparison(
        against=against,
        users=len(errors.counts),
        ratings=int(errors.counts.sum()),
        candidate=float(values[CANDIDATE]),
        other=float(values[against]),
        low=float(row["low"]),
        high=float(row["high"]),
        p=float(row["p"]),
    )
