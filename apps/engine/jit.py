"""The one place that knows numba: a decorator for the loops that numpy cannot express in one pass."""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped, unused-ignore]
from llvmlite.binding import get_host_cpu_features  # type: ignore[import-untyped, unused-ignore]
from numba import config, njit, types  # type: ignore[import-untyped, unused-ignore]
from numba.extending import intrinsic  # type: ignore[import-untyped, unused-ignore]


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on first call, keep the machine code on disk for the next process, release the GIL while it runs."""
    return cast("Callable[..., Any]", njit(cache=True, nogil=True)(function))


def sum_kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """As `kernel`, for loops that add up floats: in any order, so that they run in vector registers. The same input gives
    the same sum on the same machine; another machine's may differ in the last bits."""
    return cast("Callable[..., Any]", njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})(function))


def processor_converts_halves() -> bool:
    """Whether what numba compiles for has an instruction for it. Without one, LLVM calls a function that is not there, and
    the process is gone: x86 before 2012, and virtual machines that pretend to be such."""
    if platform.machine().lower() in ("aarch64", "arm64"):
        return True
    if getattr(config, "CPU_NAME", None):  # somebody has told numba what to compile for
        return "+f16c" in (getattr(config, "CPU_FEATURES", None) or "")
    return bool(get_host_cpu_features().get("f16c"))


def _convert_half(typing_context: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return types.float32(types.uint16), generate


def shift_half(bits: Any) -> Any:
    """The same by arithmetic, right for everything finite; slow where numbers below 6e-5 are many."""
    exponent_and_digits = np.uint32(np.uint32(bits & 0x7FFF) << 13).view(np.float32) * np.float32(2.0**112)
    return -exponent_and_digits if bits & 0x8000 else exponent_and_digits


half_to_float = cast(
    "Callable[[Any], Any]", intrinsic(_convert_half) if processor_converts_halves() else njit(shift_half)
)
"""The float32 that a float16's bits (uint16) stand for, inside a kernel: numba has no float16 of its own, most processors
convert eight or sixteen in one instruction."""
