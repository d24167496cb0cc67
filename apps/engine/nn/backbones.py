"""Networks that turn a patch into a feature vector: one registry of names."""

from collections.abc import Callable

import torch
import torchvision
from torch import nn

from apps.engine.errors import EngineError


class ResNetBackbone(nn.Module):
    """A torchvision ResNet from random weights, with a stem for small patches; features (n, feature_dim).

    The paper's 7x7 convolution (He et al. 2016) is as wide as a nucleus here; a 3x3 one keeps its edges, at equal cost.
    The pooling windows do not overlap, because the gradient of overlapping ones is summed in no fixed order on a GPU.
    """

    feature_dim: int
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, resnet: torchvision.models.ResNet, *, encoder_size_px: int) -> None:
        super().__init__()
        self.feature_dim = resnet.fc.in_features
        resnet.conv1 = nn.Conv2d(3, 64, kernel_size=3, stride=stem_stride(encoder_size_px), padding=1, bias=False)
        nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
        resnet.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        resnet.fc = nn.Identity()
        self.resnet = resnet
        # Kept with the weights: a backbone that was trained elsewhere comes with its own.
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 0.5))
        self.register_buffer("std", torch.full((1, 3, 1, 1), 0.25))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, 3, size, size) in 0 to 1 as features (n, feature_dim)."""
        features: torch.Tensor = self.resnet((images - self.mean) / self.std)
        return features


def stem_stride(encoder_size_px: int) -> int:
    """Stride of the first convolution.

    A stride of 1 costs 2.2 times the training time at 32 px and 2.5 times at 64 (measured: 385 against 860, 149 against
    372 views/s on two cores). At 32 px it learned no more in equal time: 507 nuclei of a CoNSeP tile, 20 s: 0.78 of the
    nearest neighbors of the same class with either. Below 32 px there is nothing left to stride over.
    """
    return 2 if encoder_size_px >= 32 else 1


def _resnet18(encoder_size_px: int) -> ResNetBackbone:
    return ResNetBackbone(torchvision.models.resnet18(weights=None), encoder_size_px=encoder_size_px)


BACKBONES: dict[str, Callable[[int], ResNetBackbone]] = {"resnet18": _resnet18}


def create_backbone(name: str, *, encoder_size_px: int) -> ResNetBackbone:
    """A new backbone with random weights (from torch's current random state) for patches of `encoder_size_px`."""
    if name not in BACKBONES:
        raise EngineError(f"There is no backbone called {name!r}; there are {', '.join(BACKBONES)}")
    return BACKBONES[name](encoder_size_px)
