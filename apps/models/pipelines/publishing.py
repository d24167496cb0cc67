"""What a job makes in its work folder, and how it becomes a model version with its embedding."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from apps.common.notifications import EMBEDDING_MADE, notify
from apps.common.wire import encode_plot, gzipped
from apps.engine.arrays import write_array
from apps.engine.durable import move_folder
from apps.engine.layout import without_wide_gaps
from apps.engine.map_quality import label_purity, median_displacement, trustworthiness
from apps.engine.nn.train import TrainResult
from apps.engine.surroundings import Surroundings
from apps.models.events import EmbeddingReady
from apps.models.models import Embedding, ModelVersion, TrainingRun
from apps.models.pipelines.planning import Plan
from apps.models.selectors import (
    SURROUNDINGS_NAME,
    VECTORS_NAME,
    coordinates,
    latest_embedding,
    latest_model_version,
    model_folder,
)
from apps.models.services import NewPredictions, lock_predictions, publish_predictions
from apps.projects.events import send_event_on_commit
from apps.projects.files import folder, write_bytes
from apps.projects.jobs import Report
from apps.projects.models import Job, Project


class Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._start
        self._start = now


@dataclass(frozen=True)
class Drawing:
    """How a map was drawn, and how good it is: fields of `Embedding`."""

    reducer: str
    shows_labels: bool
    trustworthiness: float | None
    displacement: float | None
    feature_purity: float | None
    map_purity: float | None
    fault: str = ""

    @classmethod
    def judged(
        cls,
        points: NDArray[np.float32],
        vectors: NDArray[np.float16],
        previous: NDArray[np.float32] | None,
        values: NDArray[np.uint8],
        held_out: NDArray[np.bool_],
        *,
        reducer: str,
        shows_labels: bool,
        starts_from_labels: bool = False,
        fault: str = "",
    ) -> Drawing:
        """Of a map (n, 2) of the vectors (n, d), after the map before and the labels (n,) that there were when it was made. One that
        `starts_from_labels` goes on from a map that they shaped: what it shows of classes may be what that one was told."""
        return cls(
            reducer=reducer,
            shows_labels=shows_labels,
            trustworthiness=trustworthiness(vectors, points),
            displacement=None if previous is None else moved_on_screen(points, previous),
            feature_purity=label_purity(vectors, values, held_out),
            map_purity=None if shows_labels or starts_from_labels else label_purity(points, values, held_out),
            fault=fault,
        )


@dataclass
class Outcome:
    """What an iteration made, in its work folder, before it is published."""

    plan: Plan
    trained: TrainResult | None
    n: int
    dimension: int
    drawing: Drawing
    predictions: NewPredictions
    seconds: dict[str, float]


def warn_of_classifier(report: Report, project: Project, predictions: NewPredictions) -> None:
    if fault := predictions.quality.get("classifier_fault"):
        report.warn(f"The standard classifier predicts instead of {project.classifier}: {fault}")


def previous_coordinates(project: Project, n: int) -> NDArray[np.float32] | None:
    embedding = latest_embedding(project)
    if embedding is None:
        return None
    previous = np.full((n, 2), np.nan, np.float32)
    known = coordinates(embedding)[:n]
    previous[: len(known)] = known
    return previous


def moved_on_screen(points: NDArray[np.float32], previous: NDArray[np.float32]) -> float | None:
    """The median way of the objects that had a place, as pages show both maps and as a share of what the former one took there."""
    known = np.isfinite(previous).all(axis=1)
    return median_displacement(without_wide_gaps(points)[known], without_wide_gaps(previous[known]))


def write_embedding(
    target: Path, predictors: NDArray[np.float16], surroundings: Surroundings | None, points: NDArray[np.float32]
) -> None:
    target.mkdir(exist_ok=True)
    write_array(target / VECTORS_NAME, predictors)
    if surroundings is not None:
        write_array(target / SURROUNDINGS_NAME, surroundings.table)
    write_array(target / "coordinates.npy", points)
    write_bytes(target / "plot.bin.gz", gzipped(encode_plot(without_wide_gaps(points))))


@transaction.atomic
def publish(project: Project, job: Job, report: Report, outcome: Outcome, work: Path) -> Embedding:
    """Move the files to their final names and enter the rows that name them; only if the job is still ours."""
    report.confirm_ownership()
    lock_predictions(project.pk)
    plan = outcome.plan
    version = plan.version
    if version is None:
        before = latest_model_version(project)
        version = ModelVersion.objects.create(
            project=project,
            number=(before.number + 1) if before else 1,
            parent=plan.start_from,
            approach=plan.approach,
            settings={
                **(plan.config.to_json() if plan.config else {"settings": plan.settings.to_json()}),
                "patch_size_px": project.patch_size_px,
                "n_objects": outcome.n,
            },
            quality=outcome.predictions.quality,
        )
        move_folder(work / "model", model_folder(version))
    if outcome.trained is not None:
        TrainingRun.objects.create(
            job=job,
            model_version=version,
            settings=version.settings,
            n_objects=outcome.n,
            n_labeled=outcome.trained.n_labeled,
            losses=outcome.trained.losses,
            seconds=outcome.trained.seconds,
        )
    last = latest_embedding(project)
    embedding = Embedding.objects.create(
        project=project,
        number=(last.number + 1) if last else 1,
        model_version=version,
        job=job,
        n=outcome.n,
        dimension=outcome.dimension,
        **vars(outcome.drawing),
    )
    move_folder(work / "embedding", folder(project, "embeddings") / str(embedding.number))
    publish_predictions(embedding=embedding, new=outcome.predictions)
    notify(EMBEDDING_MADE, project.pk)  # labels may have come since this began
    send_event_on_commit(project.pk, EmbeddingReady(type="embedding.ready", number=embedding.number, n=embedding.n))
    return embedding
