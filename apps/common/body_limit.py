"""How large a request's body may be. Django keeps a body on disk before it asks who sent it, and has no limit of its own."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable

from asgiref.typing import ASGI3Application, ASGIReceiveCallable, ASGIReceiveEvent, ASGISendCallable, HTTPScope, Scope


class _Refused(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail


class BodyLimit:
    """Answers 413 to a request of more than `limit_of(path)` bytes, 403 to a large one of which `is_known(scope)` does not know who
    sends it, and 507 to one that `has_room(bytes)` says the disk has no room for. What is left of it is taken in and thrown away: a
    browser reads no answer before it has sent all.

    `in_memory_bytes`: so much of a body Django keeps in memory. Up to there, neither the disk nor the sender is asked for.
    """

    def __init__(
        self,
        application: ASGI3Application,
        *,
        limit_of: Callable[[str], int],
        is_known: Callable[[HTTPScope], Awaitable[bool]],
        has_room: Callable[[int], bool],
        in_memory_bytes: int,
    ) -> None:
        self._application = application
        self._limit_of = limit_of
        self._is_known = is_known
        self._has_room = has_room
        self._in_memory_bytes = in_memory_bytes
        self._still_to_write = 0  # bytes, of all requests under way: each sees the same free disk

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        limit, stated = self._limit_of(scope["path"]), _stated_length(scope["headers"])
        taken, has_more, is_known, still_to_write = 0, True, False, 0

        def will_write(n_bytes: int) -> None:
            nonlocal still_to_write
            self._still_to_write += n_bytes - still_to_write
            still_to_write = n_bytes

        async def check(n_bytes: int) -> None:
            nonlocal is_known
            if n_bytes > limit:
                raise _Refused(413, f"more than {limit / 1e6:,.0f} MB, the limit of this server")
            if n_bytes <= self._in_memory_bytes:
                return
            is_known = is_known or await self._is_known(scope)
            if not is_known:
                raise _Refused(403, "sign in before you send so much")
            # A form's file is written twice more: out of the body, and to where it is kept.
            will_write(max(0, stated - taken) + 2 * n_bytes)
            if not self._has_room(self._still_to_write):
                raise _Refused(507, "the server's disk is too full for this; tell its administrator")

        async def receive_within_limit() -> ASGIReceiveEvent:
            nonlocal taken, has_more
            event = await receive()
            if event["type"] == "http.request":
                taken += len(event.get("body", b""))
                has_more = event.get("more_body", False)
                await check(max(stated, taken))
            return event

        try:
            await check(stated)
            await self._application(scope, receive_within_limit, send)
        except _Refused as refused:
            will_write(0)
            while has_more:
                event = await receive()
                if event["type"] != "http.request":
                    return  # gone
                has_more = event.get("more_body", False)
            await _answer(send, refused)
        finally:
            will_write(0)


def _stated_length(headers: Iterable[tuple[bytes, bytes]]) -> int:
    stated = dict(headers).get(b"content-length", b"")
    return int(stated) if stated.isdigit() else 0


async def _answer(send: ASGISendCallable, refused: _Refused) -> None:
    body = json.dumps({"detail": refused.detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": refused.status, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})
