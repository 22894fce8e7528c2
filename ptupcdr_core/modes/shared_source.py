"""A source model is made from its own domain alone, so pairs with the same source share one training.

Each pair keeps a checkpoint of its own, in its own numbering of users. What the model was made from is noted there. A
pair whose model would be made from the same takes the rows of a checkpoint that stands, and puts them in its users'
places; rows of people without source ratings are zero, as training leaves them. This is true of the recipe
``calibrated``: the reference's models begin with random vectors of all users of a pair, and so depend on how many users
the target adds.

Shapes: n users with ratings of the source, U users of a pair.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from ptupcdr_core.arrays import Floats, Index
from ptupcdr_core.catalog import Pair
from ptupcdr_core.data.pair_data import SPLIT, Outline, PairData, last_user
from ptupcdr_core.data.source_ratings import source_digest, source_users
from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.modes import checkpoints
from ptupcdr_core.modes.base import Mode
from ptupcdr_core.settings import Settings
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.home import Home
from ptupcdr_core.store.model_folders import FOLDERS
from ptupcdr_core.store.replacing import writing
from ptupcdr_core.store.tensors import Table, Tensor, TensorFile, ranges
from ptupcdr_core.store.warehouse import Warehouse
from ptupcdr_core.training.epochs import OnEpoch
from ptupcdr_core.training.folding import USER_TABLES
from ptupcdr_core.versions import RESULTS

ASSET = "source_model"
MADE_OF, TRAINED_FOR = "made_of", "trained_for"
"""Entries of a source model's manifest: the digest of what it was made from, and the pair that it was trained for."""
AT_ONCE = 4_096
"""Users whose rows are moved at a time."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SharedSource:
    """The source model of one mode in the making.

    Args:
        home: has the split, and takes the model.
        outline: of the pair's split.
        mode: of the model.
        settings: of the run; the recipe is ``calibrated``.
        fingerprint: of the asset.
    """

    home: Home
    outline: PairData | Outline
    mode: Mode
    settings: Settings
    fingerprint: str

    def made(
        self, train: Callable[[dict[str, Any]], list[Path]], on_epoch: OnEpoch, notes: dict[str, str]
    ) -> list[Path]:
        """Take a model that was made from the same, or train it; of several processes one trains, and others wait.

        Args:
            train: trains and saves with these further entries of the manifest.
            on_epoch: told the epochs of a training that is not repeated, too.
            notes: told the pair whose training is used.

        Returns:
            The checkpoint's files.
        """
        with self._warehouse.read(SPLIT, self.outline.pair) as connection:
            of = [source_digest(connection), RESULTS[ASSET].version, self.mode.name, self._decisive]
        entries = {MADE_OF: hashlib.sha256(json.dumps(of).encode()).hexdigest(), TRAINED_FOR: self.outline.pair}
        with self._turn():
            files = self._taken(entries, on_epoch, notes)
            return train(entries) if files is None else files

    @property
    def _warehouse(self) -> Warehouse:
        return Warehouse.from_environment(self.home.warehouse)

    @property
    def _decisive(self) -> dict[str, Any]:
        """More than a base model reads: bridges' settings too. So no setting can be forgotten here."""
        return self.settings.deciding(self.mode.name)

    @property
    def _folder(self) -> str:
        return FOLDERS[self.mode.name][ASSET][0]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock of this source's models in this mode; the system frees it when the process ends."""
        source = Pair.of(self.outline.pair).source
        place = self.home.root / "locks" / f"{self._folder}-{source}.lock"
        lock = FileLock(place)
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                _logger.info("%s: waits for another process that trains %s of %s", self.outline.pair, ASSET, source)
                lock.acquire(poll_interval=0.2)
        try:
            yield
        finally:
            lock.release()

    def _taken(self, entries: dict[str, Any], on_epoch: OnEpoch, notes: dict[str, str]) -> list[Path] | None:
        folder = self.home.models / self._folder
        for manifest in sorted(folder.glob("*.json")):
            try:
                if artifacts.read_manifest(folder, manifest.stem).get(MADE_OF) != entries[MADE_OF]:
                    continue
                with artifacts.opened(folder, manifest.stem) as (file, stored):
                    tensors = self._placed(file) if stored.get(MADE_OF) == entries[MADE_OF] else None
                    if tensors is not None:
                        return self._kept(tensors, stored, on_epoch, notes)
            except ArtifactError as error:  # another process may write it just now; then this one trains, at worst
                _logger.info("%s: %s is not used: %s", self.outline.pair, manifest, error)
        return None

    def _kept(
        self, tensors: dict[str, Tensor], stored: dict[str, Any], on_epoch: OnEpoch, notes: dict[str, str]
    ) -> list[Path]:
        again = {name: stored[name] for name in (MADE_OF, TRAINED_FOR, "curves")}
        for name, curve in stored["curves"].items():
            for epoch, value in curve:
                on_epoch(epoch, {name: value})
        notes[f"{self.mode.name}_trained_for"] = stored[TRAINED_FOR]
        return checkpoints.save(
            self.home, self._folder, self.outline, tensors, self.settings, self.fingerprint, **again
        )

    def _placed(self, file: TensorFile) -> dict[str, Tensor] | None:
        """The tensors with their users' rows in this pair's places; None if they are not of as many users."""
        with self._warehouse.read(SPLIT, self.outline.pair) as connection:
            count = sum(len(users) for users in source_users(connection, AT_ONCE))
        if count != sum(len(users) for users in _rated(file)):
            return None
        rows = last_user(self._warehouse, self.outline.pair) + 1
        return {
            name: self._table(file, name, rows) if name in USER_TABLES else file.tensor(name) for name in file.header
        }

    def _table(self, file: TensorFile, name: str, rows: int) -> Table:
        def pieces() -> Iterator[tuple[int, Floats]]:
            with self._warehouse.read(SPLIT, self.outline.pair) as connection:
                places = _in_batches(source_users(connection, AT_ONCE))
                for there, here in zip(_in_batches(_rated(file)), places, strict=True):
                    own = file.rows(name, there[0], there[-1] + 1)
                    piece = np.zeros((here[-1] + 1 - here[0], *own.shape[1:]), np.float32)
                    piece[here - here[0]] = own[there - there[0]]
                    yield int(here[0]), piece

        return Table((rows, *file.shape(name)[1:]), pieces)


def _rated(file: TensorFile) -> Iterator[Index]:
    """The indices of users with ratings: least squares gives all others, and only them, vectors of zeros."""
    counted = "user_counts" if "user_counts" in file.header else "user_embedding"
    for first, last in ranges(file.shape(counted)[0]):
        rows = file.rows(counted, first, last).reshape(last - first, -1)
        yield (first + np.flatnonzero(rows.any(axis=1))).astype(np.int32)


def _in_batches(users: Iterable[Index]) -> Iterator[Index]:
    """The same indices, ``AT_ONCE`` at a time."""
    left = np.zeros(0, np.int32)
    for more in users:
        left = np.concatenate([left, more])
        while len(left) >= AT_ONCE:
            yield left[:AT_ONCE]
            left = left[AT_ONCE:]
    if len(left):
        yield left
