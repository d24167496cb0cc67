"""What labeled objects say of those like them: as likely labels as a general optimizer finds, in a fraction of a second."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from apps.engine.correction import FEWEST_LANDMARKS, MOST_LANDMARKS, SHRINKAGE, Correction, Likeness, n_landmarks
from apps.engine.evidence import Evidence

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


def make_labeled(n: int, *, seed: int = 0) -> tuple[Floats, Rows, npt.NDArray[np.float64]]:
    """Features (n, 3), targets of three classes of which one lies within the others, a linear head's logits."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)).astype(np.float32)
    targets = np.where(np.linalg.norm(x, axis=1) < 1.2, 0, 1 + (x[:, 0] > 0))
    return x, targets, np.stack([np.zeros(n), -x[:, 0], x[:, 0]], axis=1).astype(np.float64)


def likeness_of(x: Floats, targets: Rows, n_landmarks: int) -> Likeness:
    return Likeness(x, Evidence.of_labels(targets, 3), np.arange(n_landmarks), variance=float(x.var(axis=0).sum()))


def weights_of(targets: Rows) -> npt.NDArray[np.float64]:
    """Every class counts alike; of mean 1."""
    weights = 1 / np.bincount(targets)[targets]
    return np.asarray(weights / weights.mean())


def loss_of(logits: npt.NDArray[np.float64], targets: Rows) -> float:
    """Weighted cross-entropy, added up, weights of mean 1."""
    likely = log_softmax(logits, axis=1)[np.arange(len(targets)), targets]
    return -float((weights_of(targets) * likely).sum())


def test_it_makes_the_labels_as_likely_as_the_best_of_its_kind() -> None:
    x, targets, logits = make_labeled(60)
    correction = likeness_of(x, targets, 60).fit(logits)
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


def test_what_is_left_out_is_not_learned_from() -> None:
    x, targets, logits = make_labeled(300)
    left_out = np.arange(300) % 3 == 0
    swapped = targets.copy()
    swapped[left_out] = np.roll(targets[left_out], 1)  # as many of each class
    first, second = (
        likeness_of(x, labels, 100).fit(logits, without=left_out).logits(x) for labels in (targets, swapped)
    )
    np.testing.assert_allclose(first, second, atol=1e-4)
    known = ~left_out
    alone = Likeness(
        np.concatenate([x[known], x[:100]]),
        Evidence(targets[known], np.ones((100, 3), np.bool_)),  # of the landmarks nothing is known
        known.sum() + np.arange(100),
        variance=float(x.var(axis=0).sum()),
    ).fit(np.concatenate([logits[known], logits[:100]]))
    agree = (alone.logits(x) + logits).argmax(axis=1) == (first + logits).argmax(axis=1)
    assert agree.mean() > 0.97


def test_it_says_the_same_of_labeled_objects_as_of_any_other() -> None:
    x, targets, logits = make_labeled(200)
    likeness = likeness_of(x, targets, 80)
    correction = likeness.fit(logits)
    some = np.arange(200) < 50
    # But for what lets landmarks be alike.
    np.testing.assert_allclose(likeness.logits(some, correction), correction.logits(x[some]), atol=0.02)
    np.testing.assert_allclose(correction.scaled(0.5).logits(x), 0.5 * correction.logits(x), rtol=1e-5)


def test_it_does_not_depend_on_where_the_features_lie() -> None:
    x, targets, logits = make_labeled(200)
    here = likeness_of(x, targets, 80).fit(logits)
    far = likeness_of(x + 1000, targets, 80).fit(logits)
    np.testing.assert_allclose(far.logits(x + 1000), here.logits(x), atol=0.02)


@pytest.mark.parametrize("far", [1e3, 1e5])
def test_an_object_that_lies_far_off_stops_no_fit(far: float) -> None:
    x, targets, logits = make_labeled(300)
    variance = float(x.var(axis=0).sum())
    x[0] = far
    correction = Likeness(x, Evidence.of_labels(targets, 3), np.arange(100), variance=variance).fit(logits)
    right = ((correction.logits(x) + logits).argmax(axis=1) == targets).mean()
    assert right > 0.9
    assert (logits.argmax(axis=1) == targets).mean() < 0.7, "by the linear head alone"


def test_far_from_all_landmarks_it_says_nothing() -> None:
    x, targets, logits = make_labeled(200)
    correction = likeness_of(x, targets, 80).fit(logits)
    np.testing.assert_array_equal(correction.logits(np.full((2, 3), 1e4, np.float32)), 0)


@pytest.mark.parametrize("n", [1, 2, 50])
def test_objects_that_are_all_alike_are_no_fault(n: int) -> None:
    x, targets = np.ones((n, 4), np.float32), np.arange(n) % 2
    likeness = Likeness(x, Evidence.of_labels(targets, 3), np.arange(n), variance=0.0)
    correction: Correction = likeness.fit(np.zeros((n, 3)))
    assert np.isfinite(correction.logits(x)).all()


def test_landmarks_are_as_many_as_a_gesture_has_time_for() -> None:
    assert n_landmarks(150, 10_000, 128) == 150
    assert n_landmarks(2000, 10_000, 128) == MOST_LANDMARKS
    assert n_landmarks(10_000, 10_000, 128) == 500
    assert n_landmarks(1000, 100_000, 160) == 548
    assert FEWEST_LANDMARKS < n_landmarks(2000, 200_000, 128) < MOST_LANDMARKS
    assert n_landmarks(10_000, 10_000_000, 128) == FEWEST_LANDMARKS
