"""How often the right parts of lists are chosen, when it is known which of them help.

    PYTHONPATH=tests/core python tests/core/planted_parts.py 100        (``make evidence``)

People shop in two domains (``companions``). What carries over differs by case: nothing; corners of the shop, more than
the bridge has dimensions, which only larger joint factors capture (a personal bridge captures a little more of them
than a common one, and an item map relates items of one corner, so both may be chosen too); companions, item to item;
the side of the shop, which depends on the kind of person, so that only a personal bridge captures it; or all of these.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from companions import Shop, purchases

from ptupcdr_core.data.pair_data import PairData
from ptupcdr_core.modes.ranking.bridging import RankingTask, train_ranking_bridges
from ptupcdr_core.modes.ranking.joint import JointChoice, train_joint
from ptupcdr_core.modes.ranking.judges import Group, further_splits
from ptupcdr_core.modes.ranking.parts import train_parts
from ptupcdr_core.modes.ranking.space import RankingSpace
from ptupcdr_core.training.implicit import train_factors

SIZE = 8
JOINT = JointChoice(unobserved_weight=0.1, regularization=5.0, size=48)
NOTHING = replace(
    Shop(), bridge=800, validation=400, test=10, source_only=1_000, target_only=1_000, of_companions=0.0, of_corner=0.0
)


@dataclass(frozen=True)
class Case:
    """What carries over, and which parts must be chosen and which may be; no others may."""

    shop: Shop
    right: frozenset[str]
    may: frozenset[str] = frozenset()


CASES = {
    "none": Case(NOTHING, frozenset()),
    "joint": Case(
        replace(NOTHING, of_corner=0.7, corners=30), frozenset({"joint"}), frozenset({"item_map", "personal"})
    ),
    "item to item": Case(replace(NOTHING, of_companions=0.6, companions=1), frozenset({"item_map"})),
    "personal": Case(replace(NOTHING, of_side=0.7), frozenset({"personal"})),
    "all": Case(
        replace(
            NOTHING,
            bridge=2_500,
            validation=3_000,
            source_only=4_000,
            target_only=4_000,
            source_items=600,
            target_items=800,
            purchases=16.0,
            skew=0.5,
            of_corner=0.3,
            corners=30,
            of_side=0.6,
            of_companions=0.1,
            companions=1,
        ),
        frozenset({"item_map", "joint", "personal"}),
    ),
}


def group_of(data: PairData) -> Group:
    """A pair's factors, bridge and joint factors, made without its validation users."""
    sides = (
        (data.source, data.user_count, data.source_item_count),
        (data.target_train, data.user_count, data.target_item_count),
    )
    source, target = (train_factors(*of, size=SIZE, seed=1, on_epoch=_silent) for of in sides)
    task = RankingTask.of(data, RankingSpace.of(source, data.source), target)
    bridges = train_ranking_bridges(task, hidden_size=2 * SIZE, seed=0)
    return Group.of(data, task, bridges.personal, train_joint(data, JOINT, seed=0))


def taken_parts(data: PairData) -> frozenset[str]:
    """Train a pair's lists, and return the parts chosen beside the common bridge or popularity."""
    parts = train_parts([group_of(split) for split in (data, *further_splits(data, 0))])
    found = {"personal": parts.chosen["list_personal"], "joint": parts.joint, "item_map": parts.item_map}
    return frozenset(name for name, part in found.items() if part)


def draws(case: Case, count: int) -> Iterator[frozenset[str]]:
    """The parts chosen in so many draws."""
    return (taken_parts(purchases(case.shop, seed)) for seed in range(count))


def _silent(epoch: int, metrics: dict[str, float]) -> None:
    pass


def main() -> None:
    """Print for each case how often each set of parts was chosen."""
    count = int(sys.argv[1])
    for name, case in CASES.items():
        found = Counter(draws(case, count))
        right = sum(n for parts, n in found.items() if case.right <= parts <= case.right | case.may)
        told = ", ".join(f"{' + '.join(sorted(parts)) or 'nothing'} {n}" for parts, n in found.most_common())
        print(f"{name}: right in {right} of {count} ({told})", flush=True)


if __name__ == "__main__":
    main()
