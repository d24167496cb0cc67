"""Background jobs: the only file that talks to django-q.

django-q delivers at least once and knows nothing of a worker that died, so it only launches. The Job row decides: a
worker claims it with one conditional UPDATE, holds a lease that a thread renews, and may write results only while the
attempt is its own. `requeue_lost_jobs` takes up what a dead worker left.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Literal

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone
from django_q.tasks import async_task

from apps.accounts.models import User
from apps.audit.services import record
from apps.engine.errors import EngineError, Stopped
from apps.engine.progress import ProgressCallback, ignore_progress
from apps.projects.events import JobEvent, send_event, send_event_on_commit
from apps.projects.files import DiskFull, check_space, folder, is_of_space
from apps.projects.models import Job, Project
from apps.projects.signals import job_ended

logger = logging.getLogger(__name__)

Queue = Literal["cpu", "gpu"]
# So many workers in a row may die of a job without getting further than those before them, by this share of the whole.
MOST_DEATHS = 3
LEAST_PROGRESS = 0.01
# So many exports, or picture searches, of one person wait or run: one worker does those of all organizations.
MOST_OF_A_PERSON = 3
REPORT_INTERVAL_S = 0.5
# So soon a worker hears that its job was cancelled: a person waits for it.
LISTEN_INTERVAL_S = 1.0
QUEUED_GRACE = timedelta(seconds=60)
LOG_LIMIT = 100_000  # characters
ERROR_SHOWN = 1_000  # characters; an event has to stay small, the job's page shows all of it


class TooManyJobs(Exception):
    """The person has as many jobs of this kind under way as they may have; the message is for them."""


def check_not_too_many(*, kind: str, requested_by: User | None) -> None:
    """Raises TooManyJobs. Within the transaction that starts the job: of requests at the same time, one goes after the other."""
    if requested_by is None:
        return
    User.objects.select_for_update(no_key=True).get(pk=requested_by.pk)
    under_way = Job.objects.filter(
        kind=kind, requested_by=requested_by, state__in=[Job.State.QUEUED, Job.State.RUNNING]
    )
    if under_way.count() >= MOST_OF_A_PERSON:
        raise TooManyJobs(f"{MOST_OF_A_PERSON} of yours are under way already: wait until one has ended, or cancel one")


def start_job(
    *, project: Project, kind: str, task: str, queue: Queue, requested_by: User | None, params: dict[str, Any]
) -> Job:
    """Create the job and hand it to the queue once the surrounding transaction commits.

    `task` is the dotted path of a function that takes the job's id. Raises IntegrityError where the project allows
    one active job of this kind and has it.
    """
    with transaction.atomic():
        job = create_job(project=project, kind=kind, task=task, queue=queue, requested_by=requested_by, params=params)
        transaction.on_commit(partial(_enqueue, job))
    return job


def create_job(
    *, project: Project, kind: str, task: str, queue: Queue, requested_by: User | None, params: dict[str, Any]
) -> Job:
    """Enter the job without queuing it, for a command that runs it itself at once."""
    with transaction.atomic():
        job = Job.objects.create(
            project=project,
            kind=kind,
            task=task,
            queue=queue,
            requested_by=requested_by,
            params=params,
            lease_expires_at=timezone.now() + QUEUED_GRACE,
        )
        record(
            actor=requested_by,
            action=f"job.{kind}.start",
            subject=f"{kind} job {job.pk}",
            organization_id=project.organization_id,
            project_id=project.pk,
            detail=params,
        )
        send_event_on_commit(project.pk, JobEvent(type="job.progress", job=job_state(job)))
    return job


def _enqueue(job: Job) -> None:
    async_task(job.task, job.pk, q_options={"cluster": job.queue, "task_name": f"job-{job.pk}"})


def cancel_job(*, job: Job, cancelled_by: User | None) -> bool:
    """Ask a job to stop, as a user or, None, at the server's command line. One that no worker has taken yet ends here; a running
    one ends within a batch. False where it is too late: it has ended, or all of it is published."""
    with transaction.atomic():
        job = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
        if not job.is_active or job.result:
            return False
        job.cancel_requested = True
        if job.state == Job.State.QUEUED:
            job.state, job.finished_at = Job.State.CANCELLED, timezone.now()
            transaction.on_commit(partial(_say_ended, job))
        job.save(update_fields=["cancel_requested", "state", "finished_at"])
        record(
            actor=cancelled_by,
            action=f"job.{job.kind}.cancel",
            subject=f"{job.kind} job {job.pk}",
            organization_id=job.project.organization_id,
            project_id=job.project_id,
        )
        kind: Literal["job.finished", "job.progress"] = "job.progress" if job.is_active else "job.finished"
        send_event_on_commit(job.project_id, JobEvent(type=kind, job=job_state(job)))
    return True


class Report:
    """How a pipeline tells what it is doing and learns that it should stop. Stages carry their share of the bar."""

    def __init__(self, job: Job, on_progress: ProgressCallback = ignore_progress) -> None:
        self.job = job
        self._on_progress = on_progress
        self._stop = threading.Event()
        self._span = (0.0, 1.0)
        self._last_write = 0.0
        self._log = job.log.splitlines()
        self.warnings: list[str] = []
        """What whoever asked for the job should know of its result."""

    def should_stop(self) -> bool:
        return self._stop.is_set()

    def stage(self, name: str, *, start: float, end: float) -> None:
        """Enter a stage that fills the bar from `start` to `end` (fractions of 1)."""
        self._span = (start, end)
        self.progress(name, 0.0, "", force=True)
        self.log(name)

    def progress(self, stage: str, fraction: float, message: str = "", *, force: bool = False) -> None:
        """Matches the engine's ProgressCallback. Raises Stopped once the job is cancelled or no longer ours, and DiskFull."""
        if self._stop.is_set():
            raise Stopped("the job was cancelled")
        now = time.monotonic()
        if not force and now - self._last_write < REPORT_INTERVAL_S:
            return
        check_space(folder(self.job.project))
        self._last_write = now
        start, end = self._span
        self.job.stage, self.job.message = stage[:40], message[:400]
        # Not beyond the end, where the next stage begins, by the last digit either.
        self.job.progress = min(end, start + (end - start) * min(max(fraction, 0.0), 1.0))
        self._own_row().update(stage=self.job.stage, message=self.job.message, progress=self.job.progress)
        send_event(self.job.project_id, JobEvent(type="job.progress", job=job_state(self.job)))
        self._on_progress(stage, self.job.progress, message)

    def log(self, line: str) -> None:
        self._log.append(f"{timezone.now():%H:%M:%S} {line}")
        self._own_row().update(log="\n".join(self._log)[-LOG_LIMIT:])

    def warn(self, line: str) -> None:
        """Say in the log, and with the result, what everybody should know."""
        self.warnings.append(line)
        self.log(line)

    def confirm_ownership(self) -> None:
        """Lock the job's row inside the transaction that publishes its result; raises Stopped if it was lost or cancelled."""
        own = list(self._own_row().select_for_update(no_key=True).values_list("cancel_requested", flat=True))
        if not own:
            raise Stopped("another worker has taken this job up")
        if own[0]:
            raise Stopped("the job was cancelled")

    def keep_result(self, result: dict[str, Any]) -> None:
        """Enter the job's result inside the transaction that publishes it, after `confirm_ownership`: a worker that dies
        right after has done all, and the next one only ends the job."""
        self._own_row().update(result=result)

    def is_owner(self) -> bool:
        """Whether the job is still this worker's, cancelled or not."""
        return bool(self._own_row().exists())

    def _own_row(self) -> Any:
        return Job.objects.filter(pk=self.job.pk, attempt=self.job.attempt, state=Job.State.RUNNING)

    def keep_alive(self, finished: threading.Event) -> None:
        """Renew the lease until `finished`, and hear of a cancellation; in a thread of its own with its own database
        connection."""
        renew_every_s = settings.JOB_LEASE_SECONDS / 6
        renewed_at = time.monotonic()
        try:
            while not finished.wait(min(LISTEN_INTERVAL_S, renew_every_s)):
                try:
                    is_due = time.monotonic() - renewed_at >= renew_every_s
                    if is_due and self._own_row().update(lease_expires_at=_lease_end()):
                        renewed_at = time.monotonic()
                    if not self._own_row().filter(cancel_requested=False).exists():
                        self._stop.set()
                except Exception:  # the database may be restarting; the lease tells if it stays away too long
                    logger.exception("job %s: the lease could not be renewed", self.job.pk)
                    connection.close()
        finally:
            connection.close()


