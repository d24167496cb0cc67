"""The map: the same by seed, near the one before, and a place for every object however few there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.errors import EngineError, Stopped
from apps.engine.layout import align_to
from apps.engine.reduce import nearest_neighbors, reduce_to_plot

Floats = npt.NDArray[np.float32]


def make_features(n: int, *, seed: int = 0, n_groups: int = 3) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Unit vectors in groups, and the group of each."""
    rng = np.random.default_rng(seed)
    groups = np.arange(n) % n_groups
    centers = np.random.default_rng(99).normal(size=(n_groups, 32))
    features = centers[groups] + rng.normal(scale=0.5, size=(n, 32))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), groups


def purity(points: Floats, groups: npt.NDArray[np.int64]) -> float:
    """The share of each object's 10 nearest that are of its group."""
    neighbors, _distances = nearest_neighbors(points, 11, seed=0)
    return float((groups[neighbors[:, 1:]] == groups[:, None]).mean())


def width(points: Floats) -> float:
    return float(np.ptp(points, axis=0).max())


def test_groups_of_the_features_are_groups_of_the_map_and_the_seed_repeats_it() -> None:
    features, groups = make_features(150)
    points = reduce_to_plot(features, seed=3)
    assert points.shape == (150, 2)
    assert points.dtype == np.float32
    assert purity(points, groups) > 0.95
    np.testing.assert_array_equal(points, reduce_to_plot(features.copy(), seed=3))
    assert not np.array_equal(points, reduce_to_plot(features, seed=4))


def test_features_as_stored_in_float16_are_taken() -> None:
    features, groups = make_features(60)
    assert purity(reduce_to_plot(features.astype(np.float16)), groups) > 0.9


def test_a_later_map_lies_on_the_one_before() -> None:
    features, _groups = make_features(300)
    before = reduce_to_plot(features)
    drifted = features + np.random.default_rng(5).normal(scale=0.02, size=features.shape).astype(np.float32)
    after = reduce_to_plot(drifted, previous=before)
    moved = np.linalg.norm(after - before, axis=1) / width(before)
    assert np.median(moved) < 0.05
    np.testing.assert_array_equal(after, reduce_to_plot(drifted, previous=before))


def test_new_objects_start_among_their_like_and_the_old_ones_stay() -> None:
    features, groups = make_features(300)
    before = reduce_to_plot(features[:240])
    previous = np.full((300, 2), np.nan, np.float32)
    previous[:240] = before
    after = reduce_to_plot(features, previous=previous)
    assert np.isfinite(after).all()
    assert np.median(np.linalg.norm(after[:240] - before, axis=1)) / width(before) < 0.06
    assert purity(after, groups) > 0.95


def test_a_map_with_most_objects_new_is_laid_out_afresh_and_still_aligned() -> None:
    features, groups = make_features(200)
    previous = np.full((200, 2), np.nan, np.float32)
    previous[:6] = np.random.default_rng(0).normal(size=(6, 2))
    after = reduce_to_plot(features, previous=previous)
    assert np.isfinite(after).all()
    assert purity(after, groups) > 0.95


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 11, 12, 13, 20])
@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("previous", ["none", "all", "some", "unknown"])
def test_few_objects_and_objects_all_alike_get_finite_distinct_places(n: int, alike: bool, previous: str) -> None:
    features, _groups = make_features(n)
    if alike:
        features[:] = 0.25
    earlier: Floats | None = None
    if previous != "none":
        earlier = np.random.default_rng(1).normal(size=(n, 2)).astype(np.float32)
        if previous == "some":
            earlier[::2] = np.nan
        if previous == "unknown":
            earlier[:] = np.nan
    points = reduce_to_plot(features, previous=earlier)
    assert points.shape == (n, 2)
    assert points.dtype == np.float32
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == n
    np.testing.assert_array_equal(points, reduce_to_plot(features, previous=earlier))


def test_many_equal_objects_among_others_and_broken_features_get_finite_places() -> None:
    features, _groups = make_features(60)
    features[:40] = features[0]
    features[50] = np.nan
    assert np.isfinite(reduce_to_plot(features)).all()


def test_earlier_coordinates_all_on_one_spot_do_no_harm() -> None:
    features, _groups = make_features(40)
    assert np.isfinite(reduce_to_plot(features, previous=np.zeros((40, 2), np.float32))).all()


def test_earlier_coordinates_of_another_length_are_an_error() -> None:
    with pytest.raises(EngineError, match="20 objects"):
        reduce_to_plot(make_features(20)[0], previous=np.zeros((19, 2), np.float32))


def test_the_map_reports_and_stops_between_epochs() -> None:
    features, _groups = make_features(50)
    reports: list[tuple[str, float, str]] = []
    reduce_to_plot(features, on_progress=lambda *report: reports.append(report))
    assert reports[0][:2] == ("map", 0.0)
    assert reports[-1][:2] == ("map", 1.0)
    asked = iter([False] * 5 + [True] * 9)
    with pytest.raises(Stopped):
        reduce_to_plot(features, should_stop=lambda: next(asked))


def test_neighbors_are_exact_sorted_and_begin_with_the_object_itself() -> None:
    features, _groups = make_features(80)
    features[3] = features[70]
    neighbors, distances = nearest_neighbors(features, 9, seed=0)
    all_distances = np.linalg.norm(features[:, None] - features[None], axis=2)
    np.testing.assert_array_equal(neighbors[:, 0], np.arange(80))
    np.testing.assert_allclose(distances, np.sort(all_distances, axis=1)[:, :9], atol=2e-3)
    assert (np.diff(distances, axis=1) >= 0).all()


TURN = np.array([[0.6, -0.8], [0.8, 0.6]])


@pytest.mark.parametrize(
    "change",
    [
        lambda points: points @ TURN,
        lambda points: points * [-1, 1],
        lambda points: points * 3 + [5, -2],
        lambda points: (points @ TURN * [1, -1]) * 0.2 - 7,
    ],
    ids=["turned", "mirrored", "scaled and moved", "all at once"],
)
def test_alignment_undoes_turning_mirroring_scaling_and_moving(change: Callable[[Any], Any]) -> None:
    points = np.random.default_rng(2).normal(size=(40, 2)).astype(np.float32)
    np.testing.assert_allclose(align_to(change(points).astype(np.float32), points), points, atol=1e-4)


def test_a_cluster_that_moved_does_not_turn_the_rest_of_the_map() -> None:
    previous = np.random.default_rng(2).normal(size=(100, 2)).astype(np.float32)
    points = previous.copy()
    points[:20] += [6, 4]
    turned = (points @ TURN).astype(np.float32)
    aligned = align_to(turned, previous)
    np.testing.assert_allclose(aligned[20:], previous[20:], atol=1e-3)
