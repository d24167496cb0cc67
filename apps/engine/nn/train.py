"""Training: patches, and labels where there are some, to a checkpoint."""

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from apps.engine.approaches.base import TrainingSettings
from apps.engine.errors import EngineError
from apps.engine.nn.augment import draw_views, render_on_cpu, render_on_device
from apps.engine.nn.checkpoints import load_checkpoint, save_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import autocast, choose_device, choose_precision, compute_threads, reproducible
from apps.engine.nn.losses import class_weights, weighted_cross_entropy
from apps.engine.nn.model import PatchModel
from apps.engine.nn.object_masks import with_object_mask
from apps.engine.nn.patches import Ordinals, PatchCache, PatchSource, read_ahead
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

ClassValues = npt.NDArray[np.uint8]

# Cancelling and progress go by steps: one of 128 objects at 64 px takes a CPU thread a second and a half. Steps of 64
# would be 7 to 12 % slower, larger ones hardly faster.
LARGEST_BATCH_ON_CPU = 128
# A small project still takes this many steps per epoch, down to batches that leave each view enough negatives.
STEPS_PER_EPOCH = 8
SMALLEST_BATCH = 32
# A fine-tuning epoch is at least this many steps long, so that ten labels do not make an epoch of thirty objects.
FINE_TUNING_STEPS = 8


@dataclass(frozen=True)
class TrainResult:
    """What a training run did."""

    epochs: int
    steps: int
    seconds: float
    losses: list[float]  # mean per epoch
    patches_per_second: float  # objects trained on, each with its two views
    input_share: float  # share of the time spent waiting for patches and making views
    n_labeled: int  # labels that the classification loss used; 0 when fewer than two classes have some


def train_model(
    config: TrainConfig,
    patches: PatchSource,
    *,
    class_values: ClassValues | None = None,
    start_from: Path | None = None,
    checkpoint: Path,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> TrainResult:
    """Train on all patches and write the checkpoint folder `checkpoint`.

    `class_values` (n,) uint8 are the labels, 0 for none; with two or more classes the classification loss is added.
    `start_from` is an earlier checkpoint of the same architecture to go on from. An approach that trains nothing gets a
    checkpoint of its backbone as it is. With the same seed, device and number
    of threads the weights are the same. Reports the stage "train". Raises `Stopped` within one step of `should_stop`,
    and `EngineError` for what cannot be trained; then no checkpoint is written.
    """
    n = len(patches)
    if n == 0:
        raise EngineError("There are no objects to train on")
    if not isinstance(config.settings, TrainingSettings):
        return _keep_backbone(config, n, checkpoint)
    labels = _usable_labels(class_values, n)
    values = tuple(int(value) for value in np.unique(labels[labels > 0]))
    device = choose_device(config.device)
    precision = choose_precision(config.precision, device)
    batch_size = batch_size_for(config, n, device)
    rng = np.random.default_rng(config.seed)
    with reproducible(config.seed, device), compute_threads(config.threads):
        model = _start_model(config, values, start_from).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        epochs = [
            plan_epoch(rng, labels, batch_size=batch_size, config=config, fine_tuning=start_from is not None)
            for _ in range(config.epochs)
        ]
        result = _run(model, config, patches, labels, values, epochs, rng, device, precision, on_progress, should_stop)
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
            "precision": str(precision).removeprefix("torch."),
        },
    )
    return result


def batch_size_for(config: TrainConfig, n: int, device: torch.device) -> int:
    """Objects per step for a project of n objects: the setting, bounded by what suits a small project and a CPU."""
    bound = max(SMALLEST_BATCH, n // STEPS_PER_EPOCH)
    if device.type == "cpu":
        bound = min(bound, LARGEST_BATCH_ON_CPU)
    return min(config.batch_size, bound)


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


def _keep_backbone(config: TrainConfig, n: int, checkpoint: Path) -> TrainResult:
    """The checkpoint of an approach that trains nothing."""
    with reproducible(config.seed, torch.device("cpu")):
        model = PatchModel(config)
    save_checkpoint(checkpoint, model, config, {"n_objects": n, "n_labeled": 0, "seconds": 0.0, "losses": []})
    return TrainResult(epochs=0, steps=0, seconds=0.0, losses=[], patches_per_second=0.0, input_share=0.0, n_labeled=0)


def _start_model(config: TrainConfig, values: tuple[int, ...], start_from: Path | None) -> PatchModel:
    model = PatchModel(config, values)
    if start_from is None:
        return model
    earlier, earlier_config = load_checkpoint(start_from)
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


def _run(
    model: PatchModel,
    config: TrainConfig,
    patches: PatchSource,
    labels: ClassValues,
    values: tuple[int, ...],
    epochs: list[list[Ordinals]],
    rng: np.random.Generator,
    device: torch.device,
    precision: torch.dtype,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> TrainResult:
    """The steps themselves; changes `model`."""
    approach, settings = model.approach, config.settings
    assert approach is not None and isinstance(settings, TrainingSettings)
    on_cpu = device.type == "cpu"
    steps = sum(len(batches) for batches in epochs)
    total = sum(len(batch) for batches in epochs for batch in batches)
    progress = Progress("train", total, on_progress, should_stop)
    cache = PatchCache(
        with_object_mask(patches, settings.object_mask),
        size_px=config.encoder_size_px,
        channels=settings.input_channels,
        memory_budget_bytes=config.memory_budget_bytes,
    )
    optimizer = _create_optimizer(model, config)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == torch.float16)
    target_of = np.full(256, -1, np.int64)
    target_of[list(values)] = np.arange(len(values))
    weights = torch.from_numpy(class_weights(labels, values)).to(device) if values else None
    losses: list[float] = []
    input_seconds = 0.0
    step = 0
    model.train()
    started = time.perf_counter()
    for epoch, batches in enumerate(epochs):
        loss_sum = torch.zeros((), device=device)
        reading = read_ahead(cache.read, batches)
        for batch in batches:
            asked = time.perf_counter()
            pixels = next(reading)
            draws = draw_views(rng, 2 * len(batch), size_px=config.encoder_size_px, settings=settings.augment)
            views = render_on_cpu(pixels, draws) if on_cpu else render_on_device(pixels, draws, device)
            targets = None
            if approach.wants_targets:
                still = draws.geometry_only()
                targets = render_on_cpu(pixels, still) if on_cpu else render_on_device(pixels, still, device)
            input_seconds += time.perf_counter() - asked
            with autocast(device, precision):
                features = model(views)  # (2n, feature_dim)
                loss = approach(features, targets)
                if model.classifier is not None and weights is not None:
                    classes = torch.from_numpy(target_of[labels[batch]]).to(device).repeat(2)
                    cross_entropy = weighted_cross_entropy(model.classifier(features), classes, weights)
                    loss = loss + settings.cross_entropy_weight * cross_entropy
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, steps, config)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            loss_sum += loss.detach()
            step += 1
            rate = (progress.done + len(batch)) / max(1e-9, progress.seconds)
            progress.advance(len(batch), f"epoch {epoch + 1} of {len(epochs)}, {rate:,.0f} patches/s")
        losses.append(float(loss_sum) / len(batches))
        if not math.isfinite(losses[-1]):
            raise EngineError(f"The loss was no longer a number in epoch {epoch + 1}; try a lower learning rate")
    seconds = time.perf_counter() - started
    return TrainResult(
        epochs=len(epochs),
        steps=step,
        seconds=seconds,
        losses=losses,
        patches_per_second=total / seconds,
        input_share=input_seconds / seconds,
        n_labeled=int(np.count_nonzero(labels)),
    )
