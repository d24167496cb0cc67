"""Objects that came after the newest map get their places on it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from apps.engine.embedding import embed_objects, object_mask_of, uses_descriptors, uses_pretrained
from apps.engine.pixels import PatchReader
from apps.engine.predict import draw_held_out
from apps.engine.reduce import place_new
from apps.labels.selectors import labels_to_learn_from, shared_label_set, shown_revision
from apps.models.models import Embedding
from apps.models.pipelines.measuring import measure, predict, recognize
from apps.models.pipelines.planning import Plan
from apps.models.pipelines.publishing import (
    Clock,
    Drawing,
    Outcome,
    previous_coordinates,
    publish,
    warn_of_classifier,
    write_embedding,
)
from apps.models.refit import SEED
from apps.models.selectors import latest_embedding, model_folder, model_settings
from apps.models.selectors import vectors as vectors_of
from apps.models.services import lock_predictions
from apps.objects.selectors import patch_reader
from apps.projects.files import folder
from apps.projects.jobs import Report
from apps.projects.models import Job, Project


def place_new_objects(job: Job, report: Report) -> dict[str, Any]:
    """Place the objects that came after the newest map on it: by that map's own model, and no other object moves."""
    work = folder(Project.objects.get(pk=job.project_id), "work", f"job-{job.pk}-{job.attempt}")
    try:
        # Once more where another map came in between: that is then the one to place on.
        while True:
            project = Project.objects.get(pk=job.project_id)
            before = latest_embedding(project)
            if before is None or before.n >= project.n_objects:
                return {"placed": 0, "objects": project.n_objects, "embedding": before.number if before else 0}
            outcome = _place_on(project, before, report, work)
            report.stage("publishing", start=0.99, end=1.0)
            with transaction.atomic():
                lock_predictions(project.pk)
                if latest_embedding(project) == before:
                    embedding = publish(project, job, report, outcome, work)
                    result = {"placed": outcome.n - before.n, "objects": outcome.n, "embedding": embedding.number}
                    report.keep_result(result)
                    return result
            shutil.rmtree(work / "embedding")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _place_on(project: Project, before: Embedding, report: Report, work: Path) -> Outcome:
    """The map that follows `before`, in `work`."""
    clock = Clock()
    label_revision = shown_revision(shared_label_set(project))
    values = labels_to_learn_from(project)
    patches = patch_reader(project, n_objects=len(values))
    version = before.model_version
    of_model = model_settings(version)
    report.stage("measuring", start=0.0, end=0.1)
    described = measure(project, patches, report, first=before.n) if uses_descriptors(of_model) else None
    recognized = None
    if uses_pretrained(of_model):
        report.stage("recognizing", start=0.1, end=0.3)
        recognized = recognize(project, patches, object_mask_of(of_model), report, first=before.n)
    report.stage("embedding", start=0.3, end=0.7)
    new = embed_objects(
        version.approach,
        of_model,
        model_folder(version),
        _LaterPatches(patches, before.n),
        described=described,
        recognized=recognized,
        may_fit=False,
        weights_root=settings.WEIGHTS_ROOT,
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    vectors = np.concatenate([vectors_of(before), new])
    clock.lap("embed")
    report.stage("predicting", start=0.7, end=0.8)
    held_out = draw_held_out(values, seed=SEED)
    predictors, surroundings, predictions = predict(
        project, vectors, of_model, patches, values, label_revision, held_out
    )
    warn_of_classifier(report, project, predictions)
    clock.lap("predict")
    report.stage("placing", start=0.8, end=0.99)
    previous = previous_coordinates(project, len(vectors))
    assert previous is not None  # `before` is there
    points = place_new(vectors, previous, seed=SEED, on_progress=report.progress, should_stop=report.should_stop)
    clock.lap("map")
    write_embedding(work / "embedding", predictors, surroundings, points)
    return Outcome(
        plan=Plan(version.approach, of_model, version=version),
        trained=None,
        n=len(vectors),
        dimension=vectors.shape[1],
        drawing=Drawing.judged(
            points,
            vectors,
            previous,
            values,
            held_out,
            reducer=before.reducer,
            shows_labels=before.shows_labels,
            fault=before.fault,
        ),
        predictions=predictions,
        seconds=clock.seconds,
    )


@dataclass(frozen=True)
class _LaterPatches:
    """A project's patches from the ordinal `first` on, as a source of their own."""

    patches: PatchReader
    first: int

    @property
    def patch_size_px(self) -> int:
        return self.patches.patch_size_px

    def __len__(self) -> int:
        return len(self.patches) - self.first

    def read(
        self, ordinals: NDArray[np.int64], /, *, size_px: int | None = None, patch_size_px: int | None = None
    ) -> NDArray[np.uint8]:
        return self.patches.read(ordinals + self.first, size_px=size_px, patch_size_px=patch_size_px)

    def read_masks(self, ordinals: NDArray[np.int64], /) -> NDArray[np.bool_]:
        return self.patches.read_masks(ordinals + self.first)
