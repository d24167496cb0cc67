"""Where a project's files lie. The one place that knows, so that another storage has one place to change."""

from __future__ import annotations

import errno
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from numpy.typing import NDArray

from apps.engine import arrays
from apps.engine.durable import has_space, replacing
from apps.projects.models import Job, Project

EXPORT_KEPT = timedelta(days=30)


def project_folder(project: Project) -> Path:
    return Path(settings.MEDIA_ROOT) / str(project.organization_id) / str(project.pk)


def folder(project: Project, *parts: str | int) -> Path:
    """A folder below the project's own, made if it is not there yet."""
    path = project_folder(project).joinpath(*map(str, parts))
    path.mkdir(parents=True, exist_ok=True)
    return path


def export_archive(job: Job) -> Path:
    """Where the zip of an export job lies once it is finished, for `EXPORT_KEPT`."""
    return project_folder(job.project) / "exports" / f"labels-{job.pk}.zip"


class DiskFull(OSError):
    """What is to be written would take what the database needs. No EngineError: nothing that was tried has failed, and nothing else
    is to be tried in its place."""

    def __init__(self) -> None:
        super().__init__("the server's disk is full, but for what the database needs; tell its administrator")


def is_of_space(error: BaseException) -> bool:
    """Whether the disk, or somebody's share of it, was full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def check_space(place: Path, n_bytes: int = 0) -> None:
    """Raises DiskFull where `n_bytes` cannot be written below `place`, a folder that is there."""
    if not has_space(place, n_bytes):
        raise DiskFull


def write_bytes(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def read_array(path: Path, *, is_mapped: bool = False) -> NDArray[Any]:
    """As the engine's, with errors that say where among all projects' files it lies."""
    return arrays.read_array(path, is_mapped=is_mapped, called=str(path.relative_to(settings.MEDIA_ROOT)))
