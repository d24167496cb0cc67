"""Content-based retrieval: the objects most similar to chosen ones, or to a picture, among those a filter lets through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.engine.errors import EngineError
from apps.engine.similar import Neighbors
from apps.images.models import Image
from apps.labels.selectors import kept_class_values, shared_label_set
from apps.models.models import Embedding
from apps.models.selectors import current_predictions, has_vectors, latest_embedding, similar_objects
from apps.models.services import SearchRefused
from apps.projects.models import Job, Project


@dataclass(frozen=True)
class Among:
    """Which objects may be found; everything by default."""

    unlabeled: bool = False
    class_value: int | None = None
    """An object's label, or what is predicted while it has none: the class that the pages show and filter by."""
    image: Image | None = None

    @property
    def everything(self) -> bool:
        return self == Among()


@dataclass(frozen=True)
class Found:
    neighbors: Neighbors
    embedding: Embedding


def similar_to_objects(
    project: Project, ordinals: NDArray[np.int64], *, k: int, among: Among, with_themselves: bool = False
) -> Found:
    """The `k` objects most similar to the mean of these, by the newest map's vectors, nearest first.

    Raises SearchRefused where none of them is on the map yet.
    """
    embedding = latest_embedding(project)
    known = ordinals[ordinals < embedding.n] if embedding else ordinals[:0]
    if embedding is None or not len(known):
        raise SearchRefused("these objects are not on the map yet, and so can not be compared")
    allowed = _allowed(project, embedding, among)
    if not with_themselves:
        allowed = np.ones(embedding.n, np.bool_) if allowed is None else allowed
        allowed[known] = False
    try:
        search = similar_objects(embedding)
        return Found(search.nearest(search.direction(known), k, allowed=allowed), embedding)
    except EngineError as error:
        raise SearchRefused(str(error)) from error


def similar_to_picture(job: Job, *, k: int, among: Among) -> Found:
    """The `k` objects most similar to the picture of a finished `picture` job."""
    if job.state != Job.State.FINISHED:
        raise SearchRefused(f"the picture can not be compared: its job is {job.state}")
    # The map that was the newest then: another model's numbers mean something else.
    embedding = job.project.embeddings.get(number=job.result["embedding"])
    if not has_vectors(embedding):
        raise SearchRefused("the map was made anew since: search with the picture once more")
    allowed = _allowed(job.project, embedding, among)
    try:
        neighbors = similar_objects(embedding).nearest(np.array(job.result["vector"]), k, allowed=allowed)
    except EngineError as error:
        raise SearchRefused(str(error)) from error
    return Found(neighbors, embedding)


def _allowed(project: Project, embedding: Embedding, among: Among) -> NDArray[Any] | None:
    """Flags (embedding.n,), or None for everything."""
    if among.everything:
        return None
    allowed = np.ones(embedding.n, np.bool_)
    if among.unlabeled or among.class_value is not None:
        labels = kept_class_values(shared_label_set(project), project.n_objects)
        if among.unlabeled:
            allowed &= labels[: embedding.n] == 0
        if among.class_value is not None:
            shown = np.where(labels == 0, current_predictions(project).classes, labels)
            allowed &= shown[: embedding.n] == among.class_value
    if among.image is not None:
        on_image = np.zeros(embedding.n, np.bool_)
        on_image[among.image.first_ordinal : among.image.first_ordinal + among.image.n_objects] = True
        allowed &= on_image
    return allowed
