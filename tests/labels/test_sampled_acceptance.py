"""Accepting a selection after a look at a random sample of it: what is drawn, what is refused, what the labels say."""

from __future__ import annotations

import csv
import gzip
import json
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.audit.models import AuditEvent
from apps.labels import acceptance, selectors, services
from apps.labels.chain import rebuild_labels, verify_labels
from apps.labels.models import LabelAction, LabelSet, StratumSample
from apps.labels.services import Gesture
from apps.labels.sessions import session_records, sessions_for
from apps.models.models import Embedding, ModelVersion
from apps.projects.models import Project
from apps.projects.services import allow_sampled_acceptance
from apps.workspace.pipelines import export_labels
from tests.conftest import World
from tests.factories import make_image

pytestmark = pytest.mark.django_db
N_OBJECTS = 40_000
STRATUM = range(1000, 13_400)


@pytest.fixture
def label_set(world: World) -> LabelSet:
    Project.objects.filter(pk=world.project.pk).update(n_objects=N_OBJECTS)
    allow(world)
    return selectors.shared_label_set(world.project)


def allow(world: World, allowed: bool = True, max_error: float = 0.02) -> None:
    world.project.refresh_from_db()
    allow_sampled_acceptance(project=world.project, allowed=allowed, max_error=max_error, changed_by=world.manager)
    world.project.refresh_from_db()


class Page:
    """The labeling page of one person."""

    def __init__(self, client: Client, label_set: LabelSet) -> None:
        self.client, self.label_set = client, label_set

    def start(self, ordinals: Any = STRATUM, value: int = 1, **stated: Any) -> Any:
        part = SimpleUploadedFile("ordinals", np.asarray(ordinals, "<u4").tobytes())
        data = {"sample": json.dumps({"class_value": value, **stated}), "ordinals": part}
        return self.client.post(f"/api/v1/label-sets/{self.label_set.pk}/samples", data)

    def started(self, ordinals: Any = STRATUM, **stated: Any) -> dict[str, Any]:
        response = self.start(ordinals, **stated)
        assert response.status_code == 201, response.content
        return dict(response.json())

    def look(self, sample: dict[str, Any]) -> dict[str, Any]:
        return dict(self.client.get(f"/api/v1/samples/{sample['id']}").json())

    def state(self) -> dict[str, Any]:
        return dict(self.client.get(f"/api/v1/projects/{self.label_set.project_id}/state").json())

    def post(self, sample: dict[str, Any], what: str, body: dict[str, Any] | None = None) -> Any:
        return self.client.post(f"/api/v1/samples/{sample['id']}/{what}", body or {}, content_type="application/json")

    def accept(self, sample: dict[str, Any], **other: Any) -> Any:
        return self.post(sample, "accept", {"size": sample["size"], "seen": sample["n"], **other})

    def label(self, ordinals: Any, value: int, **selection: Any) -> None:
        body = {"kind": "label", "class_value": value, "provenance": "bulk", "ordinals": list(ordinals)}
        body["selection"] = selection
        url = f"/api/v1/label-sets/{self.label_set.pk}/actions"
        assert self.client.post(url, body, content_type="application/json").status_code == 201

    def undo(self) -> Any:
        return self.client.post(f"/api/v1/label-sets/{self.label_set.pk}/undo")

    def redo(self) -> Any:
        return self.client.post(f"/api/v1/label-sets/{self.label_set.pk}/redo")

    def values(self) -> Any:
        return selectors.class_values(self.label_set, N_OBJECTS)


@pytest.fixture
def page(world: World, label_set: LabelSet, signed_in: Callable[..., Client]) -> Page:
    return Page(signed_in(world.rater), label_set)


@pytest.fixture
def others_page(world: World, label_set: LabelSet, signed_in: Callable[..., Client]) -> Page:
    return Page(signed_in(world.lead), label_set)


# -- a clean sample ------------------------------------------------------------------------------------------------------


def test_a_clean_sample_labels_the_whole_selection_in_one_action(page, label_set):
    sample = page.started(selection={"source": "lasso"})
    assert (sample["n"], sample["size"], sample["confidence"]) == (168, 12_400, 0.95)
    assert sample["bound"] < 0.02
    assert len(set(sample["ordinals"])) == 168 and set(sample["ordinals"]) < set(STRATUM)
    assert sample["ordinals"] != sorted(sample["ordinals"]), "shown in random order"
    assert not page.values().any(), "nothing is labeled by looking"

    answer = page.accept(sample)
    assert answer.status_code == 201
    assert answer.json()["n"] == 12_400 and page.state()["counts"] == {"0": 27_600, "1": 12_400}
    assert answer.json()["undo"]["text"] == "12,400 objects → lymphocyte, accepted by sample"
    assert set(np.flatnonzero(page.values() == 1)) == set(STRATUM)
    action = label_set.actions.get()
    assert action.provenance == "sampled" and action.selection["source"] == "lasso"
    assert action.selection["sample"]["inspected"] == sorted(sample["ordinals"])
    assert list(verify_labels(label_set.project)) == []


