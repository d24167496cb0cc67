"""Features of every object, from a checkpoint."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from apps.engine.nn.checkpoints import load_checkpoint
from apps.engine.nn.devices import autocast, choose_device, choose_precision, compute_threads
from apps.engine.nn.object_masks import with_object_mask
from apps.engine.nn.patches import PatchSource, read_ahead, resize_patches
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop


def embed_patches(
    checkpoint: Path,
    patches: PatchSource,
    *,
    batch_size: int = 512,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> npt.NDArray[np.float16]:
    """Features (n, d) float16 of all objects by ordinal, each row of length 1. Reports the stage "embed".

    Device, precision and threads are chosen for this machine, whatever the checkpoint was trained on. float16 keeps a unit
    vector's entries to 3 digits, in half the space; the maps and neighbors from it do not differ from float32's.
    """
    model, config = load_checkpoint(checkpoint)
    patches = with_object_mask(patches, config.settings.object_mask)
    on_device = choose_device(device)
    number_format = choose_precision(precision, on_device)
    model = model.to(on_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    n = len(patches)
    vectors = np.zeros((n, model.backbone.feature_dim), np.float16)
    progress = Progress("embed", n, on_progress, should_stop)
    batches = [np.arange(start, min(n, start + batch_size), dtype=np.int64) for start in range(0, n, batch_size)]
    reading = read_ahead(lambda ordinals: resize_patches(patches.read(ordinals), config.encoder_size_px), batches)
    with torch.inference_mode(), autocast(on_device, number_format), compute_threads(threads):
        for batch, pixels in zip(batches, reading, strict=True):
            # (n, p, p, c) seen as (n, c, p, p) is channels last already.
            images = torch.from_numpy(pixels).to(on_device).permute(0, 3, 1, 2).float() / 255
            features = functional.normalize(model(images).float(), dim=1)  # (n, d)
            vectors[batch] = features.to(torch.float16).cpu().numpy()
            progress.advance(len(batch), f"{progress.done + len(batch):,} of {n:,} objects")
    return vectors
