"""What is left behind by workers and people that went away, found and cleared."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from apps.engine.durable import TEMPORARY_SUFFIX, remove_folder
from apps.images.services import sweep_uploads
from apps.models.selectors import FAILED_ITERATION
from apps.models.services import clear_old_vectors, place_what_was_left, start_first_maps
from apps.projects.files import EXPORT_KEPT
from apps.projects.models import Job, Project

ABANDONED_UPLOAD = ABANDONED_ITERATION = timedelta(days=7)
ABANDONED_WORK = timedelta(days=1)
# In a project's folder, where files are written while others there stay.
HALF_WRITTEN = ("exports", "descriptors/*", "recognized/*", "embeddings/*", "embeddings/*/*")


def keep_house() -> None:
    """Have first maps made, and objects placed, that a process owed when it died. Delete uploads, and what iterations that failed
    had done, where nobody went on with it for a week; work folders of jobs that have ended, and others that nothing wrote
    to for a day; exports after 30 days; what processes were receiving, packing or writing when they died; and former maps' vectors."""
    start_first_maps(Project.objects.all())
    place_what_was_left()
    sweep_uploads(older_than=ABANDONED_UPLOAD)
    clear_old_vectors()
    projects = Path(settings.MEDIA_ROOT)
    for archive in projects.glob("*/*/exports/labels-*.zip"):
        if _age(archive) > EXPORT_KEPT:
            archive.unlink(missing_ok=True)
    half_written = [
        *(file for place in HALF_WRITTEN for file in projects.glob(f"*/*/{place}/.*{TEMPORARY_SUFFIX}")),
        *Path(settings.FILE_UPLOAD_TEMP_DIR).glob("*.upload*"),
    ]
    for file in half_written:  # by a process that was killed: what is written takes minutes, an upload hours
        if _age(file) > ABANDONED_WORK:
            file.unlink(missing_ok=True)
    for work in projects.glob("*/*/work/*"):
        if _is_left(work):
            remove_folder(work)


def _is_left(work: Path) -> bool:
    of_job = re.match(r"job-(\d+)-", work.name)
    if of_job:
        # A job that waits to be taken up again goes on with what its dead worker left.
        return not Job.objects.filter(pk=int(of_job[1]), finished_at=None).exists()
    is_iteration = work.name == FAILED_ITERATION
    return _age(work, *work.rglob("*")) > (ABANDONED_ITERATION if is_iteration else ABANDONED_WORK)


def _age(*paths: Path) -> timedelta:
    """Since something was last written to one of them; what vanished meanwhile is not asked."""
    newest = 0.0
    for path in paths:
        with suppress(FileNotFoundError):
            newest = max(newest, path.stat().st_mtime)
    return timedelta(seconds=time.time() - newest)
