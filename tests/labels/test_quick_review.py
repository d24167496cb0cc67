"""Quick review: one patch after the other, blind; what its pace and its answers are compared with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import User
from apps.accounts.services import create_token
from apps.labels import services
from apps.labels.models import LabelingSession, LabelSet
from apps.labels.selectors import labels_to_learn_from, shared_label_set
from apps.labels.sessions import people_records, sessions_for
from apps.projects.services import allow_sampled_acceptance
from tests.factories import make_image

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=timezone.now())
    monkeypatch.setattr(services, "timezone", SimpleNamespace(now=lambda: clock.now))
    return clock


@pytest.fixture
def some(monkeypatch: pytest.MonkeyPatch, world: World) -> int:
    """How many of the project's 60 objects are looked at."""
    monkeypatch.setattr("apps.labels.quick_review.N_OBJECTS", 15)
    for _ in range(3):
        make_image(world.project)
    return 15


def take_up(world: World, client: Client) -> dict[str, Any]:
    answer = client.post(reverse("api_quick_review", args=[world.project.pk]))
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def label(client: Client, label_set: int, value: int, ordinal: int, worked_s: float = 2) -> None:
    sent = {"kind": "label", "class_value": value, "provenance": "single", "ordinals": [ordinal], "worked_s": worked_s}
    url = reverse("label_actions", args=[label_set])
    assert client.post(url, sent, content_type="application/json").status_code == 201


def test_it_shows_random_objects_and_goes_on_where_it_was(world: World, signed_in: SignIn, some: int) -> None:
    client = signed_in(world.rater)
    begun = take_up(world, client)
    assert begun["n"] == len(begun["ordinals"]) == len(set(begun["ordinals"])) == some
    assert begun["ordinals"] != sorted(begun["ordinals"])
    assert take_up(world, client) == begun, "in another tab"
    for ordinal in begun["ordinals"][:3]:
        label(client, begun["label_set"], 1, ordinal)
    gone_on = take_up(world, client)
    assert (gone_on["label_set"], gone_on["ordinals"]) == (begun["label_set"], begun["ordinals"][3:])
    theirs = take_up(world, signed_in(world.lead))
    assert theirs["label_set"] != begun["label_set"] and theirs["ordinals"] != begun["ordinals"]


