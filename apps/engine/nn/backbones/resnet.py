"""torchvision's ResNets, made to suit patches of 16 to 256 px and CPUs."""

from itertools import pairwise

import torch
import torchvision
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apps.engine.nn.backbones.base import Backbone
from apps.engine.nn.backbones.convolutions import use_lean_convolutions


def fuse_batch_norms(network: nn.Module) -> None:
    """Make each batch normalization that directly follows its convolution a part of that one's weights.

    In evaluation both are linear. Features of 64 px patches take a CPU 8 % less time, of 32 px 13 %.
    """
    for module in list(network.modules()):
        for (name, convolution), (next_name, normalization) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, normalization))
                setattr(module, next_name, nn.Identity())


# The stem's maps are four times as large as what is pooled of them. Those of so many images stay in a CPU's caches, for which features of 64 px
# patches take a core (Emerald Rapids) a sixth less time.
IMAGES_IN_STEM = 16


class ResNetBackbone(Backbone):
    """A torchvision ResNet from random weights, with a stem for small patches.

    The paper's 7x7 convolution (He et al. 2016) is as wide as a nucleus here; a 3x3 one keeps its edges, at equal cost.
    The pooling windows do not overlap, because the gradient of overlapping ones is summed in no fixed order on a GPU.
    What is pooled is rectified after it, which is the same and a quarter of the work.
    """

    replayable = True

    def __init__(self, resnet: torchvision.models.ResNet, *, encoder_size_px: int, input_channels: int = 3) -> None:
        super().__init__(resnet.fc.in_features, (0.5,) * input_channels, (0.25,) * input_channels)
        resnet.conv1 = nn.Conv2d(
            input_channels, 64, kernel_size=3, stride=stem_stride(encoder_size_px), padding=1, bias=False
        )
        nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
        resnet.maxpool = nn.Sequential(nn.MaxPool2d(kernel_size=2, stride=2), nn.ReLU(inplace=True))
        resnet.fc = nn.Identity()
        use_lean_convolutions(resnet)
        self.resnet = resnet

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, input_channels, size, size) in 0 to 1 as features (n, feature_dim)."""
        network = self.resnet
        if self.training or images.device.type != "cpu":
            maps = self._stem(images)
        else:
            maps = torch.cat([self._stem(part) for part in images.split(IMAGES_IN_STEM)])
        maps = network.layer4(network.layer3(network.layer2(network.layer1(maps))))
        features: torch.Tensor = network.avgpool(maps).flatten(1)
        return features

    def _stem(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.resnet.maxpool(self.resnet.bn1(self.resnet.conv1(self.normalized(images))))
        return maps

    def prepare_for_features(self) -> None:
        fuse_batch_norms(self.resnet)


def stem_stride(encoder_size_px: int) -> int:
    """Stride of the first convolution.

    A stride of 1 costs 2.2 times the training time at 32 px and 2.5 times at 64 (measured: 385 against 860, 149 against
    372 views/s on two cores). At 32 px it learned no more in equal time: 507 nuclei of a CoNSeP tile, 20 s: 0.78 of the
    nearest neighbors of the same class with either. Below 32 px there is nothing left to stride over.
    """
    return 2 if encoder_size_px >= 32 else 1


# ResNet18 and 34 give 512 features, ResNet50 gives 2,048 at three times a ResNet18's time.
CONSTRUCTORS = {
    "resnet18": torchvision.models.resnet18,
    "resnet34": torchvision.models.resnet34,
    "resnet50": torchvision.models.resnet50,
    "resnet101": torchvision.models.resnet101,
    "resnet152": torchvision.models.resnet152,
}
