"""Training: patches, and labels where there are some, to a checkpoint.

Memory: the network with its gradients and moments, a batch and two more read ahead, eight bytes per object for the order
of an epoch, and the patches themselves where they fit `memory_budget_bytes`. A million patches of 64 px (12 GB) never are
in memory at once.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from apps.engine.approaches.base import TrainingSettings
from apps.engine.errors import EngineError
from apps.engine.nn.augment import draw_views
from apps.engine.nn.backbones import Backbone, FoundationModel
from apps.engine.nn.checkpoints import WEIGHTS_NAME, load_checkpoint, save_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device, choose_precision, compute_threads, reproducible
from apps.engine.nn.losses import class_weights
from apps.engine.nn.model import PatchModel
from apps.engine.nn.object_masks import with_object_mask
from apps.engine.nn.patches import Ordinals, PatchCache, PatchSource, read_ahead
from apps.engine.nn.processes import ALONE, Processes, synchronize_batch_norm
from apps.engine.nn.steps import BatchLoss, CpuSteps, GpuSteps, Learning, Steps
from apps.engine.nn.training_state import TrainingStates, put_back, tensors_of
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

ClassValues = npt.NDArray[np.uint8]

# Cancelling and progress go by steps: one of 128 objects at 64 px takes a CPU thread a second and a half. Steps of 64
# would be 7 to 12 % slower, larger ones hardly faster.
LARGEST_BATCH_ON_CPU = 128
# A ResNet50's step of so many objects times pixels takes 8 GiB of a GPU, a ResNet18's 3 GiB.
LARGEST_BATCH_PIXELS_ON_GPU = 256 * 128 * 128
# What a step keeps for its gradients, in bf16: 900 bytes a pixel of a ResNet50, 1,300 of a ViT-B/16 (86 million weights), 3,500
# of a ViT-L/16 (303 million): beyond so many weights it grows with them.
WEIGHTS_OF_A_HEAVY_NETWORK = 80_000_000
# A small project still takes this many steps per epoch, down to batches that leave each view enough negatives.
STEPS_PER_EPOCH = 8
SMALLEST_BATCH = 32
# Recording a step on a GPU takes as long as some thirty recorded ones.
STEPS_WORTH_RECORDING = 100
# A fine-tuning epoch is at least this many steps long, so that ten labels do not make an epoch of thirty objects.
FINE_TUNING_STEPS = 8


@dataclass(frozen=True)
class TrainResult:
    """What a training run did, all attempts at it together."""

    epochs: int
    steps: int
    seconds: float
    losses: list[float]  # mean per epoch
    patches_per_second: float  # objects trained on, each with its two views
    input_share: float  # share of the time in which the device waited for patches; on a CPU with making the views
    n_labeled: int  # labels that the classification loss used; 0 when fewer than two classes have some
    resumed_after: int  # epochs that an attempt before this one had done


NOTHING_TRAINED = TrainResult(
    epochs=0, steps=0, seconds=0.0, losses=[], patches_per_second=0.0, input_share=0.0, n_labeled=0, resumed_after=0
)


def train_model(
    config: TrainConfig,
    patches: PatchSource,
    *,
    class_values: ClassValues | None = None,
    start_from: Path | None = None,
    checkpoint: Path,
    weights_root: Path | None = None,
    states: Path | None = None,
    processes: Processes = ALONE,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> TrainResult:
    """Train on all patches and write the checkpoint folder `checkpoint`.

    `class_values` (n,) uint8 are the labels, 0 for none; with two or more classes the classification loss is added.
    `start_from` is an earlier checkpoint of the same architecture to go on from. An approach that trains nothing gets a
    checkpoint of its backbone as it is. With the same seed, device and number of threads the weights are the same.
    `weights_root` as in `create_backbone`.

    `states` is a folder where the run keeps where it is. A run that was killed, called again with the same arguments,
    goes on after its last kept epoch and ends with the same weights. The folder is the caller's to remove.

    With several `processes` each calls this; every one trains on its share of each batch. The first one writes, reports the
    stage "training", and raises `Stopped` within one step of `should_stop`. `EngineError` for what cannot be trained; then no
    checkpoint is written.
    """
    n = len(patches)
    if n == 0:
        raise EngineError("There are no objects to train on")
    if not isinstance(config.settings, TrainingSettings):
        if processes.is_first:
            _keep_backbone(config, n, checkpoint, weights_root)
        processes.wait_for_all()
        return NOTHING_TRAINED
    labels = _usable_labels(class_values, n)
    values = tuple(int(value) for value in np.unique(labels[labels > 0]))
    device = choose_device(config.device)
    with reproducible(config.seed, device), compute_threads(config.threads, processes=processes.count):
        model = _start_model(config, values, start_from, weights_root)
        batch_size = batch_size_for(config, model.backbone, n, device, processes=processes.count)
        with _enough_memory(config, model.backbone, batch_size):
            model = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
            training = _Training(
                config,
                model,
                patches,
                labels,
                device,
                processes,
                batch_size=batch_size,
                fine_tuning=start_from is not None,
            )
            identity = _identity(config, labels, start_from, training, model.borrowed)
            kept = TrainingStates(states, identity) if states is not None else None
            result = training.run(kept, on_progress, should_stop)
    if processes.is_first:
        save_checkpoint(
            checkpoint,
            model,
            config,
            {
                "n_objects": n,
                "n_labeled": result.n_labeled,
                "seconds": result.seconds,
                "losses": result.losses,
                "device": device.type,
                "precision": str(training.precision).removeprefix("torch."),
            },
        )
    processes.wait_for_all()
    return result


@contextmanager
def _enough_memory(config: TrainConfig, backbone: Backbone, batch_size: int) -> Iterator[None]:
    """Say what a GPU's memory did not hold, and what would need less."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        resized = backbone.input_size_px
        smaller = "smaller patches need" if resized is None else "a smaller input_size in its config.json needs"
        raise EngineError(
            f"The GPU's memory does not hold a training step of {config.settings.backbone}: {batch_size} objects, "
            f"two views of {resized or config.encoder_size_px} px of each. A smaller backbone or {smaller} less."
        ) from error


