"""The one place that knows numba: a decorator for the loops that numpy cannot express in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from numba import njit  # type: ignore[import-untyped, unused-ignore]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, keep the machine code on disk for the next process, release the GIL while it runs."""
    return cast("Callable[..., Any]", njit(cache=True, nogil=True)(function))
