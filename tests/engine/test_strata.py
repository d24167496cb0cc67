"""What could be accepted by sample, and what is to be looked at before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.sampling import MOST_ATTEMPTS, first_look, risk_of_attempt, sample_sizes
from apps.engine.strata import FEWEST_DOUBTFUL, MOST_DOUBTFUL, Attempt, Stratum, strata_to_sample


@dataclass(frozen=True)
class Predicted:
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]


def predicted(*groups: tuple[int, int, int]) -> Predicted:
    """(class value, how many, confidence in 1/255) one after the other."""
    values, n, confidence = zip(*groups, strict=True)
    return Predicted(np.repeat(values, n).astype(np.uint8), np.repeat(confidence, n).astype(np.uint8))


def strata(
    said: Predicted,
    *,
    max_error: float = 0.05,
    n_labels: int = 10_000,
    earlier: Mapping[int, list[Attempt]] | None = None,
) -> list[Stratum]:
    everything = np.ones(len(said.classes), np.bool_)
    return strata_to_sample(said, everything, max_error, n_labels=n_labels, earlier=earlier)


def test_what_the_model_is_sure_of_may_be_sampled_at_once() -> None:
    (stratum,) = strata(predicted((1, 1000, 254)))
    assert stratum.n_doubtful == 0 and len(stratum.doubtful) == 0
    assert stratum.n_sample == first_look(1000, 0.05)
    np.testing.assert_array_equal(np.sort(stratum.surest_first), np.arange(1000))


def test_the_doubtful_are_looked_at_first_the_least_sure_first() -> None:
    (stratum,) = strata(predicted((1, 100, 150), (1, 900, 255), (1, 300, 128)))
    # 45 of the next sure may stay beside the 900: then 0.02 of them are expected to be wrong, two fifths of what is allowed.
    assert stratum.n_doubtful == 355
    assert stratum.n_sample == first_look(945, 0.05)
    np.testing.assert_array_equal(np.sort(stratum.doubtful), np.arange(1000, 1300)[-MOST_DOUBTFUL:])
    assert (np.isin(np.arange(1000, 1300), stratum.surest_first[-300:])).all()


def test_where_all_is_doubtful_it_says_that_no_sample_is_near() -> None:
    (stratum,) = strata(predicted((2, 500, 140)))
    assert (stratum.n_doubtful, stratum.n_sample) == (500, 0)
    assert len(stratum.doubtful) == MOST_DOUBTFUL
    assert stratum.expected_error == pytest.approx(1 - 140 / 255)


@pytest.mark.parametrize(
    ("n_labels", "n_at_once"), [(2, FEWEST_DOUBTFUL), (60, FEWEST_DOUBTFUL), (240, 120), (5000, MOST_DOUBTFUL)]
)
def test_the_fewer_labels_there_are_the_sooner_the_model_is_asked_again(n_labels: int, n_at_once: int) -> None:
    (stratum,) = strata(predicted((1, 900, 255), (1, 30, 100), (1, 370, 128)), n_labels=n_labels)
    np.testing.assert_array_equal(stratum.doubtful, stratum.surest_first[::-1][:n_at_once])
    assert stratum.expected_error_of_doubtful == pytest.approx(
        1 - (30 * 100 + (n_at_once - 30) * 128) / 255 / n_at_once
    )
    assert stratum.n_doubtful == 363, "however few are looked at at once"


def test_few_objects_are_no_stratum() -> None:
    n = 2 * first_look(2000, 0.05)
    assert strata(predicted((1, n // 2, 255))) == []
    assert strata(predicted((0, 1000, 255))) == [], "without a prediction"
    assert strata(predicted((1, 1, 255))) == []


def test_what_may_be_sampled_comes_first_the_largest_first_then_the_most_doubtful() -> None:
    said = predicted((1, 300, 255), (2, 500, 255), (3, 400, 230), (4, 400, 150))
    assert [stratum.class_value for stratum in strata(said)] == [2, 1, 4, 3]


def test_labeled_objects_are_in_no_stratum() -> None:
    said = predicted((1, 600, 255))
    (stratum,) = strata_to_sample(said, np.arange(600) >= 200, 0.05, n_labels=200)
    np.testing.assert_array_equal(np.sort(stratum.surest_first), np.arange(200, 600))


def test_a_class_that_was_sampled_in_vain_has_to_be_surer_and_takes_a_larger_sample() -> None:
    everything = np.arange(800)
    said = predicted((1, 800, 253))
    (before,) = strata(said)
    refused, left = Attempt(everything, was_refused=True), Attempt(everything, was_refused=False)
    (after,) = strata(said, earlier={1: [refused]})
    assert before.n_doubtful == 0 and before.n_sample < after.n_sample == first_look(800, 0.05, risk_of_attempt(2))
    (unsure,) = strata(predicted((1, 800, 252)), earlier={1: [refused, refused]})
    assert unsure.n_doubtful == 800
    (sure,) = strata(predicted((1, 800, 252)), earlier={1: [left, left]})
    assert sure.n_doubtful == 0, "who only left a sample has found nothing"
    assert sure.n_sample == first_look(800, 0.05, risk_of_attempt(3))


def test_a_class_that_is_too_small_for_its_sample_to_go_on_has_to_be_surer() -> None:
    (small,) = strata(predicted((1, 300, 253)), max_error=0.02)
    (large,) = strata(predicted((1, 3000, 253)), max_error=0.02)
    assert len(sample_sizes(300, 0.02)) == 1 < len(sample_sizes(3000, 0.02))
    assert (small.n_doubtful, large.n_doubtful) == (300, 0)


def test_a_sample_of_other_objects_is_no_attempt_at_these() -> None:
    said = predicted((1, 800, 253))
    (before,) = strata(said)
    (after,) = strata(said, earlier={1: [Attempt(np.arange(5000, 5800), was_refused=True)]})
    assert (after.n_doubtful, after.n_sample) == (before.n_doubtful, before.n_sample)


def test_what_was_sampled_too_often_is_no_stratum_any_more() -> None:
    said = predicted((1, 8000, 255))
    often = [Attempt(np.arange(8000), was_refused=False)] * MOST_ATTEMPTS
    assert len(strata(said, earlier={1: often[1:]})) == 1
    assert strata(said, earlier={1: often}) == []


def test_at_the_smallest_error_that_may_be_asked_for_the_surest_are_sure_enough() -> None:
    assert strata(predicted((1, 3000, 255)), max_error=0.005)[0].n_doubtful == 0