def batch_size_for(config: TrainConfig, backbone: Backbone, n: int, device: torch.device, *, processes: int = 1) -> int:
    """Objects per step for a project of n objects: the setting, bounded by what suits a small project, a CPU's time and the
    memory of as many GPUs as there are processes."""
    on_cpu = device.type == "cpu"
    at_most = LARGEST_BATCH_ON_CPU if on_cpu else LARGEST_BATCH_PIXELS_ON_GPU / config.encoder_size_px**2
    # Foundation models are heavy, and enlarge small patches to what they were made for.
    enlarged = (backbone.input_size_px or config.encoder_size_px) / config.encoder_size_px
    at_most /= max(1.0, enlarged**2) * max(1.0, backbone.n_weights / WEIGHTS_OF_A_HEAVY_NETWORK)
    at_most = (1 if on_cpu else processes) * max(SMALLEST_BATCH, int(at_most))
    return min(config.batch_size, at_most, max(SMALLEST_BATCH, n // STEPS_PER_EPOCH))


def plan_epoch(
    rng: np.random.Generator, labels: ClassValues, *, batch_size: int, config: TrainConfig, fine_tuning: bool
) -> list[Ordinals]:
    """The ordinals of each step of one epoch, in near-equal batches: no last batch of one, which has no negatives.

    A first training covers every object. Fine-tuning with labels takes all labeled objects and
    `unlabeled_per_labeled` times as many others, drawn anew each epoch: the network knows the objects already, what is
    new are the labels. Either way every batch holds labeled objects (an eighth of it where so many are labeled,
    repeated over the epoch if need be), so that the classification loss is there in every step.
    """
    labeled = rng.permutation(np.flatnonzero(labels))
    unlabeled = rng.permutation(np.flatnonzero(labels == 0))
    if fine_tuning and len(labeled):
        wanted = max(round(config.unlabeled_per_labeled * len(labeled)), FINE_TUNING_STEPS * batch_size - len(labeled))
        unlabeled = unlabeled[:wanted]
    n_batches = max(1, math.ceil((len(labeled) + len(unlabeled)) / batch_size))
    if len(labeled):
        # Repeats of one permutation: within a batch no object comes twice, which would be its own negative.
        per_batch = min(len(labeled), batch_size // 8)
        labeled = np.resize(labeled, max(len(labeled), n_batches * per_batch))
    parts = zip(np.array_split(labeled, n_batches), np.array_split(unlabeled, n_batches)[::-1], strict=True)
    return [np.concatenate(part).astype(np.int64) for part in parts]


def learning_rate_at(step: int, steps: int, config: TrainConfig) -> float:
    """Linear warm-up, then half a cosine down to 0 (Loshchilov and Hutter 2017)."""
    warmup = max(1, round(config.warmup_fraction * steps))
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _usable_labels(class_values: ClassValues | None, n: int) -> ClassValues:
    """The labels, or all 0 where fewer than two classes have some: one class cannot be told from anything."""
    if class_values is None:
        return np.zeros(n, np.uint8)
    if len(class_values) != n:
        raise EngineError(f"There are {n} objects, but class values for {len(class_values)}")
    labels = np.asarray(class_values, np.uint8)
    return labels if len(np.unique(labels[labels > 0])) >= 2 else np.zeros(n, np.uint8)


def _keep_backbone(config: TrainConfig, n: int, checkpoint: Path, weights_root: Path | None) -> None:
    """The checkpoint of an approach that trains nothing."""
    with reproducible(config.seed, torch.device("cpu")):
        model = PatchModel(config, weights_root=weights_root)
    save_checkpoint(checkpoint, model, config, {"n_objects": n, "n_labeled": 0, "seconds": 0.0, "losses": []})


def _start_model(
    config: TrainConfig, values: tuple[int, ...], start_from: Path | None, weights_root: Path | None
) -> PatchModel:
    model = PatchModel(config, values, weights_root=weights_root)
    if start_from is None:
        return model
    earlier, earlier_config = load_checkpoint(start_from, weights_root=weights_root)
    earlier_shape = earlier_config.network_shape()
    for name, wanted in config.network_shape().items():
        was = earlier_shape.get(name)
        if was != wanted:
            raise EngineError(
                f"Training cannot go on from {Path(start_from).name}: its {name} is {was}, now {wanted} is asked for. "
                "Train from the beginning, or keep the earlier setting."
            )
    model.backbone.load_state_dict(earlier.backbone.state_dict())
    if model.approach is not None and earlier.approach is not None:
        model.approach.load_state_dict(earlier.approach.state_dict())
    if model.classifier is not None and earlier.classifier is not None:
        model.classifier.take_over(earlier.classifier)
    return model


def _create_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    parameters = list(model.parameters())
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if p.ndim > 1]},
        # Biases and normalization have one dimension; decaying them only shifts what they are there to set.
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        fused=True,
    )


