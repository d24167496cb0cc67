"""What the objects around one are called says what it is; its own label is nowhere in that."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.classes_around import MOST_CLASSES, N_NEAR, PART_OF_VARIANCE, with_classes_around
from apps.engine.errors import EngineError
from apps.engine.predict import fit_kernel_head, guess_classes
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
    n, surroundings = 120, lines(3, 40)
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
    variance, own_variance = (of.astype(float).var(axis=0).sum() for of in (predictors, found.reshape(n, -1)))
    assert own_variance == pytest.approx(PART_OF_VARIANCE * variance, rel=0.01)


def test_an_object_alone_in_its_image_has_the_mean_around_it() -> None:
    table = np.concatenate([lines(1, 20).table, np.full((1, 1 + N_AROUND), -1, np.int32)])
    table[20, 0] = 1
    labels = np.where(np.arange(21) < 12, 1 + np.arange(21) % 2, 0).astype(np.uint8)
    found = beside(noise(21), labels, Surroundings(table))
    assert not found[20].any()
    assert np.isfinite(found).all() and found[:20].any()


def test_with_few_others_in_the_image_these_are_near_and_around() -> None:
    labels = np.where(np.arange(30) < 20, 1 + np.arange(30) % 2, 0).astype(np.uint8)
    found = beside(noise(30), labels, lines(10, 3))
    np.testing.assert_allclose(found[:, 0], found[:, 1], atol=1e-2)
    np.testing.assert_allclose(found[:, 0], found[:, 2], atol=1e-2)


@pytest.mark.parametrize("labels", [np.zeros(40, np.uint8), np.full(40, 3, np.uint8)], ids=["no labels", "one class"])
def test_where_nothing_can_be_guessed_predictors_stay_as_they_are(labels: ClassValues) -> None:
    predictors = noise(40)
    assert with_classes_around(predictors, labels, lines(2, 20), seed=0) is predictors


def test_objects_that_are_all_alike_make_no_nan() -> None:
    labels = np.where(np.arange(40) < 30, 1 + np.arange(40) % 2, 0).astype(np.uint8)
    assert np.isfinite(beside(np.ones((40, 4), np.float16), labels, lines(2, 20))).all()


def test_vectors_that_are_no_numbers_do_not_reach_those_around() -> None:
    predictors = noise(40)
    predictors[7] = np.nan
    labels = np.where(np.arange(40) < 30, 1 + np.arange(40) % 2, 0).astype(np.uint8)
    both = with_classes_around(predictors, labels, lines(2, 20), seed=0)
    assert np.isfinite(both[:, predictors.shape[1] :]).all()


def test_of_many_classes_those_with_the_most_labels_count() -> None:
    n = 2_000
    rng = np.random.default_rng(0)
    labels = rng.choice(np.arange(1, 41), n, p=np.linspace(2, 0, 40) / 40).astype(np.uint8)
    found = beside(noise(n), labels, lines(20, 100))
    assert found.shape == (n, 3, MOST_CLASSES)
    most = np.sort(np.argsort(-np.bincount(labels))[:MOST_CLASSES])
    around_the_first = np.array([(labels[lines(20, 100).nearest[0]] == value).mean() for value in most])
    assert np.corrcoef(found[0, 1], around_the_first - np.bincount(labels)[most] / n)[0, 1] > 0.99


def test_surroundings_of_other_objects_are_refused() -> None:
    labels = np.where(np.arange(40) < 30, 1 + np.arange(40) % 2, 0).astype(np.uint8)
    with pytest.raises(EngineError, match="features of 40 objects, but it is said what lies around 60"):
        with_classes_around(noise(40), labels, lines(3, 20), seed=0)


def test_what_looks_alike_everywhere_is_told_apart_by_what_is_called_around_it() -> None:
    """Glands of a tissue that nobody can tell by a nucleus alone, half of them labeled by every fifth nucleus."""
    surroundings = lines(40, 50)
    gland = 1 + np.random.default_rng(1).integers(0, 2, 40)
    truth = gland.repeat(50).astype(np.uint8)
    predictors = noise(2_000)
    labels = np.where(np.arange(2_000) % 5 == 0, truth, 0).astype(np.uint8)

    def right(features: npt.NDArray[np.float16]) -> tuple[float, float]:
        head = fit_kernel_head(features, labels, seed=0)
        assert head is not None and head.quality.accuracy is not None
        return float((head.predict(features)[0] == truth)[labels == 0].mean()), head.quality.accuracy

    assert right(predictors)[0] < 0.6
    truly, as_measured = right(with_classes_around(predictors, labels, surroundings, seed=0))
    assert truly > 0.95
    assert as_measured == pytest.approx(truly, abs=0.05), "its own label does not flatter it"


def test_where_labels_say_nothing_of_what_lies_around_held_out_labels_say_so() -> None:
    """Classes by lot: whoever saw an object's own label through those around it would seem to know something."""
    n = 3_000
    labels = np.random.default_rng(2).integers(1, 3, n).astype(np.uint8)
    features = with_classes_around(noise(n), labels, lines(60, 50), seed=0)
    head = fit_kernel_head(features, labels, seed=0)
    assert head is not None and head.quality.accuracy is not None
    assert head.quality.accuracy == pytest.approx(0.5, abs=0.06)
    held_out = (head.held_out.class_values == labels[head.held_out.ordinals]).mean()
    assert held_out == pytest.approx(0.5, abs=0.04)


def test_the_same_labels_give_the_same_numbers() -> None:
    labels = np.where(np.arange(120) % 2, 1 + np.arange(120) % 3, 0).astype(np.uint8)
    first, second = (with_classes_around(noise(120), labels, lines(3, 40), seed=4) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_many_labels_are_learned_from_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.engine.predict.MOST_LABELS_TO_GUESS", 100)
    labels = (1 + np.arange(400) % 2).astype(np.uint8)
    features = noise(400)
    features[:, 0] += 4 * (labels - 1.5)
    guessed = guess_classes(features, labels, seed=0)
    assert guessed is not None
    assert (guessed[0][guessed[1].argmax(axis=1)] == labels).mean() > 0.9
