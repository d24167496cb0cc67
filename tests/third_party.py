"""A package of somebody else's that adds an approach, a reducer and a classifier, and its installation for a test."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from apps.engine.registry import APPROACHES, CLASSIFIERS, REDUCERS

DESCRIPTIONS = """
from dataclasses import dataclass

from apps.engine.approaches.base import Approach, TrainingSettings
from apps.engine.registry import Classifier, Reducer
from apps.engine.settings import setting


@dataclass(frozen=True)
class AgreementSettings(TrainingSettings):
    strength: float = setting(1.0, title="Strength", help="How much agreement counts.", above=0)


AGREEMENT = Approach(
    "agreement", "Agreement", "Views agree.", "elsewhere.learning:Agreement", settings=AgreementSettings
)
SPIRAL = Reducer("spiral", "Spiral", "Objects along a spiral.", "elsewhere.plain:spiral")
NEAREST = Classifier("nearest", "Nearest mean", "The class whose mean is nearest.", "elsewhere.plain:fit_nearest")
"""
LEARNING = """
from torch.nn import functional

from apps.engine.nn.approaches.base import TrainedApproach


class Agreement(TrainedApproach):
    def __init__(self, feature_dim, settings, *, encoder_size_px):
        super().__init__()
        self.strength = settings.strength

    def forward(self, features, targets):
        first, second = features.chunk(2)
        return self.strength * (1 - functional.cosine_similarity(first.float(), second.float()).mean())
"""
PLAIN = """
import numpy as np

from apps.engine.predict import draw_held_out, measure_quality


def spiral(layout):
    turn = np.linspace(0, 20, len(layout.vectors))
    layout.progress.advance(100)
    return np.column_stack([turn * np.cos(turn), turn * np.sin(turn)]).astype(np.float32)


class NearestMean:
    def __init__(self, features, class_values):
        self.values = np.unique(class_values[class_values > 0])
        of_class = [features[class_values == value].astype(np.float32) for value in self.values]
        self.means = np.array([rows.mean(axis=0) for rows in of_class])

    def closeness(self, features):
        return -np.linalg.norm(features[:, None].astype(np.float32) - self.means, axis=2)

    def predict(self, features):
        return self.values[self.closeness(features).argmax(axis=1)], np.ones(len(features), np.float32)


def fit_nearest(features, class_values, *, seed, held_out=None, **others):
    if len(np.unique(class_values[class_values > 0])) < 2:
        return None
    held_out = draw_held_out(class_values, seed=seed) if held_out is None else held_out
    head = NearestMean(features, class_values)
    before = NearestMean(features, np.where(held_out, 0, class_values))
    targets = np.searchsorted(head.values, class_values[held_out])
    logits = before.closeness(features[held_out])
    n_train = int(np.count_nonzero(class_values[~held_out]))
    head.quality = measure_quality(logits.astype(float), targets, head.values, n_train=n_train)
    return head
"""
ENTRY_POINTS = """
[patchsorter.approaches]
agreement = elsewhere:AGREEMENT
[patchsorter.reducers]
spiral = elsewhere:SPIRAL
[patchsorter.classifiers]
nearest = elsewhere:NEAREST
"""

PACKAGE = {"__init__.py": DESCRIPTIONS, "learning.py": LEARNING, "plain.py": PLAIN}

Install = Callable[[str, dict[str, str], str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """What an installer leaves: the package's folder and its dist-info, in a folder that Python searches."""
    monkeypatch.syspath_prepend(str(tmp_path))
    installed = []

    def put(name: str, files: dict[str, str], entry_points: str) -> None:
        (tmp_path / name).mkdir()
        for file, content in files.items():
            (tmp_path / name / file).write_text(content)
        information = tmp_path / f"{name}-1.2.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (information / "entry_points.txt").write_text(entry_points)
        installed.append(name)
        refresh()

    def refresh() -> None:
        for registry in (APPROACHES, REDUCERS, CLASSIFIERS):
            registry.refresh()

    yield put
    monkeypatch.undo()
    refresh()
    for name in installed:
        for module in [module for module in sys.modules if module.split(".")[0] == name]:
            del sys.modules[module]


@pytest.fixture
def elsewhere(install: Install) -> None:
    install("elsewhere", {"__init__.py": DESCRIPTIONS, "learning.py": LEARNING, "plain.py": PLAIN}, ENTRY_POINTS)
