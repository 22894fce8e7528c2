"""SIGKILLs spread evenly over all stages of backfills, of Dagster's multiprocess executor, of benchmarks and searches.

After each kill every table is whole, the old one or the new one. In the end all tables are those of an undisturbed run,
and the killed runs have left no files. ``python tests/attack/kills.py --kills 200 FOLDER``.
"""

import argparse
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable
from math import ceil
from pathlib import Path

from ground import Ground, Hashes, differing, hashes, left_over, pruned, readable, trials
from processes import (
    CELLS,
    PAIR,
    TRIALS,
    Ended,
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
"""Which share of all kills each kind of command gets."""


class Attack:
    """Two homes in which the same commands run: in one undisturbed, in the other killed again and again.

    There are rounds, each with its own seed. In a round each stage is killed once, in order, at a random moment within
    its undisturbed duration; then the command is started again, and the next stage is killed.
    """

    def __init__(self, ground: Ground, chance: int = 12) -> None:
        """Prepare; no home is made yet."""
        self.ground, self.chance, self.seed = ground, random.Random(chance), 0
        self.undisturbed, self.home = ground.home("undisturbed"), ground.home("attacked")
        self.kills, self.most_left = Counter[str](), 0
        self.old: Hashes = {}
        self.new: Hashes = {}

    def begin(self) -> None:
        """Fill both homes with the results of a first seed."""
        self._next()
        shutil.copytree(self.undisturbed.root, self.home.root)

    def backfill(self, kills: int) -> None:
        """Kill backfills, after `begin`."""
        for stages in _rounds(STAGES, kills):
            self._next()
            for stage in stages:
                ended = backfill(self.home, self.settings, [PAIR], self._within(stage))
                self._look(ended, ended.at_work)
            self._finish(backfill(self.home, self.settings, [PAIR]))

    def executor(self, kills: int) -> None:
        """Kill runs under the multiprocess executor, after `begin`; the processes of their steps must end too."""
        for stages in _rounds(STAGES[1:], kills):
            self._next()
            for stage in stages:
                backfill(self.home, self.settings, [PAIR], _up_to(stage))
                ended = materialize(self.home, self.settings, stage, self._within(stage))
                self._look(ended, f"executor: {ended.at_work}")
            self._finish(backfill(self.home, self.settings, [PAIR]))

    def benchmark(self, kills: int) -> None:
        """Kill benchmarks during their cells, and while their tables are written."""
        self._resumable(benchmark, CELLS, kills, each=1)

    def search(self, kills: int) -> None:
        """Kill searches during their trials; in the end the trials are those of an undisturbed search."""
        for home in (self.undisturbed, self.home):  # a search needs only the ratings
            backfill(home, self.settings, [PAIR], _up_to("domain_splits"))
        self._resumable(search, TRIALS, kills, each=4)
        assert trials(self.home) == trials(self.undisturbed)

    @property
    def settings(self) -> dict[str, object]:
        """The settings of the present round."""
        return self.ground.settings(self.seed)

    def summary(self) -> dict[str, object]:
        """The counts of the whole attack."""
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
        """Backfill the undisturbed home with the next seed and one more row in one domain."""
        self.seed += 1
        with self.ground.catalog.with_name("books.csv").open("a", newline="") as file:
            # Off the scale, so that the table of rejected rows changes too.
            file.write(f"user000,books-99,{5 + self.seed},1600000000\r\n")
        ended = backfill(self.undisturbed, self.settings, [PAIR])
        assert ended.failures == [], ended.failures
        self.old, self.new = self.new, hashes(self.undisturbed)
        began = {asset: at for asset, state, at in ended.steps if state == "started"}
        self.lasted = {asset: at - began[asset] for asset, state, at in ended.steps if state == "done"}

    def _within(self, stage: str) -> Watch:
        """Kill while this stage runs, at the latest when it ends."""

        def watch(asset: str, state: str) -> float | None:
            if asset != stage:
                return None
            return self.chance.uniform(0, self.lasted[stage]) if state == "started" else 0.0

        return watch

    def _look(self, ended: Ended, killed: str) -> None:
        if not ended.killed:
            print(f"ended before the kill: {killed}, {ended.failures}", flush=True)
            return
        # Its child processes must end too; until then its temporary files still have an owner.
        assert not (orphans := still_at_work(ended.pid)), f"still running: {orphans}"
        self.kills[killed] += 1
        self.most_left = max(self.most_left, len(leftovers(self.home)))
        found = hashes(self.home)
        assert self.old.keys() <= found.keys(), f"lost: {self.old.keys() - found.keys()}"
        assert not (half := differing(found, self.old, self.new)), f"neither old nor new: {half}"
        readable(self.home)

    def _finish(self, ended: Ended) -> None:
        assert ended.failures == [], ended.failures
        found = hashes(self.home)
        assert found.keys() == self.new.keys(), found.keys() ^ self.new.keys()
        assert not (others := differing(found, self.new)), f"not those of an undisturbed run: {others}"
        print(f"{self.kills.total()} kills: {dict(self.kills)}", flush=True)

    def _resumable(self, run: Callable[..., Ended], units: int, kills: int, each: int) -> None:
        """Kill ``each`` times during each unit (a cell or a trial) and after the last; then comes the next seed."""
        places = [unit for unit in range(units + 1) for _ in range(each)]
        for round in _rounds(tuple(map(str, places)), kills):
            self.seed += 1
            undisturbed = run(self.undisturbed, self.settings)
            assert undisturbed.failures == [], undisturbed.failures
            self.old, self.new = self.new, hashes(self.undisturbed)
            moments = [next(at for name, _, at in undisturbed.steps if name == str(unit)) for unit in range(units + 1)]
            for place in map(int, round):
                most = [*moments, undisturbed.at][place + 1] - moments[place]
                while not (ended := run(self.home, self.settings, self._after(place, most))).killed:
                    most /= 2  # it ended before the kill; the next one does everything again
                self._look(ended, f"{run.__name__}: {ended.units} of {units}")
            self._finish(run(self.home, self.settings))

    def _after(self, units: int, most: float) -> Watch:
        """Kill at most this many seconds after this many units are done, and before two more are."""
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
    """Distribute the kills over rounds of these places; in an incomplete round the places are spread evenly."""
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
    parser.add_argument(
        "--of", action="append", choices=list(SHARES), help="what to kill, may be repeated; default: all"
    )
    parser.add_argument("--chance", type=int, default=12, help="seed of the random moments at which to kill")
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
