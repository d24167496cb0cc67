from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, QuerySet, Subquery
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.engine.arrays import write_array
from apps.models.events import PredictionsReady
from apps.models.models import Embedding, PredictionSet
from apps.models.selectors import (
    SURROUNDINGS_NAME,
    VECTORS_NAME,
    latest_embedding,
    prediction_file,
    prediction_state,
    still_compares,
)
from apps.projects.events import send_event_on_commit
from apps.projects.files import folder
from apps.projects.jobs import check_not_too_many, start_job
from apps.projects.models import Job, Project

MAX_EPOCHS = 1000
# First key of the advisory locks that this app takes; the second is the project's.
PREDICTIONS_LOCK = 0x70726564
# A page, an export or another host may still read a file whose revision it asked for a moment ago.
FILES_KEPT = 8


# The newest map's vectors, and those of the one before, which a request may still read.
VECTORS_KEPT = 2
PICTURE_NAME = "picture.npy"


class SearchRefused(ValueError):
    """There is nothing to search with or among; the message is for the user."""


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


def start_first_maps(projects: QuerySet[Project]) -> None:
    """Start the first iteration of those of `projects` whose import was to be followed by it. Where there was an
    iteration, whatever came of it, the next one is for somebody to ask for."""
    imports = Job.objects.filter(kind="import", state=Job.State.FINISHED, params__first_map=True)
    waiting = projects.filter(
        ~Exists(Job.objects.filter(project=OuterRef("pk"), kind="iteration")),
        Exists(imports.filter(project=OuterRef("pk"))),
        n_objects__gt=0,
    )
    for project in waiting:
        last = imports.filter(project=project).select_related("requested_by").latest("pk")
        with suppress(IterationRefused):  # another import, or a person, was first
            start_iteration(project=project, requested_by=last.requested_by)


@transaction.atomic
def start_placing(*, project: Project, requested_by: User | None) -> Job | None:
    """Queue the job that places objects on the current map that came after it; None where there is no map, nothing to
    place, a model that can not say where, or a job under way that does it or is followed by one that does (see `receivers`)."""
    project = Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    embedding = latest_embedding(project)
    under_way = project.jobs.filter(kind__in=["iteration", "place"], state__in=[Job.State.QUEUED, Job.State.RUNNING])
    if embedding is None or embedding.n >= project.n_objects or under_way.exists():
        return None
    if not still_compares(embedding.model_version, project):
        return None  # the next iteration places them
    return start_job(
        project=project,
        kind="place",
        task="apps.models.tasks.place_new_objects",
        queue="gpu",
        requested_by=requested_by,
        params={},
    )


def place_what_was_left() -> None:
    """Start placing where objects are not on the map and no job is under way: a process died between an import or an
    iteration and what follows it. Not where placing on the newest map failed or was cancelled: it would again, without end."""
    jobs = Job.objects.filter(project=OuterRef("pk"))
    maps = Embedding.objects.filter(project=OuterRef("pk")).order_by("-number")
    gave_up = jobs.filter(
        kind="place", state__in=[Job.State.FAILED, Job.State.CANCELLED], created_at__gt=OuterRef("map_made_at")
    )
    left = Project.objects.annotate(
        n_placed=Subquery(maps.values("n")[:1]), map_made_at=Subquery(maps.values("created_at")[:1])
    ).filter(
        ~Exists(gave_up),
        ~Exists(jobs.filter(state__in=[Job.State.QUEUED, Job.State.RUNNING])),
        n_placed__lt=F("n_objects"),
    )
    for project in left:
        start_placing(project=project, requested_by=None)


def clear_old_vectors() -> None:
    """Delete the vectors of former maps and what lay around their objects, the largest of a map's files, which nothing asks
    for any more. Places and last predictions stay."""
    for embeddings in Path(settings.MEDIA_ROOT).glob("*/*/embeddings"):
        numbers = sorted(int(path.name) for path in embeddings.iterdir() if path.name.isdigit())
        for number in numbers[:-VECTORS_KEPT]:
            for name in (VECTORS_NAME, SURROUNDINGS_NAME):
                (embeddings / str(number) / name).unlink(missing_ok=True)


