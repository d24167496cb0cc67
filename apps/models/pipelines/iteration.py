"""One turn of the slow loop: train, embed, predict, map; published as a model version with its embedding."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from apps.common.wire import encode_plot, gzipped
from apps.engine.approaches.instant import INSTANT, InstantSettings
from apps.engine.durable import move_folder, remove_folder
from apps.engine.embedding import embed_objects, object_mask_of, sees_object_only, uses_descriptors, uses_pretrained
from apps.engine.errors import EngineError, Stopped
from apps.engine.layout import without_wide_gaps
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.launch import train_on_this_machine
from apps.engine.nn.pretrained import is_seen_within_seconds, load_pretrained, mask_seen
from apps.engine.nn.train import TrainResult
from apps.engine.pixels import PatchReader
from apps.engine.predict import draw_held_out
from apps.engine.reduce import heeds_classes, reduce_to_plot
from apps.engine.registry import CLASSIFIERS
from apps.models.events import EmbeddingPreview
from apps.models.pipelines.attempts import clear, labels_at_the_start, plan_of_attempt, work_folder
from apps.models.pipelines.measuring import forget_others, measure, predict, recognize
from apps.models.pipelines.planning import Plan, make_plan
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
from apps.models.selectors import (
    failed_iteration,
    latest_embedding,
    model_folder,
    model_settings,
    preview_file,
)
from apps.models.work import PLAN_NAME, TRAINED_NAME, is_worth_keeping
from apps.objects.selectors import patch_reader
from apps.projects.events import send_event
from apps.projects.files import write_bytes
from apps.projects.jobs import Report, without_folders
from apps.projects.models import Job, Project

# Of an iteration's progress: what the maps before its training take.
EARLY_MAPS_SHARE = 0.15
# Draws where the project's own way to draw a map can not.
FALLBACK_REDUCER = "pca"


def run_iteration(job: Job, report: Report) -> dict[str, Any]:
    """Train on the project's objects and labels as they are now, and publish the new map.

    A project's first maps come before its first training, from what can be measured at once: labeling begins on them.
    Where it fails, the next one goes on with what it has done, if it would make the same.
    """
    project = Project.objects.get(pk=job.project_id)
    CLASSIFIERS.get(project.classifier).load()  # before anything is trained, rather than when it is needed
    if uses_pretrained(make_plan(project, job.params, n_objects=project.n_objects).settings):
        load_pretrained()  # likewise, and before the work of a failed iteration is taken over
    work = work_folder(project, job)
    plan = plan_of_attempt(project, job, work, report)
    start = 0.0
    early_maps: dict[str, float] = {}
    try:
        early_plans = _plans_before(project, plan, work / "new")
        for early_plan in early_plans:
            end = start + EARLY_MAPS_SHARE / len(early_plans)
            _keep_only_work_of(early_plan, work / "early")
            early = _compute(project, early_plan, work / "early", report, (start, end))
            number = publish(project, job, report, early, work / "early").number
            early_maps["first_map" if number == 1 else "second_map"] = sum(early.seconds.values())
            start = end
        if (work / "early").exists():  # by an attempt before this one: its training begins where that one's did
            start = EARLY_MAPS_SHARE
        outcome = _compute(project, plan, work / "new", report, (start, 0.99))
        report.stage("publishing", start=0.99, end=1.0)
        with transaction.atomic():
            embedding = publish(project, job, report, outcome, work / "new")
            quality = embedding.prediction_sets.latest("revision").quality_to_tell
            result = {
                "objects": outcome.n,
                "labeled": outcome.predictions.n_labels,
                "model_version": embedding.model_version.number,
                "embedding": embedding.number,
                **_training_figures(outcome.trained),
                "seconds": {stage: round(seconds, 2) for stage, seconds in (early_maps | outcome.seconds).items()},
                "accuracy": quality.get("accuracy"),
                "balanced_accuracy": quality.get("balanced_accuracy"),
                "quality": quality,
                "warnings": list(dict.fromkeys(report.warnings)),
            }
            report.keep_result(result)
    except Stopped:
        clear(work, report)
        raise
    except Exception as error:
        if report.is_owner() and is_worth_keeping(work, error):
            move_folder(work, failed_iteration(project))
        clear(work, report)
        raise
    if report.is_owner():
        forget_others(project, plan.settings)
    clear(work, report)
    if plan.version is None:  # what comes goes on from this one's model
        shutil.rmtree(failed_iteration(project), ignore_errors=True)
    return result


def _plans_before(project: Project, plan: Plan, work: Path) -> list[Plan]:
    """What makes a project's maps before its first by `plan`: from what is known of all objects within seconds, and from what a training
    need not be waited for. Not what there is already, nor where an attempt before this one has begun with `plan`, in `work`."""
    versions = list(project.model_versions.all())
    is_trained = any(version.approach != INSTANT.name for version in versions)
    if work.exists() or is_trained or not (plan.config or plan.approach == INSTANT.name):
        return []
    measured = InstantSettings(object_mask="object_only" if sees_object_only(plan.settings) else "none")
    recognized = replace(measured, pretrained=True)
    if not uses_pretrained(plan.settings):
        early = [measured]
    elif is_seen_within_seconds(project.n_objects):
        early = [recognized]
    elif mask_seen(object_mask_of(plan.settings)) == measured.object_mask:
        early = [measured, recognized]
    else:
        early = [measured]  # what it sees of dimmed surroundings it sees once, after the training
    if versions:
        is_recognized = any(uses_pretrained(model_settings(version)) for version in versions)
        early = [settings for settings in early if settings.pretrained and not is_recognized]
    return [Plan(INSTANT.name, settings) for settings in early if settings != plan.settings]


def _keep_only_work_of(plan: Plan, work: Path) -> None:
    """Have in `work` nothing but what an attempt before this one did by the same plan: by another, it may be of fewer objects."""
    kept, now = work / PLAN_NAME, json.dumps(plan.to_json()).encode()
    if work.exists() and not (kept.exists() and kept.read_bytes() == now):
        remove_folder(work)
    work.mkdir(exist_ok=True)
    write_bytes(kept, now)


def _training_figures(trained: TrainResult | None) -> dict[str, Any]:
    if trained is None:
        return {"epochs": 0}
    return {
        "epochs": trained.epochs,
        "patches_per_second": round(trained.patches_per_second),
        "input_share": round(trained.input_share, 4),
    }


def _compute(project: Project, plan: Plan, work: Path, report: Report, span: tuple[float, float]) -> Outcome:
    """Everything up to what `publish` needs, in `work`; the job's progress goes over `span` meanwhile."""
    work.mkdir(exist_ok=True)
    values, label_revision = labels_at_the_start(project, work)
    n = len(values)
    patches = patch_reader(project, n_objects=n)
    # The network must not see the labels that its quality is measured on.
    held_out = draw_held_out(values, seed=SEED)
    clock = Clock()

    def stage(name: str, start: float, end: float) -> None:
        low, width = span[0], span[1] - span[0]
        report.stage(name, start=low + width * start, end=low + width * end)

    trained: TrainResult | None = None
    if plan.config is not None:
        stage("training", 0.0, 0.6)
        trained = _train(plan, plan.config, patches, np.where(held_out, 0, values).astype(np.uint8), work, report)
        clock.lap("train")

    # After the training, which would hold them in memory for hours. What a map before this one needed of them is there already.
    start, recognizes = (0.6 if trained else 0.0), uses_pretrained(plan.settings)
    described: NDArray[np.float32] | None = None
    if uses_descriptors(plan.settings):
        stage("measuring", start, start + 0.05 if trained or recognizes else 0.7)
        described = measure(project, patches, report)
        clock.lap("measure")
    recognized: NDArray[np.float16] | None = None
    if recognizes:
        stage("recognizing", start + 0.05, 0.7)
        recognized = recognize(project, patches, object_mask_of(plan.settings), report)
        clock.lap("recognize")

    stage("embedding", 0.7, 0.85)
    vectors = embed_objects(
        plan.approach,
        plan.settings,
        model_folder(plan.version) if plan.version else work / "model",
        patches,
        described=described,
        recognized=recognized,
        weights_root=settings.WEIGHTS_ROOT,
        shards=work / "shards",
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    clock.lap("embed")
    del described, recognized  # gigabytes, of a million objects

    stage("predicting", 0.85, 0.87)
    predictors, surroundings, predictions = predict(
        project, vectors, plan.settings, patches, values, label_revision, held_out
    )
    warn_of_classifier(report, project, predictions)
    clock.lap("predict")

    stage("drawing the map", 0.87, 1.0)
    points, drawing = _draw(project, vectors, values, held_out, report)
    clock.lap("map")

    write_embedding(work / "embedding", predictors, surroundings, points)
    return Outcome(
        plan=plan,
        trained=trained,
        n=n,
        dimension=vectors.shape[1],
        drawing=drawing,
        predictions=predictions,
        seconds=clock.seconds,
    )


def _train(
    plan: Plan, config: TrainConfig, patches: PatchReader, values: NDArray[np.uint8], work: Path, report: Report
) -> TrainResult:
    """Train with the labels (n,), from where an earlier attempt was."""
    trained = train_on_this_machine(
        config,
        patches,
        class_values=values,
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
    return trained


def _draw(
    project: Project,
    vectors: NDArray[np.float16],
    values: NDArray[np.uint8],
    held_out: NDArray[np.bool_],
    report: Report,
) -> tuple[NDArray[np.float32], Drawing]:
    """The objects' places (n, 2), from those that they had, and how they were found: where the project's reducer fails, by principal
    components. What was trained for an hour is not thrown away because a library is missing or broken."""
    previous = previous_coordinates(project, len(vectors))

    def draw(reducer: str, *, shows_labels: bool) -> NDArray[np.float32]:
        return reduce_to_plot(
            vectors,
            reducer=reducer,
            previous=previous,
            class_values=values if shows_labels else None,
            seed=SEED,
            on_points=Previews(report.job),
            on_progress=report.progress,
            should_stop=report.should_stop,
        )

    reducer, fault = project.reducer, ""
    try:
        shows_labels = project.map_shows_labels and bool(values.any()) and heeds_classes(vectors, reducer)
        points = draw(reducer, shows_labels=shows_labels)
    except Stopped:
        raise
    except EngineError as error:
        if reducer == FALLBACK_REDUCER:
            raise
        fault = without_folders(f"The map is drawn by principal components instead of {reducer}: {error}")
        report.warn(fault)
        reducer, shows_labels = FALLBACK_REDUCER, False
        points = draw(reducer, shows_labels=shows_labels)
    before = latest_embedding(project)
    return points, Drawing.judged(
        points,
        vectors,
        previous,
        values,
        held_out,
        reducer=reducer,
        shows_labels=shows_labels,
        starts_from_labels=before is not None and before.shows_labels,
        fault=fault,
    )


class Previews:
    """Puts the places of a layout that runs where pages can fetch them, and tells the pages."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._step = 0

    def __call__(self, points: NDArray[np.float32]) -> None:
        # Level 1: it is looked at for two seconds.
        write_bytes(preview_file(self._job), gzipped(encode_plot(without_wide_gaps(points)), level=1))
        self._step += 1
        event = EmbeddingPreview(type="embedding.preview", job=self._job.pk, step=self._step, n=len(points))
        send_event(self._job.project_id, event)
