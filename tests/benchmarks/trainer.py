"""Our training for so many seconds, and the clock that counts them, for the benchmarks that compare at equal seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device
from apps.engine.nn.patches import PatchSource
from apps.engine.nn.train import ClassValues, train_model
from tests.benchmarks.train import First

SEED = 0
ENCODER_SIZE_PX = 32
# As many as do not take long: an epoch of 10,000 objects is a minute of a CPU thread and a third of a second of a GPU.
FEW_EPOCHS_ON_CPU, FEW_EPOCHS_ON_GPU = 1, 10


@dataclass(frozen=True)
class Trainer:
    """Trains on one CPU thread, by processor time: what a quiet machine would take, beside busy neighbors too. Or on a GPU, by
    the clock on the wall."""

    device: torch.device

    @classmethod
    def on(cls, device: str) -> Trainer:
        """On the device of that name; see `choose_device`."""
        return cls(choose_device(device))

    @property
    def on_gpu(self) -> bool:
        return self.device.type != "cpu"

    @property
    def few_epochs(self) -> int:
        return FEW_EPOCHS_ON_GPU if self.on_gpu else FEW_EPOCHS_ON_CPU

    def clock(self) -> float:
        """Seconds since some time."""
        return time.perf_counter() if self.on_gpu else time.process_time()

    def config(self, approach: str, epochs: int) -> TrainConfig:
        return TrainConfig(
            approach=approach,
            encoder_size_px=ENCODER_SIZE_PX,
            epochs=epochs,
            seed=SEED,
            device=str(self.device),
            threads=0 if self.on_gpu else 1,
        )

    def warm_up(self, patches: PatchSource) -> None:
        """What a worker that has been at it before has behind it: a GPU's libraries load and choose for seconds."""
        if self.on_gpu:
            with TemporaryDirectory(prefix="patchsorter-benchmark-") as folder:
                train_model(self.config("simclr", 1), First(patches, 512), checkpoint=Path(folder) / "model")

    def train_for(self, seconds: float, approach: str, patches: PatchSource, checkpoint: Path) -> None:
        """A first training of about so many seconds. A few epochs say how many there is time for; a caller in a hurry would
        not train those twice."""
        config = self.config(approach, self.few_epochs)
        started = self.clock()
        train_model(config, patches, checkpoint=checkpoint)
        one = (self.clock() - started) / config.epochs
        more = round((seconds - one * config.epochs) / one)
        if more >= 1:
            train_model(replace(config, epochs=more), patches, start_from=checkpoint, checkpoint=checkpoint)

    def refine(
        self,
        approach: str,
        patches: PatchSource,
        labels: ClassValues,
        *,
        epochs: int,
        start_from: Path,
        checkpoint: Path,
    ) -> None:
        """A later training, with labels."""
        config = self.config(approach, epochs)
        train_model(config, patches, class_values=labels, start_from=start_from, checkpoint=checkpoint)
