"""What "up to date" means: fingerprints of what a partition is made from, and the decision to make it again.

A fingerprint covers the asset's code version, the settings that can change its content, and the content of what it
reads: for tables a digest, for models and bundles their own fingerprint, for raw ratings the content of the source
files. It is kept twice: with the content (table ``provenance`` or the checkpoint's manifest), and in the metadata of
the materialization event. So a table that is made again and comes out the same leaves its downstream up to date.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import dagster as dg
import duckdb

from ptupcdr_core.errors import ArtifactError, WarehouseError
from ptupcdr_core.report.store import read_provenance
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.artifacts import read_manifest, read_whole
from ptupcdr_core.store.bundles import CANDIDATE, bundle_file
from ptupcdr_core.store.bundles import DEPLOYED as DEPLOYED_BUNDLE
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.model_folders import standing
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.versions import RESULTS
from ptupcdr_dagster.partitions import CATALOG
from ptupcdr_dagster.running.private import all_checks_passed

FINGERPRINT, CONTENT = "fingerprint", "content"
DEPLOYED = "deployed_model"
RAW = "raw_ratings"
REPORT = "pair_report"
SHOWS_ITEMS = ("recommendations", REPORT)
"""Assets that depend on the catalog's item tables; models do not."""
UNREADABLE = (ArtifactError, WarehouseError, duckdb.Error)
MODELS = frozenset({"source_model", "target_model", "meta_network"})
BY_FINGERPRINT = MODELS | {DEPLOYED, REPORT}
"""Assets that are compared by fingerprint, not by content, since others read files of theirs outside the warehouse."""
State = Literal["fresh", "stale", "open"]
""""open": whether it is up to date is known only once its inputs have been made."""


def upstream_partitions(asset: str, upstream: str, partition: str) -> list[str]:
    """The partitions of an upstream asset that one partition of an asset reads."""
    if upstream == RAW and asset != RAW:
        pair = CATALOG.pair(partition)
        return sorted({*pair.domains})
    return [partition]


def fingerprint(
    definition: dg.AssetsDefinition, home: Home, partition: str, settings: Settings, upstream: Mapping[str, str | None]
) -> str:
    """Fingerprint of one partition that is made from this upstream content (digests by "asset/partition")."""
    asset = definition.key.to_user_string()
    made_from: dict[str, Any] = {
        "asset": asset,
        "partition": partition,
        "code_version": definition.code_versions_by_key.get(definition.key),
        "settings": RESULTS[asset].relevant(settings),
        "upstream": dict(upstream),
    }
    if asset == RAW:
        from ptupcdr_core.sources.fingerprint import source_fingerprint

        made_from["source"] = source_fingerprint(CATALOG.domain(partition), home.source_digests)
    if asset in SHOWS_ITEMS:
        from ptupcdr_core.sources.items import items_fingerprint

        pair = CATALOG.pair(partition)
        told = [items_fingerprint(CATALOG.domain(name), home.source_digests) for name in (pair.source, pair.target)]
        made_from |= {"items": told} if any(told) else {}
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def upstream_keys(definition: dg.AssetsDefinition, partition: str) -> list[tuple[str, str]]:
    """The (asset, partition) that one partition of an asset reads, sorted."""
    asset = definition.key.to_user_string()
    names = sorted(key.to_user_string() for key in definition.dependency_keys)
    return [(name, part) for name in names for part in upstream_partitions(asset, name, partition)]


def stored_provenance(home: Home, asset: str, partition: str) -> dict[str, Any] | None:
    """Fingerprint, settings and content digest stored with the content; None if it is missing or incomplete."""
    found = _stored(home, asset, partition)
    if found is not None and asset in BY_FINGERPRINT:
        return {**found, CONTENT: found.get(FINGERPRINT)}
    return found


def _stored(home: Home, asset: str, partition: str) -> dict[str, Any] | None:
    try:
        if asset in MODELS:
            found = {folder: read_manifest(folder, partition) for folder in standing(home.models, asset, partition)}
            stands = all((folder / str(own.get("weights"))).is_file() for folder, own in found.items())
            manifest = next(iter(found.values()))
            stands = stands and all(own.get(FINGERPRINT) == manifest.get(FINGERPRINT) for own in found.values())
            bundled = asset != "meta_network" or bundle_file(home, CANDIDATE, partition).is_file()
            return manifest if stands and bundled else None
        if asset == REPORT:
            return read_provenance(home, partition)
        stored = Warehouse.from_environment(home.warehouse).provenance(asset, partition)
        if asset == DEPLOYED and not bundle_file(home, DEPLOYED_BUNDLE, partition).is_file():
            with Warehouse.from_environment(home.warehouse).read(asset, partition) as connection:
                if connection.execute("select 1 from deployed_model where serves <> 'nothing' limit 1").fetchone():
                    return None
    except UNREADABLE:
        return None
    return {FINGERPRINT: stored.fingerprint, "settings": stored.settings, CONTENT: stored.content}