def _identity(
    config: TrainConfig,
    labels: ClassValues,
    start_from: Path | None,
    training: "_Training",
    foundation_model: FoundationModel | None,
) -> str:
    """A text that is equal for runs that do the same, whatever the number of processes."""
    digest = hashlib.sha256(json.dumps([config.to_json(), training.batch_size, str(training.precision)]).encode())
    digest.update(labels.tobytes())
    if foundation_model is not None:
        digest.update(json.dumps(asdict(foundation_model)).encode())
    if start_from is not None:
        with (start_from / WEIGHTS_NAME).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


@dataclass
class _Spent:
    """What a run has done so far."""

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0
    input_seconds: float = 0.0


class _Training:
    """One run: epochs of steps that change `model`."""

    def __init__(
        self,
        config: TrainConfig,
        model: PatchModel,
        patches: PatchSource,
        labels: ClassValues,
        device: torch.device,
        processes: Processes,
        *,
        batch_size: int,
        fine_tuning: bool,
    ) -> None:
        self.precision = choose_precision(config.precision, device)
        self.batch_size = batch_size
        self._config = config
        self._model = model
        self._labels = labels
        self._device = device
        self._processes = processes
        self._fine_tuning = fine_tuning
        settings = config.settings
        assert isinstance(settings, TrainingSettings) and model.approach is not None
        self._augment = settings.augment
        self._cache = PatchCache(
            with_object_mask(patches, settings.object_mask),
            size_px=config.encoder_size_px,
            channels=settings.input_channels,
            memory_budget_bytes=config.memory_budget_bytes,
        )
        self._row_of = np.full(256, -1, np.int64)  # of a class value, in the classifier
        self._row_of[list(model.class_values)] = np.arange(len(model.class_values))
        weights = torch.from_numpy(class_weights(labels, model.class_values)).to(device) if model.class_values else None
        first = self._plan(0)[0]
        self._steps_per_epoch, self._objects_per_epoch = len(first), sum(map(len, first))
        if min(map(len, first)) < processes.count:
            raise EngineError(f"{len(patches)} objects are too few for {processes.count} processes")
        if processes.count > 1:
            model.backbone = synchronize_batch_norm(model.backbone, device)  # type: ignore[assignment]
        self._optimizer = _create_optimizer(model, config)
        self._scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        loss: nn.Module = BatchLoss(model, config, weights, processes)
        if processes.count > 1:
            # Batch statistics are those of all processes, so there are no others to send around.
            loss = DistributedDataParallel(loss, forward_sync_buffers=False, gradient_as_bucket_view=True)
        learning = Learning(
            loss, self._optimizer, self._scaler, device, self.precision, wants_targets=model.approach.wants_targets
        )
        replay = (
            processes.count == 1
            and model.backbone.replayable
            and model.approach.replayable
            and config.epochs * self._steps_per_epoch >= STEPS_WORTH_RECORDING
        )
        self._steps: Steps[Any] = (
            CpuSteps(learning)
            if device.type == "cpu"
            else GpuSteps(learning, size_px=config.encoder_size_px, replay=replay)
        )

    def run(
        self, states: TrainingStates | None, on_progress: ProgressCallback, should_stop: StopCallback
    ) -> TrainResult:
        """All epochs, or those that are left after the newest of `states`."""
        config = self._config
        first = self._processes.is_first
        spent, resumed_after = self._resume(states)
        progress = Progress(
            "training",
            config.epochs * self._objects_per_epoch,
            on_progress if first else ignore_progress,
            should_stop if first else never_stop,
            done=resumed_after * self._objects_per_epoch,
        )
        self._model.train()
        for epoch in range(resumed_after, config.epochs):
            started = time.perf_counter()
            spent.losses.append(self._epoch(epoch, spent, progress))
            spent.seconds += time.perf_counter() - started
            if not math.isfinite(spent.losses[-1]):
                raise EngineError(
                    f"The loss of the approach {config.approach} was no longer a number in epoch {epoch + 1}"
                )
            if states is not None and first and (states.is_due() or epoch + 1 == config.epochs):
                values = {**vars(spent), "scaler": self._scaler.state_dict()}
                states.keep(epoch + 1, tensors_of(self._model, self._optimizer), values)
        return TrainResult(
            epochs=config.epochs,
            steps=config.epochs * self._steps_per_epoch,
            seconds=spent.seconds,
            losses=spent.losses,
            patches_per_second=config.epochs * self._objects_per_epoch / spent.seconds,
            input_share=spent.input_seconds / spent.seconds,
            n_labeled=int(np.count_nonzero(self._labels)),
            resumed_after=resumed_after,
        )

    def _resume(self, states: TrainingStates | None) -> tuple[_Spent, int]:
        kept = states.newest() if states is not None else None
        if kept is None:
            return _Spent(), 0
        put_back(self._model, self._optimizer, kept.tensors)
        values = dict(kept.values)
        self._scaler.load_state_dict(values.pop("scaler"))
        return _Spent(**values), kept.epochs

    def _plan(self, epoch: int) -> tuple[list[Ordinals], np.random.Generator]:
        """The batches of an epoch, and what its views are drawn from: by its number alone, so that a run can resume."""
        rng = np.random.default_rng([self._config.seed, epoch])
        batches = plan_epoch(
            rng, self._labels, batch_size=self.batch_size, config=self._config, fine_tuning=self._fine_tuning
        )
        return batches, rng

    def _epoch(self, epoch: int, spent: _Spent, progress: Progress) -> float:
        """One pass; returns the mean loss."""
        config, device = self._config, self._device
        batches, rng = self._plan(epoch)
        # For layers that draw by themselves, as drop path does; different in every process.
        torch.manual_seed(int(np.random.SeedSequence([config.seed, epoch, self._processes.rank]).generate_state(1)[0]))

        def read(batch: Ordinals) -> Any:
            n = len(batch)
            draws = draw_views(rng, 2 * n, size_px=config.encoder_size_px, settings=self._augment)
            own = np.arange(n)[self._processes.share(n)]
            classes = self._row_of[self._labels[batch]]
            return self._steps.stage(self._cache.read(batch[own]), draws.rows(np.concatenate([own, n + own])), classes)

        loss_sum = torch.zeros((), device=device)
        waited_before = self._steps.input_seconds
        self._steps.begin_epoch()
        reading = read_ahead(read, batches)
        for i, batch in enumerate(batches):
            step = epoch * self._steps_per_epoch + i
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate_at(step, config.epochs * self._steps_per_epoch, config)
            loss_sum += self._steps.run(reading)
            rate = progress.rate(len(batch))
            progress.advance(len(batch), f"epoch {epoch + 1} of {config.epochs}, {rate:,.0f} patches/s")
        mean_loss = float(loss_sum) / len(batches)
        spent.input_seconds += self._steps.input_seconds - waited_before
        return mean_loss
