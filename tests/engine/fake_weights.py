"""Foundation models with small random weights, in the layout that theirs are published in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from timm.layers import SwiGLUPacked

ARCHITECTURE = "vit_tiny_patch16_224"
SMALL = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2, "init_values": 0.1}
PREPROCESSING = {
    "input_size": [3, 32, 32],
    "mean": [0.7, 0.6, 0.7],
    "std": [0.2, 0.3, 0.2],
    "interpolation": "bilinear",
}


def publish(
    root: Path, name: str, *, architecture: str = ARCHITECTURE, more: dict[str, Any] | None = None, **arguments: Any
) -> torch.nn.Module:
    """A model with random weights as its publisher's folder; returns the network itself."""
    torch.manual_seed(0)
    built = {**(SMALL if architecture.startswith("vit") else {}), **arguments}
    layers = {"mlp_layer": SwiGLUPacked} if built.get("mlp_layer") == "SwiGLUPacked" else {}
    network = timm.create_model(architecture, num_classes=0, **{**built, **layers})
    folder = root / name
    folder.mkdir(parents=True)
    save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, folder / "model.safetensors")
    config = {"architecture": architecture, "num_classes": 0, "model_args": built, "pretrained_cfg": PREPROCESSING}
    (folder / "config.json").write_text(json.dumps(config | (more or {})))
    return network.eval()
