"""Checkpoints: tensors as safetensors, everything else as JSON beside them. No code is ever loaded from a checkpoint.

A checkpoint ``NAME`` is ``NAME.json``, the manifest, which names its weights file ``NAME-<hash>.safetensors``. The
manifest is replaced last and atomically, so a reader sees the old checkpoint or the new one, never a mixture.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as decode
from safetensors.numpy import save as encode

from ptupcdr_core.errors import ArtifactError
from ptupcdr_core.store import formats
from ptupcdr_core.store.replacing import replaced

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


def save(folder: Path, name: str, tensors: Tensors, *, split: str, manifest: dict[str, Any]) -> list[Path]:
    """Write a checkpoint and return its files: the manifest and the weights.

    Args:
        folder: where it goes; made if absent.
        name: base name of the files, such as the pair's key.
        tensors: the weights.
        split: identifies the split that they were trained on.
        manifest: further JSON values to keep, such as the settings.

    Raises:
        ArtifactError: a number of the tensors is NaN or infinite; the old one stays.
        StorageError: it cannot be written; the old one stays.
    """
    require_finite(tensors, f"{folder.name} of {name}")
    # Not ascontiguousarray, which would make a scalar one-dimensional.
    payload = encode({key: np.asarray(value, order="C") for key, value in tensors.items()})
    digest = hashlib.sha256(payload).hexdigest()
    weights = folder / f"{name}-{digest[:12]}.safetensors"
    _replace(weights, payload)
    entries = {**manifest, "format": formats.CHECKPOINT, "split": split, "weights": weights.name, "sha256": digest}
    _replace(folder / f"{name}.json", json.dumps(entries, indent=2, sort_keys=True).encode())
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
    again = f"materialize {folder.name} for {name} again"
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


def load(folder: Path, name: str, *, split: str) -> Checkpoint:
    """Read a checkpoint that was trained on this split.

    Raises:
        ArtifactError: it is missing, damaged, or belongs to another split.
    """
    entries = read_manifest(folder, name)
    remedy = f"materialize {folder.name} for {name} again"
    if entries.get("split") != split:
        raise ArtifactError(f"{folder / name}.json: trained on another split than the present one; {remedy}")
    return Checkpoint(tensors=decode(_weights(folder, entries, remedy)), manifest=entries)


def read_whole(folder: Path, name: str) -> None:
    """Check that a checkpoint can be read.

    Raises:
        ArtifactError: it is missing or damaged.
    """
    _weights(folder, read_manifest(folder, name), f"materialize {folder.name} for {name} again")


def _weights(folder: Path, entries: dict[str, Any], remedy: str) -> bytes:
    path = folder / str(entries.get("weights"))
    try:
        payload = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"{path}: the weights are missing; {remedy}") from None
    except OSError as error:
        raise ArtifactError(f"{path}: the weights cannot be read ({error.strerror}); {remedy}") from error
    if hashlib.sha256(payload).hexdigest() != entries.get("sha256"):
        raise ArtifactError(f"{path}: the weights are damaged (checksum differs from the manifest's); {remedy}")
    return payload


def _replace(path: Path, payload: bytes) -> None:
    with replaced(path) as temporary:
        temporary.write_bytes(payload)
