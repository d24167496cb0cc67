"""Arrays as .npy files, without pickles."""

from __future__ import annotations

import math
import os
import tokenize
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from apps.engine.durable import replacing
from apps.engine.errors import EngineError

JOINED_NAME = "vectors.npy"  # of features that were made in shards, all of them

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    """There as a whole or not at all."""
    with replacing(path) as file:
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)


def read_array(path: Path, *, is_mapped: bool = False, called: str | None = None) -> npt.NDArray[Any]:
    """What `path` holds, memory-mapped and read-only if asked.

    OSError where it cannot be opened, FileNotFoundError where it is gone; EngineError where it is cut short or no array, in which
    the file is `called` so, or by its name.
    """
    try:
        with path.open("rb") as file:
            _check(file)
            if is_mapped:
                return np.lib.format.open_memmap(path, mode="r")
            file.seek(0)
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    # The header is read as Python is.
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise EngineError(f"{called or path.name} is damaged ({error})") from error
    return array


def _check(file: BinaryIO) -> None:
    """ValueError where the header promises what the file cannot hold: some of that numpy does not survive."""
    read_header = _HEADERS.get(np.lib.format.read_magic(file))
    if read_header is None:
        raise ValueError("of a format that is not written here")
    shape, _is_fortran, dtype = read_header(file)
    n_bytes = os.fstat(file.fileno()).st_size - file.tell()
    if dtype.itemsize == 0 or min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize > n_bytes:
        raise ValueError(f"{n_bytes:,} bytes are no {dtype} of shape {shape}")


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same array, which whoever gets it cannot write to."""
    view = array.view()
    view.flags.writeable = False
    return view
