"""What labeled objects say of those like them: as likely labels as a general optimizer finds, in a fraction of a second."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from apps.engine.correction import (
    FEWEST_LANDMARKS,
    MOST_LANDMARKS,
    SHRINKAGE,
    Correction,
    Likeness,
    _raise_e,
    n_landmarks,
)
from apps.engine.evidence import Evidence

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def make_labeled(n: int, *, seed: int = 0) -> tuple[Floats, Rows, npt.NDArray[np.float64]]:
    """Features (n, 3), targets of three classes of which one lies within the others, a linear head's logits."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    targets = np.where(np.linalg.norm(x, axis=1) < 1.2, 0, 1 + (x[:, 0] > 0))
    return x, targets, np.stack([np.zeros(n), -x[:, 0], x[:, 0]], axis=1).astype(np.float64)


@pytest.fixture(scope="module")
def pool() -> Iterator[Executor]:
    with ThreadPoolExecutor(2) as threads:
        yield threads


def likeness_of(
    x: Floats,
    targets: Rows,
    n_landmarks: int,
    pool: Executor,
    *,
    folds: Rows | None = None,
    variance: float | None = None,
) -> Likeness:
    return Likeness(
        x,
        Evidence.of_labels(targets, 3),
        np.arange(n_landmarks),
        folds=np.full(len(x), -1) if folds is None else folds,
        variance=float(x.var(axis=0).sum()) if variance is None else variance,
        pool=pool,
    )


def fit_to_all(likeness: Likeness, logits: npt.NDArray[np.float64]) -> Correction:
    return likeness.fit({-1: logits})[-1]


def weights_of(targets: Rows) -> npt.NDArray[np.float64]:
    """Every class counts alike; of mean 1."""
    weights = 1 / np.bincount(targets)[targets]
    return np.asarray(weights / weights.mean())


def loss_of(logits: npt.NDArray[np.float64], targets: Rows) -> float:
    """Weighted cross-entropy, added up, weights of mean 1."""
    likely = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
    return -float((weights_of(targets) * likely).sum())


