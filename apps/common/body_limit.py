"""How large a request's body may be. Django keeps a body on disk before it asks who sent it, and has no limit of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, Scope


class _BodyTooLarge(Exception):
    pass


class BodyLimit:
    """Answers 413 to a request of more than `limit_of(path)` bytes. What is left of it is taken in and thrown away: a browser
    reads no answer before it has sent all."""

    def __init__(self, application: ASGI3Application, limit_of: Callable[[str], int]) -> None:
        self._application = application
        self._limit_of = limit_of

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        limit, taken, has_more = self._limit_of(scope["path"]), 0, True

        async def receive_within_limit() -> ASGIReceiveEvent:
            nonlocal taken, has_more
            event = await receive()
            if event["type"] == "http.request":
                taken += len(event.get("body", b""))
                has_more = event.get("more_body", False)
                if taken > limit:
                    raise _BodyTooLarge
            return event

        try:
            if _stated_length(scope["headers"]) > limit:
                raise _BodyTooLarge
            await self._application(scope, receive_within_limit, send)
        except _BodyTooLarge:
            while has_more:
                event = await receive()
                if event["type"] != "http.request":
                    return  # gone
                has_more = event.get("more_body", False)
            await _refuse(send, limit)


def _stated_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    stated = dict(headers).get(b"content-length", b"")
    return int(stated) if stated.isdigit() else 0


async def _refuse(send: ASGISendCallable, limit: int) -> None:
    body = json.dumps({"detail": f"more than {limit / 1e6:,.0f} MB, the limit of this server"}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 413, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