def test_one_undo_takes_the_acceptance_back_and_one_redo_gives_it_again(page, label_set):
    sample = page.started()
    page.accept(sample)
    undone = page.undo().json()
    assert undone["n_changed"] == 12_400
    assert undone["redo"]["text"] == "12,400 objects → lymphocyte, accepted by sample"
    assert not page.values().any() and selectors.sampled_counts(label_set) == {}
    redone = page.client.post(f"/api/v1/label-sets/{label_set.pk}/redo").json()
    assert redone["undo"]["text"] == "12,400 objects → lymphocyte, accepted by sample"
    assert int((page.values() == 1).sum()) == 12_400
    assert selectors.sampled_counts(label_set) == {"1": 12_400 - 168}
    assert list(verify_labels(label_set.project)) == []


def test_a_session_counts_by_sample_what_was_not_taken_back(page, label_set, world):
    def counted() -> int:
        sessions = sessions_for(world.project, world.rater)
        return sum(record.by_sample for record in session_records(world.project, sessions))

    page.accept(page.started())
    for step, expected in ((page.undo, 0), (page.redo, len(STRATUM)), (page.undo, 0), (page.redo, len(STRATUM))):
        assert step().status_code == 201
        assert counted() == expected


def test_what_was_inspected_counts_as_seen_and_the_rest_says_how_it_came(page, label_set, world):
    sample = page.started()
    page.accept(sample)
    claims = selectors.sample_claims(label_set)
    _, sources = selectors.labels_with_sources(label_set, N_OBJECTS)
    unseen = selectors.accepted_unseen(claims, np.arange(N_OBJECTS), sources)
    assert set(np.flatnonzero(unseen)) == set(STRATUM) - set(sample["ordinals"])
    (claim,) = claims.values()
    assert (claim.n, claim.size, claim.bound) == (168, 12_400, sample["bound"])
    learned = selectors.labels_to_learn_from(world.project)
    assert set(np.flatnonzero(learned)) == set(sample["ordinals"]), "models learn from what somebody saw"
    assert rebuild_labels(label_set) == 12_400


def test_the_buffers_mark_what_nobody_saw(page, label_set):
    page.label([0, 1], 2)
    sample = page.started(range(5, 400))
    page.accept(sample)
    content = gzip.decompress(page.client.get(f"/api/v1/label-sets/{label_set.pk}/classes").content)
    assert content[:4] == b"PSL2"
    bits = np.unpackbits(np.frombuffer(content[12 + N_OBJECTS :], np.uint8), bitorder="little")[:N_OBJECTS]
    unseen = set(range(5, 400)) - set(sample["ordinals"])
    assert set(np.flatnonzero(bits)) == unseen
    changes = gzip.decompress(page.client.get(f"/api/v1/label-sets/{label_set.pk}/changes?since=1").content)
    assert changes[:4] == b"PSC2"
    ordinals = np.frombuffer(changes[12 : 12 + 4 * 395], "<u4")
    bits = np.unpackbits(np.frombuffer(changes[12 + 5 * 395 :], np.uint8), bitorder="little")[:395]
    assert set(ordinals[bits == 1]) == unseen


def test_labeling_by_hand_what_was_accepted_unseen_makes_it_seen(page, label_set):
    page.accept(page.started(range(300)))
    before = selectors.sampled_counts(label_set)["1"]
    unseen = sorted(set(range(300)) - set(label_set.actions.get().selection["sample"]["inspected"]))
    page.label(unseen[:10], 2)
    page.label(unseen[10:13], 1)  # the class that they have already: looked at now
    assert selectors.sampled_counts(label_set) == {"1": before - 13}
    page.undo()
    assert selectors.sampled_counts(label_set) == {"1": before - 10}
    assert list(verify_labels(label_set.project)) == []
    assert page.state()["counts_sampled"] == {"1": before - 10}


