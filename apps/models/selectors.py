from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery
from numpy.typing import NDArray

from apps.common.kept import Kept
from apps.engine.approaches.instant import INSTANT
from apps.engine.features import FEWEST_FOR_COMPONENTS
from apps.engine.plugins import Registry
from apps.engine.registry import APPROACHES, CLASSIFIERS, REDUCERS
from apps.engine.settings import Settings
from apps.engine.similar import SimilarObjects
from apps.engine.suggest import Groups, group_objects
from apps.engine.surroundings import Surroundings
from apps.labels.models import LabelSet
from apps.labels.selectors import STATING_KINDS
from apps.models.models import Embedding, MapRecord, ModelVersion, PredictionSet, PredictionState
from apps.objects.selectors import has_whole_patch
from apps.projects.files import project_folder, read_array
from apps.projects.models import Job, Project

# In an embedding's folder: the vectors and, in the same rows, the mean of those around each object. One file, so that they are read
# without putting two together.
VECTORS_NAME = "vectors.npy"
# Which objects those are; absent where only the object counts.
SURROUNDINGS_NAME = "surroundings.npy"
FAILED_ITERATION = "failed-iteration"


def latest_embedding(project: Project) -> Embedding | None:
    """The map that pages show: the newest one. Without its model's row, for which most have no use, and whose joining is a quarter or more of the time."""
    return project.embeddings.order_by("-number").first()


def latest_model_version(project: Project) -> ModelVersion | None:
    return project.model_versions.order_by("-number").first()


def model_folder(version: ModelVersion) -> Path:
    return project_folder(version.project) / "models" / str(version.number)


def model_settings(version: ModelVersion) -> Settings:
    """The approach's settings that a model was made with; EngineError for an approach that is no longer installed."""
    return APPROACHES.get(version.approach).settings.from_json(version.settings["settings"])


def still_compares(version: ModelVersion, project: Project) -> bool:
    """Whether objects that came later get features by this model that compare with those of the objects it was made with:
    the same size of patches, and enough objects then to know the scale from."""
    made_with = version.settings.get("n_objects", project.n_objects)
    enough = made_with >= FEWEST_FOR_COMPONENTS or (made_with >= 10 and project.n_objects <= 20 * made_with)
    return enough and version.settings.get("patch_size_px", project.patch_size_px) == project.patch_size_px


def title_of_reducer(embedding: Embedding) -> str:
    """What drew the map, as people know it; its name where its package is no longer installed."""
    return _title_in(REDUCERS, embedding.reducer)


def title_of_approach(version: ModelVersion) -> str:
    """How the model learned, as people know it; its name where its package is no longer installed."""
    title = _title_in(APPROACHES, version.approach)
    # A project's first two maps may both be of this approach, and differ in that.
    if version.approach == INSTANT.name and version.settings["settings"].get("pretrained"):
        return f"{title}, with the pretrained network"
    return title


def _title_in(registry: Registry[Any], name: str) -> str:
    return next((entry.title for entry in registry.entries() if entry.name == name), name)


def failed_iteration(project: Project) -> Path:
    """Where the work of an iteration lies that failed, if there is any that the next one could go on with."""
    return project_folder(project) / "work" / FAILED_ITERATION


def embedding_folder(embedding: Embedding) -> Path:
    return project_folder(embedding.project) / "embeddings" / str(embedding.number)


def projects_behind_their_labels() -> list[int]:
    """Ids of the projects with a map whose predictions do not know of the last label action, or are not there."""
    newest = PredictionSet.objects.filter(project=OuterRef("pk")).order_by("-revision")
    stated = LabelSet.objects.filter(project=OuterRef("pk"), kind__in=STATING_KINDS)
    known = Project.objects.annotate(
        with_map=Exists(Embedding.objects.filter(project=OuterRef("pk"))),
        known=Subquery(newest.values("label_revision")[:1]),
        stated=Subquery(stated.order_by("-revision").values("revision")[:1]),
    ).filter(with_map=True)
    return list(known.filter(Q(known=None) | Q(known__lt=F("stated"))).values_list("pk", flat=True))