def test_it_makes_the_labels_as_likely_as_the_best_of_its_kind(pool: Executor) -> None:
    x, targets, logits = make_labeled(60)
    correction = fit_to_all(likeness_of(x, targets, 60, pool), logits)
    squares = ((x[:, None] - x) ** 2).sum(axis=2).astype(np.float64)
    kernel = np.exp(-squares / x.var(axis=0).sum())

    def objective(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        outward = flat.reshape(60, 3)
        corrected = logits + kernel @ outward
        penalty = 0.5 * SHRINKAGE * float((outward * (kernel @ outward)).sum())
        wrong = (softmax(corrected, axis=1) - np.eye(3)[targets]) * weights_of(targets)[:, None]
        return loss_of(corrected, targets) + penalty, (kernel @ (wrong + SHRINKAGE * outward)).ravel()

    best = minimize(objective, np.zeros(180), jac=True, method="L-BFGS-B", options={"maxiter": 10_000}).fun
    ours, nothing = objective(correction.outward.astype(np.float64).ravel())[0], objective(np.zeros(180))[0]
    assert ours - best < 0.05 * (nothing - best)


def test_what_is_left_out_is_not_learned_from(pool: Executor) -> None:
    x, targets, logits = make_labeled(300)
    left_out = np.arange(300) % 3 == 0
    folds = np.where(left_out, 0, -1)
    swapped = targets.copy()
    swapped[left_out] = np.roll(targets[left_out], 1)  # as many of each class
    first, second = (
        likeness_of(x, labels, 100, pool, folds=folds).fit({0: logits})[0].logits(x) for labels in (targets, swapped)
    )
    np.testing.assert_allclose(first, second, atol=1e-4)
    known = ~left_out
    alone = Likeness(
        np.concatenate([x[known], x[:100]]),
        Evidence(targets[known], np.ones((100, 3), np.bool_)),  # of the landmarks nothing is known
        known.sum() + np.arange(100),
        folds=np.full(known.sum() + 100, -1),
        variance=float(x.var(axis=0).sum()),
        pool=pool,
    )
    from_known = fit_to_all(alone, np.concatenate([logits[known], logits[:100]]))
    agree = (from_known.logits(x) + logits).argmax(axis=1) == (first + logits).argmax(axis=1)
    assert agree.mean() > 0.97


def test_fits_side_by_side_are_what_each_would_be_alone(pool: Executor) -> None:
    x, targets, logits = make_labeled(1300)  # three blocks, the last one not full
    folds = np.arange(1300) % 4 - 1
    likeness = likeness_of(x, targets, 100, pool, folds=folds)
    by_fold = {0: logits, 1: 2 * logits, 2: 0 * logits, -1: logits}
    together = likeness.fit(by_fold)
    for fold, of_fold in by_fold.items():
        alone = likeness.fit({fold: of_fold})[fold]
        np.testing.assert_allclose(together[fold].logits(x), alone.logits(x), atol=1e-3)
    left_out = likeness.left_out(together)
    for fold in range(3):
        rows = folds == fold
        # But for what lets landmarks be alike.
        np.testing.assert_allclose(left_out[rows], together[fold].logits(x[rows]), atol=0.02)
    np.testing.assert_array_equal(left_out[folds == -1], 0)


def test_what_was_ruled_out_is_heeded_in_every_block_and_fit(pool: Executor) -> None:
    x, targets, logits = make_labeled(1300)
    n_labels = 700  # the second block has both labels and what was ruled out
    possible = np.ones((600, 3), np.bool_)
    possible[np.arange(600), (targets[n_labels:] + 1) % 3] = False
    folds = np.arange(1300) % 4 - 1
    likeness = Likeness(
        x,
        Evidence(targets[:n_labels], possible),
        np.arange(100),
        folds=folds,
        variance=float(x.var(axis=0).sum()),
        pool=pool,
    )
    found = likeness.fit({0: logits, 1: logits, -1: logits})
    for fold, correction in found.items():
        surprise = [
            Evidence(targets[:n_labels], possible).surprise(log_softmax(of, axis=1))
            for of in (logits, logits + correction.logits(x))
        ]
        known = folds != fold
        before, after = (values[known].mean() for values in surprise)
        assert after < 0.8 * before


def test_it_is_the_same_to_the_last_bit_on_one_core_and_on_two(pool: Executor) -> None:
    x, targets, logits = make_labeled(1300)
    folds = np.arange(1300) % 4 - 1
    with ThreadPoolExecutor(1) as one:
        alone = likeness_of(x, targets, 100, one, folds=folds).fit({0: logits, -1: logits})
    together = likeness_of(x, targets, 100, pool, folds=folds).fit({0: logits, -1: logits})
    for fold, correction in alone.items():
        np.testing.assert_array_equal(correction.outward, together[fold].outward)


@pytest.mark.parametrize("exponent", [0, -1e-6, -0.3, -1, -20, -87.2, -88, -1e4, -np.inf, 0.5])
def test_the_exponential_is_as_exact_as_a_likeness_needs(exponent: float) -> None:
    values = np.full((3, 19), exponent, np.float32)
    _raise_e(values)
    np.testing.assert_allclose(values, np.exp(min(exponent, 0)), atol=2e-7)


def test_what_it_adds_is_what_the_formula_says(pool: Executor) -> None:
    x, targets, logits = make_labeled(300)
    correction = fit_to_all(likeness_of(x, targets, 100, pool), logits)
    asked = np.concatenate([x, 3 * x, 30 * x]).astype(np.float64)  # near, farther, out of reach
    squares = ((asked[:, None] - x[:100].astype(np.float64)) ** 2).sum(axis=2)
    wanted = np.exp(-squares / x.var(axis=0).sum()) @ correction.outward.astype(np.float64)
    added = correction.logits(asked.astype(np.float32))
    np.testing.assert_allclose(added, wanted, atol=2e-5 * np.abs(correction.outward).sum(axis=0).max())


def test_half_as_strong_it_adds_half(pool: Executor) -> None:
    x, targets, logits = make_labeled(200)
    correction = fit_to_all(likeness_of(x, targets, 80, pool), logits)
    np.testing.assert_allclose(correction.scaled(0.5).logits(x), 0.5 * correction.logits(x), rtol=1e-5)


def test_it_does_not_depend_on_where_the_features_lie(pool: Executor) -> None:
    x, targets, logits = make_labeled(200)
    here = fit_to_all(likeness_of(x, targets, 80, pool), logits)
    far = fit_to_all(likeness_of(x + 1000, targets, 80, pool), logits)
    np.testing.assert_allclose(far.logits(x + 1000), here.logits(x), atol=0.02)


@pytest.mark.parametrize("far", [1e3, 1e5])
def test_an_object_that_lies_far_off_stops_no_fit(far: float, pool: Executor) -> None:
    x, targets, logits = make_labeled(300)
    variance = float(x.var(axis=0).sum())
    x[0] = far
    likeness = likeness_of(x, targets, 100, pool, variance=variance)
    correction = fit_to_all(likeness, logits)
    right = ((correction.logits(x) + logits).argmax(axis=1) == targets).mean()
    assert right > 0.9
    assert (logits.argmax(axis=1) == targets).mean() < 0.7, "by the linear head alone"


def test_far_from_all_landmarks_it_says_nothing(pool: Executor) -> None:
    x, targets, logits = make_labeled(200)
    correction = fit_to_all(likeness_of(x, targets, 80, pool), logits)
    np.testing.assert_array_equal(correction.logits(np.full((2, 3), 1e4, np.float32)), 0)


@pytest.mark.parametrize("n", [1, 2, 50])
def test_objects_that_are_all_alike_are_no_fault(n: int, pool: Executor) -> None:
    x, targets = np.ones((n, 4), np.float32), np.arange(n) % 2
    likeness = likeness_of(x, targets, n, pool, variance=0.0)
    correction = fit_to_all(likeness, np.zeros((n, 3)))
    assert np.isfinite(correction.logits(x)).all()


def test_landmarks_are_as_many_as_a_gesture_has_time_for() -> None:
    assert n_landmarks(150, 10_000, 128) == 150
    assert n_landmarks(2000, 10_000, 128) == MOST_LANDMARKS
    assert n_landmarks(10_000, 10_000, 128) == 500
    assert n_landmarks(1000, 100_000, 160) == 550
    assert FEWEST_LANDMARKS < n_landmarks(2000, 200_000, 128) < MOST_LANDMARKS
    assert n_landmarks(10_000, 10_000_000, 128) == FEWEST_LANDMARKS
