"""SIGKILLs spread evenly over all stages of backfills, of Dagster's multiprocess executor, of benchmarks and searches.

After each, every table is the old one or the new one and whole; in the end everything equals what an undisturbed run
makes, and nothing of the killed ones lies about. ``python tests/attack/kills.py --kills 200 FOLDER``.
"""

import argparse
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psutil
from ground import Ground, Held, differing, held, left_over, pruned, readable
from processes import CELLS, PAIR, TRIALS, Steps, Told, Watch, backfill, benchmark, materialize, search

from ptupcdr_core.store.home import Home
from ptupcdr_core.store.leftovers import leftovers

OF_PAIR = (
    "domain_splits", "source_model", "target_model", "meta_network", "bridged_embeddings", "cold_start_evaluation",
    "fine_tuned_embeddings", "champion", "deployed_model", "warm_start_evaluation", "recommendations", "pair_report",
)  # fmt: skip
STAGES = ("raw_ratings", *OF_PAIR)
SHARES = {"backfill": 0.65, "executor": 0.12, "benchmark": 0.115, "search": 0.115}


class Attack:
    """Two homes that are given the same work: one is left in peace, the other is killed at it again and again."""

    def __init__(self, ground: Ground, chance: int = 12, rounds: int = 2) -> None:
        """Both hold what seed 1 makes."""
        self.ground, self.chance, self.rounds, self.seed = ground, random.Random(chance), rounds, 1
        self.undisturbed, self.home = ground.home("undisturbed"), ground.home("attacked")
        self.kills, self.most_left = Counter[str](), 0
        self.old: Held = {}
        self.new: Held = {}
        self._next(1)
        shutil.copytree(self.undisturbed.root, self.home.root)

    def backfill(self, kills: int) -> None:
        """Kill backfills, each in the stage that it is told; one that is past it is killed in the next."""
        for made in range(1, self.rounds + 1):
            self._next(self.seed + 1)
            for number, (stage, share) in enumerate(_shares(STAGES, kills).items()):
                for _ in range(share * made // self.rounds - self.kills[stage]):
                    told = backfill(self.home, self.settings, [PAIR], self._in_one_of(STAGES[number:]))
                    self._look(told, told.at_work)
            self._finish(backfill(self.home, self.settings, [PAIR]))

    def executor(self, kills: int) -> None:
        """Kill runs under the multiprocess executor; the steps, processes of their own, end with them."""
        self._next(self.seed + 1)
        for number, (stage, share) in enumerate(_shares(OF_PAIR, kills).items()):
            later = OF_PAIR[number:]
            if share:  # up to this stage
                backfill(self.home, self.settings, [PAIR], lambda asset, state, at=later: 0.0 if asset in at else None)  # type: ignore[misc]
            for _ in range(share):
                told = materialize(self.home, self.settings, stage, self._in_one_of(later))
                assert not (orphans := _at_work(told.pid)), f"still at work: {orphans}"
                self._look(told, f"executor: {told.at_work}")
        self._finish(backfill(self.home, self.settings, [PAIR]))

    def benchmark(self, kills: int) -> None:
        """Kill benchmarks within their cells, and while their tables are written."""
        self._resumable(benchmark, CELLS, kills)

    def search(self, kills: int) -> None:
        """Kill searches within their trials; the trials of a stopped one are those of one that was not."""
        self._resumable(search, TRIALS, kills)
        ours, theirs = _trials(self.home), _trials(self.undisturbed)
        assert ours == theirs, (ours, theirs)

    @property
    def settings(self) -> dict[str, object]:
        """What is worked at."""
        return self.ground.settings(self.seed)

    def summary(self) -> dict[str, object]:
        """What was seen."""
        return {
            "kills": self.kills.total(),
            "of": dict(self.kills),
            "tables": len(self.new),
            "most files left by one": self.most_left,
            **left_over(self.home),
            "MB pruned": pruned(self.home, self.ground),
            "MB of the undisturbed pruned": pruned(self.undisturbed, self.ground),
        }

    def _next(self, seed: int) -> None:
        """Let the undisturbed home have another seed, and one row more of one domain."""
        self.seed = seed
        with self.ground.catalog.with_name("books.csv").open("a", newline="") as file:
            file.write(f"user000,books-99,{5 + seed},1600000000\r\n")  # rejected, and so in a table of its own
        told = backfill(self.undisturbed, self.settings, [PAIR])
        assert told.failures == [], told.failures
        self.old, self.new = self.new, held(self.undisturbed)
        self.lasted = _durations(told.steps)

    def _in_one_of(self, stages: tuple[str, ...]) -> Watch:
        """Kill in the first of these that is started."""

        def watch(asset: str, state: str) -> float | None:
            if asset not in stages:
                return None
            return self.chance.uniform(0, self.lasted.get(asset, 0.5)) if state == "started" else 0.0

        return watch

    def _look(self, told: Told, at_work: str) -> None:
        if told.failures is not None:
            print(f"not killed: {told}", flush=True)
            return
        self.kills[at_work] += 1
        self.most_left = max(self.most_left, len(leftovers(self.home)))
        found = held(self.home)
        assert self.old.keys() <= found.keys(), f"lost: {self.old.keys() - found.keys()}"
        assert not (half := differing(found, self.old, self.new)), f"neither old nor new: {half}"
        readable(self.home)

    def _finish(self, told: Told) -> None:
        assert told.failures == [], told.failures
        found = held(self.home)
        assert found.keys() == self.new.keys(), found.keys() ^ self.new.keys()
        assert not (others := differing(found, self.new)), f"other than those of an undisturbed run: {others}"
        print(f"{sum(self.kills.values())} kills: {dict(self.kills)}", flush=True)

    def _resumable(self, run: Callable[..., Told], units: int, kills: int) -> None:
        told = run(self.undisturbed, self.settings)
        assert told.failures == [], told.failures
        moments = [next(at for name, _, at in told.steps if name == str(unit)) for unit in range(units + 1)]
        moments.append(time.monotonic())
        self.old, self.new = self.new, held(self.undisturbed)
        for number in range(kills):
            at = number * (units + 1) // kills
            most = moments[at + 1] - moments[at]

            def watch(name: str, state: str, at: int = at, most: float = most) -> float | None:
                return self.chance.uniform(0, most) if name.isdigit() and int(name) >= at else None

            self._look(run(self.home, self.settings, watch), run.__name__)
        self._finish(run(self.home, self.settings))


def _shares(stages: tuple[str, ...], kills: int) -> dict[str, int]:
    """As evenly as can be."""
    whole = len(stages)
    return {stage: kills * (at + 1) // whole - kills * at // whole for at, stage in enumerate(stages)}


def _durations(steps: Steps) -> dict[str, float]:
    began = {asset: at for asset, state, at in steps if state == "started"}
    return {asset: at - began[asset] for asset, state, at in steps if state == "done" and asset in began}


def _at_work(session: int) -> list[str]:
    """Processes of a killed one's session that are still at work after ten seconds."""
    for _ in range(100):
        left = [process for process in psutil.process_iter(["status", "cmdline"]) if _is_of(process, session)]
        if not left:
            return []
        time.sleep(0.1)
    return [" ".join(process.info["cmdline"] or ["?"])[:150] for process in left]


def _is_of(process: psutil.Process, session: int) -> bool:
    try:
        return process.info["status"] != psutil.STATUS_ZOMBIE and os.getsid(process.pid) == session
    except ProcessLookupError:
        return False


def _trials(home: Home) -> list[tuple[float | None, dict[str, object]]]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(home.tuning / f"{PAIR}.journal")))
    [name] = optuna.study.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return [(trial.value, trial.params) for trial in trials]


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--of", action="append", choices=list(SHARES), help="all of these unless given")
    parser.add_argument("--chance", type=int, default=12, help="another one for other moments")
    parser.add_argument("--rounds", type=int, default=2, help="seeds made anew, over which the kills are spread")
    asked = parser.parse_args()
    began = time.monotonic()
    attack = Attack(Ground.prepare(asked.folder, [("books", "movies")], "rating"), asked.chance, asked.rounds)
    shares = {kind: share for kind, share in SHARES.items() if not asked.of or kind in asked.of}
    for kind, share in shares.items():
        getattr(attack, kind)(round(asked.kills * share / sum(shares.values())))
    print(f"kills: {attack.summary()} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
