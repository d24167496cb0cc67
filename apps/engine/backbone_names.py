"""Which backbones there are, by name. Imports no torch: pages show them.

resnet18, resnet34, resnet50    torchvision's, with a stem for small patches, from random weights
timm:NAME                       any architecture of timm, from random weights
weights:NAME                    a foundation model from the folder NAME of the installation's weights folder
"""

from __future__ import annotations

import re
from pathlib import Path

from apps.engine.errors import EngineError

RESNETS = ("resnet18", "resnet34", "resnet50")
TIMM_PREFIX, WEIGHTS_PREFIX = "timm:", "weights:"
# What follows either prefix; a name is also a folder's, and must not lead out of the weights folder.
NAME_PATTERN = "[A-Za-z0-9][A-Za-z0-9._-]*"
# In a foundation model's folder.
WEIGHTS_NAME, CONFIG_NAME = "model.safetensors", "config.json"


def backbone_names(weights_root: Path | None = None) -> list[str]:
    """The names that work here, but for those of timm's architectures."""
    if weights_root is None or not weights_root.is_dir():
        return list(RESNETS)
    folders = sorted(path.parent.name for path in weights_root.glob(f"*/{WEIGHTS_NAME}"))
    return [*RESNETS, *(f"{WEIGHTS_PREFIX}{name}" for name in folders if re.fullmatch(NAME_PATTERN, name))]


def find_weights(name: str, weights_root: Path | None) -> Path:
    """The weights file of the foundation model `name`; EngineError that says where to put it where it is not there."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise EngineError(f"{name!r} is no name of a folder of weights")
    if weights_root is None:
        raise EngineError(f"The backbone {WEIGHTS_PREFIX}{name} needs a weights folder, and none is set")
    weights = weights_root / name / WEIGHTS_NAME
    if not weights.is_file():
        raise EngineError(
            f"The weights of {name} are not there: put {WEIGHTS_NAME} and its {CONFIG_NAME} into "
            f"{weights_root.name}/{name} on the server"
        )
    return weights
