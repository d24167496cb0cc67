"""Predictions know what lies around an object in its own image, and nothing of other images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.errors import EngineError
from apps.engine.masks import MaskKind, find_objects
from apps.engine.pixels import StoredImage, part_path, write_image
from apps.engine.predict import fit_kernel_head
from apps.engine.surroundings import N_AROUND, N_COLUMNS, Surroundings, find_surroundings, with_surroundings


def image_of(folder: Path, key: str, places: npt.NDArray[np.int64], *, first_ordinal: int = 0) -> StoredImage:
    """An image whose objects are single pixels at `places` (n, 2), rows ascending."""
    mask = np.zeros((200, 200), np.uint16)
    mask[tuple(places.T)] = np.arange(len(places)) + 1
    found = find_objects(mask, MaskKind.INDEXED, name=key)
    write_image(folder, key, np.zeros((200, 200, 3), np.uint8), found)
    return StoredImage(first_ordinal, len(found), folder, key)


def scattered(n: int, *, seed: int = 0) -> npt.NDArray[np.int64]:
    drawn = np.random.default_rng(seed).choice(200 * 200, n, replace=False)
    return np.stack(np.unravel_index(np.sort(drawn), (200, 200)), axis=1)


def lying_around(nearest: npt.NDArray[np.int32], image: npt.NDArray[np.int32] | None = None) -> Surroundings:
    """All of one image, where none is said."""
    image = np.zeros(len(nearest), np.int32) if image is None else image
    return Surroundings(np.concatenate([image[:, None], nearest], axis=1))


def test_the_nearest_others_of_the_same_image_come_first(tmp_path):
    places = [scattered(60, seed=1), scattered(70, seed=2)]
    images = [
        image_of(tmp_path, "one", places[0]),
        image_of(tmp_path, "other", places[1], first_ordinal=60),
    ]
    around = find_surroundings(images).nearest
    assert around.shape == (130, N_AROUND)
    for first, own in ((0, places[0]), (60, places[1])):
        for i in range(len(own)):
            distances = np.linalg.norm(own - own[i], axis=1)
            distances[i] = np.inf
            found = around[first + i] - first
            assert i not in found
            assert np.array_equal(distances[found], np.sort(distances)[:N_AROUND])


def test_an_image_with_few_objects_has_few_around_each(tmp_path):
    images = [
        image_of(tmp_path, "one", scattered(1)),
        image_of(tmp_path, "three", scattered(3), first_ordinal=1),
    ]
    around = find_surroundings(images).nearest
    assert (around[0] == -1).all()
    assert sorted(around[1, :2]) == [2, 3]
    assert (around[1:, 2:] == -1).all()
    assert find_surroundings([]).nearest.shape == (0, N_AROUND)


def test_objects_in_the_same_place_are_around_each_other_and_not_around_themselves(tmp_path):
    image = image_of(tmp_path, "one", scattered(30))
    np.save(part_path(tmp_path, "one", "centroids"), np.full((30, 2), 7, np.float32))
    around = find_surroundings([image]).nearest
    assert all(i not in of and len(set(of)) == N_AROUND for i, of in enumerate(around.tolist()))


def test_a_missing_file_is_named(tmp_path):
    image = image_of(tmp_path, "one", scattered(3))
    part_path(tmp_path, "one", "centroids").unlink()
    with pytest.raises(EngineError, match=r"one\.centroids\.npy is missing"):
        find_surroundings([image])


@pytest.mark.parametrize("dimension", [3, N_COLUMNS, 100])
def test_beside_the_features_lies_the_mean_of_those_around(dimension):
    rng = np.random.default_rng(0)
    features = rng.normal(size=(20, dimension)).astype(np.float16)
    features[4, 0] = np.nan
    nearest = np.full((20, N_AROUND), -1, np.int32)
    nearest[0, :2], nearest[1, :5], nearest[2, 0] = [7, 9], [0, 2, 3, 5, 6], 4
    both = with_surroundings(features, lying_around(nearest))
    n_columns = min(dimension, N_COLUMNS)
    assert both.dtype == np.float16
    assert both.shape == (20, dimension + n_columns)
    assert np.array_equal(both[:, :dimension], features, equal_nan=True)
    beside = both[:, dimension:].astype(np.float64)
    assert np.allclose(beside[0], features[[7, 9], :n_columns].astype(float).mean(axis=0), atol=1e-3)
    assert np.allclose(beside[1], features[[0, 2, 3, 5, 6], :n_columns].astype(float).mean(axis=0), atol=1e-3)
    assert np.allclose(beside[2, 1:], features[4, 1:n_columns].astype(float), atol=1e-3)
    assert beside[2, 0] == 0
    assert not beside[3:].any()


def test_what_looks_alike_is_told_apart_by_where_it_is(tmp_path):
    """Lymphocytes among themselves and single ones in the epithelium: half of the objects look the same in both."""
    rng = np.random.default_rng(0)
    places = scattered(2_000)
    truth = np.where(places[:, 1] < 100, 1, 2).astype(np.uint8)
    looks = np.where(rng.random(2_000) < 0.5, 0.0, np.where(truth == 1, -1.0, 1.0))
    features = (looks[:, None] + 0.2 * rng.normal(size=(2_000, 4))).astype(np.float16)
    labels = np.where(np.arange(2_000) % 20 == 0, truth, 0).astype(np.uint8)

    def right(features: npt.NDArray[np.float16]) -> float:
        head = fit_kernel_head(features, labels, seed=0)
        assert head is not None
        return float((head.predict(features)[0] == truth)[labels == 0].mean())

    surroundings = find_surroundings([image_of(tmp_path, "one", places)])
    assert right(features) < 0.8
    assert right(with_surroundings(features, surroundings)) > 0.95