def test_already_labeled_objects_are_left_out(page):
    page.label(STRATUM[:400], 2)
    sample = page.started()
    assert sample["size"] == 12_000
    assert not set(sample["ordinals"]) & set(STRATUM[:400])
    page.accept(sample)
    assert (page.values()[list(STRATUM[:400])] == 2).all()


def test_of_a_handful_all_are_looked_at(page, label_set):
    sample = page.started(range(10))
    assert sample["n"] == sample["size"] == 10 and sample["bound"] == 0
    page.accept(sample)
    assert selectors.sampled_counts(label_set) == {}


def test_the_sampled_ones_may_be_labeled_with_the_class_meanwhile(page):
    sample = page.started()
    page.label(sample["ordinals"][:5], 1)
    assert page.accept(sample).status_code == 201


# -- a sample with something wrong -----------------------------------------------------------------------------------------


def mark(page: Page, sample: dict[str, Any], ordinal: int) -> None:
    assert page.post(sample, "wrong", {"wrong": [ordinal]}).json()["wrong"] == [ordinal]


def label_otherwise(page: Page, sample: dict[str, Any], ordinal: int) -> None:
    page.label([ordinal], 2)
    assert page.look(sample)["wrong"] == [ordinal]


@pytest.mark.parametrize("find_wrong", [mark, label_otherwise])
def test_a_wrong_patch_asks_for_more_and_then_the_others_are_labeled(page, label_set, find_wrong):
    sample = page.started()
    wrong = sample["ordinals"][7]
    find_wrong(page, sample, wrong)
    labeled = page.values().copy()
    n = sample["sizes"][1]
    refused = page.accept(sample, size=12_399)
    assert (refused.status_code, refused.json()["detail"]) == (400, f"1 of 168 are wrong: look at {n - 168} more")
    assert page.look(sample)["state"] == "open" and (page.values() == labeled).all()

    larger = page.post(sample, "more", {"n": n}).json()
    assert larger["n"] == len(set(larger["ordinals"])) == n
    assert larger["ordinals"][:168] == sample["ordinals"], "those that were seen stay where they are"
    assert set(larger["ordinals"]) < set(STRATUM)
    assert page.post(sample, "more", {"n": n}).json() == larger, "sent twice, it is done once"
    assert page.accept(larger, size=12_399, seen=168).status_code == 400, "the new ones are to be looked at, too"

    answer = page.accept(larger, size=12_399)
    assert (answer.status_code, answer.json()["n"]) == (201, 12_399)
    assert set(np.flatnonzero(page.values() == 1)) == set(STRATUM) - {wrong}
    assert page.values()[wrong] == labeled[wrong], "what was found wrong is as it was left"
    claim = label_set.actions.order_by("id").last().selection["sample"]
    assert (claim["n"], claim["wrong"], claim["size"], claim["bound"] < 0.02) == (n, 1, 12_400, True)
    assert selectors.sampled_counts(label_set) == {"1": 12_400 - n}
    assert list(verify_labels(label_set.project)) == []
    page.undo()
    assert (page.values() == labeled).all()
    assert selectors.denied_ordinals(label_set)[1].tolist() == [wrong]


def test_a_selection_with_too_many_wrong_patches_is_refused_and_what_was_labeled_stays(page):
    sample = page.started()
    wrong = sample["ordinals"][: len(sample["sizes"])]
    page.label(wrong[:3], 2)
    assert page.post(sample, "wrong", {"wrong": wrong[3:]}).json()["wrong"] == sorted(wrong)
    labeled = page.values().copy()
    more = page.post(sample, "more", {"n": 5000})
    assert more.status_code == 400 and "looking at more does not help" in more.content.decode()
    refused = page.accept(sample)
    assert refused.status_code == 409
    assert (
        refused.json()["detail"]
        == f"{len(wrong)} of 168 are wrong, too many: review the selection by exception, or sample a purer or larger one"
    )
    assert refused.json()["sample"]["state"] == "refused"
    assert (page.values() == labeled).all()
    assert page.accept(sample).status_code == 409, "it has ended"


def test_more_is_shown_only_as_the_wrong_ones_ask_for_it(page, world):
    sample = page.started()
    none_wrong = page.post(sample, "more", {"n": sample["sizes"][1]})
    assert none_wrong.status_code == 400 and "0 are wrong by now: look at 168 in all" in none_wrong.content.decode()
    assert page.post(sample, "more", {"n": 100}).json()["n"] == 168, "never fewer"
    mark(page, sample, sample["ordinals"][0])
    other = page.post(sample, "more", {"n": sample["sizes"][2]})
    assert (
        other.status_code == 400
        and f"1 are wrong by now: look at {sample['sizes'][1]} in all" in other.content.decode()
    )
    assert page.post(sample, "more", {"n": "many"}).status_code == 400
    allow(world, False)
    stale = page.post(sample, "more", {"n": sample["sizes"][1]})
    assert stale.status_code == 400 and "not allowed in this project any more" in stale.content.decode()
    page.post(sample, "end")
    assert page.post(sample, "more", {"n": sample["sizes"][1]}).status_code == 409


