"""Where there is nothing, or something broke, a script gets JSON and a person a page."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.workspace import views
from tests.conftest import World


def test_a_misspelled_address_is_answered_to_a_script_in_json_and_to_a_person_by_a_page(
    world: World, signed_in
) -> None:
    browser = signed_in(world.manager)
    answer = browser.get("/api/v1/projectz")
    assert answer.status_code == 404
    assert answer.json() == {"detail": "The API has nothing at this address."}
    page = browser.get("/projectz/")
    assert page.status_code == 404
    assert "There is nothing here" in page.content.decode()


@pytest.mark.parametrize("address", ["/api/v1/projects/{}/suggestions", "/projects/{}/"])
def test_a_fault_of_the_server_is_told_without_its_cause(
    world: World, signed_in, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret path")

    monkeypatch.setattr("apps.workspace.api.suggestions", broken)
    monkeypatch.setattr(views, "project_overview", broken)
    browser: Client = signed_in(world.manager)
    browser.raise_request_exception = False
    answer = browser.get(address.format(world.project.pk))
    assert answer.status_code == 500
    assert "a secret path" not in answer.content.decode()
    if address.startswith("/api/"):
        assert answer.json() == {"detail": "The server made a mistake, which is in its log."}
    else:
        assert "<html" in answer.content.decode()
