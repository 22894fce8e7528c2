"""Checkpoints: tensors as safetensors, everything else as JSON beside them. No code is ever loaded from a checkpoint.

A checkpoint ``NAME`` is ``NAME.json``, the manifest, which names its weights file ``NAME-<hash>.safetensors``. The
manifest is replaced last and atomically, so a reader sees the old checkpoint or the new one, never a mixture.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as decode

from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.store import formats
from ptupcdr_core.store.replacing import replaced, unfinished
from ptupcdr_core.store.tensors import Tensor, TensorFile, write

Tensors = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the manifest's own entries (settings, sizes, …)."""

    tensors: Tensors
    manifest: dict[str, Any]

    @property
    def checksum(self) -> str:
        """SHA-256 of the tensors."""
        return str(self.manifest["sha256"])


def save(folder: Path, name: str, tensors: Mapping[str, Tensor], *, split: str, manifest: dict[str, Any]) -> list[Path]:
    """Write a checkpoint and return its files: the manifest and the weights.

    Args:
        folder: where it goes; made if absent.
        name: base name of the files, such as the pair's key.
        tensors: the weights; tables are written piece by piece.
        split: identifies the split that they were trained on.
        manifest: further JSON values to keep, such as the settings.

    Raises:
        ArtifactError: a number of the tensors is NaN or infinite; the old one stays.
        StorageError: it cannot be written; the old one stays.
    """
    with unfinished(folder / f"{name}.safetensors") as written:
        write(written, tensors, lambda key, piece: require_finite({key: piece}, f"{folder.name} of {name}"))
        with written.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        weights = folder / f"{name}-{digest[:12]}.safetensors"
        with replaced(weights) as temporary:
            os.replace(written, temporary)
    entries = {**manifest, "format": formats.CHECKPOINT, "split": split, "weights": weights.name, "sha256": digest}
    with replaced(folder / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(entries, indent=2, sort_keys=True))
    for stale in folder.glob(f"{name}-????????????.safetensors"):
        if stale != weights:
            stale.unlink(missing_ok=True)
    return [folder / f"{name}.json", weights]


def require_finite(tensors: Tensors, what: str) -> None:
    """Refuse weights of a training that diverged.

    Raises:
        ArtifactError: a number is NaN or infinite.
    """
    for key, tensor in tensors.items():
        if np.asarray(tensor).dtype.kind == "f" and not np.isfinite(tensor).all():
            raise ArtifactError(
                f"{what} was not kept: {key} holds NaN or an infinite number, so training diverged; "
                "choose a smaller learning_rate"
            )


def remove(folder: Path, name: str) -> None:
    """Remove a checkpoint, if there is one: the manifest first, so that half of one is never read."""
    for file in (folder / f"{name}.json", *folder.glob(f"{name}-????????????.safetensors")):
        file.unlink(missing_ok=True)


def read_manifest(folder: Path, name: str) -> dict[str, Any]:
    """Read a checkpoint's manifest without its weights.

    Raises:
        ArtifactError: there is none, it is not a JSON object, or of another format.
    """
    path = folder / f"{name}.json"
    again = _again(folder, name)
    try:
        entries = json.loads(path.read_text())
    except FileNotFoundError:
        raise ArtifactError(f"{path}: no such checkpoint; materialize {folder.name} for {name} first") from None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not a manifest ({error}); {again}") from error
    if not isinstance(entries, dict):
        raise ArtifactError(f"{path}: not a manifest (expected a JSON object); {again}")
    if refused := formats.refusal("a checkpoint", path, entries.get("format"), formats.CHECKPOINT, again):
        raise ArtifactError(refused)
    return entries


def load(folder: Path, name: str, *, split: str, rows: Mapping[str, NDArray[np.integer]] | None = None) -> Checkpoint:
    """Read a checkpoint that was trained on this split.

    Args:
        folder: where it is.
        name: base name of the files.
        split: identifies the split.
        rows: the rows, ascending, that are read of some tensors, by name; of others all.

    Raises:
        ArtifactError: it is missing, damaged, or belongs to another split.
    """
    entries = read_manifest(folder, name)
    if entries.get("split") != split:
        raise ArtifactError(
            f"{folder / name}.json: trained on another split than the present one; {_again(folder, name)}"
        )
    with _whole(folder, name, entries) as file:
        if not rows:
            return Checkpoint(tensors=decode(file.read()), manifest=entries)
        weights = TensorFile.of(file)
        return Checkpoint(tensors={key: weights.array(key, rows.get(key)) for key in weights.header}, manifest=entries)


def read_whole(folder: Path, name: str) -> None:
    """Check that a checkpoint can be read.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    with opened(folder, name):
        pass


@contextmanager
def opened(folder: Path, name: str) -> Iterator[tuple[TensorFile, dict[str, Any]]]:
    """A checkpoint's weights, to read some of their rows, and its manifest; a new one may take its place meanwhile.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    entries = read_manifest(folder, name)
    with _whole(folder, name, entries) as file:
        yield TensorFile.of(file), entries


@contextmanager
def _whole(folder: Path, name: str, entries: dict[str, Any]) -> Iterator[BinaryIO]:
    """The open file of weights, which are those that the manifest names."""
    path, remedy = folder / str(entries.get("weights")), _again(folder, name)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise ArtifactError(f"{path}: the weights are missing; {remedy}") from None
    except OSError as error:
        raise ArtifactError(f"{path}: the weights cannot be read ({error.strerror}); {remedy}") from error
    with file:
        if hashlib.file_digest(file, "sha256").hexdigest() != entries.get("sha256"):
            raise ArtifactError(f"{path}: the weights are damaged (checksum differs from the manifest's); {remedy}")
        file.seek(0)
        yield file


def _again(folder: Path, name: str) -> str:
    return f"materialize {folder.name} for {name} again"
