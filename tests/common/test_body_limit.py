"""A body that is too large, or that the disk has no room for, is refused, whoever sends it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings as settings_of_site
from django.test import Client

from apps.accounts.models import User
from apps.accounts.services import create_token
from apps.engine import durable
from patchsorter_site.asgi import AROUND_A_FILE, application

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.asyncio,
    pytest.mark.usefixtures("no_session_left"),
]
PIECE = b"x" * 256 * 1024
API, UPLOAD = "/api/v1/label-sets/1/actions", "/api/v1/projects/1/uploads/1/files"


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 4_000_000, 1_000_000


def pieces(n_bytes: int) -> Iterator[bytes]:
    for start in range(0, n_bytes, len(PIECE)):
        yield PIECE[: n_bytes - start]


@pytest.fixture
def session() -> str:
    """Of somebody who has signed in, and may do nothing yet."""
    client = Client()
    client.force_login(User.objects.create_user(email="somebody@example.org", password="of no importance"))
    return client.cookies[settings_of_site.SESSION_COOKIE_NAME].value


def page_for(
    path: str, *, session: str | None = None, token: str | None = None, stated_length: int | None = None
) -> ApplicationCommunicator:
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    if session is not None:
        headers.append((b"cookie", f"{settings_of_site.SESSION_COOKIE_NAME}={session}".encode()))
    if stated_length is not None:
        headers.append((b"content-length", str(stated_length).encode()))
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    return ApplicationCommunicator(application, {"asgi": {"version": "3.0"}, "http_version": "1.1", **scope})


async def post(path: str, n_bytes: int, *, is_length_stated: bool, **sender: str | None) -> tuple[int, bytes]:
    """The answer's status and body; everything is sent before it is read, as a browser does. `sender`: their session or token."""
    page = page_for(path, stated_length=n_bytes if is_length_stated else None, **sender)
    for piece in pieces(n_bytes):
        await page.send_input({"type": "http.request", "body": piece, "more_body": True})
    await page.send_input({"type": "http.request", "body": b"", "more_body": False})
    start, body = await page.receive_output(timeout=10), await page.receive_output(timeout=10)
    await page.wait()
    return start["status"], body["body"]


@pytest.mark.parametrize("is_length_stated", [True, False])
@pytest.mark.parametrize(("path", "limit"), [(API, 1_000_000), (UPLOAD, 4_000_000)])
async def test_more_than_the_limit_is_refused_in_words(
    path: str, limit: int, session: str, is_length_stated: bool
) -> None:
    status, body = await post(path, limit + AROUND_A_FILE + 1, is_length_stated=is_length_stated, session=session)
    assert status == 413
    assert "the limit of this server" in json.loads(body)["detail"]


def is_refused_for_its_missing_token(body: bytes) -> bool:
    """By Django, which has read it."""
    return b"CSRF" in body or b"Not accepted" in body


@pytest.mark.parametrize("is_length_stated", [True, False])
@pytest.mark.parametrize(("path", "limit"), [(API, 1_000_000), (UPLOAD, 4_000_000)])
async def test_what_is_within_it_goes_on_to_be_asked_who_sent_it(
    path: str, limit: int, session: str, is_length_stated: bool
) -> None:
    status, body = await post(path, limit + AROUND_A_FILE, is_length_stated=is_length_stated, session=session)
    assert status == 403 and is_refused_for_its_missing_token(body)


@pytest.mark.parametrize("is_length_stated", [True, False])
@pytest.mark.parametrize("session", [None, "a" * 32])
async def test_who_is_not_signed_in_writes_nothing_to_the_disk(session: str | None, is_length_stated: bool) -> None:
    for token in (None, "ps_" + "0" * 64):
        status, body = await post(UPLOAD, 4_500_000, is_length_stated=is_length_stated, session=session, token=token)
        assert status == 403 and json.loads(body) == {"detail": "sign in before you send so much"}


async def test_a_token_says_who_sends_it(session: str) -> None:
    new = await sync_to_async(create_token)(user=await User.objects.aget(), name="A script", days=7)
    status, body = await post(UPLOAD, 4_500_000, is_length_stated=True, token=new.secret)
    assert status == 404 and b"no such project" in body, "it is read, and then asked for what"


async def test_of_many_tokens_in_one_request_none_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each would ask the database, before anybody is known."""
    asked = []
    monkeypatch.setattr("patchsorter_site.asgi.is_token", lambda header: asked.append(header))
    scope = {"type": "http", "method": "POST", "path": UPLOAD, "query_string": b"", "http_version": "1.1"}
    headers = [(b"host", b"testserver"), (b"content-length", b"4500000")]
    headers += [(b"authorization", f"Bearer ps_{n:064x}".encode()) for n in range(1000)]
    page = ApplicationCommunicator(application, {"asgi": {"version": "3.0"}, **scope, "headers": headers})
    await page.send_input({"type": "http.request", "body": b"", "more_body": False})
    assert (await page.receive_output(timeout=10))["status"] == 403
    await page.receive_output(timeout=10)
    await page.wait()
    assert asked == []


@pytest.mark.parametrize("is_length_stated", [True, False])
async def test_what_the_disk_has_no_room_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Any, session: str, is_length_stated: bool
) -> None:
    settings.UPLOAD_MAX_BYTES = 20_000_000
    monkeypatch.setattr(durable, "DISK_RESERVE_BYTES", 10**18)
    status, body = await post(UPLOAD, 10_000_000, is_length_stated=is_length_stated, session=session)
    assert status == 507 and "disk is too full" in json.loads(body)["detail"]
    status, _ = await post(API, 900_000, is_length_stated=is_length_stated)
    assert status == 403, "labels, which are kept in memory, still arrive"


async def test_room_is_asked_for_three_times_a_file_and_for_all_that_are_on_their_way(
    monkeypatch: pytest.MonkeyPatch, settings: Any, session: str
) -> None:
    settings.UPLOAD_MAX_BYTES = 20_000_000
    free = durable.DISK_RESERVE_BYTES + 31_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    first = page_for(UPLOAD, session=session, stated_length=8_000_000)
    await first.send_input({"type": "http.request", "body": PIECE, "more_body": True})
    assert await first.receive_nothing()
    status, _ = await post(UPLOAD, 6_000_000, is_length_stated=True, session=session)
    assert status == 507, "the body, the file in it and its place, beside 24 MB that are promised to the first"
    await first.send_input({"type": "http.disconnect"})
    await first.wait()
    status, body = await post(UPLOAD, 6_000_000, is_length_stated=True, session=session)
    assert status == 403 and is_refused_for_its_missing_token(body), "the first is gone"

    too_large = page_for(UPLOAD, session=session, stated_length=15_000_000)
    await too_large.send_input({"type": "http.request", "body": PIECE, "more_body": True})
    assert await too_large.receive_nothing(), "it is refused once all of it was sent"
    status, body = await post(UPLOAD, 6_000_000, is_length_stated=True, session=session)
    assert status == 403 and is_refused_for_its_missing_token(body), "what is refused keeps no room"
    await too_large.send_input({"type": "http.disconnect"})
    await too_large.wait()


async def test_a_client_that_goes_away_in_the_middle_is_no_fault(session: str) -> None:
    page = page_for(API, session=session, stated_length=99999999)
    await page.send_input({"type": "http.request", "body": PIECE, "more_body": True})
    await page.send_input({"type": "http.disconnect"})
    await page.wait()
    assert await page.receive_nothing()
