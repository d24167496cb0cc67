"""Waking another process at once through PostgreSQL's LISTEN and NOTIFY, with one number as the message.

A notification is a hint and no queue: who did not listen at that moment never hears of it. What has to be done must show
in the tables, where the listener looks when it starts, when it was cut off, and now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import psycopg
from django.db import connection, connections

LABELS_CHANGED = "patchsorter_labels"  # the number is a project's
EMBEDDING_MADE = "patchsorter_embeddings"  # a project's


def notify(channel: str, number: int) -> None:
    """Tell whoever listens; within a transaction when that commits, and never if it does not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, str(number)])


def listening_parameters(using: str = "default") -> dict[str, Any]:
    """What psycopg needs to connect as Django does."""
    parameters = connections[using].get_connection_params()
    # Django's own cursors and adapters are of no use to a connection that only listens.
    for name in ("cursor_factory", "context", "server_side_binding", "prepare_threshold"):
        parameters.pop(name, None)
    return parameters


class Listener:
    """A connection of its own that hears the given channels. A lost one shows as psycopg.Error."""

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels = channels

    def __enter__(self) -> Self:
        self._connection = psycopg.connect(**listening_parameters(), autocommit=True)
        for channel in self._channels:
            self._connection.execute(f"LISTEN {channel}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def wait(self, seconds: float) -> set[int]:
        """The numbers heard, each once, as soon as there are any; none when the time is over."""
        heard = {int(notification.payload) for notification in self._connection.notifies(timeout=seconds, stop_after=1)}
        # What has come in with it: many gestures in quick succession are one.
        heard |= {int(notification.payload) for notification in self._connection.notifies(timeout=0)}
        return heard