def test_who_takes_a_mark_back_after_looking_at_more_has_looked_at_enough(page):
    sample = page.started()
    mark(page, sample, sample["ordinals"][0])
    larger = page.post(sample, "more", {"n": sample["sizes"][1]}).json()
    page.post(sample, "wrong", {"not_wrong": [sample["ordinals"][0]]})
    assert page.accept(larger).status_code == 201


def test_a_mark_can_be_taken_back(page):
    sample = page.started()
    mark(page, sample, sample["ordinals"][7])
    page.post(sample, "wrong", {"not_wrong": [sample["ordinals"][7]]})
    assert page.accept(sample).status_code == 201


def test_what_is_marked_in_one_tab_stays_marked_whatever_another_one_says(page):
    sample = page.started()
    first, second, third = sample["ordinals"][:3]
    mark(page, sample, first)
    assert page.post(sample, "wrong", {"wrong": [second, third]}).json()["marked"] == sorted([first, second, third])
    page.post(sample, "wrong", {"not_wrong": [second, third]})
    assert page.accept(sample).json()["detail"].startswith("1 of 168 are wrong: look at")


def test_sampling_much_the_same_objects_again_takes_a_larger_sample(page, others_page):
    sizes = []
    for ordinals in (STRATUM, STRATUM[1:], STRATUM):
        sample = page.started(ordinals)
        sizes.append((sample["n"], sample["attempt"], sample["confidence"]))
        page.post(sample, "end")
    assert sizes == [(168, 1, 0.95), (201, 2, 0.975), (235, 3, 0.9875)]
    mine = page.started(STRATUM)
    assert mine["attempt"] == 4
    assert others_page.started(STRATUM)["attempt"] == 5, "whoever it is that tries, also while mine is open"
    page.post(mine, "end")
    assert page.started(STRATUM[:6000])["attempt"] == 1, "half of it is another selection"


def test_samples_of_much_the_same_end_some_time(page, monkeypatch):
    monkeypatch.setattr(acceptance, "MOST_ATTEMPTS", 2)
    for _ in range(2):
        page.post(page.started(), "end")
    refused = page.start()
    assert refused.status_code == 400 and "sampled 2 times: review them page by page" in refused.json()["detail"]
    assert page.start(value=2).status_code == 201


def test_what_was_marked_in_a_sample_teaches_as_long_as_its_acceptance_stands(page, label_set):
    def taught() -> list[int]:
        denied = selectors.denied_ordinals(label_set, only_accepted_samples=True)
        return denied[1].tolist() if 1 in denied else []

    sample = page.started()
    wrong = sample["ordinals"][7]
    mark(page, sample, wrong)
    assert taught() == [], "the sample is open"
    larger = page.post(sample, "more", {"n": sample["sizes"][1]}).json()
    assert page.accept(larger, size=12_399).status_code == 201
    assert taught() == [wrong]
    for step, teaches in ((page.undo, []), (page.redo, [wrong]), (page.undo, []), (page.redo, [wrong])):
        assert step().status_code == 201
        assert taught() == teaches
    page.undo()
    assert selectors.denied_ordinals(label_set)[1].tolist() == [wrong], "all the same it is in no other sample"


def test_who_was_left_out_of_a_confirmed_page_is_not_accepted_unseen_unless_that_was_undone(page):
    page.label(range(13_400, 13_500), 1, left_out=[1003, 1005])
    without = page.started()
    assert without["size"] == len(STRATUM) - 2
    page.post(without, "end")
    page.undo()
    sample = page.started()
    assert sample["size"] == len(STRATUM)
    page.post(sample, "end")
    assert page.redo().status_code == 201
    assert selectors.denied_ordinals(page.label_set)[1].tolist() == [1003, 1005], "what comes back by redo counts again"
    page.undo()
    assert 1 not in selectors.denied_ordinals(page.label_set)


