"""What is said of a map's quality, against scikit-learn and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.manifold import trustworthiness as reference
from sklearn.neighbors import NearestNeighbors

from apps.engine.map_quality import label_purity, median_displacement, trustworthiness
from tests.engine.test_reduce import make_features


@pytest.mark.parametrize("k", [5, 15])
def test_trustworthiness_is_the_published_one(k: int) -> None:
    features, _groups = make_features(300)
    points = np.random.default_rng(3).normal(size=(300, 2)).astype(np.float32) * 0.3 + features[:, :2]
    ours = trustworthiness(features, points, k=k)
    assert ours == pytest.approx(reference(features, points, n_neighbors=k), abs=1e-6)


def test_the_features_themselves_are_trusted_wholly_and_chance_by_half() -> None:
    points = np.random.default_rng(3).normal(size=(2000, 2)).astype(np.float32)
    assert trustworthiness(points, points) == 1.0
    assert trustworthiness(points, points[::-1].copy()) == pytest.approx(0.5, abs=0.02)


def test_of_many_objects_a_sample_is_judged_and_of_few_nothing_is_said() -> None:
    points = np.random.default_rng(3).normal(size=(3000, 2)).astype(np.float32)
    assert trustworthiness(points, points, most_judged=500) == 1.0
    assert trustworthiness(points[:30], points[:30]) is None
    assert trustworthiness(points[:31], points[:31]) == 1.0


def test_displacement_is_a_share_of_the_former_width_and_leaves_new_objects_out() -> None:
    before = np.array([[0, 0], [10, 0], [5, 5], [np.nan, np.nan]], np.float32)
    after = np.array([[0, 1], [10, 1], [5, 6], [3, 3]], np.float32)
    assert median_displacement(after, before) == pytest.approx(0.1)
    assert median_displacement(after[3:], before[3:]) is None
    assert median_displacement(after[:1], before[:1]) is None


def test_purity_is_the_share_of_the_nearest_labels_that_are_of_an_objects_class_and_held_out_ones_are_no_neighbors() -> (
    None
):
    rng = np.random.default_rng(0)
    features, groups = make_features(900)
    classes = np.where(rng.random(900) < 0.8, groups % 3 + 1, 0).astype(np.uint8)
    held_out = rng.random(900) < 0.2
    judged, among = held_out & (classes > 0), ~held_out & (classes > 0)
    nearest = NearestNeighbors(n_neighbors=20).fit(features[among]).kneighbors(features[judged], return_distance=False)
    expected = (classes[among][nearest] == classes[judged][:, None]).mean()
    assert label_purity(features, classes, held_out) == pytest.approx(expected, abs=1e-3)
    assert label_purity(rng.permutation(features), classes, held_out) == pytest.approx(0.35, abs=0.05)


def test_of_too_few_labels_no_purity_is_said() -> None:
    points = np.random.default_rng(0).normal(size=(100, 2))
    classes = np.ones(100, np.uint8)
    held_out = np.arange(100) < 40
    assert label_purity(points, classes, held_out) == 1.0
    assert label_purity(points, np.where(np.arange(100) == 0, 0, classes).astype(np.uint8), held_out) is None
    assert label_purity(points, classes, np.arange(100) < 81) is None, "nineteen are left to look among"
