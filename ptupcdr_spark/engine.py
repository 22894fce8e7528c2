"""Spark as an engine of the catalog (``engine = "spark"``); modules that need pyspark are imported at first use."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.pair_data import Side
from ptupcdr_core.data.splits import SplitReport
from ptupcdr_core.errors import EngineError
from ptupcdr_core.settings import Settings
from ptupcdr_core.sources.ingest import IngestReport
from ptupcdr_core.sources.items import Items
from ptupcdr_core.stages.report import StageReport
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import OnEpoch


class SparkEngine:
    """See ``ptupcdr_core.stages.row_engine.RowEngine``."""

    def require(self) -> None:
        """See ``RowEngine``."""
        if find_spec("pyspark") is None:
            raise EngineError("engine = \"spark\" needs pyspark: pip install 'ptupcdr-dagster[spark]'")
        home = os.environ.get("JAVA_HOME", "")
        if not (shutil.which("java") or (home and (Path(home) / "bin" / "java").is_file())):
            raise EngineError(
                'engine = "spark" needs a Java runtime (17 or 21) and none is found: install one, for example '
                "Debian's default-jre-headless, or set JAVA_HOME"
            )

    def ingest_domain(self, domain: Domain, warehouse: Warehouse, fingerprint: str = "") -> IngestReport:
        """See ``RowEngine``."""
        self.require()
        from ptupcdr_spark.cleaning import ingest_domain
        from ptupcdr_spark.session import open_session

        return ingest_domain(open_session(), domain, warehouse, fingerprint)

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
        self.require()
        from ptupcdr_spark.session import open_session
        from ptupcdr_spark.splitting import build_split

        return build_split(open_session(), pair, source, target, warehouse, settings, fingerprint)

    def pretrain(
        self, home: Home, pair: str, side: Side, settings: Settings, on_epoch: OnEpoch, fingerprint: str = ""
    ) -> StageReport:
        """See ``RowEngine``."""
        self.require()
        from ptupcdr_spark.pretraining import pretrain
        from ptupcdr_spark.session import open_session

        return pretrain(open_session(), home, pair, side, settings, on_epoch, fingerprint)

    def bridge_cold_users(self, home: Home, pair: str, settings: Settings, fingerprint: str = "") -> StageReport:
        """See ``RowEngine``."""
        self.require()
        from ptupcdr_spark.people import bridge_cold_users
        from ptupcdr_spark.session import open_session

        return bridge_cold_users(open_session(), home, pair, settings, fingerprint)

    def recommend_cold_users(
        self, home: Home, pair: str, settings: Settings, fingerprint: str = "", items: Items | None = None
    ) -> StageReport:
        """See ``RowEngine``."""
        self.require()
        from ptupcdr_spark.people import recommend_cold_users
        from ptupcdr_spark.session import open_session

        return recommend_cold_users(open_session(), home, pair, settings, fingerprint, items)


SPARK = SparkEngine()
"""The engine that the entry point names."""
