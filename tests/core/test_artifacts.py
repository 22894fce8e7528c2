"""Checkpoints are read as they were written, and refused when they are not what the manifest says."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save as encode

from ptupcdr_core.errors import ArtifactError, StorageError
from ptupcdr_core.store import artifacts
from ptupcdr_core.store.tensors import Table

TENSORS = {
    "table": np.arange(6, dtype=np.float32).reshape(2, 3),
    "turned": np.arange(6, dtype=np.float32).reshape(2, 3).T,
    "mean": np.asarray(np.float32(3.5)),
    "counts": np.array([1, 2], np.int64),
    "nothing": np.zeros((0, 4), np.float32),
}


def save(folder: Path, tensors: artifacts.Tensors = TENSORS, name: str = "books__movies") -> list[Path]:
    return artifacts.save(folder, name, tensors, split="v", manifest={"settings": {"seed": 3}})


def load(folder: Path, split: str = "v") -> artifacts.Checkpoint:
    return artifacts.load(folder, "books__movies", split=split)


def test_what_was_saved_comes_back_with_shapes_and_types(tmp_path: Path) -> None:
    manifest, weights = save(tmp_path / "model")
    found = load(tmp_path / "model")
    assert found.tensors.keys() == TENSORS.keys()
    for name, expected in TENSORS.items():
        np.testing.assert_array_equal(found.tensors[name], expected)
        assert (found.tensors[name].shape, found.tensors[name].dtype) == (expected.shape, expected.dtype), name
    assert found.manifest["settings"] == {"seed": 3}
    assert json.loads(manifest.read_text())["weights"] == weights.name
    assert sorted(tmp_path.joinpath("model").iterdir()) == sorted([manifest, weights])


def test_a_checkpoint_of_another_split_is_refused(tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(ArtifactError, match="another split than the present one; materialize"):
        load(tmp_path, split="another")


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    _, weights = save(tmp_path)
    payload = bytearray(weights.read_bytes())
    payload[-1] ^= 1  # still a valid safetensors file, of other numbers
    weights.write_bytes(payload)
    with pytest.raises(ArtifactError, match=r"\.safetensors: the weights are damaged"):
        load(tmp_path)


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    _, weights = save(tmp_path)
    weights.unlink()
    with pytest.raises(ArtifactError, match=r"\.safetensors: the weights are missing"):
        load(tmp_path)


def test_a_missing_checkpoint_says_what_to_materialize(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no such checkpoint; materialize meta_network for books__movies first"):
        load(tmp_path / "meta_network")


@pytest.mark.parametrize("content", ["{", "[]", "", '"text"'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, content: str) -> None:
    manifest, _ = save(tmp_path)
    manifest.write_text(content)
    with pytest.raises(ArtifactError, match="not a manifest"):
        load(tmp_path)


def test_a_new_checkpoint_takes_the_old_ones_place_and_leaves_its_neighbours(tmp_path: Path) -> None:
    _, stale = save(tmp_path)
    _, neighbour = save(tmp_path, name="books__movies-old")
    _, fresh = save(tmp_path, TENSORS | {"mean": np.asarray(np.float32(2))})
    assert not stale.exists()
    assert neighbour.exists()
    assert fresh.exists()
    assert load(tmp_path).tensors["mean"] == 2


@pytest.mark.parametrize("survived", [0, 1])
def test_when_writing_fails_midway_the_old_checkpoint_stands(
    tmp_path: Path, survived: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full before the weights' rename (0), or between it and the manifest's (1)."""
    save(tmp_path)
    rename, done = os.replace, []

    def fail(*paths: Path) -> None:
        if len(done) == survived:
            raise OSError(errno.ENOSPC, "No space left on device")
        done.append(paths)
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(StorageError, match="no space left in"):
            save(tmp_path, TENSORS | {"mean": np.asarray(np.float32(2))})
    assert load(tmp_path).tensors["mean"] == 3.5
    assert not list(tmp_path.glob(".*")), "no half-written file is left"
    _, weights = save(tmp_path)
    assert list(tmp_path.glob("*.safetensors")) == [weights], "the next one clears what the failed one left"


def test_a_file_is_the_one_that_the_formats_library_writes_whatever_pieces_it_was_written_in(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    whole: artifacts.Tensors = {
        "ü table": rng.normal(size=(70_001, 3)).astype(np.float32),
        "zeros": np.zeros((5, 2), np.float32),
        "b": np.arange(7, dtype=np.int32),
        "a": np.arange(3, dtype=np.float64),
        "flags": np.array([True, False]),
        "bytes": np.arange(5, dtype=np.uint8),
        **TENSORS,
    }
    table = whole["ü table"]
    pieces = [(40_000, table[40_000:]), (0, table[:10]), (10, table[10:40_000])]
    tables = {"ü table": Table(table.shape, lambda: iter(pieces)), "zeros": Table((5, 2), lambda: iter(()))}
    _, weights = artifacts.save(tmp_path, "a__b", whole | tables, split="v", manifest={})
    expected = encode({name: np.asarray(tensor, order="C") for name, tensor in whole.items()})
    assert weights.read_bytes() == expected
    with artifacts.opened(tmp_path, "a__b") as (file, _):
        np.testing.assert_array_equal(file.rows("ü table", 39_990, 40_010), table[39_990:40_010])
        again = {name: file.tensor(name) for name in whole}
        _, copied = artifacts.save(tmp_path, "a__c", again, split="v", manifest={})
    assert copied.read_bytes() == expected


def test_a_piece_that_is_no_number_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    save(tmp_path)
    bad = Table((4, 1), lambda: iter([(0, np.ones((2, 1))), (2, np.full((2, 1), np.nan))]))
    with pytest.raises(ArtifactError, match=r"was not kept: table holds NaN"):
        save(tmp_path, TENSORS | {"table": bad})
    assert load(tmp_path).tensors["mean"] == 3.5
    assert not list(tmp_path.glob(".*"))
