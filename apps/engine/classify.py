"""A project's classifier at work, whoever wrote it: what it says is checked, and what fails is named."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.arrays import read_only
from apps.engine.errors import EngineError
from apps.engine.registry import CLASSIFIERS

Floats = npt.NDArray[np.float32]
ClassValues = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Answer:
    """What a classifier says of n objects: class values (n,), 0 = none, and confidences (n,), 0 to 1. Both may be written to.

    `head`, None below two classes with labels, is what it made, and `quality` its measures as plain values, {} without one.
    """

    class_values: ClassValues
    confidence: Floats
    quality: dict[str, Any]
    head: Any


def classify(
    classifier: str, features: npt.NDArray[np.floating[Any]], class_values: ClassValues, **knowledge: Any
) -> Answer:
    """Fit the classifier of that name to the labels (n,), 0 for none, of objects with features (n, d), and ask it about all. Labeled
    objects are predicted as if they had no label, where it can: only then a slip differs from what it says.

    `knowledge`: the keywords that `apps.engine.predict.fit_head` knows. Raises EngineError, which names the classifier, where
    it is not there, fails, or says what no classifier can.
    """
    entry = CLASSIFIERS.get(classifier)
    fit = entry.load()
    n = len(class_values)
    features, class_values = read_only(features), read_only(class_values)
    knowledge = {name: _read_only(value) for name, value in knowledge.items()}
    with entry.blamed(but=(MemoryError,)):
        head = fit(features, class_values, **knowledge)
        if head is None:
            return Answer(np.zeros(n, np.uint8), np.zeros(n, np.float32), {}, None)
        values, confidence = map(np.array, head.predict(features))
        if (held_out := getattr(head, "held_out", None)) is not None:
            values[held_out.ordinals] = held_out.class_values
            confidence[held_out.ordinals] = held_out.confidence
        quality = dict(head.quality.to_json())
        json.dumps(quality, allow_nan=False)
        _check(classifier, values, confidence, class_values)
        return Answer(values.astype(np.uint8), confidence.astype(np.float32), quality, head)


def _read_only(value: Any) -> Any:
    """What is known of the objects, and is needed afterwards: arrays, some of them by class."""
    if isinstance(value, dict):
        return {key: _read_only(one) for key, one in value.items()}
    return read_only(value) if isinstance(value, np.ndarray) else value


def _check(classifier: str, values: npt.NDArray[Any], confidence: npt.NDArray[Any], class_values: ClassValues) -> None:
    """Raises EngineError for what no classifier can say of objects with the labels (n,)."""
    n = len(class_values)
    if values.shape != (n,) or confidence.shape != (n,):
        raise EngineError(
            f"the classifier {classifier} gave classes of shape {values.shape} and confidences of shape {confidence.shape} for {n} objects"
        )
    if not np.isin(values, [0, *np.flatnonzero(np.bincount(class_values))]).all():
        raise EngineError(f"the classifier {classifier} predicted a class that no label has")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise EngineError(f"the classifier {classifier} gave confidences outside of 0 to 1")
