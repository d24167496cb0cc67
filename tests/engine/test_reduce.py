"""The map: the same by seed, near the one before, and a place for every object however few there are."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine import descent, neighbors, reduce
from apps.engine.errors import EngineError, Stopped
from apps.engine.layout import align_to, without_wide_gaps
from apps.engine.map_quality import median_displacement, trustworthiness
from apps.engine.neighbors import nearest_neighbors
from apps.engine.reduce import place_new, reduce_to_plot

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
    features, _groups = make_features(300, n_groups=12)
    before = reduce_to_plot(features)
    drifted = features + np.random.default_rng(5).normal(scale=0.02, size=features.shape).astype(np.float32)
    after = reduce_to_plot(drifted, previous=before)
    moved = np.linalg.norm(after - before, axis=1) / width(before)
    # By seed it is 0.02 to 0.04; a map laid out afresh and then aligned is 0.15 to 0.31 away.
    assert np.median(moved) < 0.08
    np.testing.assert_array_equal(after, reduce_to_plot(drifted, previous=before))


def test_new_objects_start_among_their_like_and_the_old_ones_stay() -> None:
    features, groups = make_features(300)
    before = reduce_to_plot(features[:240])
    previous = np.full((300, 2), np.nan, np.float32)
    previous[:240] = before
    after = reduce_to_plot(features, previous=previous)
    assert np.isfinite(after).all()
    assert np.median(np.linalg.norm(after[:240] - before, axis=1)) / width(before) < 0.1
    assert purity(after, groups) > 0.95


def test_a_map_with_most_objects_new_is_laid_out_afresh_and_still_aligned() -> None:
    features, groups = make_features(200)
    fresh = reduce_to_plot(features)
    previous = np.full((200, 2), np.nan, np.float32)
    previous[:6] = 3 * fresh[:6] @ np.array([[0, 1], [-1, 0]]) + [500, -200]  # known places: larger, turned, elsewhere
    after = reduce_to_plot(features, previous=previous)
    assert np.isfinite(after).all()
    assert purity(after, groups) > 0.95
    away = np.linalg.norm(after[:6] - previous[:6], axis=1) / width(after)
    # The groups may lie otherwise to each other; unaligned, it is more than ten widths away.
    assert np.median(away) < 0.25


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
    assert reports[0][:2] == ("drawing the map", 0.0)
    assert reports[-1][:2] == ("drawing the map", 1.0)
    asked = iter([False] * 5 + [True] * 9)
    with pytest.raises(Stopped):
        reduce_to_plot(features, should_stop=lambda: next(asked))


TURN = np.array([[0.6, -0.8], [0.8, 0.6]])


def test_ten_thousand_objects_make_a_map_and_the_next_one_stays_where_it_was() -> None:
    features, groups = make_features(10_000, n_groups=12)
    before = reduce_to_plot(features, seed=1)
    assert np.isfinite(before).all()
    assert purity(before, groups) > 0.95
    drifted = features + np.random.default_rng(5).normal(scale=0.02, size=features.shape).astype(np.float32)
    after = reduce_to_plot(drifted, previous=before, seed=1)
    displacement = median_displacement(after, before)
    assert displacement is not None and displacement < 0.05
    fresh, warm = trustworthiness(features, before), trustworthiness(drifted, after)
    assert fresh is not None and warm is not None and warm > 0.995 * fresh


def test_a_map_of_several_parts_is_the_same_again_however_many_threads_draw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    features, _groups = make_features(13_000, n_groups=5)

    def drawn_by(n_threads: int) -> Floats:
        for module in (neighbors, descent):
            monkeypatch.setattr(module, "usable_cores", lambda: n_threads)
        return reduce_to_plot(features, previous=features[:, :2] * 20, seed=2)

    once = drawn_by(1)
    for n_threads in (2, 2, 4):
        np.testing.assert_array_equal(once, drawn_by(n_threads))


def test_landmarks_are_laid_out_and_the_rest_comes_among_its_like() -> None:
    features, groups = make_features(1500, n_groups=4)
    before = reduce_to_plot(features, most_laid_out=1000, n_landmarks=400)
    assert np.isfinite(before).all()
    assert len(np.unique(before, axis=0)) == 1500
    assert purity(before, groups) > 0.95
    whole, by_landmarks = trustworthiness(features, reduce_to_plot(features)), trustworthiness(features, before)
    assert whole is not None and by_landmarks is not None and by_landmarks > 0.95 * whole
    np.testing.assert_array_equal(before, reduce_to_plot(features, most_laid_out=1000, n_landmarks=400))


def test_a_later_map_by_landmarks_lies_on_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    features, groups = make_features(1500, n_groups=4)
    before = reduce_to_plot(features[:1400], most_laid_out=1000, n_landmarks=400)
    previous = np.full((1500, 2), np.nan, np.float32)
    previous[:1400] = before
    drifted = features + np.random.default_rng(5).normal(scale=0.02, size=features.shape).astype(np.float32)
    monkeypatch.setattr(reduce, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(reduce, "PREVIEW_SHARE", 1e9)
    shown: list[Floats] = []
    after = reduce_to_plot(drifted, previous=previous, most_laid_out=1000, n_landmarks=400, on_points=shown.append)
    assert shown and all(points.shape == (1500, 2) and np.isfinite(points).all() for points in shown)
    displacement = median_displacement(after, previous)
    assert displacement is not None and displacement < 0.06
    assert purity(after, groups) > 0.95


def test_new_objects_are_placed_beside_their_like_and_nothing_else_moves() -> None:
    features, groups = make_features(600, n_groups=4)
    known = reduce_to_plot(features[:500])
    coordinates = np.full((600, 2), np.nan, np.float32)
    coordinates[:500] = known
    placed = place_new(features, coordinates)
    np.testing.assert_array_equal(placed[:500], known)
    assert np.isfinite(placed).all()
    assert len(np.unique(placed, axis=0)) == 600
    neighbors, _distances = nearest_neighbors(placed, 11, seed=0)
    assert (groups[neighbors[500:, 1:]] == groups[500:, None]).mean() > 0.95
    np.testing.assert_array_equal(placed, place_new(features, coordinates))


@pytest.mark.parametrize("n_known", [1, 2, 12])
def test_new_objects_find_a_place_on_the_smallest_of_maps(n_known: int) -> None:
    features, _groups = make_features(n_known + 5)
    features[n_known:] = features[0]
    coordinates = np.full((n_known + 5, 2), np.nan, np.float32)
    coordinates[:n_known] = reduce_to_plot(features[:n_known])
    placed = place_new(features, coordinates)
    np.testing.assert_array_equal(placed[:n_known], coordinates[:n_known])
    assert np.isfinite(placed).all()
    assert len(np.unique(placed, axis=0)) == n_known + 5


def test_nothing_can_be_placed_on_a_map_that_is_not_there() -> None:
    features, _groups = make_features(5)
    with pytest.raises(EngineError, match="no object has a place"):
        place_new(features, np.full((5, 2), np.nan, np.float32))
    with pytest.raises(EngineError, match="5 objects"):
        place_new(features, np.zeros((4, 2), np.float32))


def test_principal_components_can_be_chosen_and_an_unknown_reducer_is_an_error() -> None:
    features, groups = make_features(300)
    points = reduce_to_plot(features, reducer="pca")
    assert purity(points, groups) > 0.8
    np.testing.assert_array_equal(points, reduce_to_plot(features, reducer="pca", seed=9))
    with pytest.raises(EngineError, match="no reducer called 'tsne'; there are umap, pca"):
        reduce_to_plot(features, reducer="tsne")


def test_cuml_says_what_to_install_where_it_is_not() -> None:
    if importlib.util.find_spec("cuml") is not None:
        pytest.skip("cuML is installed")
    with pytest.raises(EngineError, match=r"install deploy/requirements-cuml\.txt"):
        reduce_to_plot(make_features(30)[0], reducer="cuml_umap")


def test_cuml_is_given_where_objects_were_the_seed_and_the_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our half of the call, by a stand-in: cuML itself needs a GPU."""
    given: dict[str, Any] = {}

    class StandIn:
        def __init__(self, **settings: Any) -> None:
            given.update(settings)

        def fit_transform(self, vectors: Floats, y: Floats | None) -> Floats:
            given.update(vectors=vectors, y=y)
            places: Floats = given["init"]
            return places

    manifold = ModuleType("cuml.manifold")
    monkeypatch.setattr(manifold, "UMAP", StandIn, raising=False)
    monkeypatch.setitem(sys.modules, "cuml", ModuleType("cuml"))
    monkeypatch.setitem(sys.modules, "cuml.manifold", manifold)
    features, _groups = make_features(60)
    before = reduce_to_plot(features)
    classes = np.array([1, 2, 0] * 20, np.uint8)
    after = reduce_to_plot(features, reducer="cuml_umap", previous=before, class_values=classes, seed=7)
    assert (given["random_state"], given["n_neighbors"]) == (7, 15)
    assert given["vectors"].dtype == np.float32 and given["vectors"].shape == features.shape
    assert given["y"].tolist() == [1.0, 2.0, -1.0] * 20, "-1: not known"
    displacement = median_displacement(after, before)
    assert displacement is not None and displacement < 0.01, "began where the objects were"
    reduce_to_plot(features, reducer="cuml_umap", class_values=np.zeros(60, np.uint8))
    assert given["y"] is None


