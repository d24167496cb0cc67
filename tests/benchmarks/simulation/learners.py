"""The machine's half of both loops over real objects, with real training; its seconds are those of a `Trainer`'s clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from apps.engine.approaches.instant import InstantSettings
from apps.engine.classes_around import with_classes_around
from apps.engine.descriptors import describe_objects
from apps.engine.embedding import embed_objects, uses_pretrained
from apps.engine.nn.embed import Vectors
from apps.engine.nn.pretrained import is_seen_within_seconds, see_objects
from apps.engine.predict import draw_held_out
from apps.engine.reduce import reduce_to_plot
from apps.engine.registry import APPROACHES
from apps.engine.settings import Settings
from apps.engine.surroundings import find_surroundings, with_surroundings
from tests.benchmarks.labeled_sets import LabeledSet
from tests.benchmarks.original_recipe import OriginalRecipe
from tests.benchmarks.simulation.session import ClassValues, Rows, Session
from tests.benchmarks.simulation.strategies import ITERATIONS_AT, Floats
from tests.benchmarks.trainer import ENCODER_SIZE_PX, SEED, Trainer

APPROACH = "simclr"


@dataclass(frozen=True)
class _Coming:
    """Features (n, d) that are being made behind the person's back."""

    features: Floats
    ready_s: float


class OurLearner:
    """Features that are measured at once; trainings run beside the person, who never waits for one."""

    def __init__(self, objects: LabeledSet, work: Path, seconds: float, trainer: Trainer) -> None:
        self._objects = objects
        self._trainer = trainer
        self._work = work
        self._seconds = seconds
        self.training_s: list[float] = []
        """What each training took, embedding not counted."""
        describe_objects(objects.patches, np.arange(2))  # compiled, as in a worker that has been at it before
        trainer.warm_up(objects.patches)
        started = trainer.clock()
        self._described = describe_objects(objects.patches)
        self._recognized: Vectors | None = None
        self._is_seen_at_once = is_seen_within_seconds(len(objects), device=str(trainer.device))  # as in the product
        instant = InstantSettings(pretrained=self._is_seen_at_once)
        self.first_features = self._embed("instant", instant, work / "instant")
        self._first_map = reduce_to_plot(self.first_features, seed=SEED)
        self._surroundings = find_surroundings(objects.patches.images)
        self.first_map_s = trainer.clock() - started
        self._features = self.first_features
        self._shown = False
        self._coming: list[_Coming] = []  # the next one first

    def features(self, session: Session) -> Floats:
        """The newest that are there at the session's present time. The first call waits for the first map."""
        if not self._shown:
            session.wait(self.first_map_s)
            self._shown = True
            if not self._is_seen_at_once:
                self._make_second_map(session)
            self._train(session)
        while self._coming and session.total_s >= self._coming[0].ready_s:
            self._features = self._coming.pop(0).features
        n_trained = len(self.training_s)
        due = n_trained <= len(ITERATIONS_AT) and (session.labels > 0).mean() >= ITERATIONS_AT[n_trained - 1]
        if not self._coming and due:
            self._train(session)
        return self._features

    def predictors(self, features: Floats) -> Floats:
        """As in the product: with what lies around each object."""
        return with_surroundings(np.asarray(features, np.float16), self._surroundings)

    def with_classes_around(self, predictors: Floats, labels: ClassValues, denied: Mapping[int, Rows]) -> Floats:
        """As in the product: with what those around it are called, or are guessed to be."""
        predictors = np.asarray(predictors, np.float16)
        return with_classes_around(predictors, labels, self._surroundings, seed=SEED, denied=denied)

    def _make_second_map(self, session: Session) -> None:
        started = self._trainer.clock()
        features = self._embed("instant", InstantSettings(pretrained=True), self._work / "second")
        reduce_to_plot(features, previous=self._first_map, seed=SEED)
        self._coming.append(_Coming(features, session.total_s + self._trainer.clock() - started))

    def _train(self, session: Session) -> None:
        """Begins as soon as there is nothing else to make."""
        number = len(self.training_s)
        folder = self._work / f"model-{number}"
        patches, clock = self._objects.patches, self._trainer.clock
        started = clock()
        if number == 0:
            self._trainer.train_for(self._seconds, APPROACH, patches, folder)
        else:
            labels = session.labels_to_learn_from
            held_out = draw_held_out(labels, seed=SEED)  # as in the product: the head is measured on them
            learned = np.where(held_out, 0, labels).astype(np.uint8)
            before = self._work / f"model-{number - 1}"
            # One epoch, as in the product: both sets are of more than a few thousand objects.
            self._trainer.refine(APPROACH, patches, learned, epochs=1, start_from=before, checkpoint=folder)
        self.training_s.append(clock() - started)
        features = self._embed(APPROACH, APPROACHES.get(APPROACH).settings(), folder)
        begun_s = self._coming[-1].ready_s if self._coming else session.total_s
        self._coming.append(_Coming(features, begun_s + clock() - started))

    def _embed(self, approach: str, settings: Settings, folder: Path) -> Floats:
        patches = self._objects.patches
        if uses_pretrained(settings) and self._recognized is None:
            self._recognized = see_objects(patches, device=str(self._trainer.device))
        return embed_objects(
            approach, settings, folder, patches, described=self._described, recognized=self._recognized
        )


class OriginalLearner:
    """Train, embed, draw the map anew; the person waits for it. In its favor, its map is drawn by our UMAP, in seconds.

    `training_s`: what each training may take, the last one also for those that come after. It then sees patches of the
    size that ours sees, of which the seconds hold more. None: its own schedule, on the patches as they are.
    """

    def __init__(self, objects: LabeledSet, training_s: list[float] | None, trainer: Trainer) -> None:
        self._clock = trainer.clock
        n_classes = len(objects.class_names)
        self._recipe = OriginalRecipe(
            objects.patches,
            size_px=None if training_s is None else ENCODER_SIZE_PX,
            n_classes=n_classes,
            seed=SEED,
            device=str(trainer.device),
            clock=trainer.clock,
        )
        self._training_s = None if training_s is None else list(training_s)
        self.epochs: list[int] = []
        """How many each training took by its own schedule."""

    def draw_map(self, session: Session) -> Floats:
        """The map (n, 2) after one more training with the labels so far."""
        labels = session.labels if session.labels.any() else None
        started = self._clock()
        self._train(labels)
        points = reduce_to_plot(self._recipe.embed(), class_values=labels, seed=SEED)
        session.wait(self._clock() - started)
        return points

    def _train(self, labels: ClassValues | None) -> None:
        if self._training_s is None:
            self.epochs.append(self._recipe.train_by_its_schedule(labels))
            return
        self._recipe.train(self._training_s.pop(0) if len(self._training_s) > 1 else self._training_s[0], labels)
