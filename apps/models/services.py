from __future__ import annotations

from django.db import IntegrityError

from apps.accounts.models import User
from apps.projects.jobs import start_job
from apps.projects.models import Job, Project

MAX_EPOCHS = 1000


class IterationRefused(ValueError):
    """An iteration can not start now; the message is for the user."""


def start_iteration(
    *, project: Project, requested_by: User | None, epochs: int | None = None, train: bool = True
) -> Job:
    """Queue one turn of the slow loop: train, embed, predict, map. With `train=False` the last weights are used again,
    which is enough to place objects that were added since."""
    check_can_iterate(project, epochs)
    try:
        return start_job(
            project=project,
            kind="iteration",
            task="apps.models.tasks.run_iteration",
            queue="gpu",
            requested_by=requested_by,
            params={"epochs": epochs, "train": train},
        )
    except IntegrityError as error:
        raise IterationRefused("an iteration of this project is already under way") from error


def check_can_iterate(project: Project, epochs: int | None) -> None:
    """Raises IterationRefused where there is nothing to train on or the number of epochs makes no sense."""
    if not project.n_objects:
        raise IterationRefused("the project has no objects yet: add images with masks first")
    if epochs is not None and not 1 <= epochs <= MAX_EPOCHS:
        raise IterationRefused(f"epochs: expected 1 to {MAX_EPOCHS}")
