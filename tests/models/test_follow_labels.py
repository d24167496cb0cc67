"""The process that follows the labels, started as `manage.py run` starts it: pushed, coalesced, killed, doubled."""

from __future__ import annotations

import gzip
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import Client

from apps.common.channel_layer import NOTIFICATION
from apps.common.notifications import listening_parameters
from apps.labels.selectors import shared_label_set
from apps.models.models import Embedding
from apps.models.selectors import current_prediction_set, current_predictions
from apps.models.services import PREDICTIONS_LOCK
from tests.conftest import World
from tests.factories import make_embedding, make_image

# Another process sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_S = 60.0
N = 20
TRUTH = np.where(np.arange(N) % 2, 2, 1).astype(np.uint8)
SESSIONS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def embedding(world: World) -> Embedding:
    make_image(world.project)
    noise = np.random.default_rng(0).normal(scale=0.02, size=(N, 6))
    return make_embedding(world.project, np.eye(6)[TRUTH] + noise)


@pytest.fixture
def follow() -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a follower on the test's database and files; returns once it listens."""
    database = settings.DATABASES["default"]
    url = f"postgresql://{database['USER']}@/{connection.settings_dict['NAME']}?host={quote(str(database['HOST']), safe='')}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "patchsorter_site.settings",
        "PATCHSORTER_DATA": str(Path(settings.MEDIA_ROOT).parent),
    }
    started: list[subprocess.Popen[str]] = []
    before = sessions()

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "follow_labels"],
            cwd=REPOSITORY,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stderr is not None
        for line in process.stderr:
            if "following the labels" in line:
                return process
        raise AssertionError("the follower ended before it listened")

    yield start
    for process in started:
        process.kill()
        process.wait()
    # The server notices a moment later; until then the test's database can not be taken away.
    deadline = time.monotonic() + 10
    while sessions() - before:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def sessions() -> set[int]:
    """The process ids of all that are connected to the test's database."""
    with connection.cursor() as cursor:
        cursor.execute(SESSIONS)
        return {pid for (pid,) in cursor.fetchall()}


@pytest.fixture
def rater(world: World, signed_in: Any) -> Client:
    client: Client = signed_in(world.rater)
    return client


def label(client: Client, world: World, value: int, ordinals: list[int]) -> int:
    """Label through the API; the action's sequence."""
    body = {"kind": "label", "class_value": value, "provenance": "bulk", "ordinals": ordinals}
    url = f"/api/v1/label-sets/{shared_label_set(world.project).pk}/actions"
    answer = client.post(url, body, content_type="application/json")
    assert answer.status_code == 201
    return int(answer.json()["sequence"])


def wait_for(world: World, label_revision: int) -> None:
    """Until the predictions that hold know of this label action."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        current = current_prediction_set(world.project)
        if current is not None and current.label_revision >= label_revision:
            return
        assert time.monotonic() < deadline, "the predictions did not follow"
        time.sleep(0.02)


def test_a_label_and_its_undo_are_followed_and_pushed_to_open_pages(world, embedding, rater, follow):
    follow()
    url = f"/api/v1/projects/{world.project.pk}/predictions"
    with psycopg.connect(**listening_parameters(), autocommit=True) as page:
        page.execute(f"LISTEN {NOTIFICATION}")

        def pushed(label_revision: int) -> dict[str, Any]:
            for notification in page.notifies(timeout=PATIENCE_S):
                event = json.loads(notification.payload)["message"]["event"]
                if event["type"] == "predictions.ready" and event["label_revision"] == label_revision:
                    return dict(event)
            raise AssertionError("nothing was pushed")

        label(rater, world, 1, [0, 2, 4])
        event = pushed(label(rater, world, 2, [1, 3, 5]))
        assert event["n_labels"] == 6
        answer = rater.get(url)
        assert answer["ETag"].strip('"').endswith(f"-{event['revision']}")
        buffer = gzip.decompress(answer.content)
        assert struct.unpack("<4sIII", buffer[:16]) == (b"PSP1", N, event["revision"], 1)
        np.testing.assert_array_equal(np.frombuffer(buffer[16:36], np.uint8), TRUTH)

        undone = rater.post(f"/api/v1/label-sets/{shared_label_set(world.project).pk}/undo").json()
        assert pushed(undone["sequence"])["n_labels"] == 3
        assert not any(gzip.decompress(rater.get(url).content)[16:]), "one class is left: nothing can be predicted"


def test_many_gestures_in_quick_succession_are_followed_by_one_renewal(world, embedding, rater, follow):
    follow()
    before = current_predictions(world.project).revision
    with psycopg.connect(**listening_parameters()) as other:
        # Another process is at this project: ours waits for it, and comes when it is done.
        other.execute("SELECT pg_advisory_xact_lock(%s, %s)", [PREDICTIONS_LOCK, world.project.pk])
        for ordinal in range(12):
            last = label(rater, world, int(TRUTH[ordinal]), [ordinal])
        assert current_predictions(world.project).revision == before
        other.rollback()
        wait_for(world, last)
    after = current_predictions(world.project)
    assert after.revision == before + 1
    np.testing.assert_array_equal(after.classes, TRUTH)


def test_what_a_killed_follower_left_the_next_one_does(world, embedding, rater, follow):
    killed = follow()
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    label(rater, world, 1, [0])
    last = label(rater, world, 2, [1])
    follow()
    wait_for(world, last)
    np.testing.assert_array_equal(current_predictions(world.project).classes, TRUTH)


def test_two_followers_publish_each_revision_once_and_never_step_back(world, embedding, rater, follow):
    follow()
    follow()
    for ordinal in range(10):
        last = label(rater, world, int(TRUTH[ordinal]), [ordinal])
    wait_for(world, last)
    known = list(world.project.prediction_sets.order_by("revision").values_list("label_revision", flat=True))
    assert known == sorted(set(known)), "each renewal knew of more than the one before"


def test_one_class_only_is_survived(world, embedding, rater, follow):
    process = follow()
    wait_for(world, label(rater, world, 1, [0, 1, 2]))
    assert not current_predictions(world.project).classes.any()
    wait_for(world, label(rater, world, 2, [1]))
    assert current_predictions(world.project).classes.all()
    assert process.poll() is None
