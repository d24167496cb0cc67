"""Arrays as .npy files, without pickles."""

from __future__ import annotations

import tokenize
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.durable import replacing
from apps.engine.errors import EngineError


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
        if is_mapped:
            return np.lib.format.open_memmap(path, mode="r")
        with path.open("rb") as file:
            array: npt.NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    # The header is read as Python is.
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        raise EngineError(f"{called or path.name} is damaged ({error})") from error
    return array