def damage(home: Home, asset: str, partition: str) -> str | None:
    """Why the stored content cannot be read, with its file; None if it can be read, or if there is none."""
    from ptupcdr_core.serving.bundle import Bundle

    warehouse = Warehouse.from_environment(home.warehouse)
    try:
        if asset == REPORT:
            read_provenance(home, partition)
        elif asset in MODELS:
            _read_model(home, asset, partition)
            if asset == "meta_network" and bundle_file(home, CANDIDATE, partition).is_file():
                Bundle.load(bundle_file(home, CANDIDATE, partition))
        elif warehouse.exists(asset, partition):
            warehouse.provenance(asset, partition)
            warehouse.read_whole(asset, partition)
            if asset == DEPLOYED and bundle_file(home, DEPLOYED_BUNDLE, partition).is_file():
                Bundle.load(bundle_file(home, DEPLOYED_BUNDLE, partition))
    except UNREADABLE as error:
        return str(error)
    return None


def _read_model(home: Home, asset: str, partition: str) -> None:
    for folder in standing(home.models, asset, partition):
        if (folder / f"{partition}.json").exists():
            read_whole(folder, partition)


def current_fingerprint(definition: dg.AssetsDefinition, home: Home, partition: str, settings: Settings) -> str:
    """Fingerprint of what a stage is about to make from the upstream content as it stands.

    Raises:
        WarehouseError: something upstream was made with other settings than this run's; the result would be labelled
            with settings that it was not made with.
    """
    upstream: dict[str, str | None] = {}
    for asset, part in upstream_keys(definition, partition):
        provenance = stored_provenance(home, asset, part) or {}
        _refuse_other_settings(definition, asset, part, provenance.get("settings") or {}, settings)
        upstream[f"{asset}/{part}"] = provenance.get(CONTENT)
    return fingerprint(definition, home, partition, settings, upstream)


def _refuse_other_settings(
    definition: dg.AssetsDefinition, asset: str, partition: str, stored: Mapping[str, Any], settings: Settings
) -> None:
    # An asset that does not depend on a setting, as lists from the deployed bundle, may be made under any value of it.
    labelled = RESULTS[definition.key.to_user_string()].relevant(settings)
    ours = {name: value for name, value in RESULTS[asset].relevant(settings).items() if name in labelled}
    differing = sorted(name for name in ours.keys() & stored.keys() if stored[name] != ours[name])
    if differing:
        made = ", ".join(f"{name}={stored[name]}" for name in differing)
        wanted = ", ".join(f"{name}={ours[name]}" for name in differing)
        raise WarehouseError(
            f"{asset} of {partition} was made with {made}, but this run asks for {wanted}: materialize {asset} again "
            f"with these settings first (`ptupcdr backfill` does), or give this run the settings of {asset}"
        )


@dataclass
class Freshness:
    """Decides which partitions must be made again under given settings.

    Args:
        assets: The lineage, by asset key.
        checks: Blocking asset checks, by asset key.
        as_they_stand: Assets that are taken as they are, even if they are out of date.
    """

    instance: dg.DagsterInstance
    home: Home
    settings: Settings
    assets: Mapping[str, dg.AssetsDefinition]
    checks: Mapping[str, list[dg.AssetCheckKey]]
    as_they_stand: Collection[str] = ()
    _expected: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def expected(self, asset: str, partition: str) -> str | None:
        """Fingerprint that the partition would have if it were made now; None if some input has yet to be made."""
        key = (asset, partition)
        if key not in self._expected:
            definition = self.assets[asset]
            upstream = {f"{a}/{p}": self.content(a, p) for a, p in upstream_keys(definition, partition)}
            known = all(content is not None for content in upstream.values())
            made_now = fingerprint(definition, self.home, partition, self.settings, upstream) if known else None
            self._expected[key] = made_now
        return self._expected[key]

    def content(self, asset: str, partition: str) -> str | None:
        """Digest of what the partition holds, or would hold again if it was lost; None where that is unknown."""
        stored = stored_provenance(self.home, asset, partition) or {}
        if asset in self.as_they_stand:
            return stored.get(CONTENT)
        expected = self.expected(asset, partition)
        if expected is None:
            return None
        if asset in BY_FINGERPRINT:
            return expected
        for known in (stored, _noted(self._latest(asset, partition))):
            if known.get(FINGERPRINT) == expected:
                return known.get(CONTENT)
        return None

    def state(self, asset: str, partition: str) -> State:
        """Whether the partition must be made: it is "fresh" if the latest materialization and the stored content carry
        the expected fingerprint, its checks passed, and all of it can be read.
        """
        expected = self.expected(asset, partition)
        stored = (stored_provenance(self.home, asset, partition) or {}).get(FINGERPRINT)
        if stored is None or expected not in (None, stored) or not self._stands(asset, partition, stored):
            return "stale"
        return "open" if expected is None else "fresh"

    def is_fresh(self, asset: str, partition: str) -> bool:
        """Whether the partition is up to date."""
        return self.state(asset, partition) == "fresh"

    def _stands(self, asset: str, partition: str, stored: str) -> bool:
        record = self._latest(asset, partition)
        if record is None or _noted(record).get(FINGERPRINT) != stored:
            return False
        checked = all_checks_passed(self.instance, self.checks.get(asset, []), partition, record)
        return checked and damage(self.home, asset, partition) is None

    def _latest(self, asset: str, partition: str) -> dg.EventLogRecord | None:
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition]), limit=1
        ).records
        return records[0] if records else None


def _noted(record: dg.EventLogRecord | None) -> dict[str, Any]:
    """The fingerprint and the content digest of a materialization."""
    event = record and record.asset_materialization
    metadata = event.metadata if event else {}
    return {name: metadata[name].value for name in (FINGERPRINT, CONTENT) if name in metadata}
