"""Which device to compute on, and in which number format."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from apps.engine.cores import usable_cores
from apps.engine.errors import EngineError

# torch.float32 stands for "no autocast".
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device of that name, torch's own ("cpu", "cuda", "cuda:1"); "auto" is the GPU where one can be used, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise EngineError(f"There is no device called {name!r}") from error
    if device.type not in ("cpu", "cuda"):
        raise EngineError(f"The device is {name!r}, but has to be auto, cpu or cuda")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"The device {name!r} was asked for, but torch finds no usable GPU on this machine")
    if device.index is not None and device.type == "cuda" and device.index >= torch.cuda.device_count():
        raise EngineError(
            f"The device {name!r} was asked for, but this machine has {torch.cuda.device_count()} GPUs, from cuda:0 on"
        )
    return device


def choose_precision(name: str, device: torch.device, *, features_of_depthwise: bool = False) -> torch.dtype:
    """The format for convolutions: "fp32", "bf16", "fp16", or "auto" = the fastest that the device computes natively.

    bf16 needs a GPU from Ampere on (capability 8.0), or a CPU that multiplies it faster than fp32; a GPU with fp16 tensor cores
    only (Volta, Turing: 7.x) gets fp16, which training accompanies with loss scaling. Emulated bf16 is slower than
    fp32, so capability decides here, not what torch is willing to run. `features_of_depthwise`: for the features, not the training, of a
    network whose convolutions are mostly depthwise; they multiply little, and gain by half as many bytes.
    """
    if name in PRECISIONS:
        return PRECISIONS[name]
    if name != "auto":
        raise EngineError(f"There is no precision called {name!r}; there are auto, {', '.join(PRECISIONS)}")
    if device.type == "cuda":
        major, _minor = torch.cuda.get_device_capability(device)
        if major >= 8:
            return torch.bfloat16
        return torch.float16 if major == 7 else torch.float32
    # AVX512-BF16 multiplies twice as many numbers at once as fp32: AMD's in as many units, Intel's in one of two. There it gains
    # nothing, and converting costs: a Xeon (Emerald Rapids) whose AMX the virtual machine hides trained a ResNet18 1.3 times as fast in fp32, before
    # that had tiles (`backbones/winograd.py`), and computes a transformer's layers 1.6 times as fast; but the pretrained network's features take 0.8
    # of the time in bf16. Whether AMD's bf16 is still ahead of fp32 with tiles was not measured.
    if torch.cpu._is_amx_tile_supported():
        return torch.bfloat16
    if torch.cpu._is_avx512_bf16_supported() and (features_of_depthwise or _is_by_amd()):
        return torch.bfloat16
    return torch.float32


@cache
def _is_by_amd() -> bool:
    """Whether the processor is; False where the system does not tell."""
    try:
        return b"AuthenticAMD" in Path("/proc/cpuinfo").read_bytes()
    except OSError:
        return False


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Run what is inside in `precision` where that is safe; float32 changes nothing."""
    context: AbstractContextManager[None] = torch.autocast(
        device.type,
        dtype=precision if precision != torch.float32 else None,
        enabled=precision != torch.float32,
        # What is recorded and replayed may not find a weight that was converted before. A step uses each once, and embedding loses
        # less than a hundredth by converting them for every batch.
        cache_enabled=False,
    )
    return context


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array there. Where that is a GPU it is copied by way of pinned memory while the GPU works: from other memory, the
    copy would wait until it has nothing left to do."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextmanager
def reproducible(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block, choose repeatable GPU kernels, and leave the caller's random state as it was. A GPU is the
    current one inside: streams, events and graphs are made there."""
    devices = [device] if device.type == "cuda" else []
    with (
        torch.cuda.device(device) if device.type == "cuda" else nullcontext(),
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=True),
    ):
        torch.manual_seed(seed)
        yield


@contextmanager
def compute_threads(threads: int, *, processes: int = 1) -> Iterator[None]:
    """Let torch compute with so many CPU threads inside the block; 0 is one fewer than there are cores, at least one.

    `processes` that compute side by side on this machine share those of 0.

    One core stays for the web server and the database because torch's threads wait for each other after every layer:
    with as many as there are cores, one busy neighbor stops all of them again and again. Measured on two cores at
    32 px: beside busy neighbors 70 to 80 patches/s with one thread and 6 to 25 with two; alone, the second thread adds
    about a third.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or max(1, (usable_cores() - 1) // processes))
    try:
        yield
    finally:
        torch.set_num_threads(before)
