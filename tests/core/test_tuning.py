"""The search for settings: only validation users judge, its result is no worse than its start, a stop loses nothing."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from conftest import Lineage
from filelock import FileLock
from small_lineage import PAIR, SETTINGS, domains, read, run

from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.pair_data import PairData, load_pair
from ptupcdr_core.errors import EvaluationError, SettingsError, TuningError
from ptupcdr_core.evaluation.rankings import rank_by_vectors
from ptupcdr_core.experiments import search as tuning
from ptupcdr_core.experiments.objectives import (
    OBJECTIVES,
    measure_lists,
    measure_ratings,
    space_of_lists,
    space_of_ratings,
)
from ptupcdr_core.experiments.search import Progress, Search, tune
from ptupcdr_core.modes.ranking.checkpoints import load_ranking_bridges, load_ranking_task
from ptupcdr_core.settings import Mode, Settings
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.settings_file import read_settings_file, write_settings_file
from ptupcdr_core.store.warehouse import Warehouse

BOOKS_TO_MOVIES = Pair(source="books", target="movies")
RANKS = SETTINGS.model_copy(update={"mode": "both", "ranking_size": 16})
Measure = Callable[[PairData, Settings], dict[str, float]]


def home_of(lineage: Lineage, folder: Path) -> Home:
    """A home of its own with the lineage's tables."""
    folder.mkdir(parents=True)
    os.symlink(lineage.home.warehouse, folder / "warehouse")
    return Home(folder)


def search(home: Home, lineage: Lineage, trials: int, told: list[Progress] | None = None, **options: object) -> Search:
    settings = options.pop("settings", lineage.settings)
    hear = [].append if told is None else told.append
    return tune(home, BOOKS_TO_MOVIES, *domains(lineage.files), settings, hear, trials=trials, **options)


def results(found: Search) -> list[tuple[object, ...]]:
    return [(trial.chosen, trial.metrics, trial.value) for trial in found.trials]


def pretended(data: PairData, settings: Settings) -> dict[str, float]:
    """In place of a training: best at size 12."""
    return {"mae": 1.0, "rmse": 1 + abs(settings.embedding_size - 12) / 100}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    measure_by(monkeypatch, pretended)
    return monkeypatch


def measure_by(monkeypatch: pytest.MonkeyPatch, measure: Measure, objective: Mode = "rating") -> None:
    monkeypatch.setitem(OBJECTIVES, objective, replace(OBJECTIVES[objective], measure=measure))


