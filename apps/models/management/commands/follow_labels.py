from __future__ import annotations

import logging
import time
from typing import Any

import psycopg
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, connection

from apps.common.notifications import EMBEDDING_MADE, LABELS_CHANGED, Listener
from apps.models.refit import Refitter
from apps.models.selectors import projects_behind_their_labels

logger = logging.getLogger(__name__)
CHECK_INTERVAL_S = 30.0  # for a notification that was lost with its listener
PAUSE_WHILE_ANOTHER_WORKS_S = 0.1
RECONNECT_S = 1.0


class Command(BaseCommand):
    help = "Renew the predictions after every label action. Several may run, on as many hosts: one works on a project."

    def handle(self, *_: Any, **options: Any) -> None:
        refitter = Refitter()
        refitter.warm_up()
        while True:
            try:
                with Listener([LABELS_CHANGED, EMBEDDING_MADE]) as listener:
                    logger.info("following the labels")
                    _follow(listener, refitter)
            except (OperationalError, InterfaceError, psycopg.Error) as error:
                logger.warning("the database was lost, and is connected to again: %s", error)
                connection.close()
                time.sleep(RECONNECT_S)


def _follow(listener: Listener, refitter: Refitter) -> None:
    """Renew what a gesture or a new map tells of, before what a look at the tables finds behind."""
    waiting: list[int] = []
    n_busy = 0  # of those waiting, that another process was at when they were tried last
    checked = float("-inf")
    while True:
        if time.monotonic() - checked > CHECK_INTERVAL_S:
            checked = time.monotonic()
            waiting = list(dict.fromkeys([*waiting, *projects_behind_their_labels()]))
        pause = CHECK_INTERVAL_S if not waiting else PAUSE_WHILE_ANOTHER_WORKS_S if n_busy == len(waiting) else 0.0
        heard = listener.wait(pause)
        waiting = list(dict.fromkeys([*sorted(heard), *waiting]))
        n_busy = 0 if heard else n_busy
        if not waiting:
            continue
        project_id = waiting.pop(0)
        try:
            if refitter.renew(project_id):
                n_busy = 0
            else:
                waiting.append(project_id)
                n_busy += 1
        except (OperationalError, InterfaceError):
            raise
        except Exception:  # a damaged file, say: the others go on, and this one is tried at the next check
            logger.exception("the predictions of project %s could not be renewed", project_id)
