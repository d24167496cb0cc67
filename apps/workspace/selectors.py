from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.common.wire import encode_image_objects
from apps.engine.sampling import longest_first_look
from apps.engine.suggest import like_beside_like
from apps.images.models import Image
from apps.labels.acceptance import Verdict, sizes_of, stated
from apps.labels.models import Label, LabelAction, LabelSet, StratumSample
from apps.labels.selectors import (
    claim_of,
    counts_by_class,
    current_session,
    describe_action,
    kept_class_values,
    label_sets_visible_to,
    last_redoable,
    last_undoable,
    open_sample,
    provenance_of,
    sampled_counts,
    session_state,
    shown_by,
    shown_revision,
    stated_label,
)
from apps.models.models import Embedding
from apps.models.selectors import (
    current_prediction_set,
    current_predictions,
    latest_embedding,
    prediction_state,
    title_of_reducer,
    vectors,
)
from apps.objects.selectors import get_object, image_id_by_ordinal, outline_in_image, outlines_in_image
from apps.projects.access import permissions_of
from apps.projects.jobs import job_state
from apps.projects.models import Project
from apps.projects.selectors import listed_jobs

RECENT_JOBS = 5


def workspace_state(project: Project, user: User) -> dict[str, Any]:
    """Everything small that the labeling page shows."""
    label_sets = list(label_sets_visible_to(user, project))
    label_set = next(item for item in label_sets if item.kind == LabelSet.Kind.SHARED)
    embedding = latest_embedding(project)
    predicted = current_prediction_set(project)
    listed = listed_jobs(project)
    jobs = list(listed[:RECENT_JOBS])
    sample = open_sample(project, user)
    active = listed.filter(state__in=["queued", "running"]).exclude(pk__in=[job.pk for job in jobs])
    return {
        "project": {
            "id": project.pk,
            "name": project.name,
            "n_objects": project.n_objects,
            "patch_size_px": project.patch_size_px,
        },
        "classes": [
            {"value": label_class.value, "name": label_class.name, "color": label_class.color, "key": label_class.key}
            for label_class in project.label_classes.all()
        ],
        "label_set": _label_set_state(label_set),
        "label_sets": [_label_set_state(item) for item in label_sets],
        "embedding": _embedding_state(embedding) if embedding else None,
        "predictions": prediction_state(predicted) if predicted else None,
        "jobs": [job_state(job) for job in [*active, *jobs]],
        "counts": counts_by_class(label_set, project.n_objects),
        "counts_sampled": sampled_counts(label_set),
        "sampled": {
            "allowed": project.allows_sampled,
            "max_error": project.max_sampled_error,
            "longest_first_look": longest_first_look(project.max_sampled_error),
            "open_sample": sample.pk if sample else None,
        },
        "session": session_state(current_session(label_set, user)),
        "permissions": sorted(permissions_of(user, project)),
        "undo": describe_action(last_undoable(label_set, user)),
        "redo": describe_action(last_redoable(label_set, user)),
    }


def sample_state(sample: StratumSample, verdict: Verdict | None) -> dict[str, Any]:
    """A sample as its user is told of it; `verdict` where it is open, or was refused a moment ago."""
    claim = stated(sample)
    return {
        "id": sample.pk,
        "state": sample.state,
        "class_value": sample.label_class.value,
        "ordinals": sample.drawn,
        "marked": sample.wrong,
        "started_at": sample.started_at.isoformat(),
        "wrong": verdict.wrong.tolist() if verdict else [],
        "stale": verdict.stale if verdict else "",
        "sizes": sizes_of(sample),
        **{key: claim[key] for key in ("n", "size", "max_error", "bound", "confidence", "attempt")},
    }


def _label_set_state(label_set: LabelSet) -> dict[str, Any]:
    return {
        "id": label_set.pk,
        "name": label_set.name,
        "kind": label_set.kind,
        "revision": shown_revision(label_set),
    }


def _embedding_state(embedding: Embedding) -> dict[str, Any]:
    return {
        "number": embedding.number,
        "n": embedding.n,
        "model_version": embedding.model_version.number,
        "created_at": embedding.created_at.isoformat(),
        "drawn_by": title_of_reducer(embedding),
        "shows_labels": embedding.shows_labels,
        "trustworthiness": embedding.trustworthiness,
        "displacement": embedding.displacement,
    }