@pytest.fixture(scope="module")
def ranked(lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Search:
    home = home_of(lineage, tmp_path_factory.mktemp("ranked") / "home")
    return search(home, lineage, 4, objective="ranking", settings=RANKS)


@pytest.fixture(scope="module")
def found(lineage: Lineage, tmp_path_factory: pytest.TempPathFactory) -> Search:
    return search(home_of(lineage, tmp_path_factory.mktemp("tuned") / "home"), lineage, 3)


def test_trial_0_is_the_start_trained_as_the_lineage_does(lineage: Lineage, found: Search) -> None:
    assert tuning.settings_of(found.start, found.trials[0].chosen) == lineage.settings
    expected = lineage.reports["meta_network"].metrics["validation_rmse_ptupcdr"]
    assert found.trials[0].value == pytest.approx(expected, abs=1e-12)


def test_the_result_is_the_best_trial_and_never_worse_than_the_start(found: Search) -> None:
    assert [trial.number for trial in found.trials] == [0, 1, 2]
    assert found.best.value == min(trial.value for trial in found.trials) <= found.trials[0].value
    assert found.best.value == found.best.metrics["rmse"]
    assert found.settings.model_dump().items() >= found.best.chosen.items()
    fixed = ("seed", "beta", "validation_fraction", "recipe", "mode", "base_model")
    assert found.settings.model_dump(include=fixed) == SETTINGS.model_dump(include=fixed)


def test_no_test_rating_is_read(lineage: Lineage, found: Search, ranked: Search, tmp_path: Path) -> None:
    """Turned round and given to other items, test users' ratings change nothing, while those of validation users do."""
    for cohort, alike in (("test", True), ("validation", False)):
        query = f"select user_id from split_users where cohort = '{cohort}'"
        users = pa.array([user for (user,) in read(lineage.home, "domain_splits", query)])
        books, movies = domains(lineage.files)
        table = pq.read_table(movies.path)
        theirs = pc.is_in(table["user_id"], users)
        place = tmp_path / f"{cohort}.parquet"
        pq.write_table(
            table.set_column(
                table.schema.get_field_index("rating"), "rating", turned(table["rating"], theirs)
            ).set_column(table.schema.get_field_index("item_id"), "item_id", swapped(table["item_id"], theirs)),
            place,
        )
        home = Home(tmp_path / cohort)
        for side in (books, movies.model_copy(update={"path": str(place)})):
            ingest_domain(side, Warehouse(home.warehouse))
        for before, options in ((found, {}), (ranked, {"objective": "ranking", "settings": RANKS})):
            again = search(home, lineage, 2 if alike else 1, **options)
            assert (again.trials[0].value == before.trials[0].value) is alike
            if alike:
                assert results(again) == results(before)[:2]


def turned(ratings: pa.ChunkedArray, theirs: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(theirs, pc.subtract(6.0, ratings), ratings)


def swapped(items: pa.ChunkedArray, theirs: pa.ChunkedArray) -> pa.ChunkedArray:
    """The last item for the first, the second last for the second, and so on."""
    known = pc.unique(items).sort()
    mirrored = known.take(pa.array(range(len(known))[::-1])).take(pc.index_in(items, value_set=known).combine_chunks())
    return pc.if_else(theirs, mirrored, items)


def test_trials_are_measured_on_a_split_without_test_ratings(lineage: Lineage, tmp_path: Path, quick) -> None:
    seen: list[PairData] = []
    measure_by(quick, lambda data, settings: seen.append(data) or pretended(data, settings))
    search(home_of(lineage, tmp_path / "home"), lineage, 4)
    own = load_pair(Warehouse(lineage.home.warehouse), PAIR)
    assert len(own.target_test) > 0
    for data in seen:
        assert len(data.target_test) == 0
        assert (data.target_validation.stars == own.target_validation.stars).all()
        assert (data.target_train.users == own.target_train.users).all()


def test_a_stopped_search_goes_on_as_if_it_had_not_stopped(lineage: Lineage, tmp_path: Path, quick) -> None:
    whole = search(home_of(lineage, tmp_path / "whole"), lineage, 14)
    assert len({str(trial.chosen) for trial in whole.trials}) > 10, "proposals differ"
    home, calls, told = home_of(lineage, tmp_path / "stopped"), [], []

    def interrupted(data: PairData, settings: Settings) -> dict[str, float]:
        calls.append(settings)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return pretended(data, settings)

    measure_by(quick, interrupted)
    with pytest.raises(KeyboardInterrupt):
        search(home, lineage, 14)
    again = search(home, lineage, 14, told)
    assert results(again) == results(whole)
    assert len(calls) == 15, "finished trials are not trained again"
    assert [progress.done for progress in told] == list(range(5, 15))
    assert [progress.restored for progress in told] == [True] + [False] * 9
    assert told[0].seconds_left is None
    assert told[-1].seconds_left == 0
    assert results(search(home, lineage, 14)) == results(whole)
    assert len(calls) == 15


def test_a_search_learns_from_its_trials(lineage: Lineage, tmp_path: Path, quick) -> None:
    trials = search(home_of(lineage, tmp_path / "home"), lineage, 30).trials
    random, guided = trials[1 : tuning.RANDOM_TRIALS], trials[tuning.RANDOM_TRIALS :]
    assert sum(t.value for t in guided) / len(guided) < sum(t.value for t in random) / len(random)


@pytest.mark.parametrize(
    "change", [{"beta": 0.5}, {"seed": 1}, {"embedding_size": 7}, {"recipe": "honest"}, {"embedding_size": 3}]
)
def test_another_start_is_another_search(lineage: Lineage, tmp_path: Path, quick, change: dict[str, object]) -> None:
    home, other = home_of(lineage, tmp_path / "home"), lineage.settings.model_copy(update=change)
    first, second = search(home, lineage, 3), search(home, lineage, 1, settings=other)
    assert first.study != second.study
    assert len(second.trials) == 1
    assert second.settings == other, "the start is inside the space, wherever it lies"


def test_a_training_that_diverged_counts_as_the_worst(lineage: Lineage, tmp_path: Path, quick) -> None:
    def diverges_above_10(data: PairData, settings: Settings) -> dict[str, float]:
        if settings.embedding_size > 10:
            raise EvaluationError("not finite")
        return pretended(data, settings)

    measure_by(quick, diverges_above_10)
    trials = search(home_of(lineage, tmp_path / "home"), lineage, 8).trials
    diverged = [trial for trial in trials if trial.chosen["embedding_size"] > 10]
    assert diverged
    assert all(trial.value is None and trial.metrics == {} for trial in diverged)


def test_a_search_in_which_every_training_diverged_says_so(lineage: Lineage, tmp_path: Path, quick) -> None:
    def diverges(data: PairData, settings: Settings) -> dict[str, float]:
        raise EvaluationError("not finite")

    measure_by(quick, diverges)
    with pytest.raises(TuningError, match="diverged in all 2 trials"):
        search(home_of(lineage, tmp_path / "home"), lineage, 2)


def test_the_time_limit_lets_a_running_trial_finish(lineage: Lineage, tmp_path: Path, quick) -> None:
    assert len(search(home_of(lineage, tmp_path / "home"), lineage, 50, timeout=1e-9).trials) == 1


def test_one_search_of_a_pair_at_a_time(lineage: Lineage, tmp_path: Path, quick) -> None:
    home = home_of(lineage, tmp_path / "home")
    home.tuning.mkdir()
    with FileLock(home.tuning / f"{PAIR}.lock"), pytest.raises(TuningError, match="another search of books__movies"):
        search(home, lineage, 1)


def test_a_setting_that_chooses_on_test_users_is_refused(lineage: Lineage, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="a search must not"):
        search(Home(tmp_path), lineage, 1, settings=Settings(recipe="published_test_best"))


def test_calibrated_searches_nothing_that_it_does_not_read(lineage: Lineage) -> None:
    """What it leaves out makes no difference, so that no trial is wasted on it."""
    data = load_pair(Warehouse(lineage.home.warehouse), PAIR, test_ratings=False)
    spaces = {
        recipe: space_of_ratings(lineage.settings.model_copy(update={"recipe": recipe}), data.source_scale)
        for recipe in ("calibrated", "honest")
    }
    left_out = spaces["honest"].keys() - spaces["calibrated"].keys()
    assert "learning_rate" in left_out
    changed = {name: getattr(SETTINGS, name) * 2 or True for name in left_out}
    assert measure_ratings(data, SETTINGS.model_copy(update=changed)) == measure_ratings(data, SETTINGS)


def test_a_settings_file_says_all_that_the_search_was_about(found: Search, tmp_path: Path) -> None:
    path = tmp_path / "best.toml"
    write_settings_file(path, found.settings, "one\ntwo")
    assert path.read_text().startswith("# one\n# two\n")
    assert Settings(**read_settings_file(path)) == found.settings
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("embeding_size = 3", "best.toml: unknown setting embeding_size; expected some of: .*embedding_size"),
        ("[books]\nbeta = 0.5", "unknown setting books"),
        ("beta 0.5", "best.toml: not a readable TOML file"),
        (None, "best.toml: not a readable TOML file"),
    ],
)
def test_a_settings_file_that_says_something_else_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "best.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_settings_file(path)


