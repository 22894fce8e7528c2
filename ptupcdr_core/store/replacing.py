"""Files that are replaced in one step, durably: they stay replaced after a power cut.

A rename alone is not enough: it may reach the disk before the content that it names, which leaves an empty file.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptupcdr_core.errors import StorageError
from ptupcdr_core.store.owner import Owner

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder; what the block wrote there takes the place of ``path`` when it ends.

    Nobody ever sees half of it. After an error the old one stays, and no temporary file is left.

    Args:
        path: a file, or a folder that is not there yet; folders above it are made.

    Raises:
        StorageError: it cannot be written; whatever else the block raises passes unchanged.
    """
    with unfinished(path) as temporary:
        yield temporary
        with writing(path):
            synced(temporary)
            os.replace(temporary, path)
            _sync_folder(path.parent)


@contextmanager
def unfinished(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, for what is to be there; it is removed at the end.

    Raises:
        StorageError: it cannot be written; whatever else the block raises passes unchanged.
    """
    # The name matches no reader's or other writer's pattern, and tells the owner if this process is killed.
    temporary = path.with_name(f".{Owner.present()}-{uuid.uuid4().hex[:16]}.tmp")
    with writing(path):
        _make_folder(path.parent)
    try:
        yield temporary
    except OSError as error:
        if _concerns(error, temporary):
            raise unwritable(path, error) from error
        raise
    finally:
        # A database keeps its log beside itself, under its name with an ending.
        for left in path.parent.glob(f"{temporary.name}*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's errors in the block into ones about writing ``path``.

    Raises:
        StorageError: in their place.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


def unwritable(path: Path, error: OSError) -> StorageError:
    """The error for a file that cannot be written."""
    if error.errno in _FULL:
        return no_space(path)
    remedy = "allow it" if error.errno in _FORBIDDEN else "see what is in the way"
    return StorageError(
        f"{path} cannot be written ({error.strerror or error}): {remedy}, or set PTUPCDR_HOME to another folder"
    )


def no_space(path: Path) -> StorageError:
    """The error for a full disk."""
    return StorageError(
        f"{path} cannot be written: no space left in {path.parent}; what stood there before is untouched: "
        "free some space and run again, or set PTUPCDR_HOME to a folder of a larger disk"
    )


def _concerns(error: OSError, temporary: Path) -> bool:
    # The block may fail on other files that it reads; an error of writing to an open file names no file.
    ours = error.filename is None or str(error.filename).startswith(str(temporary))
    return ours and error.errno in _FULL | _FORBIDDEN


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def synced(path: Path) -> None:
    """Wait until a file, or all that is in a folder, is on the disk."""
    if path.is_dir():
        for child in path.iterdir():
            synced(child)
        _sync_folder(path)
    else:
        _sync(path)


def _sync_folder(folder: Path) -> None:
    try:
        _sync(folder)
    except OSError as error:
        # Some network file systems do not support this; there only the rename is possible.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
            raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
