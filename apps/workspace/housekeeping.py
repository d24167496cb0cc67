"""What is left behind by workers and people that went away, found and cleared."""

from __future__ import annotations

import re
import shutil
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from apps.images.services import sweep_uploads
from apps.models.services import clear_old_vectors, place_what_was_left, start_first_maps
from apps.projects.files import EXPORT_KEPT
from apps.projects.models import Job, Project

ABANDONED_UPLOAD = timedelta(days=7)
ABANDONED_WORK_S = 24 * 60 * 60


def keep_house() -> None:
    """Delete uploads that nobody went on with for a week, work folders of jobs that have ended, and other work folders
    that nothing wrote to for a day; exports after 30 days, and former maps' vectors. Have first maps made, and objects placed,
    that a process owed when it died."""
    sweep_uploads(older_than=ABANDONED_UPLOAD)
    clear_old_vectors()
    for archive in Path(settings.MEDIA_ROOT).glob("*/*/exports/*"):
        if time.time() - archive.stat().st_mtime > EXPORT_KEPT.total_seconds():
            archive.unlink(missing_ok=True)
    start_first_maps(Project.objects.all())
    place_what_was_left()
    for work in Path(settings.MEDIA_ROOT).glob("*/*/work/*"):
        of_job = re.match(r"job-(\d+)-", work.name)
        if of_job:
            # A job that waits to be taken up again goes on with what its dead worker left.
            is_left = not Job.objects.filter(pk=int(of_job[1]), finished_at=None).exists()
        else:
            newest = max((path.stat().st_mtime for path in [work, *work.rglob("*")]), default=0.0)
            is_left = time.time() - newest > ABANDONED_WORK_S
        if is_left:
            shutil.rmtree(work, ignore_errors=True)
