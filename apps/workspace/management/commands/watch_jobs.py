from __future__ import annotations

import logging
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connection

from apps.projects.jobs import requeue_lost_jobs
from apps.workspace.housekeeping import keep_house

logger = logging.getLogger(__name__)
INTERVAL_S = 5.0
HOUSEKEEPING_INTERVAL_S = 60 * 60.0


class Command(BaseCommand):
    help = "Watch over the jobs: take up again what a dead worker left; and keep house. Several may run at once."

    def handle(self, *_: Any, **options: Any) -> None:
        kept_house = float("-inf")
        while True:
            try:
                if taken := requeue_lost_jobs():
                    logger.warning("took up %s lost jobs", taken)
                if time.monotonic() - kept_house > HOUSEKEEPING_INTERVAL_S:
                    kept_house = time.monotonic()
                    keep_house()
            except (Error, OSError):
                logger.exception("the watch was interrupted, and goes on")
                connection.close()
            time.sleep(INTERVAL_S)
