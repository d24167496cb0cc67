"""Which backbones there are, by name. Imports no torch: pages show them.

resnet18, 34, 50, 101 or 152    torchvision's, with a stem for small patches, from random weights
timm:NAME                       any architecture of timm, from random weights
weights:NAME                    a foundation model from the folder NAME of the installation's weights folder
"""

from __future__ import annotations

import difflib
import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from apps.engine.errors import EngineError

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
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


def check_backbone(name: str, weights_root: Path | None) -> None:
    """EngineError where there is no such architecture, or where its weights are missing. Only a training tells whether the
    network can be built for a project's patches."""
    if name.startswith(WEIGHTS_PREFIX):
        find_weights(name.removeprefix(WEIGHTS_PREFIX), weights_root)
    elif name.startswith(TIMM_PREFIX):
        architecture = name.removeprefix(TIMM_PREFIX).partition(".")[0]  # a tag names weights, which are not used
        known = timm_architectures()
        if known and architecture not in known:
            alike = ", ".join(difflib.get_close_matches(architecture, known, 5))
            raise EngineError(f"timm has no architecture {architecture!r}" + (f"; it has {alike}" if alike else ""))


@cache
def timm_architectures() -> frozenset[str]:
    """Read from timm's source, as to import it is to import torch. Empty where there is no source to read. Old names that
    timm still takes are not among them."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return frozenset()
    sources = (path.read_text("utf-8") for path in Path(spec.origin).with_name("models").glob("*.py"))
    return frozenset(name for source in sources for name in re.findall(r"^@register_model\ndef (\w+)", source, re.M))


def find_weights(name: str, weights_root: Path | None) -> Path:
    """The weights file of the foundation model `name`; EngineError that says where to put it where it is not there."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise EngineError(f"{name!r} is no name of a folder of weights")
    if weights_root is None:
        raise EngineError(f"The backbone {WEIGHTS_PREFIX}{name} needs a weights folder, and none is set")
    weights = weights_root / name / WEIGHTS_NAME
    if not (os.path.isfile(weights) and os.access(weights, os.R_OK)):  # Path.is_file raises where it may not look
        raise EngineError(
            f"The weights of {name} are not there, or may not be read: put {WEIGHTS_NAME} into {weights_root.name}/{name} on "
            "the server, with what else docs/foundation-models.md says belongs there"
        )
    return weights


def path_shown(path: Path) -> str:
    """A foundation model's file as users are told of it: where on the server its folder lies is not their business."""
    return "/".join(path.parts[-3:])
