"""The settings of a project, in a browser: several forms on one page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Dialog, expect

from tests.e2e.conftest import Faults, Site, new_window, sign_in

pytestmark = pytest.mark.e2e


def test_who_saves_one_form_is_asked_before_what_was_typed_in_another_is_lost(
    site: Site, browser: Browser, faults: Faults
) -> None:
    window = new_window(browser)
    page = window.new_page()
    faults.watch(page)
    sign_in(page, site, "admin@demo.example")
    page.get_by_role("link", name="New project").first.click()
    page.get_by_label("Name").fill("Glomeruli")
    page.get_by_label("Classes").fill("healthy\nsclerotic")
    page.get_by_role("button", name="Create project").click()
    page.get_by_role("link", name="Classes and settings").click()
    address = page.url
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    page.on("dialog", stay)
    page.get_by_label("Description").fill("Kidney biopsies of 2025")
    add = page.locator("form", has=page.get_by_role("button", name="Add class"))
    add.get_by_label("Name").fill("artifact")
    page.get_by_role("button", name="Add class").click()
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    assert page.url == address
    expect(page.get_by_label("Description")).to_have_value("Kidney biopsies of 2025")
    expect(add.get_by_label("Name")).to_have_value("artifact")

    # one after the other: nothing is lost, and nobody is asked
    add.get_by_label("Name").fill("")
    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_role("status").filter(has_text="saved").first).to_be_visible()
    add.get_by_label("Name").fill("artifact")
    page.get_by_role("button", name="Add class").click()
    expect(page.get_by_role("cell", name="artifact", exact=True)).to_be_visible()
    assert asked == ["beforeunload"]
    expect(page.get_by_label("Description")).to_have_value("Kidney biopsies of 2025")
    window.close()
