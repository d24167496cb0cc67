"""What can be chosen by name: approaches, reducers, classifiers. Imports none of their libraries, torch least of all."""

from __future__ import annotations

from dataclasses import dataclass

from apps.engine import approaches
from apps.engine.approaches.base import Approach
from apps.engine.plugins import Entry, Registry


@dataclass(frozen=True)
class Reducer(Entry):
    """A way from features to the map.

    `implementation` is a function of an `apps.engine.reducers.Layout`, whose arrays are read-only, to places (n, 2) float32, finite. What is the same for
    all is done around it, by `apps.engine.reduce`: few or equal objects, landmarks of very many, the former map's position.
    """

    what = "reducer"
    heeds_classes: bool = False
    """Whether known classes in the layout shape the map; only then may a project have them drawn apart."""


@dataclass(frozen=True)
class Classifier(Entry):
    """A way from features and some labels to predictions.

    `implementation` is a function like `apps.engine.predict.fit_head`: it takes features (n, d), which are an object's vector,
    then what lies around it (`apps.engine.surroundings`), then what that is called (`apps.engine.classes_around`), all of smaller scale
    and the last in columns that follow the classes with labels; class values (n,) uint8 (both read-only) and
    the same keywords (`**others` for those that it does not use; `start_from` only after a head of our own), and returns None or
    an object with `predict` and
    `quality` like `apps.engine.predict.Head`; `measure_quality` there measures it. With a `held_out` like its own, too, labeled
    objects are predicted by that, and a wrong label is found. Its confidences should be calibrated (of predictions that say 0.8, 0.8
    are right): orders, pages and the share that is expected to be right rest on them.
    """

    what = "classifier"


APPROACHES = Registry(Approach, group="patchsorter.approaches", built_in=approaches.BUILT_IN)
REDUCERS = Registry(
    Reducer,
    group="patchsorter.reducers",
    built_in=[
        Reducer(
            "umap",
            "UMAP",
            "Neighbors in the features are neighbors on the map; a new map starts from the one before.",
            "apps.engine.reducers:umap",
            heeds_classes=True,
        ),
        Reducer(
            "pca",
            "Principal components",
            "The two directions in which the features vary most; there at once, and coarse.",
            "apps.engine.reducers:pca",
        ),
        Reducer(
            "cuml_umap",
            "UMAP on a GPU",
            "For millions of objects; the worker needs an NVIDIA GPU and RAPIDS cuML, and draws principal components without.",
            "apps.engine.reducers:cuml_umap",
            heeds_classes=True,
        ),
    ],
)
CLASSIFIERS = Registry(
    Classifier,
    group="patchsorter.classifiers",
    built_in=[
        Classifier(
            "kernel",
            "Standard (also by likeness to labeled objects)",
            "Learns from all labels together, and from the labeled objects most alike where that is more often right on labels "
            "it was not made from.",
            "apps.engine.predict:fit_kernel_head",
        ),
        Classifier(
            "linear",
            "Simple (a linear head)",
            "Learns from all labels together (logistic regression); every class counts alike.",
            "apps.engine.predict:fit_head",
        ),
    ],
)