def test_a_page_of_which_nothing_is_right_only_leaves_out_and_can_be_undone(page):
    page.label([], 1, left_out=[1003, 1005])
    assert selectors.denied_ordinals(page.label_set)[1].tolist() == [1003, 1005] and not page.values().any()
    undone = page.undo()
    assert (undone.status_code, undone.json()["redo"]["text"]) == (201, "2 left out of lymphocyte")
    assert 1 not in selectors.denied_ordinals(page.label_set)
    assert page.redo().json()["undo"]["text"] == "2 left out of lymphocyte"
    assert selectors.denied_ordinals(page.label_set)[1].tolist() == [1003, 1005]
    assert list(verify_labels(page.label_set.project)) == []


def test_a_gesture_about_no_object_at_all_is_refused(page):
    url = f"/api/v1/label-sets/{page.label_set.pk}/actions"
    for selection in ({}, {"left_out": []}):
        body = {"kind": "label", "class_value": 1, "provenance": "bulk", "ordinals": [], "selection": selection}
        assert page.client.post(url, body, content_type="application/json").status_code == 400


def test_a_page_that_others_had_labeled_meanwhile_still_leaves_out_and_can_be_undone(page):
    page.label([20], 1)
    page.label([20], 1, left_out=[1003])
    assert selectors.denied_ordinals(page.label_set)[1].tolist() == [1003]
    assert page.undo().status_code == 201
    assert 1 not in selectors.denied_ordinals(page.label_set)


def test_what_is_labeled_or_is_not_there_can_not_be_left_out(page):
    for left_out, why in (([10**6], "is not in this project"), ([1], "what is labeled is not left out")):
        body = {"kind": "label", "class_value": 1, "provenance": "bulk", "ordinals": [1]}
        url = f"/api/v1/label-sets/{page.label_set.pk}/actions"
        answer = page.client.post(url, {**body, "selection": {"left_out": left_out}}, content_type="application/json")
        assert answer.status_code == 400 and why in str(answer.json())


def test_a_mark_on_what_was_then_labeled_with_the_class_is_taken_back(page):
    sample = page.started()
    slip, wrong = sample["ordinals"][:2]
    page.post(sample, "wrong", {"wrong": [slip, wrong]})
    page.label([slip], 1)
    assert page.post(sample, "end").json()["state"] == "refused"
    page.undo()
    assert selectors.denied_ordinals(page.label_set)[1].tolist() == [wrong]


@pytest.mark.parametrize("left_out", [["1"], [-1], 5, [True], [[1]], [1.5]])
def test_what_was_left_out_are_ordinals(page, left_out):
    body = {"kind": "label", "class_value": 1, "provenance": "bulk", "ordinals": [1]}
    url = f"/api/v1/label-sets/{page.label_set.pk}/actions"
    answer = page.client.post(url, {**body, "selection": {"left_out": left_out}}, content_type="application/json")
    assert answer.status_code == 400 and "left_out: expected ordinals" in str(answer.json())


def test_another_class_is_another_question(page):
    page.post(page.started(), "end")
    assert page.started(value=2)["attempt"] == 1


# -- what changes meanwhile ------------------------------------------------------------------------------------------------


def a_colleague_labels(world: World, sample: dict[str, Any], others_page: Page) -> str:
    others_page.label([next(ordinal for ordinal in STRATUM if ordinal not in sample["ordinals"])], 1)
    return "1 object of the selection was labeled"


def a_colleague_finds_one_of_another_class(world: World, sample: dict[str, Any], others_page: Page) -> str:
    theirs = others_page.started()
    outside = next(ordinal for ordinal in theirs["ordinals"] if ordinal not in sample["ordinals"])
    mark(others_page, theirs, outside)
    return "1 object of the selection was found not to be lymphocyte meanwhile"


def a_new_map_comes(world: World, sample: dict[str, Any], others_page: Page) -> str:
    version = ModelVersion.objects.create(project=world.project, number=1, approach="simclr")
    Embedding.objects.create(project=world.project, number=1, model_version=version, n=N_OBJECTS, dimension=8)
    return "there is a new map"


def the_manager_forbids_it(world: World, sample: dict[str, Any], others_page: Page) -> str:
    allow(world, False)
    return "not allowed in this project any more"


def the_manager_wants_less_error(world: World, sample: dict[str, Any], others_page: Page) -> str:
    allow(world, True, 0.01)
    return "asks for a smaller error"


