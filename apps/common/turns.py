"""How many requests are worked on at once. Each takes a thread, a database connection, and for a sheet of patches 200 MB: a hundred at
once, which one script can send, would take what trainings and colleagues need."""

from __future__ import annotations

import asyncio

from asgiref.typing import (
    ASGI3Application,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    Scope,
)


class Turns:
    """Lets `most_at_once` HTTP requests be worked on, the others wait. A turn begins when all of a request is there and ends when its
    answer begins: who sends or fetches slowly keeps nobody waiting."""

    def __init__(self, application: ASGI3Application, *, most_at_once: int) -> None:
        self._application = application
        self._free = asyncio.Semaphore(most_at_once)

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        is_there = has_turn = False

        def end_turn() -> None:
            nonlocal has_turn
            if has_turn:
                has_turn = False
                self._free.release()

        async def receive_in_turn() -> ASGIReceiveEvent:
            nonlocal is_there, has_turn
            event = await receive()
            if not is_there and event["type"] == "http.request" and not event.get("more_body", False):
                is_there = True
                await self._free.acquire()
                has_turn = True
            return event

        async def send_after_turn(event: ASGISendEvent) -> None:
            end_turn()
            await send(event)

        try:
            await self._application(scope, receive_in_turn, send_after_turn)
        finally:
            end_turn()
