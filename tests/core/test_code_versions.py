"""Code does not change unnoticed: if code behind a result changes, somebody must say whether the result does."""

import cProfile
import json
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from types import CodeType

import pytest
from code_reached import ENTRIES, RECORD, Code, Reached, complaint, current, plain_sql
from small_lineage import PAIR, SETTINGS, domains, write_ratings

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.splits import build_split
from ptupcdr_core.gate.decision import judge, keep_verdict
from ptupcdr_core.report.page import make_report
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.stages.bridges import train_bridges
from ptupcdr_core.stages.deployment import deploy
from ptupcdr_core.stages.embeddings import bridge_cold_users
from ptupcdr_core.stages.evaluation import evaluate_cold_start
from ptupcdr_core.stages.pretraining import pretrain
from ptupcdr_core.stages.recommendations import recommend_cold_users
from ptupcdr_core.stages.warm_start import evaluate_warm_start, fine_tune
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.versions import RESULTS

STAGE = '''
"""A stage."""
from made_up.training import Adam, RATE  # more of it stands there

def make():
    """Train."""
    return Adam(RATE).fit("split")
'''
TRAINING = '''
from made_up.registry import registered

RATE = 0.1

class Adam:
    """An optimizer."""
    def __init__(self, rate: float) -> None:
        self.rate = rate

    def fit(self, text):
        return shrunken(self.rate)

    def explain(self):
        return "words"

def shrunken(rate):
    return rate / 2

def unrelated():
    return 3
'''
SQL = "select user_id -- of the source\nfrom ratings where name = 'a  b'"


def digest(folder: Path, **changed: str) -> str:
    """Of the code of a small package's only stage."""
    root = folder / "made_up"
    root.mkdir(exist_ok=True)
    texts = {"stage.py": STAGE, "training.py": TRAINING, "split.sql": SQL, "registry.py": ""}
    for name, text in (texts | {name.replace("_", "."): text for name, text in changed.items()}).items():
        (root / name).write_text(text)
    return Reached(Code(root), "stage:make").digest()


def test_the_code_of_all_results_is_as_recorded() -> None:
    assert complaint(json.loads(RECORD.read_text()), current()) == ""


def test_every_result_says_where_its_code_begins() -> None:
    assert ENTRIES.keys() == RESULTS.keys()


@pytest.mark.parametrize(
    "changed",
    [
        {"stage_py": STAGE.replace("  # more of it stands there", "").replace("Train.", "Train it.")},
        {"stage_py": STAGE.replace("Adam(RATE)", "Adam(\n        RATE\n    )")},
        {"training_py": TRAINING.replace("rate: float) -> None", "rate)")},
        {"training_py": TRAINING.replace("words", "other words")},
        {"training_py": TRAINING.replace("return 3", "return 4")},
        {"split_sql": "select user_id from ratings\n/* all */ where name = 'a  b'\n"},
        {
            "training_py": TRAINING.replace("RATE = 0.1", "from made_up.registry import RATE"),
            "registry_py": "RATE = 0.1",
        },
    ],
    ids=["comments", "layout", "types", "a method nobody calls", "unrelated", "a comment in SQL", "moved"],
)
def test_what_makes_no_difference_is_not_noticed(tmp_path: Path, changed: dict[str, str]) -> None:
    assert digest(tmp_path, **changed) == digest(tmp_path)


@pytest.mark.parametrize(
    "changed",
    [
        {"training_py": TRAINING.replace("rate / 2", "rate / 3")},
        {"training_py": TRAINING.replace("RATE = 0.1", "RATE = 0.2")},
        {"training_py": TRAINING.replace("self.rate = rate", "self.rate = -rate")},
        {"stage_py": STAGE.replace(".fit(", ".explain(")},
        {"training_py": TRAINING.replace("def unrelated", "@registered\ndef unrelated")},
        {"training_py": TRAINING + "\nfor rate in (1, 2):\n    print(rate)\n"},
        {"split_sql": SQL.replace("'a  b'", "'a b'")},
        {"split_sql": SQL.replace("user_id", "item_id")},
    ],
    ids=["a function called by another", "a constant", "a special method", "a method", "a registration",
         "an effect", "quoted", "a statement"],
)  # fmt: skip
def test_what_can_make_a_difference_is_noticed(tmp_path: Path, changed: dict[str, str]) -> None:
    assert digest(tmp_path, **changed) != digest(tmp_path)


