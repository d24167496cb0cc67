"""The fast loop: predictions that follow the labels within a second, from vectors that are there already.

No torch here: the process that runs this stays small and starts in a moment.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

import numpy as np
from django.db import transaction
from numpy.typing import NDArray

from apps.engine.classes_around import FEWEST_LABELS, with_classes_around
from apps.engine.classify import classify
from apps.engine.errors import EngineError
from apps.engine.evidence import contradicted, with_a_choice
from apps.engine.predict import FEWEST_TO_CORRECT, Head, fit_kernel_head, heed_denied
from apps.engine.surroundings import N_AROUND, Surroundings
from apps.engine.unlabeled_images import find_unlabeled_images
from apps.labels.selectors import (
    denied_ordinals,
    kept_class_values,
    labels_to_learn_from,
    shared_label_set,
    shown_revision,
)
from apps.models.models import Embedding
from apps.models.selectors import current_prediction_set, latest_embedding, predictors, surroundings
from apps.models.services import NewPredictions, lock_predictions, publish_predictions
from apps.objects.selectors import image_id_by_ordinal
from apps.projects.jobs import without_folders
from apps.projects.models import Project

logger = logging.getLogger(__name__)
STANDARD = "kernel"  # the classifier that predicts where the project's own cannot
SEED = 0  # as in an iteration: what was held out of a training is held out here
HEADS_KEPT = 32


class Refitter:
    """Renews predictions, and keeps the last heads so that the next fit is a few steps from them."""

    def __init__(self) -> None:
        # By embedding id and classifier, the last used at the end.
        self._heads: OrderedDict[tuple[int, str], Head] = OrderedDict()

    def warm_up(self) -> None:
        """What the first gesture would otherwise wait for: compiling, or loading what was compiled."""
        rng = np.random.default_rng(0)
        n = max(FEWEST_TO_CORRECT, FEWEST_LABELS)
        features = rng.normal(size=(n, 2)).astype(np.float16)
        labels = (np.arange(n) % 2 + 1).astype(np.uint8)
        nothing = Surroundings(np.full((n, 1 + N_AROUND), [0] + [-1] * N_AROUND, np.int32))
        nothing.table.setflags(write=False)  # as what is read from a file: another type to a compiler
        features = with_classes_around(features, labels, nothing, seed=SEED)
        head = fit_kernel_head(features, labels, seed=SEED)
        assert head is not None
        head.predict(features)

    @transaction.atomic
    def renew(self, project_id: int) -> bool:
        """Publish predictions that know of all labels, unless they do. False if another process is at this project:
        then ask again, as it may have read the labels before the last of them."""
        project = Project.objects.filter(pk=project_id).first()
        if project is None:
            return True
        if not lock_predictions(project_id, wait=False):
            return False
        embedding = latest_embedding(project)
        if embedding is None:
            return True
        current = current_prediction_set(project)
        # The revision before the labels: what is committed in between is learned from twice rather than never.
        revision = shown_revision(shared_label_set(project))
        if current is None or current.label_revision < revision:
            publish_predictions(embedding=embedding, new=self._predict(project, embedding, revision))
        return True

    def _predict(self, project: Project, embedding: Embedding, label_revision: int) -> NewPredictions:
        values = labels_to_learn_from(project)[: embedding.n]
        key = (embedding.pk, project.classifier)
        new, head = predict_objects(
            project,
            predictors(embedding),
            values,
            surroundings=surroundings(embedding),
            label_revision=label_revision,
            start_from=self._heads.pop(key, None),
        )
        # Not the standard one's where it stands in for another package's, which would be asked to start from it.
        if isinstance(head, Head) and new.quality["classifier_fault"] is None:
            self._heads[key] = head
            if len(self._heads) > HEADS_KEPT:
                self._heads.popitem(last=False)
        return new


def predict_objects(
    project: Project,
    features: NDArray[np.float16],
    values: NDArray[np.uint8],
    *,
    surroundings: Surroundings | None,
    label_revision: int,
    held_out: NDArray[np.bool_] | None = None,
    start_from: Head | None = None,
) -> tuple[NewPredictions, Any]:
    """What the project's classifier says of the objects with features (n, d) after it learned from the labels (n,), 0 for
    none; and its head, None below two classes. `surroundings`: None where only the object counts. Where another package's classifier
    fails, the standard one predicts, and `quality` says why."""
    label_set = shared_label_set(project)
    denied, taught = denied_ordinals(label_set), denied_ordinals(label_set, only_accepted_samples=True)
    heeded = denied
    if _lacks_labels(project, values):
        heeded, taught = with_a_choice(denied, values), with_a_choice(taught, values)
    if surroundings is not None:
        features = with_classes_around(features, values, surroundings, seed=SEED, denied=taught)
    # Only our own head can be started from: other packages' classifiers are not asked to know the word.
    start = {} if start_from is None else {"start_from": start_from}
    fault = None
    try:
        answer = classify(project.classifier, features, values, seed=SEED, denied=taught, held_out=held_out, **start)
    except EngineError as error:
        if project.classifier == STANDARD:
            raise
        logger.warning("project %s is predicted by the standard classifier: %s", project.pk, error)
        fault = without_folders(str(error))
        answer = classify(STANDARD, features, values, seed=SEED, denied=taught, held_out=held_out)
    n, head, classes, confidence = len(values), answer.head, answer.class_values, answer.confidence
    if isinstance(head, Head):
        heed_denied(head, features, values, heeded, (classes, confidence))
    # Of the others it is known that they are wrong, and not what would be right.
    confidence = np.where((values == 0) & contradicted(denied, classes), np.float32(0), confidence)
    # Labels are no random sample: those that confirmed a proposal are easier than what is left. What was accepted unseen has a label
    # too, though nothing is learned from it.
    stated = kept_class_values(label_set, project.n_objects)[:n]
    unlabeled = stated == 0
    expected_right = round(float(confidence[unlabeled].mean()), 4) if unlabeled.any() else None
    images = find_unlabeled_images(image_id_by_ordinal(project)[:n], stated)
    few_images = {"n_labeled": images.n_labeled, "n": images.n_images} if images else None
    said = {
        "expected_right": expected_right,
        "few_images": few_images,
        "classifier": STANDARD if fault else project.classifier,
        "classifier_fault": fault,
    }
    new = NewPredictions(
        classes=classes,
        confidence=np.rint(confidence * 255).astype(np.uint8),
        label_revision=label_revision,
        n_labels=int((values > 0).sum()),
        has_predictions=head is not None,
        quality={**answer.quality, **said} if head else {},
    )
    return new, head


def _lacks_labels(project: Project, values: NDArray[np.uint8]) -> bool:
    """Whether a class of the project is in none of the labels (n,): what is of no other may be of that."""
    labeled = np.unique(values[values > 0]).tolist()
    return project.label_classes.exclude(value__in=labeled).exists()
