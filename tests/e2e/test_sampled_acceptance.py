"""Accepting a selection by sample, as a manager allows it and a rater does it in a browser."""

from __future__ import annotations

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from apps.engine.demonstration import demonstration_image, segment_nuclei
from tests.e2e.conftest import Faults, Pictures, Site, new_window, sign_in
from tests.e2e.test_main_job import ADMIN, handle, held_back, wait_for_map, wait_until

pytestmark = pytest.mark.e2e
RATER = "rater@demo.example"


def look_at_every_patch(page: Page) -> None:
    page.get_by_test_id("grid").hover()
    state = page.get_by_test_id("sample-state")
    for _ in range(60):
        seen, n = (int(word) for word in state.inner_text().split(" seen")[0].split(" of "))
        if seen == n:
            page.wait_for_timeout(100 * n)  # sooner, nobody can have looked
            return
        page.mouse.wheel(0, 200)
        page.wait_for_timeout(150)
    raise AssertionError(f"not all patches came on the screen: {state.inner_text()}")


def test_a_selection_is_accepted_by_sample_and_one_undo_takes_it_back(
    site: Site, browser: Browser, faults: Faults, pictures: Pictures
) -> None:
    manager = new_window(browser).new_page()
    faults.watch(manager)
    sign_in(manager, site, ADMIN)
    manager.get_by_role("link", name="Colon nuclei").first.click()
    manager.get_by_role("link", name="Classes and settings").click()
    manager.get_by_label("Allow labels by sample").check()
    manager.get_by_label("Largest error, %").fill("10")
    manager.locator("form#by-sample").get_by_role("button", name="Save").click()
    expect(manager.get_by_text("Labels by sample are allowed in this project.")).to_be_visible()

    page = new_window(browser, dark=True).new_page()
    faults.watch(page)
    sign_in(page, site, RATER)
    page.get_by_role("link", name="Colon nuclei").first.click()
    page.get_by_role("link", name="Open workspace").first.click()
    wait_for_map(page, 2)
    handle(page, "pick([argument])", handle(page, "labels()").index(0))
    page.keyboard.press("1")
    wait_until(page, "page.unsaved() === 0")
    before: list[int] = handle(page, "labels()")
    free = [ordinal for ordinal, value in enumerate(before) if value == 0]
    with held_back(page, "**/order"):  # in a hurry: what was just labeled is still selected
        handle(page, "showAll()")
        page.get_by_test_id("by-sample").click()
    page.get_by_test_id("sample-class").select_option(label="stromal")
    page.get_by_test_id("sample-draw").click()
    wait_until(page, "page.selection().source === 'sample'")
    drawn: list[int] = handle(page, "selection().ordinals")
    assert set(drawn) <= set(free) and len(drawn) < 40
    expect(page.get_by_test_id("sample-accept")).to_have_text(f"Accept all {len(free)} as stromal")
    look_at_every_patch(page)

    # a colleague labels while the mark is on its way
    other = next(ordinal for ordinal in free if ordinal not in drawn)
    with held_back(page, "**/wrong") as held:
        wrong = handle(page, "tileToClient(argument)", drawn[-1])
        page.mouse.click(wrong["x"] + 20, wrong["y"] + 20)
        wait_until(page, "page.unsaved() === 1")
        manager.get_by_role("link", name="Open workspace").first.click()
        wait_until(manager, "page.ready")
        handle(manager, "pick([argument])", other)
        manager.keyboard.press("1")
        wait_until(manager, "page.unsaved() === 0")
        page.wait_for_timeout(500)  # the news has come
        assert len(held) == 1
    wait_until(page, "page.labelOf(argument) === 1", other)
    manager.keyboard.press("z")
    wait_until(page, "page.labelOf(argument) === 0", other)
    expect(page.get_by_test_id("sample-state")).to_contain_text("1 wrong")
    expect(page.get_by_test_id("sample-accept")).to_have_count(0)
    expect(page.get_by_test_id("sample-more")).to_be_visible()  # the colleague's label is not in the way any more
    pictures.take(page, "sample")
    wait_until(page, "page.unsaved() === 0")
    # a mark stays for whoever leaves, and no key undoes what was labeled before the sample
    page.keyboard.press("z")
    expect(page.get_by_text("To take a mark back, click the patch again.")).to_be_visible()
    expect(page.get_by_test_id("undo")).to_be_disabled()
    page.keyboard.press("Escape")
    wait_until(page, "page.selection().source !== 'sample'")
    page.get_by_test_id("sample-resume").click()
    expect(page.get_by_test_id("sample-state")).to_contain_text("1 wrong")
    page.reload()
    wait_for_map(page, 2)
    page.get_by_test_id("sample-resume").click()
    expect(page.get_by_test_id("sample-state")).to_contain_text("1 wrong")

    # the wrong one asks for more, which come behind those that were seen; then the others may be accepted
    look_at_every_patch(page)
    page.keyboard.press("Enter")
    expect(page.get_by_text("One is wrong: Shift Enter shows")).to_be_visible()
    page.keyboard.press("Shift+Enter")
    wait_until(page, "page.selection().ordinals.length > argument", len(drawn))
    wrong, first = drawn[-1], drawn
    drawn = handle(page, "selection().ordinals")
    assert drawn[: len(first)] == first and set(drawn) <= set(free)
    expect(page.get_by_test_id("sample-state")).to_contain_text(f"of {len(drawn)} seen")
    expect(page.get_by_test_id("sample-accept")).to_have_text(f"Accept the other {len(free) - 1} as stromal")
    expect(page.get_by_test_id("sample-accept")).to_be_disabled()
    look_at_every_patch(page)
    pictures.take(page, "sample-more")
    page.keyboard.press("Enter")
    expect(page.get_by_text(f"Shift Enter accepts the other {len(free) - 1} as stromal")).to_be_visible()
    # who looks elsewhere in between has seen it all the same
    handle(page, "showAll()")
    page.get_by_test_id("sample-resume").click()
    expect(page.get_by_test_id("sample-state")).to_contain_text(f"{len(drawn)} of {len(drawn)} seen")
    with held_back(page, "**/accept"):
        page.get_by_test_id("sample-accept").click()
        page.get_by_test_id("filter").select_option("labeled")  # in a hurry: the answer is not there yet
    right = [ordinal for ordinal in free if ordinal != wrong]
    wait_until(page, "argument.every(ordinal => page.labelOf(ordinal) === 2)", right)
    assert handle(page, "labelOf(argument)", wrong) == 0
    how = f"{len(drawn) - 1} seen, {len(free) - len(drawn)} by sample"
    expect(page.get_by_text(f"{len(right)} labeled stromal: {how}")).to_be_visible()
    expect(page.get_by_test_id("progress")).to_contain_text(f"{len(free) - len(drawn)} by sample")
    wait_until(page, "page.selection().ordinals.length === argument", len(before) - 1)
    page.get_by_test_id("filter").select_option("seen")
    wait_until(page, "page.selection().ordinals.length === argument", len(before) - len(free) + len(drawn))

    page.get_by_test_id("undo").click()
    wait_until(page, "page.labels().every((value, ordinal) => value === argument[ordinal])", before)

    # what brings a class nearer to a sample is proposed, and then the sample itself, by keys alone
    page.get_by_test_id("filter").select_option("all")
    wait_until(page, "page.selection().source === 'all'")
    # labels that other tests gave at will would make any model doubt
    labeled = [ordinal for ordinal, value in enumerate(before) if value > 0]
    for first in range(0, len(labeled), 90):  # of a hundred at once it would ask again
        some = labeled[first : first + 90]
        handle(page, "pick(argument)", some)
        page.keyboard.press("0")
        wait_until(page, "page.unsaved() === 0 && argument.every(ordinal => page.labelOf(ordinal) === 0)", some)
    brownness = how_brown()
    from_blue = sorted(range(len(before)), key=lambda ordinal: brownness[ordinal])
    for key, some in (("1", from_blue[:40]), ("2", from_blue[-40:])):
        handle(page, "pick(argument)", some)
        page.keyboard.press(key)
        wait_until(page, f"page.unsaved() === 0 && argument.every(ordinal => page.labelOf(ordinal) === {key})", some)
    wait_until(page, "page.isSettled()")
    for _ in range(8):
        if take_other(page, "sample", "doubtful") == "sample":
            break
        label_what_is_picked(page)
    expect(page.get_by_test_id("sample-dialog")).to_be_visible()
    pictures.take(page, "sample-proposed")
    stratum: list[int] = handle(page, "selection().ordinals")
    labels = handle(page, "labels()")
    expect(page.get_by_test_id("sample-others")).to_have_count(0)
    page.get_by_test_id("sample-class").select_option(label="not a nucleus")
    expect(page.get_by_test_id("sample-others")).to_contain_text("All of them are predicted as another class")
    pictures.take(page, "sample-of-another-class")
    # not wanted, it is not recommended again, and what lay behind the question has not been looked at
    page.keyboard.press("Escape")
    declined = f"Accept {len(stratum)} that look like"
    expect(page.get_by_test_id("next")).not_to_contain_text(declined)
    page.get_by_test_id("other-suggestions").click()
    page.locator(".next-bar__item[data-kind=sample]").filter(has_text=declined).click()
    expect(page.get_by_test_id("sample-dialog")).to_be_visible()
    assert handle(page, "selection().ordinals") == stratum
    # once too often: the second Enter is for nothing that lies behind
    page.evaluate("""() => {
        document.querySelector("[data-testid=sample-draw]").click();
        const enter = { key: "Enter", code: "Enter", bubbles: true, cancelable: true };
        document.activeElement.dispatchEvent(new KeyboardEvent("keydown", enter));
    }""")
    wait_until(page, "page.selection().source === 'sample'")
    assert handle(page, "unsaved()") == 0 and handle(page, "labels()") == labels
    drawn = handle(page, "selection().ordinals")
    assert set(drawn) < set(stratum) and 2 * len(drawn) <= len(stratum)
    expect(page.get_by_test_id("sample-accept")).to_contain_text(f"Accept all {len(stratum)} as ")
    look_at_every_patch(page)
    pictures.take(page, "sample-clean")
    page.keyboard.press("Shift+Enter")
    wait_until(page, "argument.every(ordinal => page.labelOf(ordinal) > 0)", stratum)
    accepted_as = handle(page, "labelOf(argument)", stratum[0])
    page.keyboard.press("z")
    wait_until(page, "argument.every(ordinal => page.labelOf(ordinal) === 0)", stratum)

    # what was accepted and taken back is another attempt
    handle(page, "pick(argument)", stratum)
    page.get_by_test_id("by-sample").click()
    page.get_by_test_id("sample-class").select_option(str(accepted_as))
    page.get_by_test_id("sample-draw").click()
    expect(page.get_by_test_id("sample-panel")).to_contain_text("attempt 2")
    assert len(handle(page, "selection().ordinals")) > len(drawn)
    page.get_by_test_id("sample-end").click()
    wait_until(page, "page.selection().source !== 'sample'")


