"""Background jobs: claimed once, cancelled within a step, taken up again when their worker dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection, transaction
from django.utils import timezone
from django_q.models import OrmQ

from apps.engine.errors import BadInput, Stopped
from apps.projects import jobs
from apps.projects.jobs import Report, cancel_job, requeue_lost_jobs, run_job
from apps.projects.models import Job
from apps.workspace.services import start_export
from tests.conftest import World

# A job's lease is kept by a thread with its own connection, which sees only what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def job(world: World) -> Job:
    return jobs.start_job(
        project=world.project,
        kind="export",
        task="apps.workspace.tasks.export_labels",
        queue="cpu",
        requested_by=world.manager,
        params={},
    )


def work_that_ends(job: Job, report: Report) -> dict[str, Any]:
    report.stage("working", start=0.0, end=1.0)
    return {"answer": 42}


def work_that_must_not_run(job: Job, report: Report) -> dict[str, Any]:
    raise AssertionError("the job was run again")


def state(job: Job) -> str:
    job.refresh_from_db()
    return job.state


def at_once(n: int, work: Callable[[], None]) -> None:
    """As by n processes, each with a connection of its own."""

    def with_own_connection() -> None:
        work()
        connection.close()

    threads = [threading.Thread(target=with_own_connection) for _ in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def expire_lease(job: Job) -> None:
    Job.objects.filter(pk=job.pk).update(lease_expires_at=timezone.now() - timedelta(seconds=1))


def test_starting_a_job_queues_it_once_committed(job):
    assert OrmQ.objects.filter(key="cpu").count() == 1
    assert state(job) == "queued"


def test_a_job_runs_and_keeps_its_result(job):
    run_job(job.pk, work_that_ends)
    assert state(job) == "finished"
    assert (job.result, job.progress, job.attempt) == ({"answer": 42}, 1.0, 1)


def test_progress_never_goes_back_from_a_stage_to_the_next(job):
    seen: list[float] = []

    def work(job: Job, report: Report) -> dict[str, Any]:
        # Where the one ends, in floating point, by its length: a little beyond where the other begins.
        report.stage("recognizing", start=0.15 * 0.05, end=0.15 * 0.7)
        report.progress("recognizing", 1.0, force=True)
        seen.append(report.job.progress)
        report.stage("embedding", start=0.15 * 0.7, end=1.0)
        seen.append(report.job.progress)
        return {}

    run_job(job.pk, work)
    assert seen == [0.15 * 0.7] * 2


def test_a_job_that_is_delivered_twice_runs_once(job):
    run_job(job.pk, work_that_ends)
    run_job(job.pk, work_that_must_not_run)
    assert state(job) == "finished"


def test_a_job_is_not_begun_within_a_transaction(job):
    with transaction.atomic(), pytest.raises(RuntimeError, match="within a transaction"):
        run_job(job.pk, work_that_must_not_run)
    assert state(job) == "queued"


def test_a_job_delivered_to_two_workers_at_once_runs_once(job):
    runs: list[int] = []

    def work(job: Job, report: Report) -> dict[str, Any]:
        runs.append(1)
        time.sleep(0.2)
        return {}

    at_once(4, lambda: run_job(job.pk, work))
    assert runs == [1]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (BadInput("a.png", "the file is truncated"), "a.png: the file is truncated"),
        (KeyError("x"), "KeyError: 'x'"),
    ],
)
def test_a_fault_fails_the_job_with_its_cause(job, fault, said):
    def work(job: Job, report: Report) -> dict[str, Any]:
        raise fault

    run_job(job.pk, work)
    assert state(job) == "failed"
    assert job.error == said


def test_a_queued_job_is_cancelled_at_once_and_never_runs(world, job):
    cancel_job(job=job, cancelled_by=world.manager)
    assert state(job) == "cancelled"
    run_job(job.pk, work_that_ends)
    assert state(job) == "cancelled"


def test_a_running_job_is_cancelled_at_its_next_report(world, job, settings):
    settings.JOB_LEASE_SECONDS = 1

    def work(job: Job, report: Report) -> dict[str, Any]:
        cancel_job(job=job, cancelled_by=world.manager)
        for step in range(100):
            time.sleep(0.05)
            report.progress("working", step / 100)
        raise AssertionError("was not cancelled within five seconds")

    run_job(job.pk, work)
    assert state(job) == "cancelled"


def test_a_worker_hears_within_two_seconds_that_its_job_was_cancelled(world, job):
    """With the lease of half a minute that a server has."""
    waited = []

    def work(job: Job, report: Report) -> dict[str, Any]:
        cancel_job(job=job, cancelled_by=world.manager)
        asked = time.monotonic()
        while not report.should_stop():
            time.sleep(0.02)
            assert time.monotonic() - asked < 30
        waited.append(time.monotonic() - asked)
        raise Stopped("as the engine does")

    run_job(job.pk, work)
    assert state(job) == "cancelled" and waited[0] < 2


def test_a_long_job_keeps_its_lease(job, settings):
    settings.JOB_LEASE_SECONDS = 1

    def work(job: Job, report: Report) -> dict[str, Any]:
        time.sleep(1.5)
        return {"taken_up": requeue_lost_jobs()}

    run_job(job.pk, work)
    assert state(job) == "finished"
    assert job.result == {"taken_up": 0}


def test_a_worker_that_lost_its_job_stops_and_publishes_nothing(job, settings):
    settings.JOB_LEASE_SECONDS = 1
    published: list[int] = []

    def slow(job: Job, report: Report) -> dict[str, Any]:
        expire_lease(job)
        requeue_lost_jobs()
        run_job(job.pk, work_that_ends)  # another worker takes it up and ends it
        with transaction.atomic():
            report.confirm_ownership()
            published.append(1)
        return {"answer": "from the slow worker"}

    run_job(job.pk, slow)
    assert state(job) == "finished"
    assert (job.result, job.attempt, published) == ({"answer": 42}, 2, [])


def test_a_queued_job_that_never_reached_the_queue_is_sent_again(job):
    OrmQ.objects.all().delete()
    expire_lease(job)
    assert requeue_lost_jobs() == 1
    assert OrmQ.objects.count() == 1
    assert requeue_lost_jobs() == 0, "it is given time before it is sent a third time"


def test_a_job_that_kills_every_worker_fails_visibly(job):
    for attempt in range(1, jobs.MOST_DEATHS + 1):
        Job.objects.filter(pk=job.pk).update(state="running", attempt=attempt, worker="box:1", progress=0.3)
        expire_lease(job)
        requeue_lost_jobs()
    assert state(job) == "failed"
    assert "died 3 times and got no further" in job.error


def test_a_job_goes_on_however_often_the_machine_is_switched_off_as_long_as_it_gets_further(job):
    for attempt in range(1, 10):
        Job.objects.filter(pk=job.pk).update(state="running", attempt=attempt, progress=attempt / 20)
        expire_lease(job)
        requeue_lost_jobs()
    assert state(job) == "queued"


def test_a_job_that_was_cancelled_publishes_nothing_more(job, world):
    published: list[int] = []

    def cancelled_at_the_end(job: Job, report: Report) -> dict[str, Any]:
        cancel_job(job=job, cancelled_by=world.manager)
        with transaction.atomic():
            report.confirm_ownership()
            published.append(1)
        return {"answer": 42}

    run_job(job.pk, cancelled_at_the_end)
    assert (state(job), published) == ("cancelled", [])


WORKER = """
import django, sys, time
django.setup()
from apps.projects.jobs import run_job
def hang(job, report):
    print("claimed", flush=True)
    time.sleep(60)
    return {"answer": "from the dead"}
