from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from apps.engine.arrays import read_array, write_array
from apps.engine.errors import EngineError

ARRAY = np.arange(12, dtype=np.float32).reshape(4, 3)


def header(shape: tuple[int, ...], descr: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize("is_mapped", [False, True])
def test_an_array_is_read_as_it_was_written(tmp_path: Path, is_mapped: bool) -> None:
    for array in (ARRAY, ARRAY.T, ARRAY[:0], np.float16(3.0).reshape(())):
        write_array(tmp_path / "array.npy", array)
        read = read_array(tmp_path / "array.npy", is_mapped=is_mapped and array.size > 0)
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype


@pytest.mark.parametrize("is_mapped", [False, True])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not an array at all",
        header((4, 3)) + ARRAY.tobytes()[:-1],
        header((4, 3))[:40],
        header((999_999_999_999_999, 3)) + ARRAY.tobytes(),
        header((2**70, 3)) + ARRAY.tobytes(),
        header((-1,)) + ARRAY.tobytes(),
        header((-(2**62), -8)) + ARRAY.tobytes(),
        header((999_999_999_999_999, 3), "|S0") + ARRAY.tobytes(),
        header((4, 3), "|O") + ARRAY.tobytes(),
        header((4, 3)).replace(b"NUMPY\x01", b"NUMPY\x03") + ARRAY.tobytes(),
        header((4, 3)).replace(b"}", b" ") + ARRAY.tobytes(),
    ],
    ids=["empty", "other", "cut", "cut header", "huge", "beyond int64", "negative", "two negative", "of nothing", "objects",
         "other version", "no end"],
)  # fmt: skip
def test_a_damaged_one_is_named(tmp_path: Path, content: bytes, is_mapped: bool) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"array\.npy is damaged \(.+\)"):
        read_array(path, is_mapped=is_mapped)
    with pytest.raises(EngineError, match="the vectors is damaged"):
        read_array(path, is_mapped=is_mapped, called="the vectors")