@pytest.mark.parametrize(
    "change",
    [
        a_colleague_labels,
        a_colleague_finds_one_of_another_class,
        a_new_map_comes,
        the_manager_forbids_it,
        the_manager_wants_less_error,
    ],
)
def test_a_sample_expires_when_what_it_was_drawn_from_changes(world, page, others_page, change):
    sample = page.started()
    said = change(world, sample, others_page)
    assert said in page.look(sample)["stale"]
    page.post(sample, "wrong", {"wrong": sample["ordinals"][:1]})
    refused = page.accept(sample)
    assert refused.status_code == 409 and said in refused.json()["detail"]
    assert refused.json()["sample"]["state"] == "expired", "whatever was found in it"
    assert int((page.values() == 1).sum()) <= 1


def test_what_happens_elsewhere_does_not_matter(page, others_page):
    sample = page.started()
    others_page.label(range(500), 2)
    assert page.accept(sample).status_code == 201


# -- one at a time, and once -----------------------------------------------------------------------------------------------


def test_one_comes_back_to_ones_open_sample_and_has_one_at_a_time(page, others_page):
    sample = page.started()
    mark(page, sample, sample["ordinals"][0])
    state = page.client.get(f"/api/v1/projects/{page.label_set.project_id}/state").json()
    assert state["sampled"] == {
        "allowed": True,
        "max_error": 0.02,
        "longest_first_look": 169,
        "open_sample": sample["id"],
    }
    back = page.look(sample)
    assert (back["ordinals"], back["marked"]) == (sample["ordinals"], [sample["ordinals"][0]])
    assert page.start(range(50)).status_code == 409
    assert others_page.start().status_code == 201, "a colleague has one of their own"
    assert page.post(sample, "end").json()["state"] == "refused", "one was marked"
    assert page.start(range(50)).status_code == 201


def test_leaving_a_sample_in_which_nothing_was_found(page):
    assert page.post(page.started(), "end").json()["state"] == "abandoned"
    assert not page.values().any()


def test_the_same_request_sent_twice_draws_one_sample_and_accepts_once(page, label_set):
    key = str(uuid.uuid4())
    first, again = page.started(client_key=key), page.started(client_key=key)
    assert first == again
    answers = [page.accept(first).json() for _ in range(2)]
    assert answers[0]["action_id"] == answers[1]["action_id"]
    assert label_set.actions.count() == 1


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"size": 12_399}, "12,400 objects would be labeled, not 12,399"),
        ({"seen": 167}, "only 167 of the 168"),
        ({"seen": None}, "seen"),
    ],
)
def test_the_gesture_must_say_what_it_accepts(page, stated, said):
    sample = page.started()
    refused = page.accept(sample, **stated)
    assert refused.status_code == 400 and said in refused.content.decode()
    assert page.look(sample)["state"] == "open"


@pytest.mark.parametrize(
    ("ordinals", "stated", "said"),
    [
        ([N_OBJECTS], {}, "not in this project"),
        ([], {}, "ordinals"),
        ([1], {"class_value": 9}, "no class 9"),
        ([1], {"selection": {"a": "\u0000"}}, "can not be kept"),
        ([0], {}, "labeled already"),
    ],
)
def test_a_sample_that_makes_no_sense_is_refused(page, ordinals, stated, said):
    page.label([0], 1)
    response = page.start(ordinals, **stated)
    assert response.status_code == 400 and said in response.content.decode()


def test_only_what_is_in_the_sample_can_be_marked(page):
    sample = page.started(STRATUM)
    assert page.post(sample, "wrong", {"wrong": [0]}).status_code == 400
    assert page.post(sample, "wrong", {"not_wrong": [0]}).status_code == 400


def test_an_object_is_not_marked_and_unmarked_at_once(page):
    sample = page.started()
    both = sample["ordinals"][:1]
    assert page.post(sample, "wrong", {"wrong": both, "not_wrong": both}).status_code == 400


@pytest.mark.parametrize("n", [300, 3_000, 30_000])
def test_the_number_of_statements_does_not_depend_on_the_number_of_objects(world, label_set, n):
    def statements(run: Callable[[], Any]) -> tuple[int, Any]:
        with CaptureQueriesContext(connection) as queries:
            result = run()
        asked = [query["sql"] for query in queries if not query["sql"].startswith(("SAVEPOINT", "RELEASE"))]
        return len(asked), result

    label_class = world.project.label_classes.get(value=1)
    services.label_objects(
        label_set=label_set,
        label_class=label_class,
        ordinals=np.array([N_OBJECTS - 1], np.uint32),
        actor=world.rater,
        gesture=Gesture(provenance="single", selection={}),
    )
    n_drawing, sample = statements(
        lambda: acceptance.draw_sample(
            label_set=label_set,
            label_class=label_class,
            ordinals=np.arange(n, dtype=np.uint32),
            drawn_by=world.rater,
            embedding=None,
            selection={},
        )
    )
    n_accepting, accepted = statements(
        lambda: acceptance.accept_sample(sample=sample, size=n, seen=sample.n, embedding=None)
    )
    assert accepted.state == "accepted"
    assert (n_drawing, n_accepting) == (11, 19)


