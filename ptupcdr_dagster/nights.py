"""What happens by itself, and how it is told when it fails: the catalog's table [nights], all of it off by default.

Each key may be given by the environment as well, which wins: ``PTUPCDR_NIGHTS_SENSOR=60``.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ptupcdr_core.catalog import read_document
from ptupcdr_core.errors import CatalogError
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
        raise ValueError("expected addresses of e-mail, or team:name") from error
    return value


def _tags(value: dict[str, str]) -> dict[str, str]:
    try:
        dg.AssetSpec("asked", tags=value)
    except dg.DagsterInvalidDefinitionError as error:
        raise ValueError("expected names and values of letters, digits, _, - and ., of 63 at most") from error
    return value


Cron = Annotated[str, AfterValidator(_cron)]


class Nights(BaseModel):
    """One switch each."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensor: int | None = Field(None, ge=1, description="seconds between two looks at the sources; what changed is read")
    ingest: Cron | None = Field(None, description="when every domain whose source changed is ingested, as cron has it")
    score: Cron | None = Field(None, description="when every pair's lists are made from the deployed bundle")
    train: Cron | None = Field(None, description="when every pair is trained, judged and deployed")
    automation: Literal["score", "train"] | None = Field(
        None, description="what follows ratings that were ingested and are others: lists alone, or the whole pair"
    )
    settings_file: Path | None = Field(
        None, description="settings of what is made by itself, as `backfill --settings-file` takes them"
    )
    timezone: Annotated[str, AfterValidator(_timezone)] = Field("UTC", description="of the three schedules")
    fresh_within_hours: float | None = Field(
        None, gt=0, description="age at which ratings and recommendations are shown as overdue"
    )
    retries: int | None = Field(None, ge=1, description="of what failed for reasons outside: a download, a server")
    retry_seconds: float = Field(30, ge=0, description="before the first of them; each waits twice as long")
    webhook: str | None = Field(None, pattern=r"^https?://", description="is sent each failed run as JSON")
    command: str | None = Field(None, min_length=1, description="is run for each failed run, told by PTUPCDR_FAILED_…")
    owners: Annotated[tuple[str, ...], AfterValidator(_owners)] = Field(
        (), description="of all assets: addresses, or team:name"
    )
    tags: Annotated[dict[str, str], AfterValidator(_tags)] = Field(default_factory=dict, description="of all assets")


def load_nights(catalog: Path, environment: Mapping[str, str] | None = None) -> Nights:
    """The switches as the catalog and the environment set them.

    Raises:
        CatalogError: one of them is wrong; names it, and what was expected.
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