def preview_file(job: Job) -> Path:
    """Where a running job that draws a map puts the places of its layout; gone when the job has ended."""
    return project_folder(job.project) / "work" / f"job-{job.pk}-{job.attempt}" / "preview.bin.gz"


class Predictions(NamedTuple):
    """What is predicted of every object: class value uint8 (n,), 0 = none, and confidence uint8 (n,) in 1/255."""

    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]
    revision: int
    """Of the prediction set they are from; 0 where the project has none yet."""


def current_prediction_set(project: Project, *, embedding_number: int | None = None) -> PredictionSet | None:
    """The predictions that hold; those of the newest embedding, as one is published with its first set. With a number, the
    last ones of that embedding."""
    sets = project.prediction_sets.select_related("embedding__project").order_by("-revision")
    return (sets if embedding_number is None else sets.filter(embedding__number=embedding_number)).first()


def current_predictions(project: Project) -> Predictions:
    """The predictions that hold, for the objects 0..n_objects-1; none for objects that came after the embedding."""
    classes, confidence = np.zeros(project.n_objects, np.uint8), np.zeros(project.n_objects, np.uint8)
    current = current_prediction_set(project)
    if current is None:
        return Predictions(classes, confidence, 0)
    stored = stored_predictions(current)[:, : project.n_objects]
    classes[: stored.shape[1]], confidence[: stored.shape[1]] = stored
    return Predictions(classes, confidence, current.revision)


def stored_predictions(prediction_set: PredictionSet) -> NDArray[np.uint8]:
    """Class values and confidences, uint8 (2, n). FileNotFoundError for an old revision, whose file is gone."""
    stored: NDArray[np.uint8] = read_array(prediction_file(prediction_set.embedding, prediction_set.revision))
    return stored


def prediction_file(embedding: Embedding, revision: int) -> Path:
    return embedding_folder(embedding) / "predictions" / f"{revision}.npy"


def prediction_state(prediction_set: PredictionSet) -> PredictionState:
    """A prediction set as browsers are told of it."""
    return {
        "revision": prediction_set.revision,
        "embedding": prediction_set.embedding.number,
        "label_revision": prediction_set.label_revision,
        "n_labels": prediction_set.n_labels,
        "balanced_accuracy": prediction_set.quality.get("balanced_accuracy"),
        "balanced_between": prediction_set.quality.get("balanced_between"),
        "n_held_out": prediction_set.quality.get("n_held_out", 0),
        "is_measured": prediction_set.is_measured,
        "expected_right": prediction_set.expected_right,
        "few_images": prediction_set.few_images,
        "classifier_fault": prediction_set.classifier_fault,
    }


def maps_of(project: Project) -> QuerySet[Embedding]:
    """All of its maps, the newest first, with what `map_records` asks of them."""
    return project.embeddings.select_related("model_version__parent", "model_version__training_run").order_by("-number")


def map_records(embeddings: Iterable[Embedding]) -> list[MapRecord]:
    """What is told of maps, in their order."""
    maps = list(embeddings)
    last = PredictionSet.objects.filter(embedding=OuterRef("embedding")).order_by("-revision").values("revision")[:1]
    of_maps = PredictionSet.objects.filter(embedding__in=maps, revision=Subquery(last))
    predicted = {one.embedding_id: one for one in of_maps}
    return [_map_record(one, predicted.get(one.pk)) for one in maps]


