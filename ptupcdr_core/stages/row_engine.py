"""Which engine makes all that grows with the ratings: this process, or one that the catalog names for a domain."""

from typing import Protocol, cast

from ptupcdr_core.catalog import EMBEDDED, Domain, Pair
from ptupcdr_core.data.pair_data import Side
from ptupcdr_core.data.splits import SplitReport, build_split
from ptupcdr_core.errors import CatalogError
from ptupcdr_core.extensions import engine_named
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import IngestReport, ingest_domain
from ptupcdr_core.sources.items import Items
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import OnEpoch


class RowEngine(Protocol):
    """Makes all that grows with the ratings. Every engine makes the same tables and, except for rounding, the
    same models."""

    def require(self) -> None:
        """Check that it can be used here.

        Raises:
            EngineError: what it needs is not installed.
        """

    def ingest_domain(self, domain: Domain, warehouse: Warehouse, fingerprint: str = "") -> IngestReport:
        """See ``sources.ingest.ingest_domain``."""

    def build_split(
        self,
        pair: Pair,
        source: Domain,
        target: Domain,
        warehouse: Warehouse,
        settings: Settings,
        fingerprint: str = "",
    ) -> SplitReport:
        """See ``data.splits.build_split``."""

    def pretrain(
        self, home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
    ) -> StageReport:
        """See ``stages.pretraining.pretrain``."""

    def bridge_cold_users(self, home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
        """See ``stages.embeddings.bridge_cold_users``."""

    def recommend_cold_users(
        self, home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Items | None = None
    ) -> StageReport:
        """See ``stages.recommendations.recommend_cold_users``."""


class Embedded:
    """DuckDB and compiled loops, in this process. See ``RowEngine``."""

    def require(self) -> None:
        """Nothing to check: it is always there."""

    def ingest_domain(self, domain: Domain, warehouse: Warehouse, fingerprint: str = "") -> IngestReport:
        """See ``RowEngine``."""
        return ingest_domain(domain, warehouse, fingerprint)

    def build_split(
        self,
        pair: Pair,
        source: Domain,
        target: Domain,
        warehouse: Warehouse,
        settings: Settings,
        fingerprint: str = "",
    ) -> SplitReport:
        """See ``RowEngine``."""
        return build_split(pair, source, target, warehouse, settings, fingerprint)

    def pretrain(
        self, home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
    ) -> StageReport:
        """See ``RowEngine``."""
        from ptupcdr_core.stages.pretraining import pretrain  # cleaning rows needs no torch

        return pretrain(home, pair, side, settings, on_epoch, fingerprint)

    def bridge_cold_users(self, home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
        """See ``RowEngine``."""
        from ptupcdr_core.stages.embeddings import bridge_cold_users

        return bridge_cold_users(home, pair, settings, fingerprint)

    def recommend_cold_users(
        self, home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Items | None = None
    ) -> StageReport:
        """See ``RowEngine``."""
        from ptupcdr_core.stages.recommendations import recommend_cold_users

        return recommend_cold_users(home, pair, settings, fingerprint, items)


def engine_of(*domains: Domain) -> RowEngine:
    """The engine of these domains together: the one that any of them names, as their data may not fit one machine.

    Raises:
        CatalogError: they name several.
    """
    named = sorted({domain.engine for domain in domains} - {EMBEDDED})
    if len(named) > 1:
        names = ", ".join(f"domains.{domain.name}.engine = {domain.engine!r}" for domain in domains)
        raise CatalogError(f"{names}: expected one engine beside {EMBEDDED} for all domains of a pair")
    return cast(RowEngine, engine_named(named[0])) if named else Embedded()