def object_detail(project: Project, ordinal: int, user: User) -> dict[str, Any]:
    """One object with its prediction and the label it has in the shared set."""
    histo_object = get_object(project, ordinal)
    predicted = current_predictions(project)
    label_set = label_sets_visible_to(user, project).get(kind=LabelSet.Kind.SHARED)
    label = stated_label(label_set, ordinal)
    source = LabelAction.objects.select_related("actor").get(pk=label.source) if label and label.source else None
    return {
        "ordinal": ordinal,
        "image": {"id": histo_object.image_id, "name": histo_object.image.name},
        "label_id": histo_object.source_id,
        "row": histo_object.row,
        "column": histo_object.column,
        "box": [histo_object.box_top, histo_object.box_left, histo_object.box_bottom, histo_object.box_right],
        "area": histo_object.area,
        "outline": outline_in_image(histo_object),
        "prediction": int(predicted.classes[ordinal]) or None,
        "confidence": round(int(predicted.confidence[ordinal]) / 255, 3),
        "label": _label_state(label, source) if label and source else None,
    }


def image_objects_state(image: Image, user: User) -> str:
    """A name for what `image_objects` gives now; its objects themselves never change."""
    label_set = label_sets_visible_to(user, image.project).get(kind=LabelSet.Kind.SHARED)
    predicted = current_prediction_set(image.project)
    return f"image-{image.pk}-{shown_revision(label_set)}-{predicted.revision if predicted else 0}"


def image_objects(image: Image, user: User) -> bytes:
    """Where an image's objects lie, how they are labeled in the shared set and what is predicted, as PSO1."""
    project = image.project
    own = slice(image.first_ordinal, image.first_ordinal + image.n_objects)
    label_set = label_sets_visible_to(user, project).get(kind=LabelSet.Kind.SHARED)
    labels = kept_class_values(label_set, project.n_objects)[own]
    predicted = current_predictions(project)
    boxes, outlines = outlines_in_image(image)
    return encode_image_objects(
        image.first_ordinal, boxes, outlines, labels, predicted.classes[own], predicted.confidence[own]
    )


def _label_state(label: Label, source: LabelAction) -> dict[str, Any]:
    claim = claim_of(source.selection["sample"]) if source.provenance == LabelAction.Provenance.SAMPLED else None
    if claim is not None and label.ordinal in claim.inspected:
        claim = None  # seen in the sample
    return {
        "class_value": label.value,
        "by": str(source.actor) if source.actor else None,
        "at": source.at.isoformat(),
        "provenance": provenance_of(source, claim),
        "on_screen": shown_by(source)(label.ordinal),
        "sample": {key: getattr(claim, key) for key in ("n", "wrong", "size", "bound", "confidence")}
        if claim
        else None,
    }


def ordered(project: Project, ordinals: NDArray[np.int64], order: str) -> NDArray[np.int64]:
    """The ordinals (n,) in the order asked for; ties, and objects that have no prediction or vector yet, stay in the
    order of the images."""
    ordinals = np.sort(ordinals)
    embedding = latest_embedding(project)
    if order == "image" or embedding is None:
        image_ids = image_id_by_ordinal(project)[ordinals]
        return ordinals[np.argsort(image_ids, kind="stable")]
    if order == "similarity":
        return _by_similarity(embedding, ordinals)
    confidence = current_predictions(project).confidence[ordinals].astype(np.int16)
    return ordinals[np.argsort(confidence if order == "uncertain" else -confidence, kind="stable")]


# 0.06 s with 128 numbers; all pairs of ten times as many would take a hundred times as long.
MOST_TO_TOUR = 2000
SIMILARITY_ANCHORS = 24
MOST_BY_SIMILARITY = 50_000  # nobody looks further; what lies beyond keeps the images' order


def _by_similarity(embedding: Embedding, ordinals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Like beside like: of many, the selection is cut into groups around far-apart anchors (farthest-point sampling, Gonzalez
    1985), groups follow their anchors' similarity and objects their distance from the anchor. That is linear in the selection."""
    known = ordinals[ordinals < embedding.n][:MOST_BY_SIMILARITY]
    rest = np.setdiff1d(ordinals, known, assume_unique=True)
    if len(known) <= MOST_TO_TOUR:
        return np.concatenate([like_beside_like(vectors(embedding), known), rest])
    features = np.asarray(vectors(embedding)[known], np.float32)
    center = features.mean(axis=0)
    anchors = [int(np.argmax(features @ center))]
    similarity = [features @ features[anchors[0]]]
    nearest = similarity[0].copy()
    while len(anchors) < min(SIMILARITY_ANCHORS, len(known)):
        anchors.append(int(np.argmin(nearest)))
        similarity.append(features @ features[anchors[-1]])
        np.maximum(nearest, similarity[-1], out=nearest)
    group = np.argmax(similarity, axis=0)
    rank = np.zeros(len(anchors), np.int64)
    remaining, current = set(range(1, len(anchors))), 0
    for position in range(1, len(anchors)):  # a walk from each anchor to the most similar one not yet visited
        here = similarity[current]
        current = max(remaining, key=lambda other: float(here[anchors[other]]))
        remaining.remove(current)
        rank[current] = position
    return np.concatenate([known[np.lexsort((-nearest, rank[group]))], rest])
