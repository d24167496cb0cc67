"""One turn of the slow loop: train, embed, predict, map; published as a model version with its embedding."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import DatabaseError, transaction
from numpy.typing import NDArray

from apps.common.notifications import EMBEDDING_MADE, notify
from apps.common.wire import encode_plot, gzipped
from apps.engine.approaches.base import NetworkSettings, TrainingSettings
from apps.engine.approaches.instant import INSTANT, InstantSettings
from apps.engine.arrays import write_array
from apps.engine.descriptors import DESCRIPTORS_VERSION, describe_objects, describe_picture
from apps.engine.durable import move_folder
from apps.engine.embedding import embed_objects, sees_object_only, uses_descriptors
from apps.engine.errors import EngineError, Stopped
from apps.engine.map_quality import median_displacement, trustworthiness
from apps.engine.nn.checkpoints import has_its_weights
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device
from apps.engine.nn.launch import train_on_this_machine
from apps.engine.nn.train import TrainResult
from apps.engine.pixels import PatchReader, resize
from apps.engine.predict import draw_held_out
from apps.engine.reduce import place_new, reduce_to_plot
from apps.engine.registry import APPROACHES, CLASSIFIERS
from apps.engine.settings import Settings
from apps.engine.surroundings import Surroundings, find_surroundings, with_surroundings
from apps.labels.selectors import labels_to_learn_from, shared_label_set, shown_revision
from apps.models.events import EmbeddingPreview, EmbeddingReady
from apps.models.models import Embedding, ModelVersion, TrainingRun
from apps.models.refit import SEED, predict_objects
from apps.models.selectors import (
    SURROUNDINGS_NAME,
    VECTORS_NAME,
    coordinates,
    failed_iteration,
    latest_embedding,
    latest_model_version,
    model_folder,
    model_settings,
    preview_file,
    still_compares,
)
from apps.models.selectors import vectors as vectors_of
from apps.models.services import PICTURE_NAME, NewPredictions, lock_predictions, publish_predictions
from apps.objects.selectors import patch_reader
from apps.projects.events import send_event, send_event_on_commit
from apps.projects.files import folder, project_folder, read_array, write_bytes
from apps.projects.jobs import Report
from apps.projects.models import Job, Project
from apps.projects.selectors import chosen_approach

# Of the first iteration's progress: what its map from measurements takes.
FIRST_MAP_SHARE = 0.15
# In a work folder: what the job set out to do, and the labels as they were then, with their revision.
PLAN_NAME, LABELS_NAME, REVISION_NAME = "plan.json", "labels.npy", "revision.json"
# And whether the training came to its end; how much another job had done, if this one took its work over.
TRAINED_NAME, TAKEN_OVER_NAME = "trained", "taken-over"
# Of what came from outside, the work itself is not to blame.
OUTER_FAULTS = (OSError, MemoryError, DatabaseError)


# So many objects may a whole training see, in so many epochs at least and at most, so that the map comes soon: many epochs over few
# objects, few over many. A core trains on some 80 to 150 objects a second: half a minute for a few hundred nuclei. A GPU, on tens of
# thousands.
FIRST_TRAINING = {"cpu": (3_000, 2, 30), "cuda": (2_000_000, 2, 100)}
# A later one starts from weights that know the project's objects, and has only new labels to learn; not by heart, however fast the
# device: on CoNSeP, 19 epochs with 1,000 labels took the predictions of all others from 0.813 balanced accuracy to 0.770. The
# simulated person of `labeling` in tests/benchmarks, with its thousands of objects, has them as short.
LATER_TRAINING = (2_000, 1, 30)
# Draws where the project's own way to draw a map can not.
FALLBACK_REDUCER = "pca"


def epochs_for(n_objects: int, device_type: str, *, first: bool) -> int:
    """How many epochs a training takes where nobody chose them."""
    objects, fewest, most = FIRST_TRAINING[device_type] if first else LATER_TRAINING
    return int(np.clip(round(objects / max(n_objects, 1)), fewest, most))


@dataclass(frozen=True)
class _Plan:
    """Which model an iteration makes, or uses again."""

    approach: str
    settings: Settings
    config: TrainConfig | None = None  # of the training, for an approach with a network
    version: ModelVersion | None = None  # whose weights and scale are used again; None makes a new one
    start_from: ModelVersion | None = None  # whose weights the training goes on from

    def to_json(self) -> dict[str, Any]:
        """What has to be the same for half of the work to be of use to another attempt."""
        return {
            "approach": self.approach,
            **(self.config.to_json() if self.config else {"settings": self.settings.to_json()}),
            "version": self.version.number if self.version else None,
            "start_from": self.start_from.number if self.start_from else None,
        }


@dataclass(frozen=True)
class _Map:
    """How a map was drawn, and how good it is: fields of `Embedding`."""

    reducer: str
    shows_labels: bool
    trustworthiness: float | None
    displacement: float | None


@dataclass
class _Outcome:
    """What an iteration made, in its work folder, before it is published."""

    plan: _Plan
    trained: TrainResult | None
    n: int
    dimension: int
    drawing: _Map
    predictions: NewPredictions
    seconds: dict[str, float]


def run_iteration(job: Job, report: Report) -> dict[str, Any]:
    """Train on the project's objects and labels as they are now, and publish the new map.

    A project's first map comes before its first training, from what can be measured at once: labeling begins on that.
    Where it fails, the next one goes on with what it has done, if it would make the same.
    """
    project = Project.objects.get(pk=job.project_id)
    CLASSIFIERS.get(project.classifier).load()  # before anything is trained, rather than when it is needed
    work = _work_folder(project, job)
    plan = _plan_of_attempt(project, job, work, report)
    start = 0.0
    first_map: dict[str, float] = {}
    try:
        if plan.config is not None and latest_embedding(project) is None:
            start = FIRST_MAP_SHARE
            measured = InstantSettings(object_mask="object_only" if sees_object_only(plan.settings) else "none")
            first = _compute(project, _Plan(INSTANT.name, measured), work / "first", report, (0.0, start))
            _publish(project, job, report, first, work / "first")
            first_map = {"first_map": sum(first.seconds.values())}
        outcome = _compute(project, plan, work / "new", report, (start, 0.99))
        report.stage("publishing", start=0.99, end=1.0)
        with transaction.atomic():
            embedding = _publish(project, job, report, outcome, work / "new")
            quality = embedding.prediction_sets.latest("revision").quality_to_tell
            result = {
                "objects": outcome.n,
                "labeled": outcome.predictions.n_labels,
                "model_version": embedding.model_version.number,
                "embedding": embedding.number,
                **_training_figures(outcome.trained),
                "seconds": {stage: round(seconds, 2) for stage, seconds in (first_map | outcome.seconds).items()},
                "accuracy": quality.get("accuracy"),
                "balanced_accuracy": quality.get("balanced_accuracy"),
                "quality": quality,
            }
            report.keep_result(result)
    except Stopped:
        _clear(work, report)
        raise
    except Exception as error:
        if report.is_owner() and _is_worth_keeping(work, error):
            move_folder(work, failed_iteration(project))
        _clear(work, report)
        raise
    _clear(work, report)
    if plan.version is None:  # what comes goes on from this one's model
        shutil.rmtree(failed_iteration(project), ignore_errors=True)
    return result


def _clear(work: Path, report: Report) -> None:
    if report.is_owner():  # otherwise the next attempt goes on with it
        shutil.rmtree(work, ignore_errors=True)


def _training_figures(trained: TrainResult | None) -> dict[str, Any]:
    if trained is None:
        return {"epochs": 0}
    return {
        "epochs": trained.epochs,
        "patches_per_second": round(trained.patches_per_second),
        "input_share": round(trained.input_share, 4),
    }


def _work_folder(project: Project, job: Job) -> Path:
    """The folder of this attempt, with what the attempt before it had done when its worker died.

    Renamed, so that a worker that was only thought dead has nothing left to write to or to remove.
    """
    folders = [folder(project, "work") / f"job-{job.pk}-{attempt}" for attempt in range(job.attempt, 0, -1)]
    work = folders[0]
    left = next((path for path in folders[1:] if path.exists()), None)
    if left is not None:
        left.rename(work)
    work.mkdir(exist_ok=True)
    return work


def _is_worth_keeping(work: Path, error: Exception) -> bool:
    """Whether there is anything that the next iteration could go on with; where two fail at the same point by no fault from
    outside, the fault may lie in what they share."""
    taken_over = work / TAKEN_OVER_NAME
    before = int(taken_over.read_text()) if taken_over.exists() else 0
    return _amount_done(work) > (0 if isinstance(error, OUTER_FAULTS) else before)


def _amount_done(work: Path) -> int:
    """Grows with each epoch whose state is kept, the end of the training, and each shard of features."""
    epochs = (int(path.name.removeprefix("epoch-")) for path in work.glob("new/states/epoch-*"))
    shards = sum(path.is_file() for path in work.glob("new/shards/**/*"))
    return max(epochs, default=0) + (work / "new" / TRAINED_NAME).exists() + shards


def _take_over(project: Project, work: Path, plan: bytes) -> bool:
    """Have in `work`, where nothing is yet, what an iteration that failed had done by the same `plan`. A training that came
    to its end is of use whatever was labeled since; half of one is not."""
    failed = failed_iteration(project)
    kept, revision = failed / PLAN_NAME, failed / "new" / REVISION_NAME
    if not kept.exists() or kept.read_bytes() != plan:
        return False
    is_half_trained = (failed / "new" / "states").exists() and not (failed / "new" / TRAINED_NAME).exists()
    if is_half_trained and json.loads(revision.read_bytes()) != shown_revision(shared_label_set(project)):
        return False
    move_folder(failed, work)
    write_bytes(work / TAKEN_OVER_NAME, str(_amount_done(work)).encode())
    return True


def _plan_of_attempt(project: Project, job: Job, work: Path, report: Report) -> _Plan:
    """What is to be made, from the project's settings as they are now.

    What an attempt before this one did in `work` is kept if it was on its way to the same, and removed otherwise: half
    of a training by other settings belongs to neither.
    """
    kept = work / PLAN_NAME
    before = kept.read_bytes() if kept.exists() else None
    n_objects = json.loads(before)["n_objects"] if before else project.n_objects
    plan = _plan(project, job.params, n_objects=n_objects)
    now = json.dumps({"n_objects": n_objects, "patch_size_px": project.patch_size_px, **plan.to_json()}).encode()
    if before is None and _take_over(project, work, now):
        report.log("goes on with what the iteration before this one had done when it failed")
    elif before not in (None, now):
        report.log("begins anew: what is to be made has changed since")
        # Out of the way at once: what is half removed must never pass for this attempt's.
        shutil.rmtree(work.rename(work.with_name(f"{work.name}-changed")), ignore_errors=True)
        work.mkdir()
        return _plan_of_attempt(project, job, work, report)
    write_bytes(kept, now)
    return plan


def _plan(project: Project, params: dict[str, Any], *, n_objects: int) -> _Plan:
    """From the project's settings and what the job was asked for."""
    last = latest_model_version(project)
    if last is not None and not params.get("train", True) and _can_be_used_again(last, project):
        return _Plan(last.approach, model_settings(last), version=last)
    if "approach_settings" in params:
        approach = APPROACHES.get(params["approach"])
        settings = approach.settings.from_json(params["approach_settings"])
    else:
        approach, settings = chosen_approach(project)
    if not isinstance(settings, NetworkSettings):
        return _Plan(approach.name, settings)
    config = TrainConfig(approach=approach.name, settings=settings, encoder_size_px=project.encoder_size_px, seed=SEED)
    start_from = next(
        (version for version in project.model_versions.order_by("-number") if _same_architecture(version, config)), None
    )
    if not isinstance(settings, TrainingSettings):
        # What trains nothing is the same each time.
        same = (
            start_from is not None
            and start_from.settings["settings"] == settings.to_json()
            and _can_be_used_again(start_from, project)
        )
        return _Plan(approach.name, settings, version=start_from) if same else _Plan(approach.name, settings, config)
    device = choose_device("auto")
    epochs = params.get("epochs") or settings.epochs or epochs_for(n_objects, device.type, first=start_from is None)
    return _Plan(approach.name, settings, config=replace(config, epochs=epochs), start_from=start_from)


