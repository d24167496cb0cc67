"""The hidden layer beside a linear head: its slopes are those of its loss, and it is the same over raw features."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from apps.engine.correction import HIDDEN_UNITS, Correction, _slopes, fit_correction

Array = npt.NDArray[np.float64]


def make_correction(rng: np.random.Generator, dimension: int, hidden: int, classes: int) -> Correction:
    shapes = ((dimension, hidden), (hidden,), (hidden, classes))
    return Correction(*(rng.normal(size=shape) for shape in shapes))  # float64, for the differences


def loss_of(correction: Correction, x: Array, targets: Array, logits: Array, weights: Array) -> float:
    hidden = np.maximum(x @ correction.inward + correction.bias, 0)
    likely = log_softmax(logits + hidden @ correction.outward, axis=1)[np.arange(len(x)), targets]
    return -float((weights * likely).mean())


def test_slopes_are_the_differences_of_the_weighted_cross_entropy() -> None:
    rng = np.random.default_rng(0)
    correction = make_correction(rng, dimension=3, hidden=5, classes=4)
    x, logits, weights = rng.normal(size=(9, 3)), rng.normal(size=(9, 4)), rng.uniform(0.5, 2, 9)
    targets = rng.integers(0, 4, 9)
    parameters = (correction.inward, correction.bias, correction.outward)
    for parameter, slope in zip(parameters, _slopes(correction, x, targets, logits, weights), strict=True):
        for at in np.ndindex(parameter.shape):
            here, step = parameter[at], 1e-6
            parameter[at] = here + step
            above = loss_of(correction, x, targets, logits, weights)
            parameter[at] = here - step
            below = loss_of(correction, x, targets, logits, weights)
            parameter[at] = here
            np.testing.assert_allclose(slope[at], (above - below) / (2 * step), atol=1e-7)


def test_it_says_the_same_of_raw_and_of_standardized_features() -> None:
    rng = np.random.default_rng(1)
    correction = make_correction(rng, dimension=6, hidden=8, classes=3)
    raw, center, scale = rng.normal(size=(20, 6)), rng.normal(size=6), rng.uniform(0.1, 3, 6)
    standardized = (raw - center) / scale
    np.testing.assert_allclose(correction.of_raw(center, scale).logits(raw), correction.logits(standardized))
    there_and_back = correction.of_raw(center, scale).of_standardized(center, scale)
    np.testing.assert_allclose(there_and_back.logits(standardized), correction.logits(standardized))


def test_a_fit_depends_on_nothing_but_what_it_is_given() -> None:
    rng = np.random.default_rng(2)
    x, targets = rng.normal(size=(400, 4)).astype(np.float32), rng.integers(0, 2, 400)
    logits, shares = np.zeros((400, 2), np.float32), np.full(400, 1 / 400, np.float32)
    first, second = (fit_correction(x, targets, logits, shares, seed=0) for _ in range(2))
    assert first.inward.shape == (4, HIDDEN_UNITS)
    np.testing.assert_array_equal(first.outward, second.outward)
    assert first.logits(x).dtype == np.float32
    np.testing.assert_allclose(first.scaled(0.5).logits(x), 0.5 * first.logits(x), rtol=1e-5)
