"""What is left behind by workers and people that went away, found and cleared."""

from __future__ import annotations

import shutil
import time
from datetime import timedelta
from pathlib import Path

from django.conf import settings

from apps.images.services import sweep_uploads

ABANDONED_UPLOAD = timedelta(days=7)
ABANDONED_WORK_S = 24 * 60 * 60


def keep_house() -> None:
    """Delete uploads that nobody went on with for a week, and work folders that nothing wrote to for a day."""
    sweep_uploads(older_than=ABANDONED_UPLOAD)
    for work in Path(settings.MEDIA_ROOT).glob("*/*/work/*"):
        newest = max((path.stat().st_mtime for path in [work, *work.rglob("*")]), default=0.0)
        if time.time() - newest > ABANDONED_WORK_S:
            shutil.rmtree(work, ignore_errors=True)
