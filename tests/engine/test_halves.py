"""float16 to float32: every one of the 65,536 numbers, to the bit."""

from __future__ import annotations

import numpy as np

from apps.engine.halves import to_float32


def test_every_half_becomes_the_same_number_and_what_is_none_becomes_zero() -> None:
    halves = np.arange(65_536, dtype=np.uint16).view(np.float16).reshape(256, 256)
    expected = np.where(np.isfinite(halves), halves, 0).astype(np.float32)
    np.testing.assert_array_equal(to_float32(halves), expected)
    np.testing.assert_array_equal(to_float32(halves[::2, 5:7]), expected[::2, 5:7])


def test_other_floats_keep_their_numbers_too() -> None:
    values = np.array([[1.5, np.nan], [np.inf, -2.25]])
    np.testing.assert_array_equal(to_float32(values), [[1.5, 0], [0, -2.25]])
    assert to_float32(values).dtype == np.float32
    assert to_float32(np.zeros((0, 4), np.float16)).shape == (0, 4)
