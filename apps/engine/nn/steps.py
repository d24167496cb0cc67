"""A step of training: from the patches of a batch to changed weights, on a CPU and on a GPU.

A GPU is done with the kernels of a step in a third of the time that Python takes to launch them one by one: a ResNet18 at 64 px
with 256 objects takes an H100 5 of 16 ms. So the views and the gradients of a batch are recorded as a CUDA graph, once for
every size of batch, and replayed.
"""

import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from apps.engine.approaches.base import TrainingSettings
from apps.engine.errors import EngineError
from apps.engine.nn.augment import DeviceRenderer, ViewDraws, render_on_cpu
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import autocast
from apps.engine.nn.losses import weighted_cross_entropy
from apps.engine.nn.model import PatchModel
from apps.engine.nn.patches import Patches
from apps.engine.nn.processes import Processes
from apps.engine.registry import APPROACHES

Staged = TypeVar("Staged")

# So many steps may wait on a GPU before Python waits for it: more would only put off a cancelling and belie the progress.
STEPS_QUEUED = 2


class BatchLoss(nn.Module):
    """The loss of a batch, a scalar and the same in every process, from the views that this process has of it."""

    def __init__(
        self, model: PatchModel, config: TrainConfig, weights: torch.Tensor | None, processes: Processes
    ) -> None:
        super().__init__()
        settings = config.settings
        assert isinstance(settings, TrainingSettings)
        self.model = model
        self._approach = APPROACHES.get(config.approach)
        self._settings = settings
        self._weights = weights
        self._processes = processes

    def forward(self, views: torch.Tensor, targets: torch.Tensor | None, classes: torch.Tensor) -> torch.Tensor:
        """`views` (2 share, c, size, size) and `targets`, where the approach wants them, of this process's objects;
        `classes` (n,) are the rows of the classifier, or -1, of the whole batch."""
        assert self.model.approach is not None
        n = len(classes)
        features = self._processes.gather_views(self.model(views), n)  # (2n, feature_dim)
        if targets is not None:
            targets = self._processes.gather_views(targets, n)
        with self._approach.blamed(but=(torch.OutOfMemoryError,)):
            loss: torch.Tensor = self.model.approach(features, targets)
            if loss.ndim:
                raise EngineError(
                    f"the approach {self._approach.name} gave no loss, but numbers of shape {tuple(loss.shape)}"
                )
            if not loss.requires_grad:
                raise EngineError(
                    f"the approach {self._approach.name} gave a loss that does not depend on its features"
                )
        if self.model.classifier is not None and self._weights is not None:
            logits = self.model.classifier(features)
            cross_entropy = weighted_cross_entropy(logits, classes.repeat(2), self._weights)
            loss = loss + self._settings.cross_entropy_weight * cross_entropy
        return loss


@dataclass(frozen=True)
class Learning:
    """What a step needs beside its batch; `loss` is a `BatchLoss`, or one over several processes."""

    loss: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    device: torch.device
    precision: torch.dtype
    wants_targets: bool

    def backward(self, views: torch.Tensor, targets: torch.Tensor | None, classes: torch.Tensor) -> torch.Tensor:
        """Put the gradients of a batch to the parameters; returns its loss."""
        with autocast(self.device, self.precision):
            loss: torch.Tensor = self.loss(views, targets, classes)
        self.scaler.scale(loss).backward()
        return loss.detach()

    def change_weights(self) -> None:
        """The optimizer's step."""
        self.scaler.step(self.optimizer)
        self.scaler.update()


class Steps(ABC, Generic[Staged]):
    """Takes batches as `stage` leaves them, which is called in the thread that reads ahead."""

    def __init__(self, learning: Learning) -> None:
        self._learning = learning
        self.input_seconds = 0.0
        """How long the device has had to wait for batches."""

    @abstractmethod
    def stage(self, pixels: Patches, draws: ViewDraws, classes: npt.NDArray[np.int64]) -> Staged:
        """Prepare patches (share, p, p, c), the draws of two views of each, and the rows of the classifier, or -1, of the
        whole batch (n,)."""

    @abstractmethod
    def begin_epoch(self) -> None:
        """What was done since the last step is no waiting for input."""

    @abstractmethod
    def run(self, batches: Iterator[Staged]) -> torch.Tensor:
        """Learn from the next batch; returns its loss, a scalar on the device that the next call may overwrite."""


class CpuBatch(NamedTuple):
    pixels: Patches
    draws: ViewDraws
    classes: torch.Tensor


