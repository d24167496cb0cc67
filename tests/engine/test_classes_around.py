"""What the objects around one are called says what it is, and held-out labels do not say more than is true."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.classes_around import FEWEST_LABELS, MOST_CLASSES, N_NEAR, PART_OF_VARIANCE, with_classes_around
from apps.engine.errors import EngineError
from apps.engine.predict import COLUMNS_TO_GUESS, fit_kernel_head, guess_classes
from apps.engine.surroundings import N_AROUND, Surroundings

ClassValues = npt.NDArray[np.uint8]


def lines(n_images: int, length: int) -> Surroundings:
    """Images in each of which the objects lie in a line, one unit apart; the nearer, then the earlier ones first."""
    table = np.full((n_images * length, 1 + N_AROUND), -1, np.int32)
    for number in range(n_images):
        for i in range(length):
            others = sorted((abs(j - i), j) for j in range(length) if j != i)[:N_AROUND]
            table[number * length + i, 0] = number
            table[number * length + i, 1 : 1 + len(others)] = [number * length + j for _, j in others]
    return Surroundings(table)


def noise(n: int, dimension: int = 6) -> npt.NDArray[np.float16]:
    return np.random.default_rng(0).normal(size=(n, dimension)).astype(np.float16)


def beside(
    predictors: npt.NDArray[np.float16], labels: ClassValues, surroundings: Surroundings
) -> npt.NDArray[np.float64]:
    """What comes beside the predictors, at each distance by class: (n, 3, k)."""
    both = with_classes_around(predictors, labels, surroundings, seed=0)
    assert np.array_equal(both[:, : predictors.shape[1]], predictors)
    return both[:, predictors.shape[1] :].astype(np.float64).reshape(len(both), 3, -1)


def test_labels_and_guesses_are_averaged_near_around_and_over_the_image() -> None:
    n, surroundings = 1_200, lines(30, 40)
    predictors = noise(n)
    labels = np.where(np.arange(n) % 3 == 0, 1 + np.arange(n) % 2, 0).astype(np.uint8)
    found = beside(predictors, labels, surroundings)
    guessed = guess_classes(predictors, labels, seed=0)
    assert guessed is not None
    values, share = guessed
    for i in np.flatnonzero(labels):
        share[i] = values == labels[i]
    mean = share.mean(axis=0)
    expected = np.empty_like(found)
    for i in range(n):
        image = np.flatnonzero((surroundings.image == surroundings.image[i]) & (np.arange(n) != i))
        for distance, others in enumerate((surroundings.nearest[i, :N_NEAR], surroundings.nearest[i], image)):
            expected[i, distance] = share[others].mean(axis=0) - mean
    # All are stretched by the same, so that they count beside the predictors.
    stretched = found.std() / expected.std()
    np.testing.assert_allclose(found, stretched * expected, atol=2e-3 * stretched)
    variance, of_a_label = predictors.astype(float).var(axis=0).sum(), 3 * (mean * (1 - mean)).sum()
    assert stretched == pytest.approx(np.sqrt(PART_OF_VARIANCE * variance / of_a_label), rel=0.01)


def test_an_object_alone_in_its_image_has_the_mean_around_it() -> None:
    table = np.concatenate([lines(20, 20).table, np.full((1, 1 + N_AROUND), -1, np.int32)])
    table[400, 0] = 20
    labels = (1 + np.arange(401) % 2).astype(np.uint8)
    found = beside(noise(401), labels, Surroundings(table))
    assert not found[400].any()
    assert np.isfinite(found).all() and found[:400].any()


def test_with_few_others_in_the_image_these_are_near_and_around() -> None:
    labels = np.where(np.arange(600) < 400, 1 + np.arange(600) % 2, 0).astype(np.uint8)
    found = beside(noise(600), labels, lines(200, 3))
    assert found.any()
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-2)
    np.testing.assert_allclose(found[:, 0], found[:, 2], atol=1e-2)


@pytest.mark.parametrize(
    "labels",
    [np.zeros(400, np.uint8), np.full(400, 3, np.uint8), np.where(np.arange(400) < FEWEST_LABELS - 1, [1, 2] * 200, 0)],
    ids=["no labels", "one class", "few labels"],
)
def test_where_nothing_can_be_guessed_predictors_stay_as_they_are(labels: ClassValues) -> None:
    predictors = noise(400)
    assert with_classes_around(predictors, labels.astype(np.uint8), lines(20, 20), seed=0) is predictors


def test_objects_that_are_all_alike_make_no_nan() -> None:
    labels = (1 + np.arange(400) % 2).astype(np.uint8)
    assert np.isfinite(beside(np.ones((400, 4), np.float16), labels, lines(20, 20))).all()


def test_vectors_that_are_no_numbers_do_not_reach_those_around() -> None:
    predictors = noise(400)
    predictors[7] = np.nan
    labels = (1 + np.arange(400) % 2).astype(np.uint8)
    labels[5:] = np.where(np.arange(395) % 20, labels[5:], 0)
    both = with_classes_around(predictors, labels, lines(20, 20), seed=0)
    assert np.isfinite(both[:, predictors.shape[1] :]).all()


def test_what_a_neighbor_was_found_not_to_be_is_not_in_what_lies_around() -> None:
    labels = np.where(np.arange(400) % 20, 1 + np.arange(400) % 2, 0).astype(np.uint8)
    neighbor = 20  # without a label
    predictors, around = noise(400), lines(20, 20)
    plain, told = (
        with_classes_around(predictors, labels, around, seed=0, denied=denied)[:, predictors.shape[1] :].astype(float)
        for denied in (None, {1: np.array([neighbor])})
    )
    beside_it = (around.nearest[:, :N_NEAR] == neighbor).any(axis=1)
    assert beside_it.any()
    assert (told[beside_it, 0] < plain[beside_it, 0]).all(), "less of the class that it is not"
    assert (told[beside_it, 1] > plain[beside_it, 1]).all()
    elsewhere = around.image != around.image[neighbor]
    np.testing.assert_allclose(told[elsewhere], plain[elsewhere], atol=2e-3)  # the mean of all is another by a little


def test_of_many_classes_those_with_the_most_labels_count() -> None:
    n = 2_000
    rng = np.random.default_rng(0)
    labels = rng.choice(np.arange(1, 41), n, p=np.linspace(2, 0, 40) / 40).astype(np.uint8)
    found = beside(noise(n), labels, lines(20, 100))
    assert found.shape == (n, 3, MOST_CLASSES)
    most = np.sort(np.argsort(-np.bincount(labels))[:MOST_CLASSES])
    around_the_first = np.array([(labels[lines(20, 100).nearest[0]] == value).mean() for value in most])
    assert np.corrcoef(found[0, 1], around_the_first - np.bincount(labels)[most] / n)[0, 1] > 0.99


def test_labels_and_surroundings_of_other_objects_are_refused() -> None:
    labels = (1 + np.arange(40) % 2).astype(np.uint8)
    with pytest.raises(EngineError, match="features of 40 objects, but class values for 39"):
        with_classes_around(noise(40), labels[:39], lines(2, 20), seed=0)
    with pytest.raises(EngineError, match="features of 40 objects, but it is said what lies around 60"):
        with_classes_around(noise(40), labels, lines(3, 20), seed=0)


def test_what_looks_alike_everywhere_is_told_apart_by_what_is_called_around_it() -> None:
    """Glands of a tissue that nobody can tell by a nucleus alone, every fifth nucleus labeled."""
    surroundings = lines(40, 50)
    gland = 1 + np.random.default_rng(1).integers(0, 2, 40)
    truth = gland.repeat(50).astype(np.uint8)
    predictors = noise(2_000)
    labels = np.where(np.arange(2_000) % 5 == 0, truth, 0).astype(np.uint8)
    without = fit_kernel_head(predictors, labels, seed=0)
    features = with_classes_around(predictors, labels, surroundings, seed=0)
    head = fit_kernel_head(features, labels, seed=0)
    assert head is not None and without is not None
    assert (without.predict(predictors)[0] == truth)[labels == 0].mean() < 0.6
    assert (head.predict(features)[0] == truth)[labels == 0].mean() > 0.9


def held_out_right(n_labels: int, *, seed: int) -> float:
    """Of labels by lot, where what lies beside an object looks like it, as in tissue: in 10 images of 300."""
    rng = np.random.default_rng(seed)
    n, surroundings = 3_000, lines(10, 300)
    drift = np.cumsum(rng.normal(size=(10, 300, 128)), axis=1) * 0.3  # along the line
    predictors = (drift.reshape(n, 128) + rng.normal(size=(n, 128))).astype(np.float16)
    labels = np.zeros(n, np.uint8)
    rows = rng.permutation(n)[:n_labels]
    labels[rows] = rng.integers(1, 3, n_labels)
    features = with_classes_around(predictors, labels, surroundings, seed=0)
    head = fit_kernel_head(features, labels, seed=0)
    assert head is not None
    return float((head.held_out.class_values == labels[head.held_out.ordinals]).mean())


@pytest.mark.parametrize("n_labels", [60, FEWEST_LABELS, 1_000])
def test_labels_that_follow_from_nothing_are_not_foretold(n_labels: int) -> None:
    right = np.mean([held_out_right(n_labels, seed=seed) for seed in range(6)])
    assert right == pytest.approx(0.5, abs=0.05)


def test_the_same_labels_give_the_same_numbers() -> None:
    labels = np.where(np.arange(1_200) % 2, 1 + np.arange(1_200) % 3, 0).astype(np.uint8)
    first, second = (with_classes_around(noise(1_200), labels, lines(30, 40), seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_many_labels_are_learned_from_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.engine.predict.MOST_LABELS_TO_GUESS", 100)
    labels = (1 + np.arange(400) % 2).astype(np.uint8)
    features = noise(400)
    features[:, 0] += 4 * (labels - 1.5)
    guessed = guess_classes(features, labels, seed=0)
    assert guessed is not None
    assert (guessed[0][guessed[1].argmax(axis=1)] == labels).mean() > 0.9


def test_a_guess_is_made_from_the_first_columns_only() -> None:
    features, labels = noise(400, COLUMNS_TO_GUESS), (np.arange(400) % 3).astype(np.uint8)
    first = guess_classes(features, labels, seed=0)
    with_more = guess_classes(np.hstack([features, 100 * noise(400, 5)]), labels, seed=0)
    assert first is not None and with_more is not None
    assert np.array_equal(first[1], with_more[1])
