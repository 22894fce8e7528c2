"""Which assets of a partition are to be made."""

import dagster as dg

from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.home import Home
from ptupcdr_dagster.definitions import defs
from ptupcdr_dagster.jobs import BENCHMARK_PAIR, SCORE_PAIR
from ptupcdr_dagster.running.freshness import DEPLOYED, Freshness, State
from ptupcdr_dagster.running.private import assets_of_job


def lineage(job: str) -> list[str]:
    """The assets of a job, upstream first."""
    selected = assets_of_job(defs, job)
    return [asset for asset in _definitions() if dg.AssetKey(asset) in selected]


def wanted(freshness: Freshness, job: str, partition: str, *, force: bool) -> list[str]:
    """The assets of a job that are not up to date, upstream first; all of them when forced.

    A benchmark is always included, since it skips its own finished cells.
    """
    always = force or job == BENCHMARK_PAIR
    return [asset for asset in lineage(job) if always or _state(freshness, asset, partition) != "fresh"]


def undecided(freshness: Freshness, assets: list[str], partition: str) -> list[str]:
    """Those assets of a partition that may turn out up to date once what they read has been made."""
    return [asset for asset in assets if _state(freshness, asset, partition) == "open"]


def look_at(instance: dg.DagsterInstance, home: Home, settings: Settings, job: str) -> Freshness:
    """The state of a home, to ask what is up to date under these settings.

    The job that only scores takes the deployed model as it is.
    """
    checks: dict[str, list[dg.AssetCheckKey]] = {}
    for definition in defs.asset_checks or []:
        for spec in definition.check_specs:
            if spec.blocking:
                checks.setdefault(spec.asset_key.to_user_string(), []).append(spec.key)
    as_they_stand = {DEPLOYED} if job == SCORE_PAIR else set()
    return Freshness(instance, home, settings, _definitions(), checks, as_they_stand)


def _definitions() -> dict[str, dg.AssetsDefinition]:
    # definitions.py lists them upstream first.
    return {a.key.to_user_string(): a for a in defs.assets or [] if isinstance(a, dg.AssetsDefinition)}


def _state(freshness: Freshness, asset: str, partition: str) -> State:
    try:
        return freshness.state(asset, partition)
    except PtupcdrError:
        # What cannot even be fingerprinted is made again; its own run then says what is wrong.
        return "stale"
