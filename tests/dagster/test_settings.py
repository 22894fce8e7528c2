"""Settings: one list of fields, shown by the launchpad and by the command line."""

import dagster as dg
import pytest
from typer.testing import CliRunner

from ptupcdr_core.settings import Settings
from ptupcdr_dagster.cli import app
from ptupcdr_dagster.resources import SettingsResource, run_config


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
    settings = Settings(beta=0.5, seed=10, setting="published", positive_above=3.5)
    assert seen(run_config(settings)) == settings


def test_bounds_hold_in_the_launchpad_too() -> None:
    with pytest.raises(dg.DagsterResourceFunctionError):
        seen({"resources": {"settings": {"config": {"beta": 1.5}}}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--beta", "1.5"], "--beta 1.5"),
        (["--setting", "guessed"], "guessed"),
        (["--epochs", "many"], "--epochs"),
        (["--colour", "red"], "--colour"),
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