def how_brown() -> list[float]:
    """Of each of the demonstration's nuclei, by ordinal: how far its red is above its blue. The stain is brown or blue."""
    image, mask = demonstration_image().astype(float), segment_nuclei(demonstration_image())
    difference = image[..., 0] - image[..., 2]
    return [float(difference[mask == number].mean()) for number in np.unique(mask)[1:]]


def take_other(page: Page, *kinds: str) -> str:
    """The first of the first of these kinds that the list of suggestions has; returns which."""
    items = {kind: page.locator(f".next-bar__item[data-kind={kind}]").first for kind in kinds}
    expect(page.locator(", ".join(f".next-bar__item[data-kind={kind}]" for kind in kinds)).first).to_be_attached()
    kind = next(kind for kind, item in items.items() if item.count())
    before = handle(page, "selection().ordinals.join()")
    page.get_by_test_id("other-suggestions").click()
    items[kind].click()
    wait_until(page, "page.selection().source === 'suggested' && page.selection().ordinals.join() !== argument", before)
    return kind


def label_what_is_picked(page: Page) -> None:
    """Enter, screen by screen, until all of the page is labeled."""
    shown: list[int] = handle(page, "selection().ordinals")
    for _ in range(20):
        page.wait_for_timeout(1000)  # until the patches have come
        page.keyboard.press("Enter")
        wait_until(page, "page.unsaved() === 0")
        labels: list[int] = handle(page, "labels()")
        if all(labels[ordinal] for ordinal in shown):
            wait_until(page, "page.isSettled()")
            return
    raise AssertionError("a page was not labeled by Enter")


def test_a_map_that_labels_have_shaped_says_so(site: Site, browser: Browser, faults: Faults) -> None:
    page = new_window(browser).new_page()
    faults.watch(page)
    sign_in(page, site, RATER)
    page.get_by_role("link", name="Colon nuclei").first.click()
    page.get_by_role("link", name="Open workspace").first.click()
    wait_for_map(page, 2)
    expect(page.get_by_test_id("shows-labels")).to_have_count(0)

    def supervised(route: Route) -> None:
        response = route.fetch()
        state = response.json()
        state["embedding"]["shows_labels"] = True
        route.fulfill(response=response, json=state)

    page.route("**/state", supervised)  # what the server says after such an iteration: tests/models/test_maps.py
    page.reload()
    wait_for_map(page, 2)
    expect(page.get_by_test_id("shows-labels")).to_have_text("Supervised map: it shows the labels themselves")
