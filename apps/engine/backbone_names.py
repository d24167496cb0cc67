"""Which backbones there are, by name. Imports no torch: pages show them.

resnet18, resnet34, resnet50    torchvision's, with a stem for small patches, from random weights
timm:NAME                       any architecture of timm, from random weights
weights:NAME                    a foundation model from the folder NAME of the installation's weights folder
"""

from __future__ import annotations

from pathlib import Path

RESNETS = ("resnet18", "resnet34", "resnet50")
TIMM_PREFIX, WEIGHTS_PREFIX = "timm:", "weights:"
# In a foundation model's folder.
WEIGHTS_NAME = "model.safetensors"


def backbone_names(weights_root: Path | None = None) -> list[str]:
    """The names that work here, but for those of timm's architectures."""
    if weights_root is None or not weights_root.is_dir():
        return list(RESNETS)
    folders = sorted(path.parent.name for path in weights_root.glob(f"*/{WEIGHTS_NAME}"))
    return [*RESNETS, *(f"{WEIGHTS_PREFIX}{name}" for name in folders)]
