"""SIGKILLs spread evenly over all stages of a backfill, and over a benchmark and a search.

After each, every table is the old one or the new one and whole; in the end everything equals what an undisturbed run
makes, and nothing of the killed ones lies about. ``python tests/attack/kills.py --kills 200 FOLDER``.
"""

import argparse
import os
import random
import shutil
import time
from pathlib import Path

from ground import PAIR, Ground, Held, backfill, benchmark, held, left_over, readable, search

from ptupcdr_core.store.home import Home

STAGES = (
    "raw_ratings", "domain_splits", "source_model", "target_model", "meta_network", "bridged_embeddings",
    "cold_start_evaluation", "fine_tuned_embeddings", "champion", "deployed_model", "warm_start_evaluation",
    "recommendations", "pair_report",
)  # fmt: skip
CHANCE = random.Random(12)
COMPARED = {"benchmark_errors", "benchmark_slices"}
REGISTRY = {("champion", PAIR)}
"""It names versions of a registry that the undisturbed home does not share."""


def attack_backfill(ground: Ground, kills: int) -> dict[str, int]:
    """Kill backfills of another seed, and of a touched source file, in a home that holds those of a first seed."""
    first, second = ground.settings(1), ground.settings(2)
    undisturbed, home = ground.home("undisturbed"), ground.home("attacked")
    _require_none(backfill(undisturbed, first, [PAIR]).failures)
    old = held(undisturbed)
    shutil.copytree(undisturbed.root, home.root)
    file = ground.catalog.with_name("books.csv")
    os.utime(file, (time.time(), time.time()))
    told = backfill(undisturbed, second, [PAIR])
    _require_none(told.failures)
    new, durations = held(undisturbed), _durations(told.steps)
    done = 0
    for number, stage in enumerate(STAGES):
        for _ in range(kills * (number + 1) // len(STAGES) - kills * number // len(STAGES)):
            later = STAGES[number:]
            killed = backfill(
                home,
                second,
                [PAIR],
                lambda asset, state, later=later: (  # type: ignore[misc]
                    CHANCE.uniform(0, durations.get(asset, 0.5)) if asset in later and state == "started" else None
                ),
            )
            done += killed.failures is None
            _require_old_or_new(home, old, new)
        print(f"{stage}: {done} kills", flush=True)
    _require_none(backfill(home, second, [PAIR]).failures)
    _require_equal(held(home), new)
    return {"kills": done, "tables": len(new), "things read after each": readable(home), **left_over(home)}


def attack_benchmark(ground: Ground, kills: int) -> dict[str, int]:
    """Kill benchmarks between and within their cells."""
    return _attack_resumable(ground, kills, "benchmark")


def attack_search(ground: Ground, kills: int) -> dict[str, int]:
    """Kill searches between and within their trials; the trials of a stopped one are those of one that was not."""
    return _attack_resumable(ground, kills, "search")


def _attack_resumable(ground: Ground, kills: int, kind: str) -> dict[str, int]:
    run = {"benchmark": benchmark, "search": search}[kind]
    undisturbed, home = ground.home(f"{kind}-undisturbed"), ground.home(f"{kind}-attacked")
    for place in (undisturbed, home):
        _require_none(backfill(place, ground.settings(), [PAIR], _kill_at_the_split).failures or [])
    began = time.monotonic()
    told = run(undisturbed, ground.settings())
    _require_none(told.failures)
    lasted, done = time.monotonic() - began, 0
    for number in range(kills):
        after = lasted * (number + CHANCE.random()) / kills
        killed = run(home, ground.settings(), lambda asset, state, after=after: after if state == "started" else None)  # type: ignore[misc]
        done += killed.failures is None
        held(home)
        readable(home)
    _require_none(run(home, ground.settings()).failures)
    if kind == "benchmark":
        # The table beside them has the seconds that each took.
        ours, theirs = (
            {key: own for key, own in held(place).items() if key[2] in COMPARED} for place in (home, undisturbed)
        )
        _require_equal(ours, theirs)
    else:
        _require_same_trials(home, undisturbed)
    return {"kills": done, **left_over(home)}


def _kill_at_the_split(asset: str, state: str) -> float | None:
    # Neither a benchmark nor a search needs more than the ratings.
    return 0.0 if (asset, state) == ("domain_splits", "started") else None


def _require_same_trials(home: Home, undisturbed: Home) -> None:
    ours, theirs = (_trials(place) for place in (home, undisturbed))
    assert ours == theirs, (ours, theirs)


def _trials(home: Home) -> list[tuple[float | None, dict[str, object]]]:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(home.tuning / f"{PAIR}.journal")))
    [name] = optuna.study.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return [(trial.value, trial.params) for trial in trials]


def _durations(steps: list[tuple[str, str, float]]) -> dict[str, float]:
    began = {asset: at for asset, state, at in steps if state == "started"}
    return {asset: at - began[asset] for asset, state, at in steps if state == "done" and asset in began}


def _require_none(failures: list[str] | None) -> None:
    assert failures == [], failures


def _require_old_or_new(home: Home, old: Held, new: Held) -> None:
    for key, content in held(home).items():
        if key[:2] not in REGISTRY:
            assert content in (old[key], new[key]), f"{key} is neither the old table nor the new one"
    readable(home)


def _require_equal(found: Held, expected: Held) -> None:
    assert found.keys() == expected.keys(), found.keys() ^ expected.keys()
    differing = [key for key in found if key[:2] not in REGISTRY and found[key] != expected[key]]
    assert not differing, f"other than those of an undisturbed run: {differing}"


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--of", nargs="*", default=["backfill", "benchmark", "search"])
    parser.add_argument("--mode", choices=["both", "rating"], default="both")
    asked = parser.parse_args()
    ground = Ground.prepare(asked.folder, [("books", "movies")], asked.mode)
    shares = {"backfill": 0.7, "benchmark": 0.15, "search": 0.15}
    whole = sum(shares[kind] for kind in asked.of)
    attacks = {"backfill": attack_backfill, "benchmark": attack_benchmark, "search": attack_search}
    for kind in asked.of:
        began = time.monotonic()
        seen = attacks[kind](ground, round(asked.kills * shares[kind] / whole))
        print(f"{kind}: {seen} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