def check_can_iterate(project: Project, epochs: int | None) -> None:
    """Raises IterationRefused where there is nothing to train on or the number of epochs makes no sense."""
    if not project.n_objects:
        raise IterationRefused("the project has no objects yet: add images with masks first")
    if epochs is not None and not 1 <= epochs <= MAX_EPOCHS:
        raise IterationRefused(f"epochs: expected 1 to {MAX_EPOCHS}")


@transaction.atomic
def start_picture_search(*, project: Project, picture: NDArray[np.uint8], requested_by: User) -> Job:
    """Queue what finds objects like a picture (p, p, 3) of one: a worker makes its vector, by the newest map's model.

    The vector is the job's result; the picture itself is not kept. Raises SearchRefused where there is no map yet, TooManyJobs.
    """
    check_not_too_many(kind="picture", requested_by=requested_by)
    embedding = latest_embedding(project)
    if embedding is None:
        raise SearchRefused("there is no map yet, and so nothing to compare the picture with")
    if not still_compares(embedding.model_version, project):
        raise SearchRefused("the map was made with another size of patches, or of very few objects: make it anew first")
    work = f"picture-{uuid4().hex}"
    write_array(folder(project, "work", work) / PICTURE_NAME, picture)
    return start_job(
        project=project,
        kind="picture",
        task="apps.models.tasks.embed_picture",
        queue="cpu",  # a second's work, which must not wait until a training ends
        requested_by=requested_by,
        params={"work": work},
    )


@dataclass(frozen=True)
class NewPredictions:
    """What a head says of an embedding's objects, and which labels it knows of."""

    classes: NDArray[np.uint8]
    """Class value (n,); 0 everywhere where there is no head."""
    confidence: NDArray[np.uint8]
    """(n,) in 1/255."""
    label_revision: int
    n_labels: int
    has_predictions: bool
    quality: dict[str, Any]


def lock_predictions(project_id: int, *, wait: bool = True) -> bool:
    """Until the transaction ends, nobody else publishes predictions of this project. With `wait=False`, False at once
    where another process is at it."""
    function = "pg_advisory_xact_lock" if wait else "pg_try_advisory_xact_lock"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {function}(%s, %s)", [PREDICTIONS_LOCK, project_id])
        (taken,) = cursor.fetchone()
    return wait or bool(taken)


@transaction.atomic
def publish_predictions(*, embedding: Embedding, new: NewPredictions) -> PredictionSet:
    """Make these the predictions that hold: file, row, event; old files go. `embedding` is the project's newest."""
    project = embedding.project
    lock_predictions(project.pk)
    last = PredictionSet.objects.filter(project=project).order_by("-revision").first()
    revision = last.revision + 1 if last else 1
    path = prediction_file(embedding, revision)
    write_array(path, np.stack([new.classes, new.confidence]))
    published = PredictionSet.objects.create(
        project=project,
        revision=revision,
        embedding=embedding,
        label_revision=new.label_revision,
        n_labels=new.n_labels,
        has_predictions=new.has_predictions,
        quality=new.quality,
    )
    event: PredictionsReady = {"type": "predictions.ready", **prediction_state(published)}
    send_event_on_commit(project.pk, event)
    transaction.on_commit(lambda: _prune(embedding, revision))
    return published


def _prune(embedding: Embedding, revision: int) -> None:
    """Delete the files of old revisions. The folders of former maps keep the file they ended with: what is not written
    any more needs no pruning."""
    for path in prediction_file(embedding, revision).parent.glob("*.npy"):
        if int(path.stem) <= revision - FILES_KEPT:
            path.unlink(missing_ok=True)
