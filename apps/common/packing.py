"""Sets of ordinals as few bytes, for a database column."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


def pack_ordinals(ordinals: NDArray[np.uint32]) -> bytes:
    """Ascending ordinals (n,) as compressed differences: neighbors cost next to nothing, a lasso of nuclei a byte each."""
    return zlib.compress(np.diff(ordinals.astype("<u4"), prepend=np.zeros(1, "<u4")).astype("<u4").tobytes(), 1)


def unpack_ordinals(packed: bytes | memoryview) -> NDArray[np.uint32]:
    """The ordinals (n,), ascending, that `pack_ordinals` was given."""
    return np.cumsum(np.frombuffer(zlib.decompress(packed), "<u4"), dtype=np.uint32)