def _lease_end() -> Any:
    return timezone.now() + timedelta(seconds=settings.JOB_LEASE_SECONDS)


def run_job(
    job_id: int, work: Callable[[Job, Report], dict[str, Any]], *, on_progress: ProgressCallback = ignore_progress
) -> None:
    """Claim the job and do it; a job that is finished, cancelled or in another worker's hands is left alone.

    `work` returns the job's result. Whatever it raises ends the job as failed with a message for the user. `on_progress` hears,
    beside the pages, how much of the whole job is done. Raises RuntimeError within a transaction: what renews the job's lease has a
    connection of its own, which would not see that the job is this worker's, and cancel it.
    """
    if connection.in_atomic_block:
        raise RuntimeError("A job cannot be done within a transaction")
    claimed = Job.objects.filter(pk=job_id, state=Job.State.QUEUED).update(
        state=Job.State.RUNNING,
        attempt=F("attempt") + 1,
        worker=f"{socket.gethostname()}:{os.getpid()}",
        started_at=timezone.now(),
        lease_expires_at=_lease_end(),
    )
    if not claimed:
        return
    job = Job.objects.select_related("project", "requested_by").get(pk=job_id)
    report = Report(job, on_progress)
    if job.attempt > 1:
        report.log(f"attempt {job.attempt}: the worker before this one stopped")
    finished = threading.Event()
    heartbeat = threading.Thread(target=report.keep_alive, args=[finished], daemon=True)
    heartbeat.start()
    try:
        job.result = job.result or work(job, report)  # the former where a worker before this one died at the very end
        job.state, job.progress, job.message = Job.State.FINISHED, 1.0, ""
    except Stopped:
        job.state, job.message = Job.State.CANCELLED, ""
    except (EngineError, DiskFull) as error:
        job.state, job.error = Job.State.FAILED, without_folders(str(error))
    except Exception as error:
        logger.exception("job %s failed", job_id)
        said = str(DiskFull()) if is_of_space(error) else f"{type(error).__name__}: {error}"
        job.state, job.error = Job.State.FAILED, without_folders(said)
        report.log(without_folders(traceback.format_exc()))
    finally:
        finished.set()
        heartbeat.join()
    job.finished_at = timezone.now()
    with transaction.atomic():
        ended = Job.objects.filter(pk=job_id, attempt=job.attempt, state=Job.State.RUNNING).update(
            state=job.state,
            progress=job.progress,
            message=job.message,
            error=job.error,
            finished_at=job.finished_at,
            lease_expires_at=None,
            **({"result": job.result} if job.state == Job.State.FINISHED else {}),
        )
        if ended:
            _record_end(job)
    if ended:
        send_event(job.project_id, JobEvent(type="job.finished", job=job_state(job)))
        _say_ended(job)


