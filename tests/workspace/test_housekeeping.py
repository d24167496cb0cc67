"""What processes leave that are killed."""

from __future__ import annotations

import os
import time
from datetime import timedelta
from pathlib import Path

from apps.projects.files import folder
from apps.workspace.housekeeping import ABANDONED_WORK, keep_house
from tests.conftest import World


def write(path: Path, age: timedelta) -> Path:
    path.write_bytes(b"half")
    then = time.time() - age.total_seconds()
    os.utime(path, (then, then))
    return path


def test_what_was_being_packed_or_received_goes_once_nobody_can_be_at_it(
    world: World, tmp_path: Path, settings
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path
    exports = folder(world.project, "exports")
    old, new = ABANDONED_WORK + timedelta(hours=1), timedelta(minutes=5)
    left = [
        write(exports / ".0a1b.partial", old),
        write(tmp_path / "tmp1.upload.png", old),
        write(folder(world.project, "descriptors", "1-64px") / ".3d4e.partial", old),
        write(folder(world.project, "embeddings", "1", "predictions") / ".5f6a.partial", old),
    ]
    in_use = [
        write(exports / ".2c3d.partial", new),
        write(tmp_path / "tmp2.upload", new),
        write(exports / "other", old),
    ]
    keep_house()
    assert [path for path in left if path.exists()] == []
    assert all(path.exists() for path in in_use)
