"""What a project's open pages are told. Small messages that carry numbers; who missed one asks for the state."""

from __future__ import annotations

import logging
from typing import Any, Literal, TypedDict

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import transaction

logger = logging.getLogger(__name__)


class JobEvent(TypedDict):
    type: Literal["job.progress", "job.finished"]
    job: dict[str, Any]


class ObjectsAdded(TypedDict):
    type: Literal["objects.added"]
    n_objects: int


class ProjectChanged(TypedDict):
    """A setting, a class or a member is another than before."""

    type: Literal["project.changed"]


class PresenceChanged(TypedDict):
    """Who has the project's workspace or one of its pages open, the page's own user among them: id and name of each."""

    type: Literal["presence"]
    users: list[dict[str, Any]]


def group_of(project_id: int) -> str:
    return f"project.{project_id}"


def send_event(project_id: int, event: Any) -> None:
    """Tell the project's open pages now. A page that misses it catches up by asking for the state, so a channel layer
    that is down is logged and never fails the work that has something to tell."""
    layer = get_channel_layer()
    try:
        async_to_sync(layer.group_send)(group_of(project_id), {"type": "project.event", "event": event})
    except Exception:
        logger.exception("could not send %s to project %s", event["type"], project_id)


def send_event_on_commit(project_id: int, event: Any) -> None:
    transaction.on_commit(lambda: send_event(project_id, event))
