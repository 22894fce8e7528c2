"""Temporary splits of a pair, in a folder of their own, for measuring on many of them."""

import hashlib
import json
import threading
from dataclasses import dataclass, field

from ptupcdr_core.catalog import Domain, Pair
from ptupcdr_core.data.splits import ASSET, build_split
from ptupcdr_core.settings import Settings
from ptupcdr_core.store.warehouse import Warehouse


@dataclass
class ScratchSplits:
    """The pair's splits by the settings that decide them; each is made once, when it is first needed.

    Args:
        pair: the pair.
        source: its source domain.
        target: its target domain.
        warehouse: has ``raw_ratings`` of both.
        scratch: takes the splits in its folder, each in a warehouse with the limits of this one.
    """

    pair: Pair
    source: Domain
    target: Domain
    warehouse: Warehouse
    scratch: Warehouse
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def of(self, settings: Settings) -> Warehouse:
        """A warehouse with the split of these settings; may be called by several threads."""
        decided = json.dumps(settings.deciding("split"), sort_keys=True)
        place = hashlib.sha256(decided.encode()).hexdigest()[:24]
        own = Warehouse(self.scratch.root / place, self.scratch.memory_limit, self.scratch.threads)
        with self._lock:
            if not own.exists(ASSET, self.pair.key):
                build_split(self.pair, self.source, self.target, self.warehouse, settings, into=own)
        return own
