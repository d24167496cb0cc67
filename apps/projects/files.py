"""Where a project's files lie. The one place that knows, so that another storage has one place to change."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from apps.projects.models import Project


def project_folder(project: Project) -> Path:
    return Path(settings.MEDIA_ROOT) / str(project.organization_id) / str(project.pk)


def folder(project: Project, *parts: str | int) -> Path:
    """A folder below the project's own, made if it is not there yet."""
    path = project_folder(project).joinpath(*map(str, parts))
    path.mkdir(parents=True, exist_ok=True)
    return path


def write_bytes(path: Path, content: bytes) -> None:
    """Write so that a power cut leaves the old file or the new one, never a half: temporary name, sync, rename."""
    temporary = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    write_bytes(path, json.dumps(content, indent=1).encode())


def write_array(path: Path, array: NDArray[Any]) -> None:
    temporary = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
