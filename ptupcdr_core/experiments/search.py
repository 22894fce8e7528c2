"""Tuning: a search for better settings of a pair, judged on validation users alone (for the measures see
``objectives``).

The split's seed, β and validation users stay as they are, so that every trial is judged on the same people; test
ratings are not even loaded. Trial 0 is the settings that the search starts from, so what it finds is never worse than
they are on validation users. The validation error of the best of many trials is a little too good; the evaluation on
test users, made once afterwards, is the honest one.
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout
from optuna.distributions import distribution_to_json
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import PairData, load_pair
from ptupcdr_core.data.scratch_splits import ScratchSplits
from ptupcdr_core.errors import EvaluationError, SettingsError, TuningError
from ptupcdr_core.experiments.cells import ratings_fingerprint
from ptupcdr_core.experiments.objectives import OBJECTIVES, Objective, Space
from ptupcdr_core.modes.registry import MODES
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store import formats
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import scratch_folder
from ptupcdr_core.store.warehouse import Warehouse

SEED = 2022
"""Seed of the sampler; with the number of finished trials it fixes every proposal."""
RANDOM_TRIALS = 8
"""Trials proposed at random, the first included, before the sampler uses what it has seen."""
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
"""A training that diverged is pruned: the sampler counts it as worse than all others. Interrupted trials have
failed."""


@dataclass(frozen=True)
class Trial:
    """One set of settings and how it did.

    Args:
        number: from 0, which is the settings that the search starts from; interrupted trials leave gaps.
        chosen: values of the searched settings.
        metrics: on validation users; empty where the training diverged.
        value: the objective; None where the training diverged.
        seconds: that training and measuring took.
    """

    number: int
    chosen: dict[str, Any]
    metrics: dict[str, float]
    value: float | None
    seconds: float


@dataclass(frozen=True)
class Progress:
    """The state of a search after a trial.

    Args:
        study: name of the search.
        trial: the finished trial.
        best: the best so far; None where all diverged.
        done: trials finished, those of earlier searches included.
        total: trials wanted.
        seconds_left: estimated, at most what the time limit leaves; None until this search has finished one.
        restored: whether an earlier search had finished it; only the last of these is reported.
    """

    study: str
    trial: Trial
    best: Trial | None
    done: int
    total: int
    seconds_left: float | None
    restored: bool


OnTrial = Callable[[Progress], None]


@dataclass(frozen=True)
class Search:
    """A finished search.

    Args:
        study: name of the search: a digest of its data, its start and its code.
        objective: what it optimized.
        start: the settings that it started from.
        trials: all finished ones, in order.
        best: the best of them, the earliest of equals.
    """

    study: str
    objective: Objective
    start: Settings
    trials: list[Trial]
    best: Trial

    @property
    def settings(self) -> Settings:
        """The best settings."""
        return settings_of(self.start, self.best.chosen)


def settings_of(start: Settings, chosen: Mapping[str, Any]) -> Settings:
    """A trial's settings."""
    return Settings(**{**start.model_dump(), **chosen})


