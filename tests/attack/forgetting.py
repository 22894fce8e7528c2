"""Forgetting a person in a home with all that there is: tables, models, bundles, pages, runs of Dagster and MLflow.

``python tests/attack/forgetting.py FOLDER``.
"""

import argparse
from pathlib import Path

from ground import Ground, readable
from processes import PAIR, backfill

from ptupcdr_core.serving.forgetting import forget, named_in
from ptupcdr_core.store.home import Home


def attack(ground: Ground, home: Home, *, seed: int = 1) -> dict[str, object]:
    """Forget somebody of each kind, and look for them in every file; then train again without them."""
    people = ["user010", "user060", "user170"]  # of the source alone, of both, of the target alone
    named = {path.relative_to(home.root).parts[0] for path in named_in(home.root, people)}
    found = forget(home, people)
    assert list(named_in(home.root, people)) == []
    readable(home)
    told = backfill(home, ground.settings(seed), [PAIR])
    assert told.failures == [], told.failures
    assert list(named_in(home.root, people)) == []
    return {"people": len(people), "stood in": sorted(named), "removed": sum(found.values())}


def main() -> None:
    """Attack, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    ground = Ground.prepare(parser.parse_args().folder, [("books", "movies")], "both")
    home = ground.home("forgetful")
    assert backfill(home, ground.settings(), [PAIR]).failures == []
    print(f"forgetting: {attack(ground, home)}")


if __name__ == "__main__":
    main()
