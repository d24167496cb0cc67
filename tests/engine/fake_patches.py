"""Patches made up for tests: two kinds of round blobs on a pale ground, told apart by color and size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class FakePatches:
    """A `PatchSource` over an array, which counts what is read."""

    def __init__(self, patches: npt.NDArray[np.uint8]) -> None:
        self.patches = patches
        self.n_read = 0

    def __len__(self) -> int:
        return len(self.patches)

    def read(self, ordinals: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        self.n_read += len(ordinals)
        return self.patches[ordinals]


def make_patches(n: int, *, size_px: int = 16, seed: int = 0) -> tuple[FakePatches, npt.NDArray[np.uint8]]:
    """Patches of n objects and the kind of each, 1 or 2."""
    rng = np.random.default_rng(seed)
    kinds = (np.arange(n) % 2 + 1).astype(np.uint8)
    rows, columns = np.mgrid[:size_px, :size_px] - size_px / 2 + 0.5
    patches = np.empty((n, size_px, size_px, 3), np.float64)
    for i, kind in enumerate(kinds):
        radius = size_px * (0.2 if kind == 1 else 0.35) * rng.uniform(0.9, 1.1)
        inside = (rows**2 + (columns * rng.uniform(0.8, 1.2)) ** 2 < radius**2)[:, :, None]
        blob = [90, 60, 140] if kind == 1 else [170, 110, 120]
        patches[i] = np.where(inside, blob, [225, 205, 220]) + rng.normal(0, 12, (size_px, size_px, 3))
    return FakePatches(patches.clip(0, 255).astype(np.uint8)), kinds
