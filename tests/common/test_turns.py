"""Requests take turns, and who is slow keeps nobody waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from apps.common.turns import Turns

pytestmark = pytest.mark.asyncio


class Work:
    """An application that reads the request, works until it is told to answer, and then sends its answer in two parts."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_answer, self.may_end = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        self.begun += 1
        if scope["path"] == "/broken":
            raise ValueError
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.may_end.wait()
        await send({"type": "http.response.body", "body": b""})


def ask(turns: Turns, path: str = "/") -> ApplicationCommunicator:
    return ApplicationCommunicator(turns, {"type": "http", "path": path})


async def send_all(page: ApplicationCommunicator) -> None:
    await page.send_input({"type": "http.request", "body": b"", "more_body": False})
    await asyncio.sleep(0.01)


async def test_a_third_request_waits_until_one_of_two_is_answered() -> None:
    work = Work()
    turns = Turns(work, most_at_once=2)
    pages = [ask(turns) for _ in range(3)]
    for page in pages:
        await send_all(page)
    assert work.begun == 2
    work.may_answer.set()
    for page in pages:
        assert (await page.receive_output())["type"] == "http.response.start"
    assert work.begun == 3, "and not until all of the first answer was fetched"
    work.may_end.set()
    for page in pages:
        await page.wait()


async def test_who_sends_slowly_or_breaks_off_takes_no_turn() -> None:
    work = Work()
    turns = Turns(work, most_at_once=1)
    slow = ask(turns)
    await slow.send_input({"type": "http.request", "body": b"x", "more_body": True})
    broken = ask(turns, "/broken")
    await send_all(broken)
    with pytest.raises(ValueError):
        await broken.wait()
    gone = ask(turns)
    await send_all(gone)
    waiting = ask(turns)
    await send_all(waiting)
    gone.stop(exceptions=False)
    waiting.stop(exceptions=False)
    await asyncio.sleep(0.01)
    work.may_answer.set()
    work.may_end.set()
    await send_all(slow)
    assert (await slow.receive_output())["status"] == 200
    await slow.wait()


async def test_sockets_take_no_turn() -> None:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "websocket.accept"})

    page = ApplicationCommunicator(Turns(application, most_at_once=0), {"type": "websocket"})
    assert (await page.receive_output())["type"] == "websocket.accept"
