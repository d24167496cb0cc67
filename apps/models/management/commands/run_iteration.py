from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import IntegrityError, connection

from apps.common.commands import JsonCommand
from apps.engine.settings import read_assignments
from apps.models.services import IterationRefused, check_can_iterate
from apps.models.tasks import run_iteration
from apps.projects.jobs import cancel_job, create_job
from apps.projects.lookup import find_project
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
                requested_by=None,
                params={
                    "epochs": options["epochs"],
                    "approach": approach.name,
                    "approach_settings": settings.to_json(),
                    "train": True,
                },
            )
        except IntegrityError as error:
            raise IterationRefused("an iteration of this project is already under way") from error
        with _cancelled_by_signals(job):
            run_iteration(job.pk)
        job.refresh_from_db()
        if job.state != Job.State.FINISHED:
            raise CommandError(job.error or f"the iteration was {job.state}")
        return {"project": project.pk, "job": job.pk, **job.result}


@contextmanager
def _cancelled_by_signals(job: Job) -> Iterator[None]:
    """Ctrl-C or SIGTERM cancels the job, which ends within a batch; the next one ends this process, and a worker takes the job up.

    What a shell tells a command to ignore, as it does in the background, stays ignored.
    """

    def cancel() -> None:
        try:
            cancel_job(job=job, cancelled_by=None)
        finally:
            connection.close()

    def on_signal(number: int, _frame: object) -> None:
        signal.signal(number, before[signal.Signals(number)])
        threading.Thread(target=cancel).start()  # the connection of this thread may be in the middle of something

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    before = {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    for number in before:
        signal.signal(number, on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
