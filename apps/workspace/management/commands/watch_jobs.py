from __future__ import annotations

import logging
import time
from typing import Any

from django.core.management.base import BaseCommand
from django.db import Error, connection

from apps.projects.jobs import requeue_lost_jobs

logger = logging.getLogger(__name__)
INTERVAL_S = 5.0


class Command(BaseCommand):
    help = "Watch over the jobs: take up again what a dead worker left. Runs until stopped; several may run at once."

    def handle(self, *_: Any, **options: Any) -> None:
        while True:
            try:
                if taken := requeue_lost_jobs():
                    logger.warning("took up %s lost jobs", taken)
            except Error:
                logger.exception("the jobs could not be looked at")
                connection.close()
            time.sleep(INTERVAL_S)
