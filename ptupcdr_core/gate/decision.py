"""Whether a newly trained model may be deployed: it must be at least as good as what it would replace.

A model is judged in each of its modes: predicted ratings by the RMSE on held-out ratings, ranked lists by NDCG@10, both
for the same users. It is at least as good as another if, on the same users, it is

- not worse by more than the criterion's tolerance, a fraction of the other's value, whatever the number of users, and
- not significantly worse by a paired test over users.

It is compared twice in each mode: with the strongest simple baseline, and with the champion so far. The champion is
measured again, on the present test ratings of users whom neither model was trained on and of items that both know, so
the split may have changed since. If that leaves fewer than ``LEAST_USERS`` users, or the champion was not trained for
the mode, the baseline alone decides. A mode that only the champion has cannot be judged.

Each mode is let through or refused on its own: better lists are served even if the ratings are refused; these then
still come from the champion.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from ptupcdr_core.data.pair_data import reading_some
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.evaluation.significance import compare
from ptupcdr_core.gate.judged import Judged, judged
from ptupcdr_core.modes.criterion import Criterion
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.deployed import CANDIDATE, CHAMPION, bundle_file
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store import formats
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.replacing import replaced
from ptupcdr_core.store.warehouse import Warehouse

ASSET = "champion"
CONFIDENCE = 0.95
"""Of the intervals; a model is significantly worse if p is below 1 - CONFIDENCE."""
LEAST_USERS = 30
"""Users on whom a champion is compared at least: fewer say little."""
ROUNDING = 1e-6
"""In stars, or in NDCG: a smaller difference is rounding of float32."""

Models = Mapping[Mode, Judged]
"""A bundle as it is measured, in each of its modes."""


@dataclass(frozen=True)
class Comparison:
    """The candidate against one other on the same ratings.

    Args:
        mode: what was compared, and with its criterion.
        against: a simple baseline's name, or ``champion``.
        users: how many users were compared.
        ratings: how many of their ratings.
        candidate: its RMSE, in stars, or its NDCG@10.
        other: the other's.
        low: lower end of the interval of candidate - other, by resampling users.
        high: its upper end.
        p: of the test that they are equally good.
    """

    mode: Mode
    against: str
    users: int
    ratings: int
    candidate: float
    other: float
    low: float
    high: float
    p: float

    @property
    def criterion(self) -> Criterion:
        """How they were compared."""
        return MODES[self.mode].criterion

    @property
    def as_good(self) -> bool:
        """Whether the candidate is at least as good."""
        more = self.candidate - self.other
        worse_by = -more if self.criterion.more_is_better else more
        significant = worse_by > ROUNDING and self.p < 1 - CONFIDENCE
        return worse_by <= self.criterion.tolerance * self.other and not significant

    def __str__(self) -> str:
        """The comparison in words."""
        verdict = "at least as good as" if self.as_good else "worse than"
        return (
            f"{self.criterion.label} {self.candidate:.4f}, {verdict} {self.against} ({self.other:.4f}; "
            f"p = {self.p:.2g}, {self.users} users)"
        )


@dataclass(frozen=True)
class Decision:
    """What follows from the comparisons.

    Args:
        comparisons: for each mode against the strongest simple baseline, then against the champion if it could be
            compared.
        notes: what was not compared, and why.
    """

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """Whether the candidate may serve, in any of its modes."""
        return any(self.let_through(comparison.mode) for comparison in self.comparisons)

    def let_through(self, mode: str) -> bool:
        """Whether the candidate may serve in this mode."""
        return all(comparison.as_good for comparison in self.comparisons if comparison.mode == mode)

    def serving(self, candidate: Bundle, champion: Bundle | None) -> Bundle | None:
        """What may serve from now on: the candidate's modes that were let through, for others the champion's.

        None where no mode was let through: then the champion stays as it is, if there is one.
        """
        before = champion.modes if champion else {}
        modes: dict[Mode, BundledMode] = {}
        for mode, new in candidate.modes.items():
            if self.let_through(mode):
                modes[mode] = new
            elif mode in before:
                modes[mode] = before[mode]
        return Bundle(candidate.pair, modes) if self.promoted else None

    @property
    def reason(self) -> str:
        """All comparisons and notes in words."""
        return "; ".join([*map(str, self.comparisons), *self.notes])

    def table(self) -> pd.DataFrame:
        """One row a comparison."""
        return pd.DataFrame(
            [{**asdict(c), "metric": c.criterion.metric, "as_good": c.as_good} for c in self.comparisons]
        )

    @property
    def own(self) -> dict[str, float]:
        """The candidate's value of each metric, on all test users."""
        return {c.criterion.metric: c.candidate for c in self.comparisons if c.against != CHAMPION}