# -- who may -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("who", "allowed", "status"),
    [
        ("rater", True, 201),
        ("lead", True, 201),
        ("manager", True, 201),
        ("rater", False, 403),
        ("manager", False, 403),
        ("viewer", True, 403),
        ("owner", True, 403),
        ("colleague", True, 404),
        ("stranger", True, 404),
    ],
)
def test_who_may_label_may_sample_where_the_project_allows_it(world, label_set, signed_in, who, allowed, status):
    allow(world, allowed)
    assert Page(signed_in(world.user(who)), label_set).start().status_code == status


def test_it_is_off_until_a_manager_switches_it_on_which_is_audited(world, signed_in):
    assert world.project.allows_sampled is False and world.project.max_sampled_error == 0.02
    url = reverse("project_sampled", args=[world.project.pk])
    wanted = {"allowed": "on", "max_error_percent": "5"}
    assert [signed_in(world.user(who)).post(url, wanted).status_code for who in ("lead", "rater", "manager")] == [
        403,
        403,
        302,
    ]
    world.project.refresh_from_db()
    assert (world.project.allows_sampled, world.project.max_sampled_error) == (True, 0.05)
    event = AuditEvent.objects.get(action="project.sampled")
    assert event.actor == world.manager
    assert event.detail["changes"] == {"allows_sampled": [False, True], "max_sampled_error": [0.02, 0.05]}
    page = signed_in(world.manager).get(reverse("project_settings", args=[world.project.pk])).content.decode()
    assert "Labels by sample" in page and 'value="5.0"' in page


@pytest.mark.parametrize("percent", ["0.4", "10.1", "", "nan"])
def test_an_error_outside_of_half_a_percent_to_ten_is_refused(world, signed_in, percent):
    url = reverse("project_sampled", args=[world.project.pk])
    response = signed_in(world.manager).post(url, {"allowed": "on", "max_error_percent": percent})
    assert response.status_code == 422
    world.project.refresh_from_db()
    assert world.project.allows_sampled is False


@pytest.mark.parametrize(("who", "status"), [("lead", 404), ("manager", 404), ("stranger", 404)])
def test_a_sample_is_its_rater_s_alone(world, page, signed_in, who, status):
    sample = page.started()
    other = Page(signed_in(world.user(who)), page.label_set)
    assert other.client.get(f"/api/v1/samples/{sample['id']}").status_code == status
    assert other.accept(sample).status_code == status
    assert other.post(sample, "wrong", {"wrong": []}).status_code == status
    assert other.post(sample, "more", {"n": sample["sizes"][1]}).status_code == status
    assert other.post(sample, "end").status_code == status


# -- files -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def real_objects(world: World) -> LabelSet:
    """100 objects in five images, of which 60 are accepted by a sample and 10 labeled by hand."""
    for number in range(5):
        make_image(world.project, f"{number}.png")
    allow(world, max_error=0.1)
    label_set = selectors.shared_label_set(world.project)
    values = world.project.label_classes.get(value=1), world.project.label_classes.get(value=2)
    common = {"label_set": label_set, "drawn_by": world.rater, "embedding": None, "selection": {}}
    sample = acceptance.draw_sample(label_class=values[0], ordinals=np.arange(60, dtype=np.uint32), **common)
    acceptance.accept_sample(sample=sample, size=60, seen=sample.n, embedding=None)
    services.label_objects(
        label_set=label_set,
        label_class=values[1],
        ordinals=np.arange(60, 70, dtype=np.uint32),
        actor=world.rater,
        gesture=Gesture(provenance="bulk", selection={}),
    )
    return label_set


