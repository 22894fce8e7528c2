"""Settings: one list of fields, shown by the launchpad and by the command line."""

from pathlib import Path

import dagster as dg
import pytest
from typer.testing import CliRunner

from ptupcdr_core.catalog import Pair
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.cli.commands import app
from ptupcdr_dagster.resources import SettingsResource, run_config
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
