"""What every stage of a run shares: the settings, editable in the launchpad, and where generated state lives."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import create_model
from pydantic.fields import FieldInfo

from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.settings_file import read_settings_file
from ptupcdr_dagster.nights import NIGHTS


def _launchpad_fields() -> dict[str, Any]:
    """The fields of the core settings, so that each is declared, bounded and described in one place only."""
    return {
        name: (field.annotation, FieldInfo.merge_field_infos(field)) for name, field in Settings.model_fields.items()
    }


_SettingsFields: Any = create_model("_SettingsFields", __base__=dg.ConfigurableResource, **_launchpad_fields())


class SettingsResource(_SettingsFields):  # type: ignore[misc]
    """β, seed, recipe, mode, base model, sizes: run configuration shared by all the stages of a run."""

    def to_settings(self) -> Settings:
        """The validated core settings of this run."""
        return Settings(**{name: getattr(self, name) for name in Settings.model_fields})


def default_settings() -> SettingsResource:
    """The settings of a run that is given none: the defaults, or those of [nights] settings_file.

    Raises:
        SettingsError: the file cannot be used.
    """
    file = NIGHTS.settings_file
    return SettingsResource(**(Settings(**read_settings_file(file)).model_dump() if file else {}))


@dg.resource(description="Where generated state lives: PTUPCDR_HOME, or data/ of the project.")
def home_resource(_context: dg.InitResourceContext) -> Home:
    """The home directory at the time of the run, not of the import."""
    home = Home.from_environment()
    home.claim()
    return home


def run_config(settings: Settings, **of_assets: Mapping[str, Any]) -> dict[str, Any]:
    """Run configuration that gives every stage of a run these settings, and some assets their own configuration."""
    shared = {"resources": {"settings": {"config": settings.model_dump()}}}
    return shared | ({"ops": {asset: {"config": own} for asset, own in of_assets.items()}} if of_assets else {})
