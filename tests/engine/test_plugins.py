"""An approach, a reducer and a classifier from a package of somebody else's, installed and found as any would be."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from apps.engine.embedding import embed_objects
from apps.engine.errors import EngineError
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.train import train_model
from apps.engine.reduce import reduce_to_plot
from apps.engine.registry import APPROACHES, CLASSIFIERS, REDUCERS
from apps.engine.settings import Settings
from tests.engine.fake_patches import make_patches
from tests.engine.test_reduce import make_features
from tests.third_party import DESCRIPTIONS, ENTRY_POINTS, PACKAGE, Install


@pytest.mark.usefixtures("elsewhere")
def test_another_package_s_approach_trains_and_is_loaded_again(tmp_path: Path) -> None:
    assert APPROACHES.names()[-1] == "agreement"
    assert "elsewhere.learning" not in sys.modules, "listing it imports no torch of theirs"
    settings = APPROACHES.get("agreement").settings().changed({"strength": "2"})
    config = TrainConfig("agreement", settings, encoder_size_px=16, epochs=4, batch_size=16, device="cpu", threads=1)  # type: ignore[arg-type]
    patches, kinds = make_patches(16)
    result = train_model(config, patches, class_values=kinds, checkpoint=tmp_path / "model")
    assert result.losses[-1] < result.losses[0]
    assert result.n_labeled == 16
    assert embed_patches(tmp_path / "model", patches, threads=1).shape == (16, 512)


@pytest.mark.usefixtures("elsewhere")
def test_another_package_s_reducer_draws_the_map() -> None:
    features = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32)
    points = reduce_to_plot(features, reducer="spiral")
    assert points.shape == (40, 2)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    assert (np.diff(steps) > 0).mean() > 0.9, "a spiral widens"


@pytest.mark.usefixtures("elsewhere")
def test_another_package_s_classifier_predicts() -> None:
    features = np.array([[0, 0], [0, 1], [9, 9], [9, 8], [1, 0]], np.float16)
    head = CLASSIFIERS.get("nearest").load()(features, np.array([4, 0, 7, 0, 0], np.uint8), seed=0, held_out=None)
    assert head.predict(features)[0].tolist() == [4, 4, 7, 7, 4]
    assert (head.quality.n_train, head.quality.n_held_out) == (2, 0)


@pytest.mark.parametrize(
    ("content", "entry_point", "cause"),
    [
        (
            "import nothing_of_this_name",
            "x = broken:ENTRY",
            "ModuleNotFoundError: No module named 'nothing_of_this_name'",
        ),
        ("1 / 0", "x = broken:ENTRY", "ZeroDivisionError"),
        ("ENTRY = 3", "x = broken:ENTRY", "broken:ENTRY is no Approach"),
        ("", "x = broken:ENTRY", "AttributeError"),
        (
            "from apps.engine.approaches import FROZEN as ENTRY",
            "x = broken:ENTRY",
            "broken:ENTRY calls itself 'frozen'",
        ),
        ("from apps.engine.approaches import FROZEN as ENTRY", "frozen = broken:ENTRY", "the name is taken"),
        (
            "from apps.engine.approaches.base import Approach\nENTRY = Approach('x', 'X', 'X.')",
            "x = broken:ENTRY",
            "the settings of x have to be TrainingSettings",
        ),
        ("raise SystemExit('needs a GPU')", "x = broken:ENTRY", "SystemExit: needs a GPU"),
        (
            "from apps.engine.approaches.base import Approach\n"
            "ENTRY = Approach('x', 'X', 'X.', trains=False, uses_network=False)",
            "x = broken:ENTRY",
            "the approach x makes no features",
        ),
        (
            "from dataclasses import dataclass\n"
            "from apps.engine.approaches.base import Approach\n"
            "from apps.engine.settings import Settings, setting\n"
            "@dataclass(frozen=True)\n"
            "class Lists(Settings):\n"
            "    sizes: list[int] = setting(None, title='Sizes', help='Of what.')\n"
            "ENTRY = Approach('x', 'X', 'X.', 'broken:f', settings=Lists, trains=False, uses_network=False)",
            "x = broken:ENTRY",
            "the settings of x cannot be used: list[int] is no type for a setting",
        ),
    ],
)
def test_a_broken_package_is_named_and_stops_nobody_else(
    install: Install, content: str, entry_point: str, cause: str
) -> None:
    install("elsewhere", PACKAGE, ENTRY_POINTS)
    install("broken", {"__init__.py": content}, f"[patchsorter.approaches]\n{entry_point}\n")
    name = entry_point.split(" ")[0]
    assert {"simclr", "agreement", "frozen"} <= set(APPROACHES.names())
    sentence = APPROACHES.faults()[name]
    assert sentence.startswith(f"The approach '{name}' of the package broken 1.2 cannot be used: ")
    assert cause in sentence
    assert "\n" not in sentence
    if name == "x":
        with pytest.raises(EngineError) as caught:
            TrainConfig("x")
        assert str(caught.value) == sentence
    else:
        assert APPROACHES.get(name).settings is not None, "the built-in one stays"


def test_an_implementation_that_is_not_there_is_an_error_when_it_is_used(install: Install) -> None:
    install("elsewhere", {"__init__.py": DESCRIPTIONS}, ENTRY_POINTS)
    assert "spiral" in REDUCERS.names()
    with pytest.raises(EngineError, match=r"spiral cannot be used: elsewhere.plain:spiral: ModuleNotFoundError"):
        reduce_to_plot(np.ones((3, 2)), reducer="spiral")


def install_faulty(install: Install, kind: str, described: str, content: str) -> None:
    """A package whose one entry, "x" of that kind, is described so; its code is `package.faulty`."""
    files = {"__init__.py": f"{FOR_ENTRIES}\nENTRY = {described}", "faulty.py": content}
    install("package", files, f"[patchsorter.{kind}]\nx = package:ENTRY\n")


FOR_ENTRIES = """
from apps.engine.approaches.base import Approach, TrainingSettings
from apps.engine.registry import Reducer
"""
FAULTY_REDUCERS = """
import sys