def test_a_ranking_search_starts_from_the_lists_of_the_lineage(
    lineage: Lineage, ranked: Search, tmp_path: Path
) -> None:
    run(Home(tmp_path), domains(lineage.files), RANKS)
    data = load_pair(Warehouse(Home(tmp_path).warehouse), PAIR)
    task, bridges = load_ranking_task(Home(tmp_path), data), load_ranking_bridges(Home(tmp_path), data)
    users = data.cohorts["validation"]
    lists = rank_by_vectors(task.target, bridges.personal.embed(task, users), users, data.target_validation)
    assert ranked.trials[0].value == ranked.trials[0].metrics["ndcg_at_10"] == lists.means()["ndcg_at_10"]
    assert tuning.settings_of(RANKS, ranked.trials[0].chosen) == RANKS


def test_a_ranking_search_keeps_what_ranks_best_and_says_it_in_a_file(ranked: Search, tmp_path: Path) -> None:
    assert ranked.best.value == max(trial.value for trial in ranked.trials) >= ranked.trials[0].value
    assert len({trial.value for trial in ranked.trials}) > 1
    searched = {"ranking_size", "history_length", "positive_above"}
    assert ranked.best.chosen.keys() == searched
    assert ranked.settings.model_dump(exclude=searched) == RANKS.model_dump(exclude=searched)
    write_settings_file(tmp_path / "best.toml", ranked.settings, "")
    assert Settings(**read_settings_file(tmp_path / "best.toml")) == ranked.settings


