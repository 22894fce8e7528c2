"""What runs by itself, and who is told when it fails: the catalog's table [nights]; everything is off by default.

An environment variable overrides a key: ``PTUPCDR_NIGHTS_SENSOR=60``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ptupcdr_core.errors import CatalogError
from ptupcdr_core.store.catalog_file import read_document
from ptupcdr_core.store.home import catalog_path_from_environment

PREFIX = "PTUPCDR_NIGHTS_"


def _cron(value: str) -> str:
    try:
        dg.ScheduleDefinition(name="asked", job_name="asked", cron_schedule=value)
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError("expected the five fields of cron, such as '0 3 * * *' for every night at three") from error
    return value


def _timezone(value: str) -> str:
    try:
        dg.ScheduleDefinition(name="asked", job_name="asked", cron_schedule="0 3 * * *", execution_timezone=value)
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError("expected the name of a time zone, such as 'Europe/Berlin' or 'UTC'") from error
    return value


def _owners(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        dg.AssetSpec("asked", owners=value)
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError("expected e-mail addresses, or team:name") from error
    return value


def _tags(value: dict[str, str]) -> dict[str, str]:
    try:
        dg.AssetSpec("asked", tags=value)
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError("expected names and values of letters, digits, _, - and ., at most 63 each") from error
    return value


Cron = Annotated[str, AfterValidator(_cron)]


class Nights(BaseModel):
    """The switches of [nights], one field each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: int | None = Field(None, ge=1, description="seconds between looks at the sources; what changed is ingested")
    ingest: Cron | None = Field(None, description="cron time at which every domain whose source changed is ingested")
    score: Cron | None = Field(None, description="cron time at which all lists are made from the deployed bundles")
    train: Cron | None = Field(None, description="cron time at which every pair is trained, judged and deployed")
    automation: Literal["score", "train"] | None = Field(
        None, description="what is made again when ingested ratings have changed: lists only, or the whole pair"
    )
    settings_file: Path | None = Field(
        None, description="file with the settings of these runs, as `backfill --settings-file` takes it"
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field("UTC", description="time zone of the three schedules")
    fresh_within_hours: float | None = Field(
        None, gt=0, description="age at which ratings and recommendations are shown as overdue"
    )
    retries: int | None = Field(None, ge=1, description="how often to retry what failed because of a network or server")
    retry_seconds: float = Field(30, ge=0, description="wait before the first retry; it doubles each time")
    webhook: str | None = Field(None, pattern=r"^https?://", description="address that gets each failed run as JSON")
    command: str | None = Field(None, min_length=1, description="run for each failed run; sees PTUPCDR_FAILED_…")
    owners: Annotated[tuple[str, ...], AfterValidator(_owners)] = Field(
        (), description="owners of all assets: e-mail addresses, or team:name"
    )
    tags: Annotated[dict[str, str], AfterValidator(_tags)] = Field(default_factory=dict, description="of all assets")


def load_nights(catalog: Path, environment: Mapping[str, str] | None = None) -> Nights:
    """The switches as the catalog and the environment set them.

    Raises:
        CatalogError: one of them is wrong; the message names it, and what was expected.
    """
    variables = os.environ if environment is None else environment
    given: Any = read_document(catalog).get("nights", {})
    if not isinstance(given, dict):
        raise CatalogError(f"{catalog}: nights: expected a table [nights]")
    places = {name: f"{catalog}: nights.{name}" for name in given}
    for name, field in Nights.model_fields.items():
        variable = f"{PREFIX}{name.upper()}"
        value = variables.get(variable, "").strip()
        if value:
            given = given | {name: _of_text(value, field.annotation)}
            places[name] = variable
    try:
        nights = Nights(**given)
    except ValidationError as error:
        raise CatalogError("\n".join(_told(fault, places, catalog) for fault in error.errors())) from error
    file = nights.settings_file
    return nights if file is None else nights.model_copy(update={"settings_file": catalog.parent / file.expanduser()})


def _of_text(value: str, kind: object) -> object:
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in value.split(","))
    if kind == dict[str, str]:
        return dict(part.strip().partition("=")[::2] for part in value.split(","))
    return value


def _told(fault: Any, places: Mapping[str, str], catalog: Path) -> str:
    name = str(fault["loc"][0])
    place = places.get(name, f"{catalog}: nights.{name}")
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key; expected some of {', '.join(Nights.model_fields)}"
    return f"{place}: {fault['msg'].removeprefix('Value error, ')}, got {fault['input']!r}"


NIGHTS = load_nights(catalog_path_from_environment())
"""Read when the definitions are loaded, as the partitions are."""
