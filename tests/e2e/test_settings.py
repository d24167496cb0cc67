"""The settings of a project, in a browser: several forms on one page."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Dialog, expect

from tests.e2e.conftest import Faults, Site, new_window, sign_in

pytestmark = pytest.mark.e2e


def test_what_was_typed_into_one_form_stays_when_another_is_saved_and_nobody_leaves_it_by_accident(
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
    page.get_by_label("Draw known classes apart on the map").check()
    add = page.locator("form", has=page.get_by_role("button", name="Add class"))
    add.get_by_label("Name").fill("artifact")
    page.get_by_role("button", name="Add class").click()
    expect(page.get_by_role("cell", name="artifact", exact=True)).to_be_visible()
    expect(page.get_by_label("Description")).to_have_value("Kidney biopsies of 2025")
    expect(page.get_by_label("Draw known classes apart on the map")).to_be_checked()
    assert asked == []

    # not saved yet: who leaves is asked
    page.get_by_role("link", name="Members").click()
    page.wait_for_timeout(300)
    assert asked == ["beforeunload"]
    assert page.url == f"{address}#new-class", "still there, at the form that was saved"

    page.get_by_role("button", name="Save settings").click()
    expect(page.get_by_label("Draw known classes apart on the map")).to_be_checked()
    page.get_by_role("button", name="Save learning").click()
    page.wait_for_url("**#learning")
    page.get_by_role("link", name="Members").click()
    page.wait_for_url("**/members/")
    assert asked == ["beforeunload"]
    page.get_by_role("link", name="Classes and settings").click()
    expect(page.get_by_label("Description")).to_have_value("Kidney biopsies of 2025")
    expect(page.get_by_label("Draw known classes apart on the map")).to_be_checked()
    window.close()


def test_a_quick_review_shows_one_patch_after_the_other_and_keeps_its_answers_apart(
    site: Site, browser: Browser, faults: Faults
) -> None:
    window = new_window(browser)
    page = window.new_page()
    faults.watch(page)
    sign_in(page, site, "rater@demo.example")
    page.get_by_role("link", name="Colon nuclei").click()
    labeled = page.locator(".stats").inner_text()
    page.get_by_role("link", name="Sessions").click()
    page.get_by_role("link", name="Quick review").click()
    told = page.get_by_test_id("quick-review-told")
    expect(told).to_have_text("1 of 100.")
    patch = page.get_by_role("img", name="The object to label")
    seen = []
    for n, key in enumerate(("1", "2", "1"), 1):
        page.wait_for_function(
            "() => [...document.querySelectorAll('.quick-review__patch')].every(image => image.complete)"
        )
        seen.append(patch.get_attribute("src"))
        page.keyboard.press(key)
        expect(told).to_have_text(f"{n + 1} of 100. Z goes back.")
    page.keyboard.press("z")
    expect(told).to_have_text("3 of 100. Z goes back.")
    assert patch.get_attribute("src") == seen[2] and len(set(seen)) == 3
    page.wait_for_load_state("networkidle")
    page.reload()
    expect(told).to_have_text("3 of 100.")
    page.get_by_role("link", name="Overview").click()
    assert page.locator(".stats").inner_text() == labeled, "no label of the project"
    window.close()