def test_a_stopped_ranking_search_goes_on_and_is_another_than_that_by_ratings(
    lineage: Lineage, tmp_path: Path, quick
) -> None:
    home, sizes = home_of(lineage, tmp_path / "home"), []

    def best_at_32(data: PairData, settings: Settings) -> dict[str, float]:
        sizes.append(settings.ranking_size)
        if len(sizes) == 3:
            raise KeyboardInterrupt
        return {"ndcg_at_10": 1 / (1 + abs(settings.ranking_size - 32))}

    measure_by(quick, best_at_32, "ranking")
    options = {"objective": "ranking", "settings": RANKS}
    with pytest.raises(KeyboardInterrupt):
        search(home, lineage, 6, **options)
    by_ratings = search(home, lineage, 2, settings=RANKS)
    by_lists = search(home, lineage, 6, **options)
    assert (len(by_ratings.trials), len(by_lists.trials), len(sizes)) == (2, 6, 7)
    assert by_ratings.study != by_lists.study
    assert by_lists.settings.ranking_size == min(sizes, key=lambda size: abs(size - 32))
    assert by_ratings.settings.ranking_size == 16


def test_what_a_ranking_search_leaves_alone_changes_no_list(lineage: Lineage) -> None:
    data = load_pair(Warehouse(lineage.home.warehouse), PAIR, test_ratings=False)
    searched = space_of_lists(RANKS, data.source_scale).keys()
    others = space_of_ratings(RANKS, data.source_scale).keys() - searched
    assert "meta_hidden_size" in others
    changed = {name: getattr(RANKS, name) * 2 for name in others - {"bridge_form", "attention"}}
    other = RANKS.model_copy(update={**changed, "bridge_form": "diagonal", "attention": "timed"})
    assert measure_lists(data, other) == measure_lists(data, RANKS)


@pytest.mark.parametrize("change", [{"mode": "rating"}, {"recipe": "honest"}])
def test_a_search_by_lists_that_are_not_made_is_refused(
    lineage: Lineage, tmp_path: Path, change: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match="no ranked lists"):
        search(Home(tmp_path), lineage, 1, objective="ranking", settings=RANKS.model_copy(update=change))
