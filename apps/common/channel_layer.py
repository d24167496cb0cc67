"""A channel layer for Channels over PostgreSQL's LISTEN and NOTIFY, so that one machine needs no Redis.

The message travels in the notification itself, and who is in which group is known to each web process alone: there are
no tables, nothing to clean up, and a worker sends with the database connection it has. Against it stand two limits that
suit what is sent here: a message has at most 7,999 bytes, and nobody gets one who does not listen at that moment.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections import defaultdict
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from asgiref.sync import sync_to_async
from channels.layers import BaseChannelLayer
from django.db import connections

from apps.common.notifications import listening_parameters

logger = logging.getLogger(__name__)

NOTIFICATION = "patchsorter_events"
MAX_BYTES = 7_999
RECONNECT_S = 1.0
# What a channel gets in place of messages that were lost: whoever reads it should ask for the state.
RESYNC = {"type": "channel.resync"}


class MessageTooLarge(ValueError):
    """The message does not fit a notification."""


class _Listener:
    """The channels and groups of one event loop, and its connection that hears the notifications."""

    def __init__(self, parameters: dict[str, Any], capacity: int) -> None:
        self.queues: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self.groups: defaultdict[str, set[str]] = defaultdict(set)
        self.listening = asyncio.Event()
        self._parameters = parameters
        self._capacity = capacity
        self._task = asyncio.get_running_loop().create_task(self._run())

    def queue(self, channel: str) -> asyncio.Queue[dict[str, Any]]:
        return self.queues.setdefault(channel, asyncio.Queue(self._capacity))

    def deliver(self, channel: str, message: dict[str, Any]) -> None:
        queue = self.queue(channel)
        if queue.full():  # a page that does not keep up: what it missed, it asks for
            while not queue.empty():
                queue.get_nowait()
            message = RESYNC
        queue.put_nowait(message)

    async def _run(self) -> None:
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**self._parameters, autocommit=True) as connection:
                    await connection.execute(f"LISTEN {NOTIFICATION}")
                    self.listening.set()
                    async for notification in connection.notifies():
                        self._dispatch(json.loads(notification.payload))
            except psycopg.Error as error:
                logger.warning("the connection for events was lost, and is made again: %s", error)
            self.listening.clear()
            for channel in list(self.queues):
                self.deliver(channel, RESYNC)
            await asyncio.sleep(RECONNECT_S)

    def _dispatch(self, sent: dict[str, Any]) -> None:
        channels = [sent["channel"]] if "channel" in sent else list(self.groups.get(sent["group"], ()))
        for channel in channels:
            if channel in self.queues:
                self.deliver(channel, sent["message"])


class PostgresChannelLayer(BaseChannelLayer):
    """Groups over NOTIFY. `using` names the Django database to send through and to listen on."""

    extensions = ("groups",)

    def __init__(self, using: str = "default", capacity: int = 100, expiry: int = 60, **_: Any) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.using = using
        self._listeners: WeakKeyDictionary[asyncio.AbstractEventLoop, _Listener] = WeakKeyDictionary()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._notify({"channel": channel, "message": message})

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Raises MessageTooLarge beyond 7,999 bytes. Within a transaction, it is sent when that commits."""
        await self._notify({"group": group, "message": message})

    async def receive(self, channel: str) -> dict[str, Any]:
        return await self._listener().queue(channel).get()

    async def new_channel(self, prefix: str = "specific") -> str:
        channel = f"{prefix}.{uuid.uuid4().hex}"
        self._listener().queue(channel)
        return channel

    async def group_add(self, group: str, channel: str) -> None:
        """Returns once the process listens: what is sent from then on arrives."""
        listener = self._listener()
        listener.queue(channel)
        listener.groups[group].add(channel)
        await listener.listening.wait()

    async def group_discard(self, group: str, channel: str) -> None:
        listener = self._listener()
        listener.groups[group].discard(channel)
        if not listener.groups[group]:
            del listener.groups[group]
        if not any(channel in channels for channels in listener.groups.values()):
            listener.queues.pop(channel, None)

    def _listener(self) -> _Listener:
        loop = asyncio.get_running_loop()
        if loop not in self._listeners:
            self._listeners[loop] = _Listener(listening_parameters(self.using), self.capacity)
        return self._listeners[loop]

    async def _notify(self, sent: dict[str, Any]) -> None:
        payload = json.dumps(sent, separators=(",", ":"), ensure_ascii=False)
        if len(payload.encode()) > MAX_BYTES:
            raise MessageTooLarge(f"a message of {len(payload.encode())} bytes; at most {MAX_BYTES} can be sent")
        # Not database_sync_to_async: that would close the sender's connection before and after each event.
        await sync_to_async(self._execute_notify)(payload)

    def _execute_notify(self, payload: str) -> None:
        with connections[self.using].cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [NOTIFICATION, payload])
