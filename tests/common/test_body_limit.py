"""A body that is too large, or that the disk has no room for, is refused, whoever sends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator

from apps.projects import files
from patchsorter_site.asgi import AROUND_A_FILE, application

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.asyncio]
PIECE = b"x" * 256 * 1024
API, UPLOAD = "/api/v1/label-sets/1/actions", "/projects/1/uploads/1/files/"


@pytest.fixture(autouse=True)
def limits(settings: Any) -> None:
    settings.UPLOAD_MAX_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 4_000_000, 1_000_000


def pieces(n_bytes: int) -> Iterator[bytes]:
    for start in range(0, n_bytes, len(PIECE)):
        yield PIECE[: n_bytes - start]


async def post(path: str, n_bytes: int, *, is_length_stated: bool) -> tuple[int, bytes]:
    """The answer's status and body; everything is sent before it is read, as a browser does."""
    length = [(b"content-length", str(n_bytes).encode())] if is_length_stated else []
    headers = [(b"host", b"testserver"), (b"content-type", b"application/json"), *length]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    page = ApplicationCommunicator(application, {"asgi": {"version": "3.0"}, "http_version": "1.1", **scope})
    for piece in pieces(n_bytes):
        await page.send_input({"type": "http.request", "body": piece, "more_body": True})
    await page.send_input({"type": "http.request", "body": b"", "more_body": False})
    start, body = await page.receive_output(timeout=10), await page.receive_output(timeout=10)
    await page.wait()
    return start["status"], body["body"]


@pytest.mark.parametrize("is_length_stated", [True, False])
@pytest.mark.parametrize(("path", "limit"), [(API, 1_000_000), (UPLOAD, 4_000_000)])
async def test_more_than_the_limit_is_refused_in_words(path: str, limit: int, is_length_stated: bool) -> None:
    status, body = await post(path, limit + AROUND_A_FILE + 1, is_length_stated=is_length_stated)
    assert status == 413
    assert "the limit of this server" in json.loads(body)["detail"]


@pytest.mark.parametrize("is_length_stated", [True, False])
@pytest.mark.parametrize(("path", "limit"), [(API, 1_000_000), (UPLOAD, 4_000_000)])
async def test_what_is_within_it_goes_on_to_be_asked_who_sent_it(path: str, limit: int, is_length_stated: bool) -> None:
    status, _ = await post(path, limit + AROUND_A_FILE, is_length_stated=is_length_stated)
    assert status == 403


@pytest.mark.parametrize("is_length_stated", [True, False])
async def test_what_the_disk_has_no_room_for_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: Any, is_length_stated: bool
) -> None:
    settings.UPLOAD_MAX_BYTES = 20_000_000
    monkeypatch.setattr(files, "DISK_RESERVE_BYTES", 10**18)
    status, body = await post(UPLOAD, 10_000_000, is_length_stated=is_length_stated)
    assert status == 507 and "disk is too full" in json.loads(body)["detail"]
    status, _ = await post(API, 900_000, is_length_stated=is_length_stated)
    assert status == 403, "labels, which are kept in memory, still arrive"


async def test_a_client_that_goes_away_in_the_middle_is_no_fault() -> None:
    headers = [(b"host", b"testserver"), (b"content-length", b"99999999")]
    scope = {"type": "http", "method": "POST", "path": API, "query_string": b"", "headers": headers}
    page = ApplicationCommunicator(application, {"asgi": {"version": "3.0"}, "http_version": "1.1", **scope})
    await page.send_input({"type": "http.request", "body": PIECE, "more_body": True})
    await page.send_input({"type": "http.disconnect"})
    await page.wait()
    assert await page.receive_nothing()
