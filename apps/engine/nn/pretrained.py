"""What a network that learned from photographs sees in each object: the same for every project, with nothing to train."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from apps.engine.nn.backbones.efficientnet_lite import create_efficientnet_lite0
from apps.engine.nn.devices import autocast, choose_device, choose_precision, compute_threads, to_device
from apps.engine.nn.object_masks import with_object_mask
from apps.engine.nn.patches import PatchSource, read_ahead, resize_patches
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

Vectors = npt.NDArray[np.float16]

# Part of the name of what is kept; another one where a number gets another meaning.
PRETRAINED_VERSION = 1
# Its maps then stay in a processor's cache: with 256 a core takes a fifth longer.
BATCH_SIZE = {"cpu": 64, "cuda": 512}
# Half a minute of two cores: what a worker that dies loses.
KEPT_TOGETHER = 65_536


def see_objects(
    patches: PatchSource,
    ordinals: npt.NDArray[np.int64] | None = None,
    *,
    object_mask: str = "none",
    keep: Callable[[Vectors], None] = lambda _: None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Vectors:
    """Features (n, 472) float16 of the objects `ordinals` (default all), rows of length 1, by `EfficientNetLite0`.

    `object_mask` as in `MaskedPatches`; a network of photographs has no fourth channel, so "channel" is the whole patch. `keep` gets the rows in
    their order, KEPT_TOGETHER at a time: what a caller who is stopped or killed may go on from. Takes half a millisecond an object on two cores of
    a Zen 4. Reports the stage "recognizing"; raises `Stopped` and `EngineError`.
    """
    wanted = np.arange(len(patches), dtype=np.int64) if ordinals is None else np.asarray(ordinals, np.int64)
    seen = with_object_mask(patches, "none" if object_mask == "channel" else object_mask)
    device = choose_device("auto")
    backbone = create_efficientnet_lite0().eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size_px = backbone.input_size_px
    features = np.empty((len(wanted), backbone.feature_dim), np.float16)
    progress = Progress("recognizing", len(wanted), on_progress, should_stop)
    n_batch = BATCH_SIZE[device.type]
    batches = (wanted[first : first + n_batch] for first in range(0, len(wanted), n_batch))
    done = kept = 0
    with torch.inference_mode(), autocast(device, choose_precision("auto", device)), compute_threads(0):
        for pixels in read_ahead(lambda batch: resize_patches(seen.read(batch), size_px), batches):
            images = to_device(pixels, device).permute(0, 3, 1, 2).float() / 255
            rows = functional.normalize(backbone(images).float(), dim=1)
            features[done : done + len(rows)] = rows.to(torch.float16).cpu().numpy()
            done += len(rows)
            if done - kept >= KEPT_TOGETHER or done == len(wanted):
                keep(features[kept:done])
                kept = done
            progress.advance(len(rows), f"{done:,} of {len(wanted):,} objects")
    return features