def test_a_small_project_is_looked_through(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    begun = take_up(world, client)
    assert sorted(begun["ordinals"]) == [*range(20)]
    for ordinal in begun["ordinals"]:
        label(client, begun["label_set"], 1, ordinal)
    assert take_up(world, client)["ordinals"] == []


def test_nobody_sees_the_answers_and_nothing_learns_from_them(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    begun = take_up(world, client)
    label(client, begun["label_set"], 1, begun["ordinals"][0])
    for other in (world.manager, world.owner, world.lead):
        assert signed_in(other).get(reverse("label_classes", args=[begun["label_set"]])).status_code == 404
    assert shared_label_set(world.project).counts == {}
    assert not labels_to_learn_from(world.project).any()
    history = signed_in(world.manager).get(reverse("label_history", args=[world.project.pk])).content.decode()
    assert "No labels yet" in history


def test_it_is_labeled_one_by_one_and_by_a_person(world: World, signed_in: SignIn, tmp_path: Path) -> None:
    make_image(world.project)
    allow_sampled_acceptance(project=world.project, allowed=True, max_error=0.05, changed_by=world.manager)
    client = signed_in(world.rater)
    label_set = take_up(world, client)["label_set"]
    actions, samples = (reverse(name, args=[label_set]) for name in ("label_actions", "samples"))
    one = {"kind": "label", "class_value": 1, "provenance": "single", "ordinals": [0]}
    assert client.post(actions, {**one, "ordinals": [0, 1]}, content_type="application/json").status_code == 400
    assert client.post(samples, {"class_value": 1, "ordinals": [0]}, content_type="application/json").status_code == 400
    secret = create_token(user=world.rater, name="x", days=7).secret
    headers = {"Authorization": f"Bearer {secret}"}
    assert Client().post(actions, one, content_type="application/json", headers=headers).status_code == 400
    assert LabelSet.objects.get(pk=label_set).counts == {}
    name = LabelSet.objects.get(pk=label_set).name
    with pytest.raises(CommandError, match="has no label set"):
        call_command("export_labels", str(world.project.pk), str(tmp_path), label_set=name)


def test_others_do_not_even_hear_of_it(world: World, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    make_image(world.project)
    told: list[Any] = []
    monkeypatch.setattr(services, "send_event_on_commit", lambda project, event: told.append(event["type"]))
    client = signed_in(world.rater)
    begun = take_up(world, client)
    label(client, begun["label_set"], 1, begun["ordinals"][0])
    assert told == []
    label(client, shared_label_set(world.project).pk, 1, 0)
    assert told == ["labels.changed"]


@pytest.mark.parametrize(("person", "status"), [("rater", 200), ("viewer", 403), ("owner", 403), ("stranger", 404)])
def test_who_may_label_may_do_it(world: World, signed_in: SignIn, person: str, status: int) -> None:
    make_image(world.project)
    url = reverse("api_quick_review", args=[world.project.pk])
    assert signed_in(world.user(person)).post(url).status_code == status


def test_an_empty_project_says_so(world: World, signed_in: SignIn) -> None:
    answer = signed_in(world.rater).post(reverse("api_quick_review", args=[world.project.pk]))
    assert (answer.status_code, answer.json()) == (400, {"detail": "the project has no objects yet"})
    assert not LabelSet.objects.filter(kind="baseline").exists()


def test_theta_is_how_many_times_as_fast_as_alone(
    world: World, signed_in: SignIn, clock: SimpleNamespace, some: int
) -> None:
    client = signed_in(world.rater)
    begun = take_up(world, client)
    for ordinal in begun["ordinals"][:11]:
        label(client, begun["label_set"], 1, ordinal, worked_s=2)
        clock.now += timedelta(seconds=2)
    shared = shared_label_set(world.project).pk
    others = [ordinal for ordinal in range(60) if ordinal not in begun["ordinals"]]
    label(client, shared, 1, others[0])
    for _ in range(2):
        clock.now += timedelta(seconds=10)
        page, others = others[1:21], others[20:]
        url = reverse("label_actions", args=[shared])
        sent = {"kind": "label", "class_value": 1, "provenance": "bulk", "ordinals": page, "worked_s": 10}
        client.post(url, sent, content_type="application/json")
    (record,) = people_records(world.project, sessions_for(world.project, world.rater))
    assert record.alone == pytest.approx(10 / 20)
    assert record.labels_per_second == pytest.approx(40 / 20)
    assert record.theta == pytest.approx(4)
    assert record.labels == 41, "what one says alone is no label of the project"
    modes = LabelingSession.objects.order_by("pk").values_list("mode", flat=True)
    assert list(modes) == ["quick_review", "bulk"]
    assert "4.0" in signed_in(world.manager).get(reverse("session_list", args=[world.project.pk])).content.decode()


def test_concordance_is_how_often_the_shared_label_is_the_same(world: World, signed_in: SignIn, some: int) -> None:
    client = signed_in(world.rater)
    begun = take_up(world, client)
    first = begun["ordinals"][:6]
    for ordinal, value in zip(first, (1, 1, 1, 2, 2, 1), strict=True):
        label(client, begun["label_set"], value, ordinal)
    world.label(1, first[:4])  # the fourth differs; the fifth and sixth have no shared label
    (record,) = people_records(world.project, sessions_for(world.project, world.rater).filter(mode="quick_review"))
    assert record.concordance is not None
    assert (record.concordance.n_same, record.concordance.n) == (3, 4)
    world.project.label_classes.filter(value=2).update(is_uncertain=True)
    (record,) = people_records(world.project, sessions_for(world.project, world.rater).filter(mode="quick_review"))
    assert record.concordance is not None and record.concordance.share == 1, "uncertain ones are left out"