run_job(int(sys.argv[1]), hang)
"""


@pytest.fixture
def worker_process() -> Callable[[Job], subprocess.Popen[str]]:
    """A worker in a process of its own, on the test's database, that has claimed the job and is at work."""
    database = settings.DATABASES["default"]
    url = f"postgresql://{database['USER']}@/{connection.settings_dict['NAME']}?host={quote(str(database['HOST']), safe='')}"
    environment = {
        **os.environ,
        "DATABASE_URL": url,
        "DJANGO_SETTINGS_MODULE": "patchsorter_site.settings",
        "PATCHSORTER_DATA": str(settings.MEDIA_ROOT),
        "PATCHSORTER_JOB_LEASE_SECONDS": "2",
    }

    def start(job: Job) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(job.pk)],
            env=environment,
            cwd=Path(__file__).resolve().parents[2],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "claimed\n"
        return process

    return start


def test_a_job_whose_worker_is_killed_is_taken_up_again_and_done_once(job, worker_process):
    process = worker_process(job)
    time.sleep(3)
    assert requeue_lost_jobs() == 0, "a living worker keeps its job beyond one lease"
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 10
    while not requeue_lost_jobs():
        assert time.monotonic() < deadline, "the dead worker's job was not noticed"
        time.sleep(0.1)
    assert state(job) == "queued"
    run_job(job.pk, work_that_ends)
    assert state(job) == "finished"
    assert (job.attempt, job.result) == (2, {"answer": 42})


def test_of_exports_that_are_asked_for_at_the_same_time_three_are_started(world):
    refused = []

    def ask() -> None:
        try:
            start_export(project=world.project, label_set=None, requested_by=world.manager)
        except jobs.TooManyJobs as error:
            refused.append(str(error))

    at_once(8, ask)
    assert (len(refused), Job.objects.filter(kind="export").count()) == (5, 3)