def _map_record(embedding: Embedding, predictions: PredictionSet | None) -> MapRecord:
    version = embedding.model_version
    run = getattr(version, "training_run", None)
    if run is not None and run.job_id != embedding.job_id:
        run = None
    quality = predictions.quality_to_tell if predictions else {}
    return {
        "number": embedding.number,
        "made_at": embedding.created_at.isoformat(),
        "objects": embedding.n,
        "model_version": version.number,
        "parent": version.parent.number if version.parent else None,
        "approach": title_of_approach(version),
        "epochs": len(run.losses) if run else None,
        "training_s": run.seconds if run else None,
        "n_labels": predictions.n_labels if predictions else 0,
        "n_held_out": quality.get("n_held_out", 0),
        "accuracy": quality.get("accuracy"),
        "balanced_accuracy": quality.get("balanced_accuracy"),
        "expected_right": quality.get("expected_right"),
        "feature_purity": embedding.feature_purity,
        "map_purity": embedding.map_purity,
        "trustworthiness": embedding.trustworthiness,
        "displacement": embedding.displacement,
        "drawn_by": title_of_reducer(embedding),
        "has_predictions": predictions is not None and predictions.has_predictions,
        "predicted_by": _title_in(CLASSIFIERS, quality["classifier"]) if "classifier" in quality else "",
        "shows_labels": embedding.shows_labels,
        "job": embedding.job_id,
        "warnings": [fault for fault in (embedding.fault, predictions and predictions.classifier_fault) if fault],
    }


def quality_history(embedding: Embedding) -> list[dict[str, Any]]:
    """How good the predictions on one embedding were at so many labels, in the order they were made."""
    fields = ("revision", "n_labels", "quality__accuracy", "quality__balanced_accuracy", "quality__n_held_out")
    return [
        {name.removeprefix("quality__"): value for name, value in row.items()}
        for row in embedding.prediction_sets.filter(has_predictions=True).order_by("revision").values(*fields)
    ]


def has_vectors(embedding: Embedding) -> bool:
    """False of former maps, whose vectors are not kept."""
    return (embedding_folder(embedding) / VECTORS_NAME).exists()


def predictors(embedding: Embedding) -> NDArray[np.float16]:
    """What predictions are made from before labels are known, float16, memory-mapped: the embedding's vectors, and beside them the
    mean of those around each object, where more than the object counts (apps/engine/surroundings.py)."""
    return _stored(embedding_folder(embedding))


def surroundings(embedding: Embedding) -> Surroundings | None:
    """What lies around each object of the embedding, memory-mapped; None where only the object counts, and of former maps."""
    path = embedding_folder(embedding) / SURROUNDINGS_NAME
    return Surroundings(read_array(path, is_mapped=True)) if path.exists() else None


def vectors(embedding: Embedding) -> NDArray[np.float16]:
    """The embedding's vectors, float16 (n, d), memory-mapped."""
    return predictors(embedding)[:, : embedding.dimension]


def _stored(folder: Path) -> NDArray[np.float16]:
    loaded: NDArray[np.float16] = read_array(folder / VECTORS_NAME, is_mapped=True)
    return loaded


def coordinates(embedding: Embedding) -> NDArray[np.float32]:
    """The embedding's plot coordinates, float32 (n, 2)."""
    loaded: NDArray[np.float32] = read_array(embedding_folder(embedding) / "coordinates.npy")
    return loaded


# Pages ask at once, after a new map: they wait for one search or grouping to be made instead of making one each.
_searches: Kept[tuple[Path, int], SimilarObjects] = Kept(4)
_groups: Kept[tuple[int, int], Groups] = Kept(16)


def similar_objects(embedding: Embedding) -> SimilarObjects:
    """Search among the embedding's vectors. Kept between requests, those of the last four maps searched: a byte for each of
    their numbers is in memory, 128 MB for a million objects; the vectors stay in their file."""
    folder, dimension = embedding_folder(embedding), embedding.dimension
    return _searches.get((folder, dimension), lambda: SimilarObjects(_stored(folder)[:, :dimension]))


def object_groups(embedding: Embedding) -> Groups:
    """Groups of similar objects. Made when first asked for, in a second or two, of a million in twenty, and kept between requests."""
    # The project may change its patch size, which says which patches are whole.
    project, n = embedding.project, embedding.n
    return _groups.get(
        (embedding.pk, project.patch_size_px),
        lambda: group_objects(vectors(embedding), whole=has_whole_patch(project, n)),
    )
