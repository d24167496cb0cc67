"""What the log tells of a request: a line where it was refused, the traceback where it failed."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest

from tests.conftest import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the site's own handler writes."""
    handler = next(handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler)
    written = io.StringIO()
    before = handler.setStream(written)
    yield written
    handler.setStream(before)


def test_a_refused_page_is_told_in_one_line(world: World, signed_in, log) -> None:
    path = f"/projects/{world.project.pk}/settings/"
    assert signed_in(world.viewer).get(path).status_code == 403
    assert path in log.getvalue() and log.getvalue().count("\n") == 1


def test_a_page_that_fails_is_told_with_its_traceback(world: World, signed_in, log, monkeypatch) -> None:
    client = signed_in(world.manager)
    client.raise_request_exception = False
    monkeypatch.setattr("apps.projects.views.render", lambda *_, **__: 1 // 0)
    assert client.get(f"/projects/{world.project.pk}/settings/").status_code == 500
    assert "ZeroDivisionError" in log.getvalue()
