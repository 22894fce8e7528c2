"""Which assets of a partition are to be made."""

import dagster as dg

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BENCHMARK_PAIR
from ptupcdr_dagster.running.freshness import Freshness, State
from ptupcdr_dagster.running.private import assets_of_job


def lineage(job: str) -> list[str]:
    """The assets of a job, upstream first."""
    selected = assets_of_job(defs, job)
    return [asset for asset in _definitions() if dg.AssetKey(asset) in selected]


def wanted(freshness: Freshness, job: str, partition: str, *, force: bool) -> list[str]:
    """What of a job's assets is not up to date, upstream first; everything when forced.

    A benchmark is always asked, since it knows its own finished cells.
    """
    always = force or job == BENCHMARK_PAIR
    return [asset for asset in lineage(job) if always or _state(freshness, asset, partition) != "fresh"]


def undecided(freshness: Freshness, assets: list[str], partition: str) -> list[str]:
    """Those of a partition's assets of which only what they read will say whether they are up to date."""
    return [asset for asset in assets if _state(freshness, asset, partition) == "open"]


def look_at(instance: dg.DagsterInstance, home: Home, settings: Settings) -> Freshness:
    """What stands in a home, to be asked for what is up to date under these settings."""
    checks: dict[str, list[dg.AssetCheckKey]] = {}
    for definition in defs.asset_checks or []:
        for spec in definition.check_specs:
            if spec.blocking:
                checks.setdefault(spec.asset_key.to_user_string(), []).append(spec.key)
    return Freshness(instance, home, settings, _definitions(), checks)


def _definitions() -> dict[str, dg.AssetsDefinition]:
    # definitions.py lists them upstream first.
    return {a.key.to_user_string(): a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition)}


def _state(freshness: Freshness, asset: str, partition: str) -> State:
    try:
        return freshness.state(asset, partition)
    except PtupcdrError:
        # What cannot even be fingerprinted is made again, and says in its own run what is wrong.
        return "stale"
