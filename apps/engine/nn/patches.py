"""How training and embedding get their patches: whole batches, read ahead, at the size the network sees."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

Ordinals = npt.NDArray[np.int64]
Patches = npt.NDArray[np.uint8]
T = TypeVar("T")

# Two batches ahead hide a slow disk; reading is rarely slower than computing, so more would only hold memory.
BATCHES_AHEAD = 2


class PatchSource(Protocol):
    """Anything that gives patches by ordinal; `apps.engine.pixels.PatchReader` is one."""

    def __len__(self) -> int:
        """The number of objects, so that the ordinals are 0 to len - 1."""
        ...

    def read(self, ordinals: Ordinals, /) -> Patches:
        """Patches (n, p, p, 3) uint8 RGB, or (n, p, p, 4) with a mask, in the order asked."""
        ...


def resize_patches(patches: Patches, size_px: int) -> Patches:
    """Patches (n, p, p, c) uint8 as (n, size_px, size_px, c) uint8, antialiased when they get smaller."""
    if patches.shape[1] == size_px:
        return patches
    planes = torch.from_numpy(patches).permute(0, 3, 1, 2)  # (n, c, p, p)
    resized = functional.interpolate(planes, size=(size_px, size_px), mode="bilinear", antialias=True)
    return resized.permute(0, 2, 3, 1).contiguous().numpy()  # (n, size_px, size_px, c)


class PatchCache:
    """Patches at the encoder's size, each read and resized once where all of them fit the memory budget.

    Beyond the budget every batch is read anew: the files are memory-mapped, so that the operating system's page cache
    then does what memory allows. Not for several threads at once.
    """

    def __init__(self, patches: PatchSource, *, size_px: int, memory_budget_bytes: int, channels: int = 3) -> None:
        self._patches = patches
        self._size_px = size_px
        n = len(patches)
        shape = (n, size_px, size_px, channels)
        self._kept: Patches | None = np.empty(shape, np.uint8) if math.prod(shape) <= memory_budget_bytes else None
        self._is_kept = np.zeros(n, bool)

    def read(self, ordinals: Ordinals) -> Patches:
        """Patches (n, size_px, size_px, channels) uint8, in the order asked."""
        if self._kept is None:
            return resize_patches(self._patches.read(ordinals), self._size_px)
        missing = np.unique(ordinals[~self._is_kept[ordinals]])
        if len(missing):
            self._kept[missing] = resize_patches(self._patches.read(missing), self._size_px)
            self._is_kept[missing] = True
        return self._kept[ordinals]


def read_ahead(read: Callable[[Ordinals], T], batches: Iterable[Ordinals]) -> Iterator[T]:
    """Yield `read(batch)` for each batch in their order, reading the next ones in a thread meanwhile.

    A thread and no process: job workers are daemons, which may not have children, and reading releases the GIL.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-patches") as pool:
        pending: deque[Future[T]] = deque()
        for batch in batches:
            pending.append(pool.submit(read, batch))
            if len(pending) > BATCHES_AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
