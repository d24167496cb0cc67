from __future__ import annotations

from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from django.core.exceptions import PermissionDenied
from django.http import Http404

from apps.accounts.models import User
from apps.projects.access import get_project_for_user
from apps.projects.events import group_of

STRANGER = 4404  # the socket's 404
TRY_AGAIN = 4503


class ProjectConsumer(AsyncJsonWebsocketConsumer):
    """Forwards a project's events to one open page. Access is checked when it opens and again before each event, so
    that somebody who was taken off the project hears nothing more."""

    project_id: int

    async def connect(self) -> None:
        self.project_id = self.scope["url_route"]["kwargs"]["project_id"]
        if not await self._may_listen():
            await self.close(code=STRANGER)
            return
        await self.channel_layer.group_add(group_of(self.project_id), self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        await self.channel_layer.group_discard(group_of(self.project_id), self.channel_name)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None, **_: Any) -> None:
        """Pages change things by HTTP only; whatever arrives here is ignored."""

    async def project_event(self, message: dict[str, Any]) -> None:
        if await self._may_listen():
            await self.send_json(message["event"])
        else:
            await self.close(code=STRANGER)

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