def test_an_export_says_how_each_label_came_and_can_leave_out_what_nobody_saw(world, real_objects, tmp_path):
    sample = StratumSample.objects.get()
    n_unseen = 60 - sample.n
    result = export_labels(project=world.project, label_set=None, target=tmp_path / "all", on_progress=lambda *_: None)
    assert (result["labeled"], result["by_sample"]) == (70, n_unseen)
    rows = list(csv.DictReader((tmp_path / "all" / "objects.csv").open()))
    assert [row["provenance"] for row in rows].count("sampled") == n_unseen
    for row in rows[:70]:
        seen = int(row["ordinal"]) in sample.drawn or int(row["ordinal"]) >= 60
        claim = (row["sample_n"], row["sample_wrong"], row["sample_size"], row["error_bound"])
        bound = acceptance.stated(sample)["bound"]
        assert row["provenance"] == ("bulk" if seen else "sampled")
        assert row["on_screen"] == ("" if int(row["ordinal"]) >= 60 else str(int(seen))), (
            "no page said so of the last ten"
        )
        assert claim == (("", "", "", "") if seen else (str(sample.n), "0", "60", f"{bound:.6f}"))

    explained = set((tmp_path / "all" / "EXPORT_README.txt").read_text().replace(",", " ").split())
    assert explained >= {*rows[0], *(path.name for path in (tmp_path / "all").glob("*.csv"))}

    call_command("export_labels", str(world.project.pk), str(tmp_path / "seen"), "--without-sampled")
    seen_rows = list(csv.DictReader((tmp_path / "seen" / "objects.csv").open()))
    assert sum(row["class_name"] != "" for row in seen_rows) == 70 - n_unseen
    assert "sampled" not in {row["provenance"] for row in seen_rows}


def test_an_export_has_no_image_that_came_after_it_began(world, real_objects, tmp_path):
    began_with = Project.objects.get(pk=world.project.pk)
    make_image(world.project, "late.png")
    result = export_labels(project=began_with, label_set=None, target=tmp_path / "out", on_progress=lambda *_: None)
    assert (result["images"], result["objects"]) == (5, 100)
    assert "late.png" not in (tmp_path / "out" / "images.csv").read_text()


def test_an_object_tells_what_its_label_rests_on(world, real_objects, signed_in):
    client, sample = signed_in(world.viewer), StratumSample.objects.get()

    def label(ordinal: int) -> dict[str, Any]:
        url = reverse("object_detail", args=[world.project.pk, ordinal])
        return dict(client.get(url).json()["label"])

    unseen = next(ordinal for ordinal in range(60) if ordinal not in sample.drawn)
    assert label(unseen)["provenance"] == "sampled"
    assert label(unseen)["sample"] == {
        "n": sample.n,
        "wrong": 0,
        "size": 60,
        "bound": acceptance.stated(sample)["bound"],
        "confidence": 0.95,
    }
    assert label(sample.drawn[0]) | {"by": "", "at": ""} == {
        "class_value": 1,
        "provenance": "bulk",
        "on_screen": True,
        "sample": None,
        "by": "",
        "at": "",
    }


# -- at the same time --------------------------------------------------------------------------------------------------------


def at_once(*runs: Callable[[], Any]) -> list[Any]:
    """What each of the runs returns, or the fault that it raised, all begun together on connections of their own."""
    together = threading.Barrier(len(runs))
    results: list[Any] = [None] * len(runs)

    def run(position: int) -> None:
        together.wait()
        try:
            results[position] = runs[position]()
        except Exception as error:
            results[position] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[position]) for position in range(len(runs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive(), "two of them wait for each other"
    return results


@pytest.mark.django_db(transaction=True)
def test_two_tabs_draw_one_sample_and_accept_it_once_while_a_colleague_labels(world, page, others_page, label_set):
    first, second = at_once(lambda: page.start(range(300)).status_code, lambda: page.start(range(300)).status_code)
    assert sorted([first, second]) == [201, 409]
    state = page.client.get(f"/api/v1/projects/{label_set.project_id}/state").json()
    sample = page.look({"id": state["sampled"]["open_sample"]})
    answers = at_once(
        lambda: page.accept(sample).json()["action_id"],
        lambda: page.accept(sample).json()["action_id"],
        lambda: others_page.label(range(20_000, 20_500), 2),
    )
    assert answers[0] == answers[1] is not None and answers[2] is None
    assert LabelAction.objects.filter(provenance="sampled").count() == 1
    assert list(verify_labels(world.project)) == []


@pytest.mark.django_db(transaction=True)
def test_a_colleague_s_label_in_the_selection_is_never_overwritten_by_an_acceptance_at_the_same_moment(
    world, page, others_page
):
    for first in range(0, 3000, 300):
        sample = page.started(range(first, first + 300))
        free = next(ordinal for ordinal in range(first, first + 300) if ordinal not in sample["ordinals"])

        def relabel(ordinal: int = free) -> None:
            others_page.label([ordinal], 2)

        answer, _ = at_once(lambda sample=sample: page.accept(sample).status_code, relabel)
        assert answer in {201, 409}
        assert page.values()[free] == 2
    assert list(verify_labels(world.project)) == []