def test_a_supervised_map_draws_known_classes_apart_that_the_features_mix() -> None:
    features, _groups = make_features(400, n_groups=1)
    classes = (np.arange(400) % 2 + 1).astype(np.uint8)
    assert purity(reduce_to_plot(features), classes.astype(np.int64)) < 0.6
    assert purity(reduce_to_plot(features, class_values=classes), classes.astype(np.int64)) > 0.85
    none = reduce_to_plot(features, class_values=np.zeros(400, np.uint8))
    np.testing.assert_array_equal(none, reduce_to_plot(features))


def test_places_are_shown_while_the_layout_runs_and_end_where_the_map_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.engine.reduce.PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr("apps.engine.reduce.PREVIEW_SHARE", 1e9)
    features, _groups = make_features(300)
    before = reduce_to_plot(features)
    shown: list[Floats] = []
    after = reduce_to_plot(features, previous=before, on_points=shown.append)
    assert len(shown) > 10
    assert all(np.isfinite(points).all() for points in shown)
    np.testing.assert_allclose(shown[-1], after, atol=1e-4)
    ways = [np.median(np.linalg.norm(points - after, axis=1)) for points in shown]
    assert ways[-1] < ways[0] < 0.1 * width(after)


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


def islands(*at: tuple[float, float], n: int = 200) -> Floats:
    rng = np.random.default_rng(3)
    return np.concatenate([rng.uniform(-1, 1, (n, 2)) + place for place in at]).astype(np.float32)


