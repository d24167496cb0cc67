from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError, IntegrityError, connection

from apps.common.commands import JsonCommand
from apps.engine.settings import read_assignments
from apps.models.pipelines import run_iteration
from apps.models.services import IterationRefused, check_can_iterate
from apps.projects.jobs import cancel_job, create_job, run_job
from apps.projects.lookup import add_by_option, find_actor, find_project
from apps.projects.models import Job
from apps.projects.selectors import chosen_approach


class Command(JsonCommand):
    help = "Train, embed and draw a new map, here and now; prints the seconds per stage and the measured quality."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("--approach", help="default: the project's")
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="NAME=VALUE",
            help="a setting of the approach, for this run; several times",
        )
        add_by_option(parser)
        parser.add_argument("--epochs", type=int)

    def run(self, **options: Any) -> dict[str, Any]:
        project = find_project(options["project"])
        approach, settings = chosen_approach(project, options["approach"])
        settings = settings.changed(read_assignments(options["set"]))
        if options["epochs"] is not None and not approach.trains:
            raise CommandError(f"The approach {approach.name} trains nothing: there are no epochs to choose")
        check_can_iterate(project, options["epochs"])
        try:
            # Not queued: the job runs in this process, and the pages show it like any other.
            job = create_job(
                project=project,
                kind="iteration",
                task="apps.models.tasks.run_iteration",
                queue="gpu",
                requested_by=find_actor(options["by"], project, "run_iteration"),
                params={
                    "epochs": options["epochs"],
                    "approach": approach.name,
                    "approach_settings": settings.to_json(),
                    "train": True,
                },
            )
        except IntegrityError as error:
            raise IterationRefused("an iteration of this project is already under way") from error
        with _cancelled_by_interrupt(job):
            run_job(job.pk, run_iteration, on_progress=self.show_progress)
        job.refresh_from_db()
        if job.state != Job.State.FINISHED:
            raise CommandError(job.error or f"the iteration was {job.state}")
        for warning in job.result["warnings"]:
            self.stderr.write(warning)
        return {"project": project.pk, "job": job.pk, **job.result}


@contextmanager
def _cancelled_by_interrupt(job: Job) -> Iterator[None]:
    """Ctrl-C cancels the job, which ends within a batch; the next one ends this process at once, and `watch_jobs` enters the job
    as cancelled. Where a shell had Ctrl-C ignored, as it does in the background, it stays ignored."""

    def cancel() -> None:
        try:
            cancel_job(job=job, cancelled_by=None)
        except DatabaseError as error:
            sys.stderr.write(f"the iteration could not be cancelled: {' '.join(str(error).split())}\n")
        finally:
            connection.close()

    def on_interrupt(_number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before)
        if sys.stderr.isatty():
            sys.stderr.write("cancelling; Ctrl-C again ends this at once\n")
        threading.Thread(target=cancel).start()  # the connection of this thread may be in the middle of something

    before = signal.getsignal(signal.SIGINT)
    if before == signal.SIG_IGN:
        yield
        return
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
