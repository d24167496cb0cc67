"""Files that are there as a whole or not at all, also after a power cut: temporary name, sync, rename, sync the folder."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

TEMPORARY_SUFFIX = ".partial"
DISK_RESERVE_BYTES = 1024**3  # stays free for the database


def has_space(place: Path, n_bytes: int = 0) -> bool:
    """Whether so much can be written below `place`, a folder that is there, with the reserve left free."""
    return shutil.disk_usage(place).free >= n_bytes + DISK_RESERVE_BYTES


def require_space(place: Path, n_bytes: int) -> None:
    """For what is large. Raises OSError (ENOSPC), as the system does too late, where `has_space` says no."""
    if not has_space(place, n_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well; otherwise nothing of it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def move_folder(source: Path, target: Path) -> None:
    """Rename a folder of synced files; what lies under the new name already is replaced."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_folder(target)
    sync_folder(source)
    source.rename(target)
    sync_folder(target.parent)


def remove_folder(folder: Path) -> None:
    """Out of the way first: what is half removed must never pass for what it was, and another process may be about to use or remove it."""
    removed = folder.with_name(f"removed-{uuid.uuid4().hex}")
    with suppress(FileNotFoundError):
        folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable. Not every system can open a folder; there the rename is all there is."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)
