"""What models do when something changes below them."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User
from apps.models.services import start_first_maps, start_placing
from apps.models.work import keep_work_of_the_dead
from apps.objects.signals import import_finished
from apps.projects.models import Job, Project
from apps.projects.signals import job_ended


def connect() -> None:
    import_finished.connect(_place_new_objects, dispatch_uid="place_new_objects")
    job_ended.connect(_keep_what_was_done, dispatch_uid="keep_what_was_done")
    job_ended.connect(_make_the_first_map, dispatch_uid="make_the_first_map")
    job_ended.connect(_place_what_came_meanwhile, dispatch_uid="place_what_came_meanwhile")


def _place_new_objects(*, project: Project, imported_by: User | None, **_: Any) -> None:
    """New objects come onto the map that is there, without waiting for the next training."""
    start_placing(project=project, requested_by=imported_by)


def _keep_what_was_done(*, job: Job, **_: Any) -> None:
    """An iteration that failed in a worker's hands has kept its work itself; what is left is of workers that died."""
    if job.kind == "iteration" and job.state == Job.State.FAILED:
        keep_work_of_the_dead(job)


def _make_the_first_map(*, job: Job, **_: Any) -> None:
    """Labeling begins on a map: it follows the first import by itself, unless whoever imported took that out."""
    if job.kind == "import":
        start_first_maps(Project.objects.filter(pk=job.project_id))


def _place_what_came_meanwhile(*, job: Job, **_: Any) -> None:
    """Objects that were imported while a map was made, or waited for one that did not come, are not on it."""
    # What failed to place them once would fail again, without end.
    if job.kind == "iteration" or (job.kind == "place" and job.state == Job.State.FINISHED):
        start_placing(project=job.project, requested_by=job.requested_by)