class CpuSteps(Steps[CpuBatch]):
    """Making the views counts as waiting for input: it takes the time of the same core."""

    def stage(self, pixels: Patches, draws: ViewDraws, classes: npt.NDArray[np.int64]) -> CpuBatch:
        return CpuBatch(pixels, draws, torch.from_numpy(classes))

    def begin_epoch(self) -> None:
        pass

    def run(self, batches: Iterator[CpuBatch]) -> torch.Tensor:
        asked = time.perf_counter()
        pixels, draws, classes = next(batches)
        views = render_on_cpu(pixels, draws)
        targets = render_on_cpu(pixels, draws.geometry_only()) if self._learning.wants_targets else None
        self.input_seconds += time.perf_counter() - asked
        self._learning.optimizer.zero_grad()
        loss = self._learning.backward(views, targets, classes)
        self._learning.change_weights()
        return loss


class GpuBatch(NamedTuple):
    """In pinned memory, from where it is copied while the GPU works; from other memory, the copy would wait until the GPU
    has nothing left to do."""

    patches: torch.Tensor
    numbers: torch.Tensor  # of the draws, see `DeviceRenderer.render`
    noise_seed: torch.Tensor
    classes: torch.Tensor


class _Recorded(NamedTuple):
    graph: torch.cuda.CUDAGraph
    batch: GpuBatch  # on the device: where the graph reads from
    loss: torch.Tensor  # and what it writes, beside the gradients


class GpuSteps(Steps[GpuBatch]):
    """`replay`: record the steps; only for a network and an approach that are `replayable`, in one process."""

    def __init__(self, learning: Learning, *, size_px: int, replay: bool) -> None:
        super().__init__(learning)
        self._renderer = DeviceRenderer(size_px, learning.device)
        self._replay = replay
        self._seen: set[int] = set()
        self._recorded: dict[int, _Recorded] = {}  # by the number of objects
        self._recording = torch.cuda.Stream(learning.device)
        self._before = _event()
        self._queued: deque[tuple[torch.cuda.Event, torch.cuda.Event, torch.cuda.Event]] = deque()

    def stage(self, pixels: Patches, draws: ViewDraws, classes: npt.NDArray[np.int64]) -> GpuBatch:
        arrays = (pixels, draws.numbers(), draws.noise_seed.astype(np.int64), classes)
        return GpuBatch(*(torch.from_numpy(array).pin_memory() for array in arrays))

    def begin_epoch(self) -> None:
        self._before = _event()

    def run(self, batches: Iterator[GpuBatch]) -> torch.Tensor:
        staged = next(batches)
        n = len(staged.classes)
        if self._replay and n in self._seen:
            if n not in self._recorded:
                self._recorded[n] = self._record(staged)
                self._before = _event()  # which was no waiting
            recorded = self._recorded[n]
            for there, here in zip(recorded.batch, staged, strict=True):
                there.copy_(here, non_blocking=True)
            copied = _event()
            recorded.graph.replay()
            loss = recorded.loss
        else:
            # A first step of each size as it is: libraries choose their kernels and take their memory, which no record may
            # hold. It needs as much as the records, so they make way and are made anew.
            self._seen.add(n)
            if self._recorded:
                torch.cuda.synchronize()
                self._recorded.clear()
            batch = GpuBatch(*(part.to(self._learning.device, non_blocking=True) for part in staged))
            copied = _event()
            self._learning.optimizer.zero_grad(set_to_none=not self._replay)
            loss = self._gradients(batch)
        self._learning.change_weights()
        after = _event()
        self._queued.append((self._before, copied, after))
        self._before = after
        if len(self._queued) > STEPS_QUEUED:
            before, copied, after = self._queued.popleft()
            after.synchronize()
            self.input_seconds += before.elapsed_time(copied) / 1000
        return loss

    def _gradients(self, batch: GpuBatch) -> torch.Tensor:
        shown = batch.patches, batch.numbers, batch.noise_seed
        views = self._renderer.render(*shown)
        targets = self._renderer.render_geometry(*shown) if self._learning.wants_targets else None
        return self._learning.backward(views, targets, batch.classes)

    def _record(self, like: GpuBatch) -> _Recorded:
        """The gradients of a batch of this size as a graph. Nothing is computed; weights and statistics stay as they are."""
        batch = GpuBatch(*(torch.empty_like(part, device=self._learning.device) for part in like))
        graph = torch.cuda.CUDAGraph()
        # One is replayed at a time: they share their memory.
        pool = next((other.graph.pool() for other in self._recorded.values()), None)
        # "thread_local": the thread that reads ahead may take pinned memory meanwhile.
        with torch.cuda.graph(graph, pool=pool, stream=self._recording, capture_error_mode="thread_local"):
            # Set to zero in place: every record adds to the same gradients, which the optimizer reads.
            self._learning.optimizer.zero_grad(set_to_none=False)
            loss = self._gradients(batch)
        return _Recorded(graph, batch, loss)


def _event() -> torch.cuda.Event:
    """A mark after all that the GPU has been told to do until now, with the time at which it gets there."""
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event
