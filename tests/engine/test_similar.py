"""The nearest neighbors are those that comparing with everything in float64 gives, in an order that never changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from numba import njit

from apps.engine import similar
from apps.engine.errors import EngineError
from apps.engine.jit import half_to_float, shift_half
from apps.engine.similar import SimilarObjects


@pytest.fixture(autouse=True)
def several_blocks(monkeypatch):
    """Also of few vectors."""
    monkeypatch.setattr(similar, "BLOCK_NUMBERS", 1 << 18)


def unit_vectors(n: int, dimension: int, *, seed: int = 0, spread: float = 1.0) -> npt.NDArray[np.float16]:
    """Directions around a common one: the smaller `spread`, the more alike, as the features of one stain are."""
    rng = np.random.default_rng(seed)
    drawn = rng.normal(size=dimension) + spread * rng.normal(size=(n, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16)


def by_comparing_all(vectors: npt.NDArray[Any], query: npt.NDArray[Any], k: int) -> npt.NDArray[np.int64]:
    exact = vectors.astype(np.float64)
    cosines = exact @ query.astype(np.float64) / (np.linalg.norm(exact, axis=1) * np.linalg.norm(query))
    # To 12 digits: two ways to add the same products differ in the 16th.
    return np.lexsort((np.arange(len(vectors)), -cosines.round(12)))[:k]


@pytest.mark.parametrize("spread", [1.0, 0.02, 0.0005])
@pytest.mark.parametrize(("n", "dimension"), [(1, 8), (300, 7), (50_000, 64)])
def test_it_finds_what_comparing_with_everything_finds(n, dimension, spread):
    vectors = unit_vectors(n, dimension, spread=spread)
    search = SimilarObjects(vectors)
    for ordinal in {0, n // 2, n - 1}:
        found = search.nearest(search.direction(np.array([ordinal])), 100)
        assert found.ordinals.tolist() == by_comparing_all(vectors, vectors[ordinal], 100).tolist()
        assert found.similarities[0] == pytest.approx(1)


def test_an_outlier_in_one_dimension_hides_nobody():
    """The steps of that dimension are then coarse: of most vectors they say nothing."""
    vectors = unit_vectors(3_000, 16, spread=0.05)
    vectors[5, 3], vectors[:, 7] = 200, vectors[0, 7]
    search = SimilarObjects(vectors)
    for ordinal in (0, 5, 2_999):
        found = search.nearest(search.direction(np.array([ordinal])), 50)
        assert found.ordinals.tolist() == by_comparing_all(vectors, vectors[ordinal], 50).tolist()


@pytest.mark.parametrize("dimension", [1024, 4096])
def test_no_sum_of_many_large_steps_overflows(dimension):
    """Every step as large as it gets: beyond 516 dimensions, whole weights of 16 bits would leave 32."""
    vectors = np.where(np.arange(50)[:, None] < 25, 1, -1) * np.ones((50, dimension))
    vectors[::2, ::64] *= -1  # so that not all of a kind are equal
    found = SimilarObjects(vectors.astype(np.float16)).nearest(np.ones(dimension), 5)
    assert found.ordinals.tolist() == [1, 3, 5, 7, 9]
    assert found.similarities == pytest.approx(np.ones(5))


def test_what_steps_round_down_is_found_beside_what_they_round_up():
    """In 16 dimensions: the first by 0.49 of a step each, the second to one step in twelve and to none in four."""
    far = 127 * np.eye(16)
    step = 0.124 / np.sqrt(1 + 0.124**2) / 127
    near = np.array([16 * [0.49], 12 * [0.51] + 4 * [-0.49]])
    vectors = np.ones((34, 17), np.float16)
    vectors[:32, 1:] = np.concatenate([far, -far]) * 0.124 / 127
    vectors[32:, 1:] = near * step
    direction = np.array([0.0, *16 * [1.0]])
    found = SimilarObjects(vectors).nearest(direction, 1, allowed=np.arange(34) >= 32)
    assert found.ordinals.tolist() == [32], "7.8 steps are more than 4.2, though 0 are less than 12"


def test_what_rounded_weights_leave_out_is_found_beside_what_they_blow_up():
    """The third dimension's step weighs 0.51 of the smallest weight that is told apart, the second's 0.49."""
    step, unit = 1e-5, 1 / 127 / 32_767
    steps = np.array([[0, 0], [127, 0], [-127, 0], [0, 127], [0, -127], [0, 100]])
    vectors = np.concatenate([np.array([[-1], *5 * [[1]]]), step * steps], axis=1).astype(np.float16)
    direction = np.array([1, 0.49 * unit / step, 0.51 * unit / step])
    found = SimilarObjects(vectors).nearest(direction, 1, allowed=np.array([0, 1, 0, 0, 0, 1], bool))
    assert found.ordinals.tolist() == [1], "62 units are more than 51, though 0 are less than 100"


def test_a_direction_in_which_all_are_alike_finds_them_by_ordinal():
    vectors = np.zeros((40, 3), np.float16)
    vectors[:, 0] = 1
    assert SimilarObjects(vectors).nearest(np.array([0.0, 1.0, 0.0]), 4).ordinals.tolist() == [0, 1, 2, 3]


def test_vectors_with_other_numbers_beside_them_are_searched_alone():
    vectors = unit_vectors(300, 8)
    beside = np.concatenate([vectors, 100 * unit_vectors(300, 4, seed=1)], axis=1)
    found = SimilarObjects(beside[:, :8]).nearest(vectors[7], 20)
    assert found.ordinals.tolist() == by_comparing_all(vectors, vectors[7], 20).tolist()


def test_equally_similar_objects_come_by_ordinal():
    vectors = np.tile(unit_vectors(1, 16), (30_000, 1))
    vectors[5] = -vectors[5]
    search = SimilarObjects(vectors)
    found = search.nearest(search.direction(np.array([9])), 7)
    assert found.ordinals.tolist() == [0, 1, 2, 3, 4, 6, 7]
    assert found.similarities == pytest.approx(np.ones(7))


def test_what_is_not_allowed_is_not_found():
    vectors = unit_vectors(500, 32)
    allowed = np.zeros(500, bool)
    allowed[[3, 77, 401]] = True
    search = SimilarObjects(vectors)
    found = search.nearest(search.direction(np.array([8])), 100, allowed=allowed)
    assert sorted(found.ordinals.tolist()) == [3, 77, 401]
    assert np.all(np.diff(found.similarities) <= 0)
    assert not len(search.nearest(vectors[8], 100, allowed=np.zeros(500, bool)).ordinals)


def test_a_selection_is_searched_by_its_mean():
    vectors = unit_vectors(400, 32)
    search = SimilarObjects(vectors)
    chosen = np.array([4, 9, 200])
    found = search.nearest(search.direction(chosen), 400)
    mean = (vectors[chosen].astype(np.float64) / np.linalg.norm(vectors[chosen].astype(float), axis=1)[:, None]).sum(0)
    # The length of each vector is known to float32's precision: the order beyond that is chance.
    exact = (
        vectors.astype(np.float64) @ mean / np.linalg.norm(vectors.astype(np.float64), axis=1) / np.linalg.norm(mean)
    )
    assert np.allclose(exact[found.ordinals], np.sort(exact)[::-1], atol=1e-6)


def test_a_broken_vector_is_never_found_and_breaks_nothing():
    vectors = unit_vectors(50, 16)
    vectors[3, 2], vectors[4, 0], vectors[5] = np.nan, np.inf, 0
    search = SimilarObjects(vectors)
    found = search.nearest(search.direction(np.array([0, 3, 4])), 50)
    assert sorted({*range(50)} - {*found.ordinals.tolist()}) == [3, 4, 5]
    assert np.isfinite(found.similarities).all()
    with pytest.raises(EngineError, match="nowhere"):
        search.nearest(search.direction(np.array([3, 5])), 5)


def test_tiny_numbers_count_too():
    """float16 keeps numbers below 6e-5 with fewer digits, in another format."""
    vectors = np.array([[1, 3e-5], [1, -3e-5], [1, 6e-8]], np.float16)
    found = SimilarObjects(vectors).nearest(np.array([0.0, 1.0]), 3)
    assert found.ordinals.tolist() == [0, 2, 1]


@pytest.mark.parametrize("convert", [half_to_float, njit(shift_half)])
def test_every_finite_half_has_its_value(convert):
    """By the processor's instruction where it has one, and by arithmetic where it has none."""

    @njit
    def convert_all(bits, into):
        for i in range(len(bits)):
            into[i] = convert(bits[i])

    bits = np.arange(1 << 16).astype(np.uint16)
    expected = bits.view(np.float16).astype(np.float32)
    found = np.empty(1 << 16, np.float32)
    convert_all(bits, found)
    finite = np.isfinite(expected)
    assert np.array_equal(found[finite], expected[finite])


def test_a_memory_mapped_file_is_searched_where_it_lies(tmp_path):
    vectors = unit_vectors(200, 8)
    np.save(tmp_path / "vectors.npy", vectors)
    search = SimilarObjects(np.load(tmp_path / "vectors.npy", mmap_mode="r"))
    assert len(search) == 200
    assert search.nearest(vectors[7], 1).ordinals.tolist() == [7]


def test_a_vector_of_another_length_is_refused():
    with pytest.raises(EngineError, match="8 numbers, the one to compare with 9"):
        SimilarObjects(unit_vectors(5, 8)).nearest(np.ones(9), 3)