def tune(
    home: Home,
    pair: Pair,
    source: Domain,
    target: Domain,
    settings: Settings,
    on_trial: OnTrial,
    *,
    objective: Mode = "rating",
    trials: int,
    timeout: float | None = None,
) -> Search:
    """Search for better settings; a stopped search continues from its finished trials.

    With another objective, other ratings, scales or start settings, or another version of the training, it is another
    search and begins anew.

    Args:
        home: has both domains' ``raw_ratings``, and keeps the trials in ``tuning/<pair>.journal``.
        pair: the pair.
        source: its source domain.
        target: its target domain.
        settings: what the search starts from, its trial 0.
        on_trial: called after every trial; what it raises stops the search, and the next one continues it.
        objective: what to improve, predicted ratings or ranked lists.
        trials: wanted number of trials, trial 0 and earlier ones included; at least 1.
        timeout: seconds after which no further trial is started.

    Raises:
        WarehouseError: a domain was not ingested.
        SplitError: the settings leave a cohort empty.
        SettingsError: the recipe chooses on test users; or lists are the objective and the recipe ranks nothing; or
            ratings are and the pair has no stars.
        TuningError: another search of the pair is running, or every training diverged.
        DeviceError: the environment asks for a GPU that is not there.
    """
    if settings.recipe == "published_test_best":
        raise SettingsError("published_test_best chooses on test users, and a search must not: use published or honest")
    if objective not in settings.modes:
        raise SettingsError(
            f"these settings have no {OBJECTIVES[objective].what}: a search by them needs the recipe calibrated and "
            "the mode both"
        )
    if MODES[objective].needs_stars and not (source.stars and target.stars):
        raise SettingsError(f"{pair.key} has events without stars: search by ranked lists (--objective ranking)")
    warehouse, started = Warehouse.from_environment(home.warehouse), time.monotonic()
    goal = OBJECTIVES[objective]
    with alone(home.tuning, pair.key), scratch_folder() as folder:
        scratch = Warehouse(folder, warehouse.memory_limit, warehouse.threads)
        splits = ScratchSplits(pair, source, target, warehouse, scratch)
        space = goal.space(settings, _load(splits, settings).source_scale)
        name = _study_name(goal, settings, space, ratings_fingerprint(warehouse, source, target))
        study = _open_study(home.tuning / f"{pair.key}.journal", name, goal)
        found, fresh = [_trial(known) for known in study.get_trials(states=FINISHED)], 0

        def tell() -> None:
            left = (time.monotonic() - started) / fresh * (trials - len(found)) if fresh else None
            if left is not None and timeout is not None:
                left = min(left, max(0.0, started + timeout - time.monotonic()))
            on_trial(Progress(name, found[-1], _best(found, goal), len(found), trials, left, fresh == 0))

        if found:
            tell()
        while len(found) < trials and not (found and timeout and time.monotonic() - started >= timeout):
            found.append(_run(study, space, settings, found, splits, goal))
            fresh += 1
            tell()
    best = _best(found, goal)
    if best is None:
        raise TuningError(f"{pair.key}: the training diverged in all {len(found)} trials; start from other settings")
    return Search(name, goal, settings, found, best)


def _load(splits: ScratchSplits, settings: Settings) -> PairData:
    """One split without its test ratings."""
    return load_pair(splits.of(settings), splits.pair.key, test_ratings=False)


def _run(
    study: optuna.Study,
    space: Space,
    start: Settings,
    found: list[Trial],
    splits: ScratchSplits,
    objective: Objective,
) -> Trial:
    """Propose, train, measure and record one trial."""
    if not found and not study.get_trials(states=(TrialState.WAITING,)):
        study.enqueue_trial({name: getattr(start, name) for name in space})
    # A new sampler for every trial, so that a stopped search proposes what it would have proposed anyway.
    study.sampler = optuna.samplers.TPESampler(
        seed=SEED + len(found), n_startup_trials=RANDOM_TRIALS, constant_liar=False
    )
    trial, began = study.ask(space), time.monotonic()
    settings = settings_of(start, trial.params)
    try:
        metrics = objective.measure(_load(splits, settings), settings)
    except EvaluationError:
        metrics = {}
    trial.set_user_attr("metrics", metrics)
    trial.set_user_attr("seconds", time.monotonic() - began)
    if metrics:
        return _trial(study.tell(trial, metrics[objective.metric]))
    return _trial(study.tell(trial, state=TrialState.PRUNED))


def _open_study(journal: Path, name: str, objective: Objective) -> optuna.Study:
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=name,
        direction=objective.direction,
        load_if_exists=True,
    )
    for left in study.get_trials(states=(TrialState.RUNNING,)):
        study.tell(left.number, state=TrialState.FAIL)
    return study


def _study_name(objective: Objective, settings: Settings, space: Space, ratings: str) -> str:
    entries = {
        "format": formats.SEARCH,
        "objective": objective.metric,
        "settings": objective.trial.relevant(settings),
        "space": {name: distribution_to_json(values) for name, values in space.items()},
        "ratings": ratings,
        "code": objective.trial.version,
    }
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:16]


def _trial(frozen: FrozenTrial) -> Trial:
    value = frozen.value if frozen.state == TrialState.COMPLETE else None
    attributes = frozen.user_attrs
    return Trial(frozen.number, dict(frozen.params), attributes["metrics"], value, attributes["seconds"])


def _best(trials: list[Trial], objective: Objective) -> Trial | None:
    sign = 1 if objective.direction == "minimize" else -1
    measured = [trial for trial in trials if trial.value is not None]
    return min(measured, key=lambda trial: sign * (trial.value or 0.0), default=None)


@contextmanager
def alone(folder: Path, pair: str) -> Iterator[None]:
    """One search of a pair at a time: two would mistake each other's running trials for interrupted ones."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = folder / f"{pair}.lock"
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise TuningError(f"{lock}: another search of {pair} is running; wait for it, or stop it") from None
