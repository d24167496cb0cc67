"""Projects to label: fixed synthetic ones. Their features do not change, so that what changes a figure is the method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.benchmarks.simulation.annotator import GLOMERULI, NUCLEI, TUBULES, UseCase
from tests.benchmarks.simulation.session import ClassValues

Floats = npt.NDArray[np.float32]

CLASS_SHARES = (0.6, 0.3, 0.1)
DIMENSIONS = 64
KINDS_PER_CLASS = 6
KIND_SPREAD = 2.0  # how far the kinds within a class lie from its middle, in standard deviations of the noise


@dataclass(frozen=True)
class SyntheticWorld:
    """A use case and how far apart its classes lie, set so that the linear probe has the stated balanced accuracy.

    The probe is the product's own head on 5,000 random labels of 20,000, measured on the others.
    """

    use_case: UseCase
    probe: float
    class_distance: float
    n: int = 20_000
    seed: int = 0


def make_objects(class_distance: float, n: int, seed: int) -> tuple[Floats, ClassValues]:
    """Features (n, 64) float32 and true class values (n,): Gaussian kinds of three classes, 60, 30 and 10 %."""
    rng = np.random.default_rng(seed)
    counts = np.round(np.array(CLASS_SHARES) * n).astype(int)
    truth = rng.permutation(np.repeat(np.arange(1, len(counts) + 1, dtype=np.uint8), counts))
    centers = _unit(rng.standard_normal((len(counts), DIMENSIONS)))
    kinds = _unit(rng.standard_normal((len(counts), KINDS_PER_CLASS, DIMENSIONS)))
    kind = rng.integers(0, KINDS_PER_CLASS, len(truth))
    middle = class_distance * centers[truth - 1] + KIND_SPREAD * kinds[truth - 1, kind]
    features = middle + rng.standard_normal((len(truth), DIMENSIONS))
    return features.astype(np.float32), truth


def _unit(vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    unit: npt.NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


SYNTHETIC_WORLDS = (
    SyntheticWorld(NUCLEI, probe=0.93, class_distance=2.33),
    SyntheticWorld(TUBULES, probe=0.96, class_distance=2.7),
    SyntheticWorld(GLOMERULI, probe=0.96, class_distance=2.7),
)
