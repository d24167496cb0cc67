"""timm's architectures as backbones: built from their names, given images at the size they were made for."""

import re
from typing import Any, Literal, get_args

import timm
import torch
from torch import nn
from torch.nn import functional

from apps.engine.errors import EngineError
from apps.engine.nn.backbones.base import Backbone

Pooling = Literal["network", "class_token", "mean", "class_and_mean", "middle"]

# Five halvings, as most convolutional networks have, leave one pixel of this; smaller patches are enlarged to it.
SMALLEST_INPUT_PX = 32


class TimmBackbone(Backbone):
    """A network of timm without its classifier.

    `pooling` says how tokens become features: "network" is the architecture's own way, "class_token" the class token,
    "mean" the mean of the patch tokens, "class_and_mean" both side by side, which has twice as many features (Virchow:
    Vorontsov et al. 2024), "middle" the mean of the patch tokens in the middle quarter of each side, where the object is.
    Images of another size than `input_size_px` are resized with `interpolation`.
    """

    def __init__(
        self,
        network: Any,  # timm's modules have attributes that nn.Module knows nothing of
        *,
        input_size_px: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        interpolation: str = "bicubic",
        pooling: Pooling = "network",
    ) -> None:
        if pooling not in get_args(Pooling):
            raise EngineError(f"There is no pooling {pooling!r}; there are {', '.join(get_args(Pooling))}")
        if interpolation not in ("bilinear", "bicubic"):
            raise EngineError(f"There is no interpolation {interpolation!r}; there are bilinear and bicubic")
        width = int(getattr(network, "head_hidden_size", network.num_features))
        super().__init__(2 * width if pooling == "class_and_mean" else width, mean, std)
        if pooling == "network" and getattr(network, "global_pool", None) == "":
            pooling = "class_token"  # the architecture was told not to pool
        if pooling != "network" and not hasattr(network, "num_prefix_tokens"):
            raise EngineError(f'The pooling "{pooling}" is for transformers; this architecture has "network" only')
        self.network = network
        self.input_size_px = input_size_px
        self.interpolation = interpolation
        self.pooling = pooling

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, input_channels, size, size) in 0 to 1 as features (n, feature_dim)."""
        size_px = self.input_size_px
        assert size_px is not None
        if images.shape[-1] != size_px:
            images = functional.interpolate(
                images, size=(size_px, size_px), mode=self.interpolation, antialias=True
            ).clamp(0, 1)
        images = self.normalized(images)
        if self.pooling == "network":
            features: torch.Tensor = self.network(images)
            return features
        tokens: torch.Tensor = self.network.forward_features(images)  # (n, tokens, width)
        # Registers (Darcet et al. 2024) come between the class token and the patches and describe nothing.
        of_patches = tokens[:, self.network.num_prefix_tokens :]
        if self.pooling == "middle":
            side = round(of_patches.shape[1] ** 0.5)
            return middle_of(of_patches.transpose(1, 2).unflatten(2, (side, side)))
        parts = []
        if self.pooling != "mean":
            parts.append(tokens[:, 0])
        if self.pooling != "class_token":
            parts.append(of_patches.mean(dim=1))
        return torch.cat(parts, dim=1)


def middle_of(maps: torch.Tensor) -> torch.Tensor:
    """(n, c, side, side) as (n, c): the mean of the places in the middle quarter of each side, of small maps of one or two a side."""
    side = maps.shape[-1]
    wide = max(side // 4, 1)
    first = (side - wide) // 2  # and as many behind, so that it is in the middle
    return maps[:, :, first : side - first, first : side - first].mean(dim=(2, 3))


def create_timm_backbone(architecture: str, *, encoder_size_px: int, input_channels: int = 3) -> TimmBackbone:
    """A network of timm from random weights. Downloads nothing; raises EngineError for what timm cannot build."""
    # A transformer takes whole tokens, and the architecture's name says how many pixels one has.
    token_px = int(found[1]) if (found := re.search(r"patch(\d+)", architecture)) else 1
    size = -(-max(encoder_size_px, SMALLEST_INPUT_PX) // token_px) * token_px
    network = build_network(architecture, size, in_chans=input_channels)
    return TimmBackbone(network, input_size_px=size, mean=(0.5,) * input_channels, std=(0.25,) * input_channels)


def build_network(architecture: str, input_size_px: int, **arguments: Any) -> nn.Module:
    """timm's architecture without a classifier, from random weights, for images of this size."""
    # Only names of architectures: "hf-hub:..." would ask a server, which an institution's machine may not reach.
    if not timm.is_model(architecture):
        alike = ", ".join(timm.list_models(f"*{architecture.split('_')[0]}*")[:5])
        raise EngineError(f"timm has no architecture called {architecture!r}" + (f"; it has {alike}" if alike else ""))
    if timm.get_pretrained_cfg_value(architecture, "fixed_input_size"):
        arguments = {"img_size": input_size_px, **arguments}
    try:
        network: nn.Module = timm.create_model(architecture, pretrained=False, **{"num_classes": 0, **arguments})
    except (TypeError, ValueError, AssertionError, RuntimeError) as error:
        raise EngineError(f"timm cannot build {architecture} for {input_size_px} px: {error}") from error
    return network
