"""One turn of the slow loop: train, embed, predict, map; published as a model version with its embedding."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from apps.common.notifications import EMBEDDING_MADE, notify
from apps.common.wire import encode_plot, gzipped
from apps.engine.durable import move_folder
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.train import TrainResult, train_model
from apps.engine.predict import draw_held_out, fit_head
from apps.engine.reduce import reduce_to_plot
from apps.labels.selectors import labels_to_learn_from, shared_label_set, shown_revision
from apps.models.events import EmbeddingReady
from apps.models.models import Embedding, ModelVersion, TrainingRun
from apps.models.selectors import coordinates, latest_embedding, latest_model_version, model_folder
from apps.models.services import PICTURE_NAME, NewPredictions, lock_predictions, publish_predictions
from apps.objects.selectors import patch_reader
from apps.projects.events import send_event_on_commit
from apps.projects.files import folder, project_folder, write_array, write_bytes
from apps.projects.jobs import Report
from apps.projects.models import Job, Project

SEED = 0


@dataclass(frozen=True)
class TrainingBudget:
    """Objects that a whole training may see, so that the map comes soon: many epochs over few objects, few over many.

    A first training knows nothing; later ones start from weights that know the project's objects and have only its new
    labels to learn.
    """

    first: int
    later: int
    fewest_epochs: int
    most_epochs: int

    def epochs(self, n_objects: int, *, first: bool) -> int:
        budget = self.first if first else self.later
        return int(np.clip(round(budget / max(n_objects, 1)), self.fewest_epochs, self.most_epochs))


# A core trains on some 80 to 150 objects a second: half a minute for a few hundred nuclei. A GPU, on thousands.
TRAINING_BUDGETS = {
    "cpu": TrainingBudget(first=3_000, later=2_000, fewest_epochs=2, most_epochs=30),
    "cuda": TrainingBudget(first=2_000_000, later=300_000, fewest_epochs=5, most_epochs=100),
}


@dataclass
class _Outcome:
    """What an iteration made, in its work folder, before it is published."""

    config: TrainConfig
    trained: TrainResult | None
    parent: ModelVersion | None
    n: int
    dimension: int
    predictions: NewPredictions
    seconds: dict[str, float]


def run_iteration(job: Job, report: Report) -> dict[str, Any]:
    """Train on the project's objects and labels as they are now, and publish the new map."""
    project = Project.objects.get(pk=job.project_id)
    work = folder(project, "work", f"job-{job.pk}-{job.attempt}")
    try:
        outcome = _compute(project, job.params, work, report)
        report.stage("publishing", start=0.99, end=1.0)
        embedding = _publish(project, job, report, outcome, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    quality = outcome.predictions.quality
    return {
        "objects": outcome.n,
        "labeled": outcome.predictions.n_labels,
        "model_version": embedding.model_version.number,
        "embedding": embedding.number,
        "epochs": outcome.trained.epochs if outcome.trained else 0,
        "seconds": {stage: round(seconds, 2) for stage, seconds in outcome.seconds.items()},
        "accuracy": quality.get("accuracy"),
        "balanced_accuracy": quality.get("balanced_accuracy"),
        "quality": quality,
    }


def _compute(project: Project, params: dict[str, Any], work: Path, report: Report) -> _Outcome:
    patches = patch_reader(project)
    # The revision first: a label that comes in between is learned from once more, rather than never.
    label_revision = shown_revision(shared_label_set(project))
    values = labels_to_learn_from(project)
    n = len(patches)
    # The network must not see the labels that its quality is measured on.
    held_out = draw_held_out(values, seed=SEED)
    parent = latest_model_version(project)
    train = params.get("train", True) or parent is None
    budget = TRAINING_BUDGETS[choose_device("auto").type]
    config = TrainConfig(
        approach=params.get("approach") or project.approach,
        encoder_size_px=project.encoder_size_px,
        epochs=params.get("epochs") or budget.epochs(n, first=parent is None),
        seed=SEED,
    )
    usable_parent = parent if parent and _same_architecture(parent, config) else None
    clock = _Clock()

    trained: TrainResult | None = None
    if train:
        report.stage("training", start=0.0, end=0.7)
        trained = train_model(
            config,
            patches,
            class_values=np.where(held_out, 0, values).astype(np.uint8),
            start_from=model_folder(usable_parent) if usable_parent else None,
            checkpoint=work / "model",
            on_progress=report.progress,
            should_stop=report.should_stop,
        )
        clock.lap("train")
    checkpoint = work / "model" if train else model_folder(parent)  # type: ignore[arg-type]

    report.stage("embedding", start=0.7, end=0.85)
    vectors = embed_patches(checkpoint, patches, on_progress=report.progress, should_stop=report.should_stop)
    clock.lap("embed")

    report.stage("predicting", start=0.85, end=0.87)
    head = fit_head(vectors, values, seed=SEED, held_out=held_out)
    classes, confidence = head.predict(vectors) if head else (np.zeros(n, np.uint8), np.zeros(n, np.float32))
    clock.lap("predict")

    report.stage("drawing the map", start=0.87, end=0.99)
    points = reduce_to_plot(
        vectors,
        previous=_previous_coordinates(project, n),
        seed=SEED,
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    clock.lap("map")

    _write_embedding(work / "embedding", vectors, points)
    return _Outcome(
        config=config,
        trained=trained,
        parent=parent,
        n=n,
        dimension=vectors.shape[1],
        predictions=NewPredictions(
            classes=classes,
            confidence=np.rint(confidence * 255).astype(np.uint8),
            label_revision=label_revision,
            n_labels=int((values > 0).sum()),
            has_predictions=head is not None,
            quality=head.quality.to_json() if head else {},
        ),
        seconds=clock.seconds,
    )


def _same_architecture(version: ModelVersion, config: TrainConfig) -> bool:
    """Whether weights of an earlier version can be gone on from; a project whose approach or encoder size was changed
    begins anew."""
    if version.approach != config.approach:
        return False  # and perhaps of a package that is no longer installed
    return TrainConfig.from_json(version.settings).network_shape() == config.network_shape()


def _previous_coordinates(project: Project, n: int) -> NDArray[np.float32] | None:
    embedding = latest_embedding(project)
    if embedding is None:
        return None
    previous = np.full((n, 2), np.nan, np.float32)
    previous[: embedding.n] = coordinates(embedding)
    return previous


def _write_embedding(target: Path, vectors: NDArray[np.float16], points: NDArray[np.float32]) -> None:
    target.mkdir()
    write_array(target / "vectors.npy", vectors)
    write_array(target / "coordinates.npy", points)
    write_bytes(target / "plot.bin.gz", gzipped(encode_plot(points)))


@transaction.atomic
def _publish(project: Project, job: Job, report: Report, outcome: _Outcome, work: Path) -> Embedding:
    """Move the files to their final names and enter the rows that name them; only if the job is still ours."""
    report.confirm_ownership()
    lock_predictions(project.pk)
    version = outcome.parent
    if outcome.trained is not None:
        version = ModelVersion.objects.create(
            project=project,
            number=(outcome.parent.number + 1) if outcome.parent else 1,
            parent=outcome.parent,
            approach=outcome.config.approach,
            settings=outcome.config.to_json(),
            quality=outcome.predictions.quality,
        )
        move_folder(work / "model", model_folder(version))
        TrainingRun.objects.create(
            job=job,
            model_version=version,
            settings=outcome.config.to_json(),
            n_objects=outcome.n,
            n_labeled=outcome.predictions.n_labels,
            losses=outcome.trained.losses,
            seconds=outcome.trained.seconds,
        )
    assert version is not None
    last = latest_embedding(project)
    embedding = Embedding.objects.create(
        project=project,
        number=(last.number + 1) if last else 1,
        model_version=version,
        job=job,
        n=outcome.n,
        dimension=outcome.dimension,
    )
    move_folder(work / "embedding", folder(project, "embeddings") / str(embedding.number))
    publish_predictions(embedding=embedding, new=outcome.predictions)
    notify(EMBEDDING_MADE, project.pk)  # labels may have come since this began
    send_event_on_commit(project.pk, EmbeddingReady(type="embedding.ready", number=embedding.number, n=embedding.n))
    return embedding


def embed_picture(job: Job, report: Report) -> dict[str, Any]:
    """The vector of a picture that somebody searches with, as the newest embedding's model sees it."""
    project = Project.objects.get(pk=job.project_id)
    embedding = latest_embedding(project)
    assert embedding is not None  # there was one when the job was started, and none is ever deleted
    work = project_folder(project) / "work" / job.params["work"]
    report.stage("reading the picture", start=0.0, end=1.0)
    picture = np.load(work / PICTURE_NAME)
    (vector,) = embed_patches(
        model_folder(embedding.model_version),
        _OnePatch(picture),
        device="cpu",
        threads=1,
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    report.confirm_ownership()
    shutil.rmtree(work, ignore_errors=True)
    return {"embedding": embedding.number, "vector": [float(number) for number in vector]}


@dataclass(frozen=True)
class _OnePatch:
    """A picture as the patch of a project's only object."""

    picture: NDArray[np.uint8]

    def __len__(self) -> int:
        return 1

    def read(self, ordinals: NDArray[np.int64], /) -> NDArray[np.uint8]:
        return np.stack([self.picture] * len(ordinals))

    def read_masks(self, ordinals: NDArray[np.int64], /) -> NDArray[np.bool_]:
        """For networks that see the object alone: nobody drew it, so all of the picture counts."""
        return np.ones((len(ordinals), *self.picture.shape[:2]), np.bool_)


class _Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._start = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._start
        self._start = now