def without_folders(text: str) -> str:
    """Where on the server its files lie is not the project members' business."""
    for ours in (settings.MEDIA_ROOT, settings.WEIGHTS_ROOT, settings.BASE_DIR, sys.prefix):
        text = text.replace(f"{ours}{os.sep}", "")
    return text


def _record_end(job: Job) -> None:
    """What came of it, in the trail: the job's row may change, and goes with what it made."""
    detail: dict[str, Any] = {"state": job.state}
    if job.state == Job.State.FINISHED:
        for key, value in job.result.items():  # of an import's lists, how many
            if isinstance(value, str | int | list):
                detail[key] = len(value) if isinstance(value, list) else value
    elif job.error:
        detail["error"] = job.error[:ERROR_SHOWN]
    record(
        actor=None,
        action=f"job.{job.kind}.end",
        subject=f"{job.kind} job {job.pk}",
        organization_id=job.project.organization_id,
        project_id=job.project_id,
        detail=detail,
    )


def _say_ended(job: Job) -> None:
    """Robust: the job has ended, whatever comes of it."""
    job_ended.send_robust(sender=Job, job=job)


def requeue_lost_jobs() -> int:
    """Take up jobs whose worker died and jobs that never reached the queue; returns how many.

    A second delivery does no harm (see `run_job`), so a queued job is sent again when it has waited long, at growing
    intervals. A job at which MOST_DEATHS workers died, none of them further on than the one before, fails with that as its
    error; one that got further is gone on with however often the machine is switched off.
    """
    now = timezone.now()
    taken = 0
    with transaction.atomic():
        lost = (
            Job.objects.select_for_update(skip_locked=True, no_key=True, of=["self"])
            .select_related("project")
            .filter(state__in=[Job.State.RUNNING, Job.State.QUEUED], lease_expires_at__lt=now)
            .order_by("project__organization_id", "pk")  # two watchers lock the trails of organizations in one order
        )
        for job in lost:
            taken += 1
            if job.state == Job.State.RUNNING:
                job.deaths = 1 if job.progress >= job.furthest + LEAST_PROGRESS else job.deaths + 1
                job.furthest = max(job.furthest, job.progress)
            has_to_end = not job.result and (job.deaths >= MOST_DEATHS or job.cancel_requested)
            if job.state == Job.State.RUNNING and has_to_end:
                died = (
                    f"its worker died {job.deaths} times and got no further, the last was {job.worker} (out of memory?)"
                )
                job.state = Job.State.CANCELLED if job.cancel_requested else Job.State.FAILED
                job.error = "" if job.cancel_requested else died
                job.finished_at, job.lease_expires_at = now, None
                _record_end(job)
                send_event_on_commit(job.project_id, JobEvent(type="job.finished", job=job_state(job)))
                transaction.on_commit(partial(_say_ended, job))
            else:
                if job.state == Job.State.RUNNING:
                    job.message = f"taken up again: {job.worker} stopped"
                job.state = Job.State.QUEUED
                job.lease_expires_at = now + max(QUEUED_GRACE, now - job.created_at)
                transaction.on_commit(partial(_enqueue, job))
                send_event_on_commit(job.project_id, JobEvent(type="job.progress", job=job_state(job)))
            job.save(
                update_fields=["state", "error", "message", "finished_at", "lease_expires_at", "deaths", "furthest"]
            )
    return taken


def job_state(job: Job) -> dict[str, Any]:
    """The job as browsers are told of it."""
    return {
        "id": job.pk,
        "kind": job.kind,
        "title": job.title,
        "state": job.state,
        "stage": job.stage,
        "progress": round(job.progress, 4),
        "message": job.message,
        "error": job.error[:ERROR_SHOWN],
        "created_at": job.created_at.isoformat(),
        "started_at": job.started_at.isoformat() if job.started_at else None,
        "finished_at": job.finished_at.isoformat() if job.finished_at else None,
        "requested_by": str(job.requested_by) if job.requested_by else None,
        "cancel_requested": job.cancel_requested,
    }