@dataclass(frozen=True)
class Verdict:
    """What the gate says of the bundle that was just trained.

    Args:
        decision: with its comparisons.
        candidate: the bundle.
        serving: what may serve from now on; None where nothing of the candidate may.
    """

    decision: Decision
    candidate: Bundle
    serving: Bundle | None


def judge(home: Home, pair: str, fingerprint: str = "") -> Verdict:
    """Measure a pair's new bundle and its champion on the present test users, and decide.

    The champion is the bundle that last passed. If it cannot be read, the baseline alone decides, and a note says so.

    Args:
        home: has the pair's split, evaluation and bundles.
        pair: its key.
        fingerprint: of what is judged. If a verdict with the same fingerprint made the present champion, that verdict
            is returned, since the earlier champion is gone. Empty: no earlier verdict is looked for.

    Raises:
        WarehouseError: the pair was not split or not evaluated.
        ArtifactError: the new bundle is missing or damaged.
    """
    candidate, champion, note = Bundle.load(bundle_file(home, CANDIDATE, pair)), None, ""
    place = bundle_file(home, CHAMPION, pair)
    try:
        champion = Bundle.load(place) if place.is_file() else None
    except ArtifactError as error:
        note = f"the champion cannot be compared: {error}"
    about = _about(fingerprint, candidate, champion)
    if champion and fingerprint and (decided := _decided(place, about)):
        return Verdict(decided, candidate, champion)
    if champion and champion.digest == candidate.digest:  # the same training judged again
        return Verdict(decide(home, pair, judged(home, pair, candidate), {}), candidate, candidate)
    before = judged(home, pair, champion) if champion else {}
    decision = decide(home, pair, judged(home, pair, candidate), before, note)
    return Verdict(decision, candidate, decision.serving(candidate, champion))


def decide(home: Home, pair: str, candidate: Models, champion: Models, note: str = "") -> Decision:
    """Compare a model that was just evaluated with the strongest simple baseline and with the champion.

    Args:
        home: has the pair's present split and evaluation.
        pair: its key.
        candidate: the model of that evaluation.
        champion: the model in use; empty where there is none to compare with.
        note: why there is none.

    Raises:
        WarehouseError: the pair was not split or not evaluated.
    """
    ratings = held_out_ratings(home, pair)
    comparisons, notes = [], [note] if note else []
    for mode, model in candidate.items():
        baseline = MODES[mode].criterion.strongest_baseline(home, pair, mode)
        comparisons.append(
            _compare(mode, baseline["method"].iloc[0], MODES[mode].criterion.measure(model, ratings), baseline)
        )
        if mode in champion:
            shared = ratings[champion[mode].knows(ratings, held_out=True)]
            users = shared["user_id"].nunique()
            if users >= LEAST_USERS:
                comparisons.append(_compare_models(mode, model, champion[mode], shared))
            else:
                notes.append(
                    f"the champion cannot be compared: only {users} of the present test users were held out from its "
                    f"training too, and fewer than {LEAST_USERS} say little"
                )
    notes += _in_one_only(candidate, champion)
    return Decision(tuple(comparisons), tuple(dict.fromkeys(notes)))


def keep_verdict(
    home: Home,
    pair: str,
    verdict: Verdict,
    settings: Settings,
    *,
    model: str,
    version: str,
    champion: str | None,
    fingerprint: str = "",
) -> None:
    """Keep what may serve as the champion, and write the tables ``champion`` (one row a judged mode) and
    ``champion_comparisons`` (asset ``champion``).

    Args:
        home: takes them.
        pair: its key.
        verdict: to be kept.
        settings: of the candidate.
        model: registered name of the pair's models.
        version: the candidate's.
        champion: the version in use after the decision; None where there is none.
        fingerprint: kept in ``provenance``.
    """
    decision = verdict.decision
    if verdict.serving:
        place = bundle_file(home, CHAMPION, pair)
        _note_decision(place, _about(fingerprint, verdict.candidate, verdict.serving), decision)
        verdict.serving.save(place)
    labels = {"pair": pair, "model": model, "version": version}
    outcome = {"champion": champion or "", "reason": decision.reason}
    comparisons = decision.table().assign(**labels)
    by_mode = comparisons.groupby("mode", sort=False)
    judged = by_mode.agg(
        metric=("metric", "first"),
        value=("candidate", "first"),
        as_good=("as_good", "all"),
    )
    tables = {
        "champion": judged.reset_index().assign(**labels, **outcome, promoted=lambda rows: rows["as_good"])[
            ["pair", "mode", "model", "version", "promoted", *outcome, *judged.columns]
        ],
        "champion_comparisons": comparisons[[*labels, *comparisons.columns.drop([*labels])]],
    }
    with Warehouse.from_environment(home.warehouse).write(
        ASSET, pair, fingerprint=fingerprint, settings=settings.model_dump()
    ) as connection:
        for name, table in tables.items():
            connection.register("frame", table)
            connection.execute(f"create table {name} as select * from frame")  # nosec B608 # ours
            connection.unregister("frame")


