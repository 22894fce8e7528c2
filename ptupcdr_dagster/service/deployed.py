"""A pair's deployed bundle in memory, reloaded when another one is deployed."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from ptupcdr_core.catalog import Domain
from ptupcdr_core.data.pair_data import SIDES
from ptupcdr_core.errors import PtupcdrError
from ptupcdr_core.kernels.exact_search import Search
from ptupcdr_core.kernels.prepared_search import PreparedGraph, PreparedItems
from ptupcdr_core.serving.answers import Answers, Asked
from ptupcdr_core.serving.bundle import Bundle
from ptupcdr_core.serving.bundled_mode import BundledMode
from ptupcdr_core.serving.deployed import DEPLOYED, bundle_file, deployed_bundle
from ptupcdr_core.serving.known import SplitUsers
from ptupcdr_core.serving.lists import may_miss_items
from ptupcdr_core.serving.today import Today
from ptupcdr_core.settings import Search as Kind
from ptupcdr_core.sources.items import Items, items_fingerprint, read_items
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.warehouse import Warehouse

SAMPLE = 5_000
"""The most people by whose vectors the approximate search chooses its coordinates."""
SECONDS = 2.0
"""Seconds between two looks at the deployed file."""
FILE = tuple[int, int, int]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A bundle that is ready to answer.

    Args:
        answers: Gives recommendations from the bundle.
        digest: The bundle's digest.
        at: When it was read.
        file: What was read: the file's inode, time and size, and a fingerprint of the target's item table.
    """

    answers: Answers
    digest: str
    at: datetime
    file: tuple[FILE, str]


class Deployed:
    """What serves a pair now. While a new bundle is being read, the old one goes on serving.

    Args:
        home: Has the bundle and the pair's split.
        pair: The pair's key.
        kind: The kind of search.
        target: The pair's target domain, of which only eligible items are recommended; None: all are.

    Raises:
        ArtifactError: nothing is deployed, or its file is damaged.
    """

    def __init__(self, home: Home, pair: str, kind: Kind = "exact", target: Domain | None = None) -> None:
        """Read what is deployed."""
        self.home, self.pair, self.kind, self.target = home, pair, kind, target
        self.problem: str | None = None
        self.reloads = {"ok": 0, "failed": 0}
        self.now = self._load()
        self._tried = self.now.file

    def look(self) -> None:
        """Read the bundle again if its file has changed; if it cannot be read, the one before goes on serving."""
        try:
            file = self._made_from()
            if file == self._tried:
                return
            self._tried = file
            self.now, self.problem = self._load(), None
            self.reloads["ok"] += 1
            log.info("%s: bundle %s serves from now on", self.pair, self.now.digest[:12])
        except (PtupcdrError, OSError) as error:
            if self.problem is None:
                self.reloads["failed"] += 1
                log.warning("%s: the newly deployed bundle cannot be read: %s", self.pair, error)
            self.problem = str(error)

    def _load(self) -> Loaded:
        # Noted before reading: what is deployed meanwhile is seen at the next look.
        file = self._made_from()
        bundle = deployed_bundle(self.home, self.pair)
        items = Items() if self.target is None else read_items(self.target)
        if self.target is not None:
            bundle = bundle.offering(items)
        _, served = bundle.mode()
        warehouse = Warehouse.from_environment(self.home.warehouse)
        known = SplitUsers(warehouse, self.pair, served.origin.refitted)
        exact = PreparedItems(served.part.target)
        by_graph = self.kind == "approximate" and may_miss_items(served, items)
        search: Search = self._graph(bundle, served) if by_graph else exact
        source, target = (bundle.titles(side) for side in SIDES)
        answers = Answers(bundle, known, source, target, search, exact)
        answers.to([Asked("", [])], 1)  # compiles and lays out everything before the first request
        return Loaded(answers, bundle.digest, datetime.now(UTC), file)

    def _made_from(self) -> tuple[FILE, str]:
        """Identifies the bundle's file and the content of the target's item table."""
        there = bundle_file(self.home, DEPLOYED, self.pair).is_file()
        items = "" if self.target is None else items_fingerprint(self.target, self.home.source_digests)
        return _file(self.home, self.pair) if there else (0, 0, 0), items

    def _graph(self, bundle: Bundle, served: BundledMode) -> Search:
        today = Today.of(self.home, bundle)
        users = today.users()["user_id"].combine_chunks()[:SAMPLE]
        if not len(users):
            return PreparedItems(served.part.target)
        people = today.people(users)
        vectors, _ = served.part.embed(people, users)
        return PreparedGraph(served.part.target, served.part.sought(people, vectors).vectors, os.cpu_count() or 1)


@contextmanager
def watched(pairs: list[Deployed], seconds: float = SECONDS) -> Iterator[None]:
    """During the block, look for newly deployed bundles every so many seconds."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(seconds):
            for pair in pairs:
                pair.look()

    thread = threading.Thread(target=watch, name="bundles", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(seconds)


def _file(home: Home, pair: str) -> FILE:
    found = bundle_file(home, DEPLOYED, pair).stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
