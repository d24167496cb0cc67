"""Predictions: right on separable classes, calibrated on overlapping ones, none below two classes, never NaN."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from apps.engine.errors import EngineError
from apps.engine.predict import (
    FEWEST_TO_CORRECT,
    REGULARIZATION_C,
    Head,
    draw_held_out,
    fit_head,
    fit_kernel_head,
    measure_quality,
)


def make_labeled(
    counts: dict[int, int], *, distance: float, dims: int = 16, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Features and class values of as many objects per class as asked, the classes' centers `distance` apart."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.full(n, value) for value, n in counts.items()]).astype(np.uint8)
    centers = {value: np.eye(dims)[k] * distance / np.sqrt(2) for k, value in enumerate(sorted(counts))}
    features = np.stack([centers[value] for value in values]) + rng.normal(size=(len(values), dims))
    order = rng.permutation(len(values))
    return features[order].astype(np.float32), values[order]


@pytest.mark.parametrize("values", [[], [0, 0], [0, 3, 3]])
def test_there_is_no_head_before_two_classes_have_labels(values: list[int]) -> None:
    assert fit_head(np.zeros((len(values), 4), np.float32), np.array(values, np.uint8), seed=0) is None


def test_separable_classes_are_told_apart_under_their_own_values() -> None:
    features, values = make_labeled({2: 60, 9: 60, 254: 60}, distance=12)
    some = np.where(np.arange(180) < 120, values, 0).astype(np.uint8)
    head = fit_head(features.astype(np.float16), some, seed=0)
    assert head is not None
    predicted, confidence = head.predict(features.astype(np.float16))
    assert predicted.dtype == np.uint8
    assert confidence.dtype == np.float32
    assert (predicted == values).mean() > 0.99
    assert ((confidence > 1 / 3) & (confidence <= 1)).all()
    assert head.quality.accuracy is not None
    assert head.quality.accuracy > 0.95
    assert head.quality.classes == [2, 9, 254]
    assert head.quality.n_train + head.quality.n_held_out == 120
    assert sum(map(sum, head.quality.confusion)) == head.quality.n_held_out
    assert 12 <= head.quality.n_held_out <= 36, "about a fifth"
    json.dumps(head.quality.to_json(), allow_nan=False)


@pytest.mark.parametrize("n", [60, 400, 1500])
@pytest.mark.parametrize("fit", [fit_head, fit_kernel_head])
def test_a_slip_is_seen_because_a_label_does_not_predict_itself(n: int, fit: Callable[..., Head | None]) -> None:
    features, truth = make_labeled({1: n, 2: n}, distance=6)
    slips = np.random.default_rng(1).choice(2 * n, 6, replace=False)
    labels = truth.copy()
    labels[slips] = 3 - truth[slips]
    head = fit(features, labels, seed=0)
    assert head is not None
    held_out = head.held_out
    assert held_out.ordinals.tolist() == list(range(2 * n))
    assert (held_out.class_values[slips] == truth[slips]).all()
    assert (held_out.class_values == truth).mean() > 0.98
    assert ((held_out.confidence >= 0.5) & (held_out.confidence <= 1)).all()


def test_the_only_label_of_a_class_has_no_prediction_without_it() -> None:
    features, values = make_labeled({1: 30, 2: 30, 3: 1}, distance=6)
    head = fit_head(features, values, seed=0)
    assert head is not None
    assert set(np.flatnonzero(values == 3)).isdisjoint(head.held_out.ordinals)
    assert len(head.held_out.ordinals) == 60


@pytest.mark.parametrize("n", [150, 1500])
def test_confidence_is_calibrated_on_objects_never_seen(n: int) -> None:
    features, values = make_labeled({1: n, 2: n}, distance=1.5, dims=64)
    unseen, truth = make_labeled({1: 3000, 2: 3000}, distance=1.5, dims=64, seed=1)
    head = fit_head(features, values, seed=0)
    assert head is not None
    predicted, confidence = head.predict(unseen)
    accuracy = float((predicted == truth).mean())
    assert 0.65 < accuracy < 0.85
    assert float(confidence.mean()) == pytest.approx(accuracy, abs=0.06)
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 1.0)):
        inside = (confidence > low) & (confidence <= high)
        if inside.sum() > 300:
            assert (predicted == truth)[inside].mean() == pytest.approx(confidence[inside].mean(), abs=0.1)


def test_between_what_the_true_accuracy_lies_hangs_on_the_class_with_the_fewest_labels() -> None:
    values = np.array([1, 2], np.uint8)
    of_one = measure_quality(
        np.repeat([[1.0, 0.0], [0.0, 1.0]], [45, 5], axis=0), np.zeros(50, int), values, n_train=200
    )
    assert of_one.accuracy_between == of_one.balanced_between
    assert of_one.accuracy_between == pytest.approx((0.786, 0.957), abs=1e-3), "as published for 45 of 50"
    targets = np.repeat([0, 1], [998, 2])
    sure = measure_quality(np.eye(2)[targets], targets, values, n_train=4000)
    assert sure.accuracy_between is not None and sure.balanced_between is not None
    assert sure.accuracy_between[0] > 0.99
    assert sure.balanced_between[0] < 0.7, "two labels of a class say little about it"


def test_the_measured_quality_is_that_on_unseen_objects() -> None:
    features, values = make_labeled({1: 800, 2: 400}, distance=2)
    unseen, truth = make_labeled({1: 2000, 2: 1000}, distance=2, seed=1)
    head = fit_head(features, values, seed=0)
    assert head is not None
    predicted, _confidence = head.predict(unseen)
    assert head.quality.accuracy == pytest.approx((predicted == truth).mean(), abs=0.05)
    balanced = np.mean([(predicted == truth)[truth == value].mean() for value in (1, 2)])
    assert head.quality.balanced_accuracy == pytest.approx(balanced, abs=0.06)
    assert head.quality.ece is not None
    assert head.quality.ece < 0.12


def test_a_rare_class_counts_as_much_as_a_frequent_one() -> None:
    features, values = make_labeled({1: 950, 2: 50}, distance=3)
    unseen, truth = make_labeled({1: 500, 2: 500}, distance=3, seed=1)
    head = fit_head(features, values, seed=0)
    assert head is not None
    predicted, _confidence = head.predict(unseen)
    assert (predicted == truth)[truth == 2].mean() > 0.75


def test_two_labels_are_enough_where_the_classes_lie_apart() -> None:
    features, values = make_labeled({1: 100, 2: 100}, distance=40)
    features = np.hstack([features, 0.01 * np.random.default_rng(1).normal(size=(200, 30))])
    one_each = np.zeros(200, np.uint8)
    for value in (1, 2):
        one_each[np.flatnonzero(values == value)[0]] = value
    head = fit_head(features, one_each, seed=0)
    assert head is not None
    assert (head.predict(features)[0] == values).mean() > 0.99


@pytest.mark.parametrize("counts", [{1: 1, 2: 1}, {1: 1, 2: 30}, {1: 2, 2: 2, 3: 1}, dict.fromkeys(range(1, 40), 1)])
def test_few_labels_give_finite_predictions_that_do_not_claim_certainty(counts: dict[int, int]) -> None:
    features, values = make_labeled(counts, distance=20, dims=64)
    head = fit_head(features, values, seed=0)
    assert head is not None
    predicted, confidence = head.predict(features)
    assert np.isfinite(confidence).all()
    assert (confidence < 0.9999).all()
    assert set(predicted) <= set(counts)
    json.dumps(head.quality.to_json(), allow_nan=False)


def test_the_reliability_diagram_adds_up_to_the_held_out_labels() -> None:
    features, values = make_labeled({1: 400, 2: 400}, distance=1.5)
    head = fit_head(features, values, seed=0)
    assert head is not None
    quality, bins = head.quality, head.quality.reliability
    assert quality.accuracy is not None
    assert quality.ece is not None
    assert sum(entry.n for entry in bins) == quality.n_held_out
    assert sum(entry.n * entry.right for entry in bins) == pytest.approx(quality.accuracy * quality.n_held_out)
    assert [entry.confidence for entry in bins] == sorted(entry.confidence for entry in bins)
    gaps = sum(entry.n * abs(entry.confidence - entry.right) for entry in bins)
    assert gaps / quality.n_held_out == pytest.approx(quality.ece)


def test_what_is_held_out_stays_held_out_as_labels_come_in() -> None:
    _, values = make_labeled({1: 500, 2: 300, 3: 40}, distance=2)
    few = np.where(np.arange(len(values)) % 4 == 0, values, 0).astype(np.uint8)
    before, after = draw_held_out(few, seed=3), draw_held_out(values, seed=3)
    assert (after[few > 0] == before[few > 0]).all()
    assert 0.15 < after.mean() < 0.25
    assert not (draw_held_out(values, seed=4) == after).all()


@pytest.mark.parametrize("counts", [{1: 2, 2: 2}, {1: 3, 2: 50}, {1: 2, 2: 3, 3: 4}])
def test_of_every_class_with_two_labels_one_is_held_out_and_one_is_not(counts: dict[int, int]) -> None:
    for seed in range(30):
        _, values = make_labeled(counts, distance=2, seed=seed)
        held_out = draw_held_out(values, seed=seed)
        for value in counts:
            assert 0 < held_out[values == value].sum() < counts[value]


def test_a_head_that_starts_from_the_one_before_says_the_same() -> None:
    features, values = make_labeled({1: 300, 2: 200, 3: 30}, distance=3, dims=64)
    few = np.where(np.arange(len(values)) % 5 < 4, values, 0).astype(np.uint8)
    few[values == 3] = 0  # the class is new to the later head
    before = fit_head(features, few, seed=0)
    after, cold = fit_head(features, values, seed=0, start_from=before), fit_head(features, values, seed=0)
    assert after is not None
    assert cold is not None
    np.testing.assert_array_equal(after.class_values, [1, 2, 3])
    assert (after.predict(features)[0] == cold.predict(features)[0]).mean() > 0.99
    np.testing.assert_allclose(after.predict(features)[1], cold.predict(features)[1], atol=0.05)
    assert after.quality.accuracy == pytest.approx(cold.quality.accuracy, abs=0.03)


def test_a_head_of_other_features_or_fewer_classes_is_no_hindrance_to_start_from() -> None:
    features, values = make_labeled({1: 20, 2: 20, 3: 20}, distance=9)
    other = fit_head(features[:, :5], values, seed=0)
    assert fit_head(features, values, seed=0, start_from=other) is not None
    two = fit_head(features, np.where(values == 3, 0, values).astype(np.uint8), seed=0, start_from=other)
    assert two is not None
    assert set(two.predict(features)[0]) == {1, 2}


def test_weights_are_those_of_scikit_learn_s_balanced_logistic_regression() -> None:
    features, values = make_labeled({1: 300, 2: 100, 3: 50}, distance=3)
    head = fit_head(features, values, seed=0)
    assert head is not None
    variance = features.var(axis=0)
    standardized = (features - features.mean(axis=0)) / np.sqrt((variance + variance.mean()) / 2)
    peer = LogisticRegression(C=REGULARIZATION_C, class_weight="balanced", max_iter=1000, tol=1e-6)
    peer.fit(standardized, values)
    logits = features @ head.weights + head.bias
    expected = peer.decision_function(standardized)
    np.testing.assert_allclose(
        logits - logits.mean(axis=1, keepdims=True), expected - expected.mean(axis=1, keepdims=True), atol=0.05
    )


def test_where_nothing_can_be_held_out_the_quality_says_so() -> None:
    features, values = make_labeled({1: 1, 2: 1}, distance=5)
    head = fit_head(features, values, seed=0)
    assert head is not None
    assert head.quality.accuracy is head.quality.balanced_accuracy is head.quality.ece is None
    assert (head.quality.n_train, head.quality.n_held_out) == (2, 0)


def test_equal_constant_and_broken_features_never_give_nan() -> None:
    values = np.array([1, 2] * 10, np.uint8)
    broken = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
    broken[:, 2] = 7.0
    broken[4] = np.nan
    broken[5, 1] = np.inf
    for features in (np.ones((20, 6), np.float32), np.zeros((20, 6), np.float16), broken):
        head = fit_head(features, values, seed=0)
        assert head is not None
        assert np.isfinite(head.weights).all()
        assert np.isfinite(head.predict(features)[1]).all()


def test_the_same_seed_gives_the_same_head() -> None:
    features, values = make_labeled({1: 40, 2: 25}, distance=2)
    first, second = fit_head(features, values, seed=5), fit_head(features, values, seed=5)
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.weights, second.weights)
    assert first.temperature == second.temperature
    assert first.quality == second.quality


def test_of_very_many_labels_a_sample_is_used_with_the_rare_classes_whole() -> None:
    features, values = make_labeled({1: 14_000, 2: 3_000, 3: 20}, distance=8, dims=8)
    head = fit_head(features, values, seed=0)
    assert head is not None
    n = head.quality.n_train + head.quality.n_held_out
    assert 9_000 < n <= 10_000
    assert (head.predict(features)[0] == values)[values == 3].mean() > 0.9


def test_no_objects_to_predict_and_a_wrong_length() -> None:
    features, values = make_labeled({1: 5, 2: 5}, distance=2)
    head = fit_head(features, values, seed=0)
    assert head is not None
    assert [len(part) for part in head.predict(features[:0])] == [0, 0]
    with pytest.raises(EngineError, match="10 objects"):
        fit_head(features, values[:-1], seed=0)


def test_a_head_needs_labels_that_are_not_held_out() -> None:
    features, values = make_labeled({1: 5, 2: 5}, distance=2)
    with pytest.raises(EngineError, match="none is left to learn from"):
        fit_head(features, values, seed=0, held_out=np.ones(len(values), np.bool_))


def make_rings(n: int, *, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Objects of class 1 inside of a sphere and of class 2 around it: no plane tells them apart."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 4)).astype(np.float32)
    return features, np.where(np.linalg.norm(features, axis=1) < 1.8, 1, 2).astype(np.uint8)


def test_a_kernel_head_learns_what_no_plane_tells_apart() -> None:
    features, values = make_rings(2000)
    unseen, truth = make_rings(2000, seed=1)
    linear, kernel = fit_head(features, values, seed=0), fit_kernel_head(features, values, seed=0)
    assert linear is not None and kernel is not None
    assert (linear.predict(unseen)[0] == truth).mean() < 0.65
    predicted, confidence = kernel.predict(unseen)
    accuracy = (predicted == truth).mean()
    assert accuracy > 0.85
    assert kernel.quality.accuracy == pytest.approx(accuracy, abs=0.04)
    assert confidence.mean() == pytest.approx(accuracy, abs=0.04)


def test_a_kernel_head_is_the_linear_one_where_that_is_right_or_labels_are_few() -> None:
    few, noisy = make_rings(FEWEST_TO_CORRECT - 1), make_rings(1500)[0]
    noise = np.random.default_rng(0).integers(1, 3, 1500).astype(np.uint8)
    for features, values in (few, (noisy, noise), make_labeled({1: 600, 2: 600}, distance=2)):
        linear, kernel = fit_head(features, values, seed=0), fit_kernel_head(features, values, seed=0)
        assert linear is not None and kernel is not None
        assert kernel.correction is None
        np.testing.assert_array_equal(linear.predict(features)[0], kernel.predict(features)[0])


def test_a_kernel_head_finds_nearly_as_much_of_a_rare_class() -> None:
    features, values = make_labeled({1: 2500, 2: 1500, 3: 50}, distance=4, dims=32)
    unseen, truth = make_labeled({1: 2500, 2: 1500, 3: 500}, distance=4, dims=32, seed=1)
    linear, kernel = fit_head(features, values, seed=0), fit_kernel_head(features, values, seed=0)
    assert linear is not None and kernel is not None
    found = [(head.predict(unseen)[0] == 3)[truth == 3].mean() for head in (linear, kernel)]
    assert found[1] > found[0] - 0.1


def test_noise_is_predicted_no_better_than_by_chance_however_often_a_head_goes_on() -> None:
    rng = np.random.default_rng(0)
    features, values = make_rings(2600)[0], rng.integers(1, 3, 2600).astype(np.uint8)
    head = None
    for n in range(1400, 2600, 100):
        head = fit_kernel_head(
            features, np.where(np.arange(2600) < n, values, 0).astype(np.uint8), seed=0, start_from=head
        )
        assert head is not None
        assert head.quality.accuracy == pytest.approx(0.5, abs=0.1)


def test_a_kernel_head_that_knows_little_is_not_sure_of_it() -> None:
    """The linear head alone is at chance here, where any temperature fits it."""
    for seed in range(4):
        features, truth = make_rings(4600, seed=seed)
        noise = np.random.default_rng(seed).random(4600) < 0.2
        truth = np.where(noise, 3 - truth, truth).astype(np.uint8)
        head = fit_kernel_head(features, np.where(np.arange(4600) < 600, truth, 0).astype(np.uint8), seed=0)
        assert head is not None and head.correction is not None
        predicted, confidence = head.predict(features[600:])
        assert confidence.mean() < (predicted == truth[600:]).mean() + 0.03


def make_curved(weight: float, n: int = 1500) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Two classes on two sides of a surface: a plane for weight 0, the more curved the larger it is."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, 4)).astype(np.float32)
    curved = np.linalg.norm(features, axis=1) - 1.8
    side = features[:, 0] + weight * curved + 0.3 * rng.standard_normal(n)
    return features, np.where(side > 0, 1, 2).astype(np.uint8)


def test_who_was_corrected_stays_so_as_long_as_that_is_no_worse() -> None:
    """By what is hardly worth it, predictions must not change their kind from gesture to gesture."""
    hardly, clearly, not_at_all = make_curved(0.15), make_curved(1.5), make_curved(0.0)
    before = fit_kernel_head(*clearly, seed=0)
    assert before is not None and before.correction is not None
    anew, still, no_more = (
        fit_kernel_head(*labels, seed=0, start_from=start)
        for labels, start in ((hardly, None), (hardly, before), (not_at_all, before))
    )
    assert anew is not None and still is not None and no_more is not None
    assert (anew.correction, no_more.correction) == (None, None)
    assert still.correction is not None


def test_a_kernel_head_forgets_labels_that_became_others() -> None:
    features, values = make_rings(2000)
    before = fit_kernel_head(features, np.where(values == 1, 2, 1).astype(np.uint8), seed=0)
    after = fit_kernel_head(features, values, seed=0, start_from=before)
    assert after is not None
    assert (after.predict(features)[0] == values).mean() > 0.85


def test_a_kernel_head_goes_on_from_the_one_before_with_a_class_more_and_one_less() -> None:
    features, values = make_rings(2500)
    values[features[:, 0] > 1.5] = 3
    before = fit_kernel_head(features, np.where(values == 3, 0, values).astype(np.uint8), seed=0)
    after = fit_kernel_head(features, values, seed=0, start_from=before)
    assert before is not None and after is not None
    assert set(after.predict(features)[0]) == {1, 2, 3}
    assert (after.predict(features)[0] == values).mean() > 0.85
    values[values == 1] = 0
    two = fit_kernel_head(features, values, seed=0, start_from=after)
    assert two is not None
    assert set(two.predict(features)[0]) == {2, 3}


def test_a_kernel_head_is_the_same_each_time_and_never_nan() -> None:
    features, values = make_rings(1200)
    features[3] = np.nan
    features[5, 1] = np.inf
    features[:, 2] = 7.0
    first, second = (fit_kernel_head(features.astype(np.float16), values, seed=4) for _ in range(2))
    assert first is not None and second is not None
    assert first.quality == second.quality
    confidence = first.predict(features)[1]
    assert np.isfinite(confidence).all()
    np.testing.assert_array_equal(confidence, second.predict(features)[1])


@pytest.mark.parametrize("case", ["all alike", "one label of a class", "more labels than are fitted", "twenty classes"])
def test_a_kernel_head_is_never_nan(case: str) -> None:
    n = 10_400 if case == "more labels than are fitted" else 400
    features, values = make_rings(n)
    if case == "all alike":
        features[:] = 1
    elif case == "one label of a class":
        values[values == 2] = 1
        values[7] = 2
    elif case == "twenty classes":
        values = (np.arange(n) % 20 + 1).astype(np.uint8)
    head = fit_kernel_head(features, values, seed=0)
    assert head is not None
    predicted, confidence = head.predict(features)
    assert np.isfinite(confidence).all() and set(predicted) <= set(values)
    assert ((confidence > 0) & (confidence <= 1)).all()
