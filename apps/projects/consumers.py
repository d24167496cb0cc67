from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, ClassVar

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core.exceptions import PermissionDenied
from django.http import Http404

from apps.accounts.models import User
from apps.projects.access import get_project_for_user
from apps.projects.events import PresenceChanged, group_of

logger = logging.getLogger(__name__)
STRANGER = 4404  # the socket's 404
TRY_AGAIN = 4503
TOO_MANY = 4429
# Open pages of one person in this process, of all projects: each hears of each other one that opens.
MOST_PAGES = 20
# A page says so often that it is still there, and is taken for gone after missing it twice: its process may have died.
PRESENCE_S = 60.0
TOLD_AFTER_S = 0.3


@dataclass(frozen=True)
class _Present:
    """Another open page of the project, as one page knows of it."""

    user_id: int
    name: str
    heard_at: float


class ProjectConsumer(AsyncJsonWebsocketConsumer):
    """Forwards a project's events to one open page. Access is checked when it opens and again before each event, so
    that somebody who was taken off the project hears nothing more.

    Who else is there, pages tell each other: one that opens, and each now and then, says so to the group, and the others
    answer it. There is no list anywhere that a dead process could leave wrong."""

    project_id: int
    _n_open: ClassVar[Counter[int]] = Counter()  # pages by user id
    _present: dict[str, _Present]  # by channel, this page's own among them
    _told: dict[int, str]  # names by user id, as the page knows them
    _is_counted = False
    _announcing: asyncio.Task[None] | None = None
    _telling: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Whatever ends the socket, an error in the midst of sending to a page that has just left among it, it is left tidily."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._leave()

    async def connect(self) -> None:
        self.project_id = self.scope["url_route"]["kwargs"]["project_id"]
        if not await self._may_listen():
            await self.close(code=STRANGER)
            return
        if self._n_open[self.scope["user"].pk] >= MOST_PAGES:
            await self.close(code=TOO_MANY)
            return
        self._n_open[self.scope["user"].pk] += 1
        self._is_counted = True
        self._present, self._told = {}, {}
        await self.channel_layer.group_add(group_of(self.project_id), self.channel_name)
        await self.accept()
        self._announcing = asyncio.create_task(self._announce())

    async def _leave(self) -> None:
        if not self._is_counted:
            return
        self._is_counted = False
        self._n_open[self.scope["user"].pk] -= 1
        for task in (self._announcing, self._telling):
            if task is not None:
                task.cancel()
        with self._costs_nobody_the_page():
            await self.channel_layer.group_discard(group_of(self.project_id), self.channel_name)
            await self._tell_others({"type": "presence.left", "channel": self.channel_name})

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Pages change things by HTTP only; whatever arrives here is ignored."""

    async def project_event(self, message: dict[str, Any]) -> None:
        if await self._may_listen():
            await self.send_json(message["event"])
        else:
            await self.close(code=STRANGER)

    async def _announce(self) -> None:
        while True:
            with self._costs_nobody_the_page():
                if not await self._may_listen():
                    await self.close(code=STRANGER)
                    return
                await self._tell_others(self._here(asks=True))
            await asyncio.sleep(PRESENCE_S)
            gone_since = time.monotonic() - 2 * PRESENCE_S
            for channel, page in [*self._present.items()]:
                if page.heard_at <= gone_since and channel != self.channel_name:
                    del self._present[channel]
            self._tell_page_soon()

    @contextmanager
    def _costs_nobody_the_page(self) -> Iterator[None]:
        """As in `send_event`: a channel layer or a database that is down for a while is logged, and that is all."""
        try:
            yield
        except Exception:
            logger.exception("who is in project %s could not be told", self.project_id)

    async def _tell_others(self, message: dict[str, Any]) -> None:
        await self.channel_layer.group_send(group_of(self.project_id), message)

    def _here(self, *, asks: bool) -> dict[str, Any]:
        user = self.scope["user"]
        return {
            "type": "presence.here",
            "channel": self.channel_name,
            "id": user.pk,
            "name": str(user),
            "asks": asks,
        }

    async def presence_here(self, message: dict[str, Any]) -> None:
        channel, is_new = message["channel"], message["channel"] not in self._present
        self._present[channel] = _Present(message["id"], message["name"], time.monotonic())
        self._tell_page_soon()
        if message["asks"] and is_new and channel != self.channel_name:
            with self._costs_nobody_the_page():
                await self.channel_layer.send(channel, self._here(asks=False))

    async def presence_left(self, message: dict[str, Any]) -> None:
        self._present.pop(message["channel"], None)
        self._tell_page_soon()

    def _tell_page_soon(self) -> None:
        """Not at once: when a server starts, all pages come together."""
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell_page())

    async def _tell_page(self) -> None:
        await asyncio.sleep(TOLD_AFTER_S)
        users = {page.user_id: page.name for page in self._present.values()}
        if users == self._told:
            return
        self._told = users
        listed = [{"id": user_id, "name": name} for user_id, name in sorted(users.items())]
        # A page that has just left, whose socket says so with an OSError, need not be told.
        with self._costs_nobody_the_page(), suppress(OSError):
            await self.project_event({"event": PresenceChanged(type="presence", users=listed)})

    async def channel_resync(self, message: dict[str, Any]) -> None:
        """Events were lost on the way. The page connects again, and then asks for the state as after any break."""
        await self.close(code=TRY_AGAIN)

    @database_sync_to_async
    def _may_listen(self) -> bool:
        # Read anew: a socket lives for hours, and its user may have been deactivated or given a new password since.
        user = User.objects.filter(pk=self.scope["user"].pk, is_active=True, must_change_password=False).first()
        if user is None:
            return False
        try:
            get_project_for_user(user, self.project_id)
        except (Http404, PermissionDenied):
            return False
        return True
