"""Checks of drift warn with their numbers, and their bounds come from a file that people can edit."""

from pathlib import Path

import dagster as dg
import duckdb
import pytest
from conftest import CATALOG_PATH, PAIR, SETTINGS, tamper

from ptupcdr_core.data.splits import build_split
from ptupcdr_core.errors import CatalogError
from ptupcdr_core.sources.ingest import ingest_domain
from ptupcdr_core.store.bounds import bounds
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_dagster.checks.drift import FACTS
from ptupcdr_dagster.checks.splits import domain_splits_checks
from ptupcdr_dagster.partitions import CATALOG, PAIRS
from ptupcdr_dagster.resources import SettingsResource, home_resource

DUE = "no_training_is_due"


@pytest.fixture
def nights(tmp_path: Path) -> Path:
    """Two nights: a bad one that is over, and one like the training."""
    file = tmp_path / "nights.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute(
            "create table drift as select * from (values "
            "('count', 'source_users', 100, 110, 0.1, null), ('stars', 'source_stars', 3, 3.1, 0.01, 0.1), "
            "('unknown', 'source_items_unknown', 0, 0.02, 0.02, null), ('scores', 'best_scores', 1, 1.1, 0.05, 0.2), "
            "('overlap', 'list_overlap', 1, 0.9, 0.1, null)) as t(kind, measure, before, tonight, drift, chance);"
            f"alter table drift add column pair varchar default '{PAIR}';"
            "alter table drift add column night timestamp default '2026-03-02';"
            "insert into drift select * replace (9.0 as drift, timestamp '2026-03-01' as night) from drift"
        )
    return file


def warned(file: Path, **changed: float) -> dict[str | None, str | None]:
    from ptupcdr_dagster.checks.validation import validate_table

    found = list(validate_table(file, "drift", "recommendations", FACTS, bounds()["drift"] | changed))
    assert {result.severity for result in found} == {dg.AssetCheckSeverity.WARN}
    return {result.check_name: result.description for result in found if not result.passed}


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("select 1", set()),
        ("update drift set drift = -0.6 where kind = 'count'", {"counts_are_near_those_of_the_training", DUE}),
        ("update drift set drift = 0.3 where kind = 'stars'", {"ratings_are_spread_as_in_the_training", DUE}),
        ("update drift set drift = 0.3, chance = 0.4 where kind in ('stars', 'scores')", set()),
        ("update drift set drift = 0.2 where kind = 'unknown'", {"rated_items_are_known_to_the_bundle", DUE}),
        ("update drift set drift = 0.3 where kind = 'scores'", {"scores_are_spread_as_on_the_first_night", DUE}),
        ("update drift set drift = 0.9 where kind = 'overlap'", {"lists_resemble_those_of_the_night_before"}),
    ],
)
def test_what_is_beyond_its_bound_warns(nights: Path, statement: str, expected: set[str]) -> None:
    tamper(nights, statement)
    assert set(warned(nights)) == expected


def test_a_training_is_recommended_with_the_command_and_the_reasons(nights: Path) -> None:
    tamper(nights, "update drift set drift = 0.7 where kind in ('count', 'unknown')")
    found = warned(nights)
    assert f"recommended=retrain with: ptupcdr backfill {PAIR}, because=source_items_unknown source_users" in str(
        found[DUE]
    )
    assert "measure=source_users, before=100" in str(found["counts_are_near_those_of_the_training"])
    assert warned(nights, count=0.8, unknown=0.8) == {}


def test_an_edited_bound_takes_effect(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that passes under the project's own bounds fails under an edited one, in a run of its own."""
    pair, warehouse = CATALOG.pair(PAIR), Warehouse(home.warehouse)
    sides = CATALOG.domain(pair.source), CATALOG.domain(pair.target)
    for domain in sides:
        ingest_domain(domain, warehouse)
    build_split(pair, *sides, warehouse, SETTINGS)
    catalog = tmp_path / "domains.toml"
    catalog.write_text(CATALOG_PATH.read_text())
    monkeypatch.setenv("PTUPCDR_CATALOG", str(catalog))

    @dg.asset(partitions_def=PAIRS)
    def domain_splits() -> None:
        """Stands already."""

    def passed() -> bool:
        resources = {"home": home_resource, "settings": SettingsResource(**SETTINGS.model_dump())}
        made = [domain_splits, domain_splits_checks]
        result = dg.materialize(made, partition_key=PAIR, resources=resources, raise_on_error=False)
        [found] = [c for c in result.get_asset_check_evaluations() if c.check_name == "enough_overlapping_users"]
        return found.passed

    assert passed()
    (tmp_path / "bounds.toml").write_text("[domain_splits]\nleast_bridge_users = 100000\n")
    assert not passed()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[drifts]\ncount = 1", r"bounds.toml: unknown key drifts; expected some of \[domain_splits\], "),
        ("[drift]\ncounts = 1", r"bounds.toml: drift.counts: unknown key; expected some of count, stars"),
        ("[drift]\ncount = 'all'", r"bounds.toml: drift.count: expected a number of at least 0, got 'all'"),
        ("[drift]\ncount = nan", r"expected a number of at least 0, got nan"),
        ("[drift", r"bounds.toml: expected a TOML file"),
    ],
)
def test_a_wrong_bound_is_told_with_its_place(text: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "bounds.toml").write_text(text)
    with pytest.raises(CatalogError, match=expected):
        bounds(tmp_path / "bounds.toml")