def test_islands_that_lie_far_apart_are_moved_together_as_they_are() -> None:
    apart = islands((0, 0), (60, 5), (2, -90))
    together = without_wide_gaps(apart)
    assert width(together) < 7 < 90 < width(apart)
    for first in (0, 200, 400):
        own = slice(first, first + 200)
        np.testing.assert_allclose(np.diff(together[own], axis=0), np.diff(apart[own], axis=0), atol=1e-4)
    for axis in (0, 1):
        assert (np.diff(np.sort(together[:, axis])) <= 0.0501 * width(together)).all()
        np.testing.assert_array_equal(np.argsort(together[:, axis]), np.argsort(apart[:, axis]))
    np.testing.assert_allclose(without_wide_gaps(together), together, atol=1e-4)


@pytest.mark.parametrize("points", [islands((0, 0)), islands((0, 0), (2.1, 0)), islands((0, 0), (60, 0), n=20)])
def test_a_map_without_wide_gaps_or_of_few_objects_stays_as_it_is(points: Floats) -> None:
    assert without_wide_gaps(points) is points


def test_a_row_of_many_islands_is_half_islands() -> None:
    together = without_wide_gaps(islands(*((50.0 * k, 0.0) for k in range(20))))
    assert 0.5 * width(together) < 20 * 2 < width(together)


def test_islands_that_are_points_stay_apart() -> None:
    apart = np.repeat(np.array([[0, 0], [60, 5]], np.float32), 100, axis=0)
    together = without_wide_gaps(apart)
    assert len(np.unique(together, axis=0)) == 2 and np.isfinite(together).all()


def test_the_map_of_groups_that_have_nothing_in_common_is_filled_by_them() -> None:
    rng = np.random.default_rng(0)
    groups = np.arange(400) % 2
    features = (np.eye(16)[groups] + rng.normal(scale=0.05, size=(400, 16))).astype(np.float32)
    first = reduce_to_plot(features)
    drifted = features + rng.normal(scale=0.01, size=features.shape).astype(np.float32)
    later = reduce_to_plot(drifted, previous=first)
    for points in (shown := without_wide_gaps(first), shown_later := without_wide_gaps(later)):
        assert purity(points, groups) == 1
        assert np.diff(np.sort(points, axis=0), axis=0).max() <= 0.0501 * width(points)
    way, way_shown = (np.median(np.linalg.norm(a - b, axis=1)) for a, b in ((later, first), (shown_later, shown)))
    assert way_shown < 1.1 * way, "what moved apart does not jump on the screen"


def test_a_cluster_that_moved_does_not_turn_the_rest_of_the_map() -> None:
    previous = np.random.default_rng(2).normal(size=(100, 2)).astype(np.float32)
    points = previous.copy()
    points[:20] += [6, 4]
    turned = (points @ TURN).astype(np.float32)
    aligned = align_to(turned, previous)
    np.testing.assert_allclose(aligned[20:], previous[20:], atol=1e-3)


def test_a_map_does_not_shrink_however_often_it_is_drawn_anew() -> None:
    """It may wander, but not in one direction: half its width would be lost in 40 draws."""
    ratios = []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        first = rng.normal(size=(300, 2)).astype(np.float32)
        points = first
        for _ in range(40):
            points = align_to(first + rng.normal(scale=0.5, size=first.shape).astype(np.float32), points)
        ratios.append(width(points) / width(first))
    assert 0.75 < np.mean(ratios) < 1.5, ratios


def test_a_new_object_lies_by_its_twin_on_a_small_map_too() -> None:
    features, _ = make_features(180)
    places = reduce_to_plot(features) * np.float32(1e-5)
    both = np.concatenate([features, features[:10]])
    known = np.concatenate([places, np.full((10, 2), np.nan, np.float32)])
    placed = place_new(both, known)
    apart = np.linalg.norm(placed[-10:] - placed[:10], axis=1)
    assert np.median(apart) < 0.1 * np.ptp(places, axis=0).max()