import numpy as np


def with_places(make):
    def reducer(layout):
        layout.progress.advance(100)
        return make(len(layout.vectors))

    return reducer


nothing = with_places(lambda n: None)
ragged = with_places(lambda n: [[0.0, 1.0], [2.0]] * (n // 2))
words = with_places(lambda n: np.full((n, 2), "far"))
complex_numbers = with_places(lambda n: np.ones((n, 2), np.complex128))
beyond_float32 = with_places(lambda n: np.full((n, 2), 1e300))
gives_up = with_places(lambda n: sys.exit(3))


def writes(layout):
    layout.vectors[:] = 0


def takes_all_memory(layout):
    raise MemoryError("of the GPU")


def rewords(layout):
    try:
        layout.progress.advance(100)
    except ValueError as error:
        raise RuntimeError("no progress") from error
"""


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("nothing", r"the reducer x gave coordinates of shape \(\) for 20 objects"),
        ("ragged", "the reducer x failed: ValueError: setting an array element with a sequence"),
        ("words", "the reducer x gave coordinates that are no numbers"),
        ("complex_numbers", "the reducer x gave coordinates that are no numbers, but complex128"),
        ("beyond_float32", "the reducer x gave coordinates that are not finite"),
        ("takes_all_memory", r"the reducer x failed: MemoryError: of the GPU"),
        ("gives_up", r"the reducer x failed: SystemExit: 3 \(faulty.py, line \d+\)"),
        (
            "writes",
            r"the reducer x failed: ValueError: assignment destination is read-only \(faulty.py, line \d+\)",
        ),
    ],
)
def test_a_reducer_is_blamed_for_what_no_map_can_be_and_can_not_change_what_it_is_given(
    install: Install, name: str, cause: str
) -> None:
    install_faulty(install, "reducers", f"Reducer('x', 'X', 'X.', 'package.faulty:{name}')", FAULTY_REDUCERS)
    features, _groups = make_features(20)
    with pytest.raises(EngineError, match=cause):
        reduce_to_plot(features, reducer="x")


def test_what_a_caller_s_function_raises_is_the_caller_s_also_in_other_words(install: Install) -> None:
    install_faulty(install, "reducers", "Reducer('x', 'X', 'X.', 'package.faulty:rewords')", FAULTY_REDUCERS)
    features, _groups = make_features(20)

    def progress(stage: str, fraction: float, message: str) -> None:
        if fraction > 0:
            raise ValueError("the database is gone")

    with pytest.raises(ValueError, match="the database is gone"):
        reduce_to_plot(features, reducer="x", on_progress=progress)


FAULTY_APPROACHES = """
import numpy as np

from apps.engine.nn.approaches.base import TrainedApproach


class Raises(TrainedApproach):
    def __init__(self, feature_dim, settings, *, encoder_size_px):
        super().__init__()

    def forward(self, features, targets):
        raise RuntimeError("the loss broke")


class NoScalar(Raises):
    def forward(self, features, targets):
        return features.square().mean(dim=1)


class NoNumber(Raises):
    def forward(self, features, targets):
        return features.mean() * float("nan")


def too_few(patches, settings, **_):
    return np.ones((len(patches) - 1, 4))


def not_finite(patches, settings, **_):
    return np.full((len(patches), 4), np.nan)
"""


@pytest.mark.parametrize(
    ("kind", "cause"),
    [
        ("Raises", r"the approach x failed: RuntimeError: the loss broke \(faulty.py, line 12\)"),
        ("NoScalar", r"the approach x gave no loss, but numbers of shape \(40,\)"),
        ("NoNumber", "The loss of the approach x was no longer a number in epoch 1"),
    ],
)
def test_an_approach_is_blamed_for_its_loss(install: Install, tmp_path: Path, kind: str, cause: str) -> None:
    described = f"Approach('x', 'X', 'X.', 'package.faulty:{kind}', settings=TrainingSettings)"
    install_faulty(install, "approaches", described, FAULTY_APPROACHES)
    patches, _kinds = make_patches(20)
    config = TrainConfig("x", encoder_size_px=16, epochs=1, device="cpu")
    with pytest.raises(EngineError, match=cause):
        train_model(config, patches, checkpoint=tmp_path / "model")
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("function", "cause"),
    [
        ("too_few", r"the approach x gave features of shape \(19, 4\), float64, for 20 objects"),
        ("not_finite", "the approach x gave features of which none is finite"),
    ],
)
def test_an_approach_without_a_network_is_blamed_for_its_features(
    install: Install, tmp_path: Path, function: str, cause: str
) -> None:
    described = f"Approach('x', 'X', 'X.', 'package.faulty:{function}', trains=False, uses_network=False)"
    install_faulty(install, "approaches", described, FAULTY_APPROACHES)
    patches, _kinds = make_patches(20)
    with pytest.raises(EngineError, match=cause):
        embed_objects("x", Settings(), tmp_path / "model", patches)
    assert not (tmp_path / "model").exists()
