"""SIGKILLs spread evenly over all stages of backfills, of Dagster's multiprocess executor, of benchmarks and searches.

After each kill, every table is complete, old or new; in the end everything equals what an undisturbed run makes, and
killed runs have left no files. ``python tests/attack/kills.py --kills 200 FOLDER``.
"""

import argparse
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from math import ceil
from pathlib import Path

from ground import Ground, Held, differing, held, left_over, pruned, readable, trials
from processes import (
    CELLS,
    PAIR,
    TRIALS,
    Told,
    Watch,
    backfill,
    benchmark,
    materialize,
    processor_seconds,
    search,
    still_at_work,
)  # fmt: skip

from ptupcdr_core.store.leftovers import leftovers

STAGES = (
    "raw_ratings", "domain_splits", "source_model", "target_model", "meta_network", "bridged_embeddings",
    "cold_start_evaluation", "fine_tuned_embeddings", "champion", "deployed_model", "warm_start_evaluation",
    "recommendations", "pair_report",
)  # fmt: skip
SHARES = {"backfill": 0.325, "executor": 0.18, "benchmark": 0.245, "search": 0.25}


class Attack:
    """Two homes with the same work: one is undisturbed, in the other the work is killed again and again.

    The work comes in rounds, each with its own seed. In a round each stage is killed once, in order, at some moment
    within its undisturbed duration; then the work is started again, and the next stage is killed.
    """

    def __init__(self, ground: Ground, chance: int = 12) -> None:
        """Neither home is there yet."""
        self.ground, self.chance, self.seed = ground, random.Random(chance), 0
        self.undisturbed, self.home = ground.home("undisturbed"), ground.home("attacked")
        self.kills, self.most_left = Counter[str](), 0
        self.old: Held = {}
        self.new: Held = {}

    def begin(self) -> None:
        """Fill both homes with the results of a first seed."""
        self._next()
        shutil.copytree(self.undisturbed.root, self.home.root)

    def backfill(self, kills: int) -> None:
        """Kill backfills, after `begin`."""
        for stages in _rounds(STAGES, kills):
            self._next()
            for stage in stages:
                told = backfill(self.home, self.settings, [PAIR], self._within(stage))
                self._look(told, told.at_work)
            self._finish(backfill(self.home, self.settings, [PAIR]))

    def executor(self, kills: int) -> None:
        """Kill runs under the multiprocess executor, after `begin`; the processes of their steps end with them."""
        for stages in _rounds(STAGES[1:], kills):
            self._next()
            for stage in stages:
                backfill(self.home, self.settings, [PAIR], _up_to(stage))
                told = materialize(self.home, self.settings, stage, self._within(stage))
                self._look(told, f"executor: {told.at_work}")
            self._finish(backfill(self.home, self.settings, [PAIR]))

    def benchmark(self, kills: int) -> None:
        """Kill benchmarks within their cells, and while their tables are written."""
        self._resumable(benchmark, CELLS, kills, each=1)

    def search(self, kills: int) -> None:
        """Kill searches within their trials; the trials of a stopped search equal those of an undisturbed one."""
        for home in (self.undisturbed, self.home):  # the ratings are enough
            backfill(home, self.settings, [PAIR], _up_to("domain_splits"))
        self._resumable(search, TRIALS, kills, each=4)
        assert trials(self.home) == trials(self.undisturbed)

    @property
    def settings(self) -> dict[str, object]:
        """The settings of the present round."""
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

    def _next(self) -> None:
        """Backfill the undisturbed home with another seed, and one more row in one domain."""
        self.seed += 1
        with self.ground.catalog.with_name("books.csv").open("a", newline="") as file:
            file.write(f"user000,books-99,{5 + self.seed},1600000000\r\n")  # rejected, and so in a table of its own
        told = backfill(self.undisturbed, self.settings, [PAIR])
        assert told.failures == [], told.failures
        self.old, self.new = self.new, held(self.undisturbed)
        began = {asset: at for asset, state, at in told.steps if state == "started"}
        self.lasted = {asset: at - began[asset] for asset, state, at in told.steps if state == "done"}

    def _within(self, stage: str) -> Watch:
        """Kill while this stage is at work, at the latest at its end."""

        def watch(asset: str, state: str) -> float | None:
            if asset != stage:
                return None
            return self.chance.uniform(0, self.lasted[stage]) if state == "started" else 0.0

        return watch

    def _look(self, told: Told, killed: str) -> None:
        if not told.killed:
            print(f"it had ended before: {killed}, {told.failures}", flush=True)
            return
        # Its child processes end with it; until then its temporary files have an owner.
        assert not (orphans := still_at_work(told.pid)), f"still at work: {orphans}"
        self.kills[killed] += 1
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
        print(f"{self.kills.total()} kills: {dict(self.kills)}", flush=True)

    def _resumable(self, run: Callable[..., Told], units: int, kills: int, each: int) -> None:
        """Kill within each unit, and after the last one, as often as given, before the next seed."""
        places = [unit for unit in range(units + 1) for _ in range(each)]
        for round in _rounds(tuple(map(str, places)), kills):
            self.seed += 1
            told = run(self.undisturbed, self.settings)
            assert told.failures == [], told.failures
            self.old, self.new = self.new, held(self.undisturbed)
            moments = [next(at for name, _, at in told.steps if name == str(unit)) for unit in range(units + 1)]
            for place in map(int, round):
                most = [*moments, told.ended][place + 1] - moments[place]
                while not (told_of := run(self.home, self.settings, self._after(place, most))).killed:
                    most /= 2  # it had ended before, and does all of it once more
                self._look(told_of, f"{run.__name__}: {told_of.units} of {units}")
            self._finish(run(self.home, self.settings))

    def _after(self, units: int, most: float) -> Watch:
        """Kill at most so many seconds after so many units were done, before the one after the next."""
        waiting = False

        def watch(name: str, state: str) -> float | None:
            nonlocal waiting
            if not name.isdigit():
                return 0.0 if (name, state) == ("benchmark", "done") else None
            if waiting:
                return 0.0
            waiting = int(name) >= units
            return self.chance.uniform(0, most) if waiting else None

        return watch


def _rounds(places: tuple[str, ...], kills: int) -> list[tuple[str, ...]]:
    """So many kills as rounds over the same places; in an incomplete round the places are spread evenly."""
    whole = [places] * (kills // len(places))
    rest = kills % len(places)
    return [*whole, tuple(places[ceil(len(places) * at / rest)] for at in range(rest))] if rest else whole


def _up_to(stage: str) -> Watch:
    """Kill where this stage begins."""
    return lambda asset, state: 0.0 if (asset, state) == (stage, "started") else None


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--of", action="append", choices=list(SHARES), help="all of these unless given")
    parser.add_argument("--chance", type=int, default=12, help="seed of the moments of the kills")
    asked = parser.parse_args()
    began = time.monotonic()
    attack = Attack(Ground.prepare(asked.folder, [("books", "movies")], "rating"), asked.chance)
    if not asked.of or {"backfill", "executor"} & {*asked.of}:
        attack.begin()
    shares = {kind: share for kind, share in SHARES.items() if not asked.of or kind in asked.of}
    for kind, share in shares.items():
        before, used = attack.kills.total(), processor_seconds()
        getattr(attack, kind)(round(asked.kills * share / sum(shares.values())))
        kills, used = attack.kills.total() - before, processor_seconds() - used
        print(f"{kind}: {kills} kills, {used / max(kills, 1):.1f} processor seconds each", flush=True)
    print(f"kills: {attack.summary()} in {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