def _can_be_used_again(version: ModelVersion, project: Project) -> bool:
    """Whether it gives features of all of the project's objects that compare with each other, and from the weights it was made
    with: a foundation model's file may have been replaced by a newer one."""
    if not still_compares(version, project):
        return False
    uses_network = APPROACHES.get(version.approach).uses_network
    return not uses_network or has_its_weights(model_folder(version), weights_root=settings.WEIGHTS_ROOT)


def _compute(project: Project, plan: _Plan, work: Path, report: Report, span: tuple[float, float]) -> _Outcome:
    """Everything up to what `_publish` needs, in `work`; the job's progress goes over `span` meanwhile."""
    work.mkdir(exist_ok=True)
    values, label_revision = _labels_at_the_start(project, work)
    n = len(values)
    patches = patch_reader(project, n_objects=n)
    # The network must not see the labels that its quality is measured on.
    held_out = draw_held_out(values, seed=SEED)
    clock = _Clock()

    def stage(name: str, start: float, end: float) -> None:
        low, width = span[0], span[1] - span[0]
        report.stage(name, start=low + width * start, end=low + width * end)

    described: NDArray[np.float32] | None = None
    if uses_descriptors(plan.settings):
        # Where nothing is trained it takes most of the time; otherwise the first map has done it.
        stage("measuring", 0.0, 0.7 if plan.config is None else 0.05)
        described = _described(project, patches, report)
        clock.lap("measure")

    trained: TrainResult | None = None
    if plan.config is not None:
        stage("training", 0.05, 0.7)
        trained = train_on_this_machine(
            plan.config,
            patches,
            class_values=np.where(held_out, 0, values).astype(np.uint8),
            start_from=model_folder(plan.start_from) if plan.start_from else None,
            checkpoint=work / "model",
            weights_root=settings.WEIGHTS_ROOT,
            states=work / "states",
            on_progress=report.progress,
            should_stop=report.should_stop,
        )
        write_bytes(work / TRAINED_NAME, b"")
        if trained.resumed_after:
            report.log(f"went on after epoch {trained.resumed_after}")
        clock.lap("train")

    stage("embedding", 0.7, 0.85)
    vectors = embed_objects(
        plan.approach,
        plan.settings,
        model_folder(plan.version) if plan.version else work / "model",
        patches,
        described=described,
        weights_root=settings.WEIGHTS_ROOT,
        shards=work / "shards",
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    clock.lap("embed")

    stage("predicting", 0.85, 0.87)
    predictors, surroundings, predictions = _predict(
        project, vectors, plan.settings, patches, values, label_revision, held_out
    )
    clock.lap("predict")

    stage("drawing the map", 0.87, 1.0)
    previous = _previous_coordinates(project, n)
    shows_labels = project.map_shows_labels and bool(values.any())
    reducer = project.reducer

    def draw(reducer: str) -> NDArray[np.float32]:
        return reduce_to_plot(
            vectors,
            reducer=reducer,
            previous=previous,
            class_values=values if shows_labels else None,
            seed=SEED,
            on_points=_Previews(report.job),
            on_progress=report.progress,
            should_stop=report.should_stop,
        )

    try:
        points = draw(reducer)
    except Stopped:
        raise
    except EngineError as error:
        if reducer == FALLBACK_REDUCER:
            raise
        # What was trained for an hour is not thrown away because a library is missing or broken.
        report.log(f"The map is drawn by principal components instead of {reducer}: {error}")
        reducer, shows_labels = FALLBACK_REDUCER, False
        points = draw(reducer)
    drawing = _Map(
        reducer=reducer,
        shows_labels=shows_labels,
        trustworthiness=trustworthiness(vectors, points),
        displacement=median_displacement(points, previous) if previous is not None else None,
    )
    clock.lap("map")

    _write_embedding(work / "embedding", predictors, surroundings, points)
    return _Outcome(
        plan=plan,
        trained=trained,
        n=n,
        dimension=vectors.shape[1],
        drawing=drawing,
        predictions=predictions,
        seconds=clock.seconds,
    )


def _labels_at_the_start(project: Project, work: Path) -> tuple[NDArray[np.uint8], int]:
    """The labels to learn from, of as many objects as there were, with their revision.

    As they were when the job first came here: with others, a training whose worker died could not be gone on with.
    """
    labels, revision = work / LABELS_NAME, work / REVISION_NAME
    if not labels.exists():
        # The revision first: a label that comes in between is learned from once more, rather than never.
        write_bytes(revision, json.dumps(shown_revision(shared_label_set(project))).encode())
        write_array(labels, labels_to_learn_from(project))
    return read_array(labels), json.loads(revision.read_text())


class _Previews:
    """Puts the places of a layout that runs where pages can fetch them, and tells the pages."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._step = 0

    def __call__(self, points: NDArray[np.float32]) -> None:
        # Level 1: it is looked at for two seconds.
        write_bytes(preview_file(self._job), gzipped(encode_plot(points), level=1))
        self._step += 1
        event = EmbeddingPreview(type="embedding.preview", job=self._job.pk, step=self._step, n=len(points))
        send_event(self._job.project_id, event)


def _described(project: Project, patches: PatchReader, report: Report) -> NDArray[np.float32]:
    """The descriptors of all objects. Objects do not change: what was measured once is kept, by patch size, in files that
    are named by the number of objects before them."""
    kept = folder(project, "descriptors", f"{DESCRIPTORS_VERSION}-{project.patch_size_px}px")
    described: list[NDArray[np.float32]] = []
    n_kept = 0
    while (path := kept / f"{n_kept}.npy").exists():
        try:
            # A million objects' are 1.4 GB, which need not be there twice.
            described.append(read_array(path, is_mapped=True))
        except EngineError as error:
            report.log(f"The objects from {n_kept:,} on are measured anew: {error}")
            break
        n_kept += len(described[-1])

    def keep(rows: NDArray[np.float32]) -> None:
        nonlocal n_kept
        write_array(kept / f"{n_kept}.npy", rows)
        n_kept += len(rows)

    if n_kept < len(patches):
        new = np.arange(n_kept, len(patches))
        described.append(
            describe_objects(patches, new, keep=keep, on_progress=report.progress, should_stop=report.should_stop)
        )
    return (described[0] if len(described) == 1 else np.concatenate(described))[: len(patches)]


def _predict(
    project: Project,
    vectors: NDArray[np.float16],
    of_model: Settings,
    patches: PatchReader,
    values: NDArray[np.uint8],
    label_revision: int,
    held_out: NDArray[np.bool_],
) -> tuple[NDArray[np.float16], Surroundings | None, NewPredictions]:
    """What predictions are made from before labels are known: the vectors (n, d), and what lies around each object where more than the
    object counts; which objects those are, None where only the object counts; and the predictions."""
    surroundings = None if sees_object_only(of_model) else find_surroundings(patches.images)
    predictors = vectors if surroundings is None else with_surroundings(vectors, surroundings)
    predictions, _ = predict_objects(
        project, predictors, values, surroundings=surroundings, label_revision=label_revision, held_out=held_out
    )
    return predictors, surroundings, predictions


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
    known = coordinates(embedding)[:n]
    previous[: len(known)] = known
    return previous


def _write_embedding(
    target: Path, predictors: NDArray[np.float16], surroundings: Surroundings | None, points: NDArray[np.float32]
) -> None:
    target.mkdir(exist_ok=True)
    write_array(target / VECTORS_NAME, predictors)
    if surroundings is not None:
        write_array(target / SURROUNDINGS_NAME, surroundings.table)
    write_array(target / "coordinates.npy", points)
    write_bytes(target / "plot.bin.gz", gzipped(encode_plot(points)))


@transaction.atomic
def _publish(project: Project, job: Job, report: Report, outcome: _Outcome, work: Path) -> Embedding:
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
            n_labeled=outcome.predictions.n_labels,
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
                    embedding = _publish(project, job, report, outcome, work)
                    result = {"placed": outcome.n - before.n, "objects": outcome.n, "embedding": embedding.number}
                    report.keep_result(result)
                    return result
            shutil.rmtree(work / "embedding")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _place_on(project: Project, before: Embedding, report: Report, work: Path) -> _Outcome:
    """The map that follows `before`, in `work`."""
    clock = _Clock()
    label_revision = shown_revision(shared_label_set(project))
    values = labels_to_learn_from(project)
    patches = patch_reader(project, n_objects=len(values))
    version = before.model_version
    of_model = model_settings(version)
    report.stage("embedding", start=0.0, end=0.7)
    described = _described(project, patches, report)[before.n :] if uses_descriptors(of_model) else None
    new = embed_objects(
        version.approach,
        of_model,
        model_folder(version),
        _LaterPatches(patches, before.n),
        described=described,
        may_fit=False,
        weights_root=settings.WEIGHTS_ROOT,
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    vectors = np.concatenate([vectors_of(before), new])
    clock.lap("embed")
    report.stage("predicting", start=0.7, end=0.8)
    held_out = draw_held_out(values, seed=SEED)
    predictors, surroundings, predictions = _predict(
        project, vectors, of_model, patches, values, label_revision, held_out
    )
    clock.lap("predict")
    report.stage("placing", start=0.8, end=0.99)
    previous = _previous_coordinates(project, len(vectors))
    assert previous is not None  # `before` is there
    points = place_new(vectors, previous, seed=SEED, on_progress=report.progress, should_stop=report.should_stop)
    clock.lap("map")
    _write_embedding(work / "embedding", predictors, surroundings, points)
    return _Outcome(
        plan=_Plan(version.approach, of_model, version=version),
        trained=None,
        n=len(vectors),
        dimension=vectors.shape[1],
        drawing=_Map(before.reducer, before.shows_labels, trustworthiness(vectors, points), displacement=0.0),
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


def embed_picture(job: Job, report: Report) -> dict[str, Any]:
    """The vector of a picture that somebody searches with, as the newest embedding's model sees it."""
    project = Project.objects.get(pk=job.project_id)
    embedding = latest_embedding(project)
    assert embedding is not None  # there was one when the job was started, and none is ever deleted
    work = project_folder(project) / "work" / job.params["work"]
    report.stage("reading the picture", start=0.0, end=1.0)
    picture = read_array(work / PICTURE_NAME)
    version = embedding.model_version
    model_has = model_settings(version)
    (vector,) = embed_objects(
        version.approach,
        model_has,
        model_folder(version),
        _OnePatch(picture),
        described=describe_picture(picture) if uses_descriptors(model_has) else None,
        may_fit=False,
        weights_root=settings.WEIGHTS_ROOT,
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    result = {"embedding": embedding.number, "vector": [float(number) for number in vector]}
    with transaction.atomic():
        report.confirm_ownership()  # another attempt would need the picture again
        report.keep_result(result)
    shutil.rmtree(work, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _OnePatch:
    """A picture as the patch of a project's only object."""

    picture: NDArray[np.uint8]

    @property
    def patch_size_px(self) -> int:
        return len(self.picture)

    def __len__(self) -> int:
        return 1

    def read(
        self, ordinals: NDArray[np.int64], /, *, size_px: int | None = None, patch_size_px: int | None = None
    ) -> NDArray[np.uint8]:
        """The picture, mirrored beyond its edge."""
        beyond = ((patch_size_px or self.patch_size_px) - self.patch_size_px) // 2
        picture = np.pad(self.picture, ((beyond, beyond), (beyond, beyond), (0, 0)), mode="reflect")
        patches = np.stack([picture] * len(ordinals))
        return patches if size_px is None else resize(patches, size_px)

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
