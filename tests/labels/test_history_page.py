"""The page of labels given: every gesture in words, for whoever may read the audit trail."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.models import User
from apps.labels import services
from apps.labels.models import LabelSet
from apps.labels.selectors import shared_label_set
from apps.labels.services import Gesture, label_objects
from apps.projects.models import Project
from tests.conftest import World

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]


@pytest.fixture
def label_set(world: World) -> LabelSet:
    Project.objects.filter(pk=world.project.pk).update(n_objects=1000)
    return shared_label_set(Project.objects.get(pk=world.project.pk))


def give(label_set: LabelSet, who: User, value: int, n: int, selection: dict[str, object], how: str = "bulk") -> None:
    label_objects(
        label_set=label_set,
        label_class=label_set.project.label_classes.get(value=value),
        ordinals=np.arange(n, dtype=np.uint32),
        actor=who,
        gesture=Gesture(provenance=how, selection=selection),
    )


def rows(client: Client, label_set: LabelSet, **filters: object) -> list[str]:
    """Each line of the table as text."""
    page = client.get(reverse("label_history", args=[label_set.project_id]), filters).content.decode()
    lines = re.findall(r"<tr>(.*?)</tr>", page.split("<tbody>")[-1], re.DOTALL) if "<tbody>" in page else []
    return [" ".join(re.sub(r"<[^>]+>", " ", line).split()) for line in lines]


def test_each_gesture_says_who_did_what_to_how_many_and_how(
    world: World, label_set: LabelSet, signed_in: SignIn
) -> None:
    give(label_set, world.rater, 1, 40, {"source": "lasso"})
    give(label_set, world.rater, 1, 50, {"source": "suggested", "suggestion": {"kind": "review", "title": "Review 50"}})
    sample = {"n": 68, "size": 900, "wrong": 1, "bound": 0.0491, "confidence": 0.95, "inspected": [*range(68)]}
    give(label_set, world.lead, 2, 900, {"source": "sample", "sample": sample}, "sampled")
    services.undo(label_set=label_set, actor=world.lead)
    services.redo(label_set=label_set, actor=world.lead)
    redone, undone, sampled, proposed, lassoed = rows(signed_in(world.manager), label_set)
    assert "Rafa Rater labeled lymphocyte 40 in a lasso" in lassoed
    assert "10 of 50 proposed: Review 50" in proposed
    assert "900 by sample: 68 of 900 looked at, 1 wrong; at most 4.9 % of all are, with 95.0 % confidence" in sampled
    assert "undid no. 3: 900 objects → epithelial, accepted by sample" in undone
    assert "redid no. 3: 900 objects → epithelial" in redone


def test_what_a_page_states_of_a_sample_is_no_claim_of_one(
    world: World, label_set: LabelSet, signed_in: SignIn
) -> None:
    """Only the server draws samples; and the first ones did not say how many were wrong, as none might be."""
    give(label_set, world.rater, 1, 3, {"source": "lasso", "image": "x" * 900_000})
    claim: dict[str, object] = {"n": 10, "size": 100, "bound": 0.05, "confidence": 0.95, "inspected": [*range(10)]}
    give(label_set, world.rater, 1, 5, {"source": "lasso", "image": "a.png", "sample": {}, "left_out": [8, 9]})
    give(label_set, world.rater, 2, 5, {"source": 3, "suggestion": "x", "sample": {**claim, "wrong": 0}})
    give(label_set, world.lead, 1, 100, {"sample": claim}, "sampled")
    sampled, forged, lassoed, long = rows(signed_in(world.manager), label_set)
    assert "x" * 200 in long and len(long) < 400
    assert "by sample: 10 of 100 looked at, 0 wrong" in sampled
    assert "sample" not in forged
    assert "in a lasso; of a.png; 2 left out" in lassoed


def test_the_page_reads_no_whole_selection(world: World, label_set: LabelSet, signed_in: SignIn) -> None:
    """Each may be a megabyte: an outline of many corners."""
    for n in range(1, 6):
        give(label_set, world.rater, 1 + n % 2, n, {"source": "lasso", "polygon": [[0.1, 0.2]] * 50_000})
    services.undo(label_set=label_set, actor=world.rater)
    client = signed_in(world.manager)
    rows(client, label_set)
    tracemalloc.start()
    assert len(rows(client, label_set)) == 6
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_the_page_filters_by_class_person_and_day(world: World, label_set: LabelSet, signed_in: SignIn) -> None:
    client = signed_in(world.manager)
    assert "No labels yet" in client.get(reverse("label_history", args=[world.project.pk])).content.decode()
    give(label_set, world.rater, 1, 5, {})
    give(label_set, world.lead, 2, 5, {})
    epithelial = label_set.project.label_classes.get(value=2)
    assert ["epithelial" in row for row in rows(client, label_set, label_class=epithelial.pk)] == [True]
    assert ["Rafa Rater" in row for row in rows(client, label_set, actor=world.rater.pk)] == [True]
    assert rows(client, label_set, until="2001-01-01") == []
    assert len(rows(client, label_set, until="9999-12-31")) == 2
    assert len(rows(client, label_set, since="2001-01-01", page="x", actor="-1")) == 2
    page = client.get(reverse("project_audit", args=[world.project.pk])).content.decode()
    assert reverse("label_history", args=[world.project.pk]) in page


def test_a_blinded_rater_s_labels_are_not_read_by_others(world: World, label_set: LabelSet, signed_in: SignIn) -> None:
    blinded = label_set.project.label_sets.create(name="blind", kind="rater", rater=world.lead, is_blinded=True)
    give(blinded, world.lead, 1, 5, {})
    assert rows(signed_in(world.manager), label_set) == []


def test_the_page_of_a_long_history_takes_no_more_queries_than_that_of_a_short_one(
    world: World, label_set: LabelSet, signed_in: SignIn
) -> None:
    client = signed_in(world.manager)

    def n_queries() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert rows(client, label_set)
        return len(queries)

    give(label_set, world.rater, 1, 1, {"source": "all"})
    n_queries()  # what a session does once
    short = n_queries()
    for n in range(2, 61):
        give(label_set, world.rater, 1 + n % 2, n, {"source": "all"})
    for _ in range(30):
        services.undo(label_set=label_set, actor=world.rater)
    assert n_queries() <= short + 1  # the pages are counted


def test_how_many_were_not_on_the_screen_is_told(world: World, label_set: LabelSet, signed_in: SignIn) -> None:
    give(label_set, world.rater, 1, 5, {"on_screen": {"n": 5}})
    give(label_set, world.rater, 2, 5, {"on_screen": {"n": 2, "ordinals": [0, 1]}})
    some, seen = rows(signed_in(world.manager), label_set)
    assert "3 not on the screen" in some
    assert "not on the screen" not in seen