def _about(fingerprint: str, candidate: Bundle, champion: Bundle | None) -> dict[str, str | int]:
    """What was judged, and the champion afterwards."""
    return {
        "format": formats.DECISION,
        "fingerprint": fingerprint,
        "candidate": candidate.digest,
        "champion": champion.digest if champion else "",
    }


def _note_decision(place: Path, about: dict[str, str | int], decision: Decision) -> None:
    """Write the decision that makes a champion beside its file, before that file is replaced.

    A process that is killed after the replacement, but before its tables are written, leaves no other trace of the
    earlier champion, with which the new one was compared.
    """
    with replaced(_noted(place)) as temporary:
        temporary.write_text(json.dumps({"about": about, **asdict(decision)}, indent=2))


def _decided(place: Path, about: dict[str, str | int]) -> Decision | None:
    """The noted decision that made this champion, if it was about the same."""
    try:
        noted = json.loads(_noted(place).read_text())
        comparisons = tuple(Comparison(**row) for row in noted["comparisons"])
        return Decision(comparisons, tuple(noted["notes"])) if noted["about"] == about else None
    except (OSError, ValueError, KeyError, TypeError):  # missing or unreadable: then it is judged again
        return None


def _noted(place: Path) -> Path:
    return place.with_suffix(".json")


def read_decision(home: Home, pair: str) -> str:
    """What was decided about the last training, in words.

    Raises:
        WarehouseError: it was not judged.
    """
    with Warehouse.from_environment(home.warehouse).read(ASSET, pair) as connection:
        [(reason,)] = connection.execute(f"select distinct reason from {ASSET}").fetchall()  # nosec B608 # ours
    return str(reason)


def held_out_ratings(home: Home, pair: str) -> pd.DataFrame:
    """The present test ratings by id, of the people that are read of the pair: user_id, item_id, rating.

    Raises:
        WarehouseError: the pair was not split.
    """
    with reading_some(Warehouse.from_environment(home.warehouse), pair) as connection:
        return connection.execute(
            "select user_id, item_id, rating from split_target_ratings join split_users using (user_index) "
            "join split_target_items using (item_index) where part = 'test' order by user_index, item_index"
        ).fetchdf()


def _in_one_only(candidate: Models, champion: Models) -> Iterator[str]:
    """What cannot be compared because one of the two was not trained for it."""
    for name, mode in MODES.items():
        if champion and name in candidate and name not in champion:
            yield f"the champion has no {mode.criterion.what} to compare with"
        if name in champion and name not in candidate:
            yield f"the champion's {mode.criterion.what} were not compared: this model has none"


def _compare_models(mode: Mode, candidate: Judged, champion: Judged, ratings: pd.DataFrame) -> Comparison:
    """Both on ratings that both know, out of the items that both know."""
    measure = MODES[mode].criterion.measure
    own, other = (a.among(b.items) for a, b in ((candidate, champion), (champion, candidate)))
    return _compare(mode, CHAMPION, measure(own, ratings), measure(other, ratings))


def _compare(mode: Mode, against: str, candidate: pd.DataFrame, other: pd.DataFrame) -> Comparison:
    criterion = MODES[mode].criterion
    rows = pd.concat([candidate.assign(method=CANDIDATE), other.assign(method=against)])
    paired, values = criterion.pair(rows), criterion.values(rows)
    table = compare(paired, [(CANDIDATE, against)], confidence=CONFIDENCE).set_index("metric")
    row = table.loc[criterion.metric]
    return Comparison(
        mode=mode,
        against=against,
        users=len(paired.counts),
        ratings=int(paired.counts.sum()),
        candidate=float(values[CANDIDATE]),
        other=float(values[against]),
        low=float(row["low"]),
        high=float(row["high"]),
        p=float(row["p"]),
    )
