"""A million patches of 64 px, 12 GB of them, are trained on and embedded within little memory."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.errors import Stopped
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.train import train_model
from tests.engine.fake_patches import make_patches

CONFIG = TrainConfig(encoder_size_px=64, epochs=100, batch_size=32, device="cpu", threads=1)
MOST_BYTES = 150e6
BATCHES, SETTLED = 24, slice(4, 10)
# Of the process, between the batches after the first few and the last ones. It sways; but what one batch leaves on its way through
# the network, kept, would come to gigabytes.
MOST_GROWTH_BYTES = 60e6


class MillionPatches:
    """A million patches that are made when they are read."""

    def __len__(self) -> int:
        return 1_000_000

    def read(self, ordinals: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        return np.broadcast_to(
            (ordinals % 256).astype(np.uint8)[:, None, None, None], (len(ordinals), 64, 64, 3)
        ).copy()


class MemoryAfter:
    """Stops after so many batches, and knows how much memory the process had at each of them, torch's included."""

    def __init__(self, batches: int) -> None:
        self.held: list[int] = []
        self._batches = batches

    def __call__(self) -> bool:
        self.held.append(int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))
        return len(self.held) > self._batches

    @property
    def growth(self) -> float:
        """Bytes."""
        return float(np.median(self.held[-6:]) - np.median(self.held[SETTLED]))


@contextmanager
def little_memory() -> Iterator[MemoryAfter]:
    """At most MOST_BYTES of numpy's arrays at a time are taken inside, and the whole process does not grow with the batches."""
    memory = MemoryAfter(BATCHES)
    tracemalloc.start()
    try:
        yield memory
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(memory.held) > BATCHES
    assert peak < MOST_BYTES, f"{peak / 1e6:.0f} MB"
    assert memory.growth < MOST_GROWTH_BYTES, f"{memory.growth / 1e6:.0f} MB"


def test_training_holds_batches_and_the_order_of_one_epoch(tmp_path: Path) -> None:
    labels = np.zeros(1_000_000, np.uint8)
    labels[:1000] = 1 + np.arange(1000) % 3
    train_model(
        replace(CONFIG, epochs=1), make_patches(4, size_px=64)[0], checkpoint=tmp_path / "warm"
    )  # compiles what it needs
    with little_memory() as memory, pytest.raises(Stopped):
        train_model(CONFIG, MillionPatches(), class_values=labels, checkpoint=tmp_path / "model", should_stop=memory)


def test_embedding_holds_a_shard(tmp_path: Path) -> None:
    few, _kinds = make_patches(4, size_px=64)
    train_model(TrainConfig(approach="frozen", encoder_size_px=64), few, checkpoint=tmp_path / "model")
    with little_memory() as memory, pytest.raises(Stopped):
        embed_patches(
            tmp_path / "model",
            MillionPatches(),
            batch_size=64,
            device="cpu",
            threads=1,
            shards=tmp_path / "shards",
            should_stop=memory,
        )
