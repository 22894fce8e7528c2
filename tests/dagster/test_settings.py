"""Settings: one list of fields, shown by the launchpad and by the command line."""

from pathlib import Path
from typing import Annotated, get_args

import dagster as dg
import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from ptupcdr_core.catalog import Pair
from ptupcdr_core.settings import Decides, Part, Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.cli import options
from ptupcdr_dagster.cli.commands import app
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.resources import SettingsResource, run_config
from ptupcdr_dagster.running.freshness import fingerprint
from ptupcdr_dagster.running.partition import Report


@dg.asset
def probe(settings: SettingsResource) -> dg.MaterializeResult:
    return dg.MaterializeResult(metadata={"settings": settings.to_settings().model_dump(mode="json")})


def seen(config: dict[str, object]) -> Settings:
    result = dg.materialize([probe], resources={"settings": SettingsResource()}, run_config=config)
    [event] = result.get_asset_materialization_events()
    return Settings(**event.materialization.metadata["settings"].value)


def test_the_launchpad_shows_every_setting_with_its_default_and_description() -> None:
    fields = SettingsResource.to_config_schema().as_field().config_type.fields  # type: ignore[attr-defined]
    assert set(fields) == set(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        assert field.description in fields[name].description
        if field.default is not None:
            assert fields[name].default_value == field.default


def test_no_configuration_means_the_defaults() -> None:
    assert seen({}) == Settings()


def test_a_run_is_configured_by_core_settings() -> None:
    settings = Settings(beta=0.5, seed=10, recipe="published", positive_above=3.5)
    assert seen(run_config(settings)) == settings


def test_bounds_hold_in_the_launchpad_too() -> None:
    with pytest.raises(dg.DagsterResourceFunctionError):
        seen({"resources": {"settings": {"config": {"beta": 1.5}}}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beta", "1.5"], "--beta 1.5"),
        (["--learning-rate", "inf"], "--learning-rate inf"),
        (["--positive-above", "nan"], "--positive-above nan"),
        (["--seed", "9" * 30], "--seed 9"),
        (["--recipe", "guessed"], "guessed"),
        (["--epochs", "many"], "--epochs"),
        (["--colour", "red"], "--colour"),
        (["--recipe", "published", "--refit"], "--refit True"),
        (["books__moves"], "books__movies, books__music, movies__music"),
    ],
)
def test_bad_usage_of_the_command_line(arguments: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["backfill", *arguments])
    assert done.exit_code == 2
    assert message in done.output


def test_the_command_line_has_an_option_for_every_setting() -> None:
    done = CliRunner().invoke(app, ["backfill", "--help"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in done.output


@pytest.mark.parametrize("part", get_args(Part))
@pytest.mark.parametrize(
    ("command", "takes"), [("backfill", get_args(Part)), ("benchmark", ("split", "rating", "ranking")),
                           ("tune", ("split", "rating", "ranking"))]
)  # fmt: skip
def test_a_command_has_options_for_the_settings_that_it_depends_on(
    command: str, takes: tuple[Part, ...], part: Part
) -> None:
    """For every one that decides a part, and so for a made-up one too."""
    done = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    varied = Settings.names_varied() if command == "benchmark" else ()
    for name in set(Settings.names_that_decide(part)) - set(varied):
        expected = bool({*Settings.names_that_decide(*takes)} & {name})
        assert (f"--{name.replace('_', '-')} " in done.output) == expected, name


@pytest.mark.parametrize("part", get_args(Part))
def test_a_made_up_setting_becomes_an_option_and_makes_stages_again(
    monkeypatch: pytest.MonkeyPatch, home: Home, part: Part
) -> None:
    class More(Settings):
        made_up: Annotated[int, Decides((part,))] = Field(default=1, description="made up")

    monkeypatch.setattr(options, "Settings", More)
    asked: list[Settings] = []
    for parts in (get_args(Part), ("split", "rating")):
        app = typer.Typer()
        app.command()(options.settings_options(lambda settings: asked.append(settings), parts=parts))
        done = CliRunner().invoke(app, ["--made-up", "2"])
        assert (done.exit_code == 0) == (part in parts), done.output
    assert all(settings.made_up == 2 for settings in asked)  # type: ignore[attr-defined]
    for asset in defs.assets or []:
        assert isinstance(asset, dg.AssetsDefinition)
        name = asset.key.to_user_string()
        of_what = "books" if name == "raw_ratings" else "books__movies"
        first, second = (fingerprint(asset, home, of_what, settings, {}) for settings in (More(), asked[0]))
        assert (first != second) == (part in RESULTS[name].reads), name


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings that a backfill is asked for; none is run."""
    asked: list[Settings] = []

    def run_backfill(home: Home, pairs: list[Pair], settings: Settings, *, force: bool, workers: int) -> Report:
        asked.append(settings)
        return Report()

    monkeypatch.setattr("ptupcdr_dagster.cli.terminal.run_backfill", run_backfill)
    return asked


def test_an_option_wins_over_the_settings_file_and_the_file_over_the_defaults(
    given: list[Settings], tmp_path: Path
) -> None:
    file = tmp_path / "best.toml"
    file.write_text('recipe = "honest"\nembedding_size = 16\nepochs = 7\n')
    # The default, but given: it stands on the command line, and wins.
    done = CliRunner().invoke(app, ["backfill", "--settings-file", str(file), "--embedding-size", "10"])
    assert done.exit_code == 0, done.output
    assert given == [Settings(recipe="honest", embedding_size=10, epochs=7)]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        ("embeding_size = 16", [], "best.toml: unknown setting embeding_size; expected some of: recipe, mode"),
        ("beta = 2.0", [], "best.toml: beta = 2.0: Input should be less than 1"),
        ("epochs = 2", ["--beta", "2"], "--beta 2.0: Input should be less than 1"),
        ('recipe = "published"', ["--base-model", "svd"], "svd"),
        ('base_model = "gmf"', ["--recipe", "calibrated"], "best.toml: base_model = gmf"),
    ],
)
def test_a_wrong_settings_file_is_bad_usage(
    given: list[Settings], tmp_path: Path, text: str, arguments: list[str], message: str
) -> None:
    (tmp_path / "best.toml").write_text(text)
    command = ["backfill", "--settings-file", str(tmp_path / "best.toml"), *arguments]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "1000"})
    assert done.exit_code == 2
    assert message in done.output
    assert given == []
