"""Labeling sessions: how long somebody was at work, and who sees it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import User
from apps.labels import services
from apps.labels.models import LabelAction, LabelingSession
from apps.labels.selectors import shared_label_set
from tests.factories import make_image
from tests.tables import rows_of

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


class Clock:
    def __init__(self) -> None:
        self.now: datetime = timezone.now()

    def passes(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(services, "timezone", SimpleNamespace(now=lambda: clock.now))
    return clock


def label(world: World, client: Client, ordinals: list[int], worked_s: float | None = None) -> Any:
    url = reverse("label_actions", args=[shared_label_set(world.project).pk])
    sent = {"kind": "label", "class_value": 1, "provenance": "bulk", "ordinals": ordinals}
    if worked_s is not None:
        sent["worked_s"] = worked_s
    return client.post(url, sent, content_type="application/json")


def session() -> LabelingSession:
    return LabelingSession.objects.get()


def test_who_looks_at_a_page_for_minutes_has_worked_for_minutes(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0], worked_s=30)
    clock.passes(240)
    answer = label(world, client, [1, 2, 3, 4], worked_s=235.04).json()
    assert session().active_seconds == 235.0
    assert answer["session"]["labels_per_second"] == pytest.approx(4 / 235)
    assert LabelAction.objects.get(sequence=2).selection["worked_s"] == 235.0


def test_who_was_away_has_not_worked(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0], worked_s=5)
    clock.passes(600)
    label(world, client, [1], worked_s=12)
    assert session().active_seconds == 12


def test_a_page_can_not_say_that_it_took_longer_than_it_did(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0], worked_s=5)
    clock.passes(10)
    label(world, client, [1], worked_s=3600)
    assert session().active_seconds == 10


def test_gestures_that_waited_for_the_network_keep_their_time(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0], worked_s=5)
    clock.passes(60)
    for ordinal in (1, 2, 3):  # all at once, when the network is back
        label(world, client, [ordinal], worked_s=20)
    assert session().active_seconds == 60


def test_without_a_page_that_measures_a_gap_counts_for_a_minute_at_most(
    world: World, signed_in: SignIn, clock: Clock
) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0])
    clock.passes(30)
    label(world, client, [1])
    clock.passes(600)
    label(world, client, [2])
    assert session().active_seconds == 90


def test_looking_through_a_sample_for_long_is_no_pause(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0], worked_s=5)
    clock.passes(20 * 60)
    label(world, client, [1], worked_s=18 * 60)
    assert session().active_seconds == 18 * 60
    clock.passes(20 * 60)
    label(world, client, [2], worked_s=10)
    assert LabelingSession.objects.count() == 2


def test_undoing_takes_time_as_well(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    label(world, client, [0], worked_s=5)
    clock.passes(100)
    undo = reverse("undo", args=[shared_label_set(world.project).pk])
    client.post(undo, {"worked_s": 80.0}, content_type="application/json")
    assert session().active_seconds == 80


@pytest.mark.parametrize("worked_s", [-1, 1e9, "long"])
def test_a_time_that_can_not_be_is_refused(world: World, signed_in: SignIn, worked_s: Any) -> None:
    make_image(world.project)
    assert label(world, signed_in(world.rater), [0], worked_s=worked_s).status_code == 400


def test_sessions_are_listed_with_what_their_gestures_were(world: World, signed_in: SignIn, clock: Clock) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    for ordinals in ([0], [1, 2, 3], [4, 5, 6, 7, 8]):
        label(world, client, ordinals, worked_s=10)
        clock.passes(10)
    client.post(reverse("undo", args=[shared_label_set(world.project).pk]), {})
    clock.passes(16 * 60)
    label(world, client, [9], worked_s=10)
    url = reverse("session_table", args=[world.project.pk])
    second, first = rows_of(client, url)
    assert (first["gestures"], first["median_objects"], first["labels"], first["by_sample"]) == ("3", "3", "4", "0")
    assert (second["gestures"], second["labels"], second["labels_per_second"]) == ("1", "1", "")
    assert float(first["labels_per_second"]) == pytest.approx(3 / 30)
    (of_api, *_) = client.get(reverse("api_sessions", args=[world.project.pk])).json()["sessions"]
    assert {key: str(value) for key, value in of_api.items() if value is not None}.items() <= second.items()
    page = client.get(reverse("session_list", args=[world.project.pk])).content.decode()
    assert "Your sessions" in page and page.count("<tr>") == 5, "a line for oneself, and one a session"


def test_one_sees_ones_own_sessions_and_who_reads_the_trail_sees_all(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    label(world, signed_in(world.rater), [0])
    label(world, signed_in(world.lead), [1])
    url, page = (reverse(name, args=[world.project.pk]) for name in ("session_table", "session_list"))

    def people(user: User) -> set[str]:
        return {row["person"] for row in rows_of(signed_in(user), url)}

    assert people(world.rater) == {"Rafa Rater"}
    assert people(world.lead) == {"Lea Lead"}
    assert people(world.viewer) == set()
    assert people(world.manager) == people(world.owner) == {"Rafa Rater", "Lea Lead"}
    assert "Lea Lead" in signed_in(world.manager).get(page).content.decode()
    assert "Lea Lead" not in signed_in(world.rater).get(page).content.decode()
    assert "No labeling session yet" in signed_in(world.viewer).get(page).content.decode()


def test_many_sessions_are_all_in_the_file(
    world: World, signed_in: SignIn, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.labels.sessions.SESSIONS_AT_ONCE", 2)
    make_image(world.project)
    for ordinal in range(5):
        label(world, signed_in(world.rater), [ordinal])
        clock.passes(3600)
    rows = rows_of(signed_in(world.rater), reverse("session_table", args=[world.project.pk]))
    assert len({row["began"] for row in rows}) == 5
    assert [row["began"] for row in rows] == sorted((row["began"] for row in rows), reverse=True)
