"""Every attack once, so short that all fit among the tests: one catalog, one server of forks, one home to start from.

Prints what was seen of each in a line of JSON. ``python tests/attack/short.py FOLDER``.
"""

import json
import sys
from pathlib import Path

import crowd
import disks
import forgetting
import hostile
import kills
from ground import Ground
from processes import PAIR


def main(folder: Path) -> None:
    """Attack, and print what was seen."""
    ground = Ground.prepare(folder, [("books", "movies")], "rating")
    hostile.spoil(ground)
    attack = kills.Attack(ground, rounds=1)
    attack.backfill(2)
    tell("kills", attack.summary())
    if disks.may_mount(folder / "may"):
        tell("disks", disks.attack_forbidden(ground, attack.undisturbed, seed=attack.seed))
        tell("disks", disks.attack_full(ground, attack.undisturbed, [50, 200], seed=attack.seed))
    if hostile.may_browse():
        tell("hostile", hostile.attack_report(attack.undisturbed))
    tell("forgetting", forgetting.attack(ground, attack.undisturbed, seed=attack.seed))
    tell("crowd", crowd.attack(ground, 2, 1, [PAIR]))


def tell(name: str, seen: object) -> None:
    """Print a line."""
    print(json.dumps({name: seen}, default=str), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