def test_an_entry_that_is_gone_is_reported() -> None:
    with pytest.raises(LookupError, match=r"stages\.bridges:train_tunnels is not in .* mend ENTRIES"):
        Reached(Code(), "stages.bridges:train_tunnels")


def test_sql_keeps_what_stands_in_quotes() -> None:
    assert plain_sql("select 1 - 2,\n 'it''s -- no  comment' -- but this\n /* and\n this */ , a/b") == (
        "select 1 - 2, 'it''s -- no  comment' , a/b"
    )


def test_the_message_names_both_remedies() -> None:
    recorded = {"meta_network": {"version": 2, "digest": "a"}, "champion": {"version": 1, "digest": "b"}}
    moved = recorded | {"meta_network": {"version": 2, "digest": "c"}}
    assert complaint(recorded, recorded) == ""
    told = complaint(recorded, moved)
    assert told.startswith("the code of meta_network has changed.")
    assert "ptupcdr_core/versions.py" in told
    assert "`make same-results`" in told
    raised = recorded | {"meta_network": {"version": 3, "digest": "c"}}
    assert "`make same-results` records them" in complaint(recorded, raised)
    assert "same-results" in complaint(recorded | {"gone": {"version": 1, "digest": "x"}}, recorded)


def run_functions(make: Callable[[], object]) -> set[str]:
    """The core's functions that run meanwhile, in all threads, as ``module:name`` or ``module:class.method``."""
    profiles = [cProfile.Profile(builtins=False)]

    def begin(*first_call: object) -> None:
        # In a new thread. cProfile notes millions of calls in C, and a thread has one of its own.
        profiles.append(cProfile.Profile(builtins=False))
        profiles[-1].enable()

    threading.setprofile(begin)
    profiles[0].enable()
    try:
        make()
    finally:
        profiles[0].disable()
        threading.setprofile(None)
    codes = {entry.code for profile in profiles for entry in profile.getstats() if isinstance(entry.code, CodeType)}
    package, ran = Code().root, set()
    for code in codes:
        file = Path(code.co_filename)
        if file.suffix == ".py" and file.is_relative_to(package) and not code.co_qualname.startswith("<"):
            module = file.relative_to(package).with_suffix("")
            ran.add(f"{'.'.join(module.parts).removesuffix('.__init__')}:{code.co_qualname.partition('.<locals>')[0]}")
    return ran


@pytest.mark.slow
def test_what_a_stage_runs_is_what_was_reached(tmp_path: Path) -> None:
    """Following names finds all that runs: no function is called whose change would go unnoticed."""
    settings = SETTINGS.model_copy(update={"mode": "both", "ranking_size": 8, "epochs": 2})
    home, sides = Home(tmp_path / "home"), domains(write_ratings(tmp_path))
    warehouse, quiet = Warehouse(home.warehouse), lambda epoch, metrics: None
    stages: dict[str, Callable[[], object]] = {
        "raw_ratings": lambda: [ingest_domain(side, warehouse) for side in sides],
        "domain_splits": lambda: build_split(Pair(source="books", target="movies"), *sides, warehouse, settings),
        "source_model": lambda: pretrain(home, PAIR, "source", settings, quiet),
        "target_model": lambda: pretrain(home, PAIR, "target", settings, quiet),
        "meta_network": lambda: train_bridges(home, PAIR, settings, quiet),
        "bridged_embeddings": lambda: bridge_cold_users(home, PAIR, settings),
        "cold_start_evaluation": lambda: evaluate_cold_start(home, PAIR, settings),
        "fine_tuned_embeddings": lambda: fine_tune(home, PAIR, settings),
        "warm_start_evaluation": lambda: evaluate_warm_start(home, PAIR, settings),
        "champion": lambda: keep_verdict(home, PAIR, judge(home, PAIR), settings, model="", version="1", champion=None),
        "deployed_model": lambda: deploy(home, PAIR, settings, quiet),
        "recommendations": lambda: recommend_cold_users(home, PAIR, settings),
        "pair_report": lambda: make_report(home, PAIR, settings),
    }
    code = Code()
    for name, make in stages.items():
        reached = Reached(code, *ENTRIES[name]).parts.keys()
        ran = run_functions(make)
        assert len(ran) > 10
        missed = {place for place in ran if place not in reached and not is_special(place, reached)}
        assert missed == set(), name


def is_special(place: str, reached: Collection[str]) -> bool:
    """Special methods, and functions without a name, are part of their class's text."""
    owner, _, method = place.rpartition(".")
    return owner in reached and method.startswith(("__", "<"))
