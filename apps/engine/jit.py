"""The one place that knows numba: a decorator for the loops that numpy cannot express in one pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from numba import njit, types  # type: ignore[import-untyped, unused-ignore]
from numba.extending import intrinsic  # type: ignore[import-untyped, unused-ignore]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, keep the machine code on disk for the next process, release the GIL while it runs."""
    return cast("Callable[..., Any]", njit(cache=True, nogil=True)(function))


def sum_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `kernel`, for loops that add up floats: in any order, so that they run in vector registers. The same input gives
    the same sum on the same machine; another machine's may differ in the last bits."""
    return cast("Callable[..., Any]", njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})(function))


def _half_to_float(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


half_to_float = cast("Callable[[Any], Any]", intrinsic(_half_to_float))
"""The float32 that a float16's bits (uint16) stand for, inside a kernel: numba has no float16 of its own, processors
convert eight or sixteen in one instruction."""
