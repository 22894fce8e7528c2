"""Records a search for settings: one MLflow run per search, a child run per trial, and a file of the best settings."""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console

from ptupcdr_core.catalog import Pair
from ptupcdr_core.experiments.search import OnTrial, Progress, Search, Trial, tune
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.settings_file import write_settings_file
from ptupcdr_dagster.cli.printing import print_columns, say
from ptupcdr_dagster.partitions import CATALOG
from ptupcdr_dagster.tracking.runs import StageTracker, made_run
from ptupcdr_dagster.tracking.stores import in_store, store_lock

if TYPE_CHECKING:
    from mlflow import MlflowClient

MOST_TRIALS = 50_000
"""The most runs that MLflow returns at once."""


def settings_file(home: Home, pair: str, objective: Mode) -> Path:
    """The file with the best settings of the pair's last search by this objective."""
    return home.tuning / (f"{pair}.toml" if objective == "rating" else f"{pair}.{objective}.toml")


def search(
    home: Home,
    pair: Pair,
    settings: Settings,
    on_trial: OnTrial,
    *,
    objective: Mode,
    trials: int,
    timeout: float | None,
) -> Search:
    """Run or resume a search; arguments and errors are those of ``ptupcdr_core.experiments.search.tune``."""
    runs: list[_Runs] = []

    def tell(progress: Progress) -> None:
        if not runs:
            runs.append(_Runs.open(home, pair.key, objective, progress.study, settings))
        runs[0].log(progress.trial)
        on_trial(progress)

    source, target = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
    found = tune(home, pair, source, target, settings, tell, objective=objective, trials=trials, timeout=timeout)
    file = settings_file(home, pair.key, objective)
    write_settings_file(file, found.settings, _comment(found, pair.key, file))
    runs[0].finish(found, file)
    return found


def comparison(found: Search) -> pd.DataFrame:
    """The start's and the best settings: their results on validation users, and where they differ."""
    start = found.trials[0]
    differing = [name for name, value in start.chosen.items() if found.best.chosen[name] != value]
    rows = [("start", start), ("best", found.best)]
    return pd.DataFrame(
        [
            {"settings": name, "trial": trial.number}
            | {metric: trial.metrics.get(metric, float("nan")) for metric in found.best.metrics}
            | {setting: _shown(trial.chosen[setting]) for setting in differing}
            for name, trial in rows
        ]
    )


def print_comparison(console: Console, frame: pd.DataFrame, title: str) -> None:
    """Print a `comparison` with one line per setting."""
    say(console, f"[italic]{title}[/]", markup=True)
    rows = frame.set_index("settings")
    names = [str(name) for name in rows.columns]
    cells = {"": names} | {str(kind): [_shown(rows.loc[kind, name]) for name in names] for kind in rows.index}
    print_columns(console, cells, {name: name != "" for name in cells})


@dataclass
class _Runs:
    """The search's MLflow run, and which trials already have a child run."""

    tracker: StageTracker
    logged: set[str] = field(default_factory=set)

    @classmethod
    def open(cls, home: Home, pair: str, objective: Mode, study: str, settings: Settings) -> "_Runs":
        def find(client: "MlflowClient", experiment: str) -> "_Runs":
            with store_lock(home):
                known = client.search_runs([experiment], f"tags.`ptupcdr.study` = '{study}'", max_results=1)
                tags = known[0].data.tags if known else _tags(pair, objective, study)
                run_id = known[0].info.run_id if known else _parent(home, client, experiment, tags, settings)
            below = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run_id}'", max_results=MOST_TRIALS)
            tracker = StageTracker(home, client, experiment, run_id, tags)
            return cls(tracker, {run.info.run_name for run in below})

        return in_store(home, find)

    def log(self, trial: Trial) -> None:
        name = f"trial {trial.number}"
        if name not in self.logged:
            metrics = {f"validation_{metric}": value for metric, value in trial.metrics.items()}
            self.tracker.log_child(name, trial.chosen, metrics | {"seconds": trial.seconds})
            self.logged.add(name)

    def finish(self, found: Search, file: Path) -> None:
        for trial in found.trials:  # a trial that finished while the search was being stopped has no run yet
            self.log(trial)
        metrics = {f"best_validation_{name}": value for name, value in found.best.metrics.items()}
        metrics |= {f"start_validation_{name}": value for name, value in found.trials[0].metrics.items()}
        self.tracker.log_metrics(metrics | {"trials": len(found.trials), "best_trial": found.best.number})
        self.tracker.flush()
        self.tracker.log_files([file], folder=None)


def _tags(pair: str, objective: Mode, study: str) -> dict[str, str]:
    return {
        "ptupcdr.level": "search",
        "ptupcdr.objective": objective,
        "ptupcdr.study": study,
        "dagster.partition": pair,
        "mlflow.runName": f"tune {pair} {objective} {study[:8]}",
    }


def _parent(home: Home, client: "MlflowClient", experiment: str, tags: dict[str, str], settings: Settings) -> str:
    from mlflow.entities import Param

    run_id = made_run(home, client, experiment, tags)
    client.log_batch(run_id, params=[Param(name, str(value)) for name, value in settings.model_dump().items()])
    client.set_terminated(run_id)  # a closed run stays writable; an open one would run for ever if the search is killed
    return run_id


def _comment(found: Search, pair: str, file: Path) -> str:
    metric, start = found.objective.metric, found.trials[0].value
    return (
        f"{pair}: trial {found.best.number}, the best of {len(found.trials)} on validation users by {metric}: "
        f"{found.best.value:.4f}; the start had {'diverged' if start is None else f'{start:.4f}'}.\n"
        f"ptupcdr backfill {pair} --settings-file {shlex.quote(str(file))}"
    )


def _shown(value: object) -> str:
    return "default" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
