"""What was left out of a page teaches as labels do: what it is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from scipy.optimize import minimize
from scipy.special import log_softmax

from apps.engine.evidence import Denied, Evidence, contradicted, with_a_choice
from apps.engine.predict import REGULARIZATION_C, Head, fit_head, fit_kernel_head, heed_denied

N = 3000
NOTHING = np.zeros(0, np.int64)
Fit = Callable[..., Head | None]


def overlapping(seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Features (n, 6) of which the first tells three classes apart, but not everywhere; and the classes (n,), 1 to 3."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(N, 6)).astype(np.float32)
    features[:, 0] = rng.uniform(-3, 3, N)
    classes = np.digitize(features[:, 0] + rng.logistic(scale=0.4, size=N), [-1, 1]) + 1
    return features, classes.astype(np.uint8)


def confirmed_pages(
    fit: Fit, features: npt.NDArray[np.float32], truth: npt.NDArray[np.uint8], *, is_told: bool
) -> tuple[Head, npt.NDArray[np.uint8], dict[int, npt.NDArray[np.int64]]]:
    """Twelve pages of what the model takes for a class, surest first, confirmed but for those that are not of it; the head after
    them. `is_told`: it knows which were left out."""
    labels = np.where(np.arange(N) < 60, truth, 0).astype(np.uint8)
    denied = dict.fromkeys((1, 2, 3), NOTHING)
    head = fit_head(features, labels, seed=0)
    for number in range(12):
        assert head is not None
        value = 1 + number % 3
        classes, confidence = head.predict(features)
        members = np.flatnonzero((labels == 0) & (classes == value))
        members = members[~np.isin(members, denied[value])]
        page = members[np.argsort(-confidence[members])][:150]
        labels[page[truth[page] == value]] = value
        denied[value] = np.union1d(denied[value], page[truth[page] != value])
        head = fit(features, labels, seed=0, denied=denied if is_told else None, start_from=head)
    assert head is not None
    return head, labels, denied


def told_and_true(
    features: npt.NDArray[np.float32],
    truth: npt.NDArray[np.uint8],
    head: Head,
    labels: npt.NDArray[np.uint8],
    denied: dict[int, npt.NDArray[np.int64]],
) -> tuple[float, float]:
    """The share of those without a label that is predicted rightly: as the head says, and as it is."""
    classes, confidence = head.predict(features)
    heed_denied(head, features, labels, denied, (classes, confidence))
    rows = labels == 0
    return float(confidence[rows].mean()), float((classes == truth)[rows].mean())


@pytest.mark.parametrize("fit", [fit_head, fit_kernel_head])
def test_who_confirms_pages_and_leaves_out_the_wrong_ones_is_told_how_many_of_the_rest_are_right(fit: Fit) -> None:
    features, truth = overlapping()
    told_of = confirmed_pages(fit, features, truth, is_told=True)
    told, true = told_and_true(features, truth, *told_of)
    assert told == pytest.approx(true, abs=0.05)
    quality = told_of[0].quality
    assert quality.ece is not None and quality.ece < 0.06
    assert quality.reliability[0].confidence < 0.7, "it knows that there are some that it doubts"
    told, true = told_and_true(features, truth, *confirmed_pages(fit, features, truth, is_told=False))
    assert told > true + 0.15, "labels alone are what the model had right"


def test_what_was_left_out_is_taken_for_another_class() -> None:
    features, truth = overlapping()
    head, labels, denied = confirmed_pages(fit_head, features, truth, is_told=True)
    known = Denied.among(denied, labels, head.class_values)
    assert len(known.rows) > 50
    classes, confidence = head.predict(features[known.rows], possible=~known.is_denied)
    assert not known.is_denied[np.arange(len(classes)), np.searchsorted(head.class_values, classes)].any()
    right = classes == truth[known.rows]
    assert right.mean() > 0.8
    assert confidence.mean() == pytest.approx(right.mean(), abs=0.12)


def test_what_is_known_is_as_likely_as_the_best_fit_makes_it() -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(size=(240, 4)).astype(np.float32)
    truth = (np.digitize(features[:, 0] + 0.5 * rng.normal(size=240), [-0.5, 0.5]) + 1).astype(np.uint8)
    labels = np.where(np.arange(240) < 120, truth, 0).astype(np.uint8)
    denied = {
        value: np.flatnonzero((truth != value) & (np.arange(240) >= 120) & (np.arange(240) % 3 + 1 == value))
        for value in (1, 2, 3)
    }
    head = fit_head(features, labels, seed=0, denied=denied)
    assert head is not None
    targets = labels[:120].astype(np.int64) - 1
    known = Denied.among(denied, labels, head.class_values)
    shares = Evidence(targets, ~known.is_denied).shares()
    center, spread = features.mean(axis=0), np.sqrt((features.var(axis=0) + features.var(axis=0).mean()) / 2)
    x = (features.astype(np.float64) - center) / spread

    def objective(flat: npt.NDArray[np.float64]) -> float:
        weights, bias = flat[:12].reshape(4, 3), flat[12:]
        log_likely = log_softmax(x @ weights + bias, axis=1)
        loss = -sum(shares[i] * log_likely[i, targets[i]] for i in range(120))
        of_denied = log_likely[known.rows][known.is_denied]
        loss -= (shares[120:] * np.log1p(-np.exp(of_denied))).sum()
        return float(loss + 0.5 / (REGULARIZATION_C * len(shares)) * (weights**2).sum())

    standardized = (head.weights * spread[:, None]).astype(np.float64)
    ours = objective(np.concatenate([standardized.ravel(), (head.bias + center @ head.weights).astype(np.float64)]))
    best = minimize(objective, np.zeros(15), method="BFGS").fun
    assert ours == pytest.approx(best, abs=2e-4)


def test_a_label_outweighs_what_was_said_before() -> None:
    features, truth = overlapping()
    labels = np.where(np.arange(N) < 300, truth, 0).astype(np.uint8)
    labeled = np.flatnonzero(labels == 1)
    plain, contradicted_before = (
        fit_kernel_head(features, labels, seed=0, denied=denied) for denied in (None, {1: labeled})
    )
    assert plain is not None and contradicted_before is not None
    np.testing.assert_array_equal(plain.predict(features)[1], contradicted_before.predict(features)[1])


@pytest.mark.parametrize("fit", [fit_head, fit_kernel_head])
@pytest.mark.parametrize(
    "denied",
    [
        pytest.param({3: np.arange(500, 900)}, id="a class without labels"),
        pytest.param({1: np.arange(500, 900), 2: np.arange(500, 900)}, id="all classes with labels"),
        pytest.param({1: np.arange(500, 2500)}, id="far more than the class has labels"),
        pytest.param({1: np.arange(2950, 3400)}, id="objects that came later"),
        pytest.param({1: NOTHING}, id="nobody"),
    ],
)
def test_whatever_was_left_out_predictions_are_finite(fit: Fit, denied: dict[int, npt.NDArray[np.int64]]) -> None:
    features, truth = overlapping()
    labels = np.where((np.arange(N) < 200) & (truth < 3), truth, 0).astype(np.uint8)
    head = fit(features, labels, seed=0, denied=denied)
    assert head is not None
    confidence = head.predict(features)[1]
    assert np.isfinite(confidence).all() and (confidence > 0).all()
    assert np.isfinite(head.temperature) and head.quality.accuracy is not None


def test_quality_is_that_of_labels_whatever_was_left_out() -> None:
    features, truth = overlapping()
    labels = np.where(np.arange(N) < 400, truth, 0).astype(np.uint8)
    denied = {1: np.flatnonzero((truth != 1) & (np.arange(N) >= 2000))}
    plain, told = (fit_head(features, labels, seed=0, denied=known) for known in (None, denied))
    assert plain is not None and told is not None
    assert told.quality.n_held_out == plain.quality.n_held_out
    assert told.quality.n_train == plain.quality.n_train
    np.testing.assert_array_equal(told.held_out.ordinals, plain.held_out.ordinals)


def test_what_is_known_of_each() -> None:
    evidence = Evidence(np.array([2, 0]), np.array([[True, False, True], [True, True, True]]))
    probability = np.array([[0.2, 0.3, 0.5]] * 4)
    np.testing.assert_allclose(
        probability - evidence.excess(probability), [[0, 0, 1], [1, 0, 0], [2 / 7, 0, 5 / 7], [0.2, 0.3, 0.5]]
    )
    np.testing.assert_allclose(evidence.surprise(np.log(probability)), -np.log([0.5, 0.2, 0.7, 1.0]), atol=1e-12)


def test_classes_count_alike_with_those_that_may_be_of_them() -> None:
    labels = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(Evidence.of_labels(labels, 2).shares(), [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    # The one that is not of the first class can only be of the second; the other is of either as often as labels are.
    both = Evidence(labels, np.array([[False, True], [True, True]]))
    of_first, of_second = 1 / (2 * 3.75), 1 / (2 * 2.25)
    expected = [of_first] * 3 + [1 / (2 * 2), of_second, 0.75 * of_first + 0.25 * of_second]
    np.testing.assert_allclose(both.shares(), expected, rtol=1e-6)
    some = both.of(np.array([True, False, False, True, False, False]))
    np.testing.assert_allclose(some.shares(), [0.5, 0.5])


def test_many_that_were_left_out_of_a_frequent_class_do_not_drown_the_few_labels_of_the_others() -> None:
    labels = np.repeat([0, 1, 2], [10, 10, 1000])
    shares = Evidence(labels, np.tile([True, True, False], (1500, 1))).shares()
    assert shares[:10].sum() == pytest.approx(1 / 6) == shares[10:20].sum()
    assert shares[20:1020].sum() == pytest.approx(1 / 3)


def test_while_a_class_has_no_label_who_is_left_with_one_of_the_others_is_not_taken_for_that() -> None:
    labels = np.array([1, 2, 0, 0, 0], np.uint8)
    left = with_a_choice({1: np.array([2, 3]), 5: np.array([4])}, labels)
    assert {value: rows.tolist() for value, rows in left.items()} == {1: [], 5: [4]}
    labels = np.array([1, 2, 3, 0, 0], np.uint8)
    left = with_a_choice({1: np.array([3, 4]), 2: np.array([4])}, labels)
    assert {value: rows.tolist() for value, rows in left.items()} == {1: [3], 2: []}


def test_only_a_prediction_that_was_denied_is_contradicted() -> None:
    classes = np.array([1, 2, 1, 0], np.uint8)
    np.testing.assert_array_equal(contradicted({1: np.array([0, 1, 3, 9])}, classes), [True, False, False, False])
