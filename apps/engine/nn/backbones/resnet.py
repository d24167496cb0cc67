"""torchvision's ResNets, made to suit patches of 16 to 256 px and CPUs."""

from itertools import pairwise

import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from apps.engine.nn.backbones.base import Backbone


class SmallMapConv2d(nn.Conv2d):
    """A convolution that a CPU computes as one matrix product where the map that comes out has 4 pixels or fewer.

    oneDNN goes along a map's rows, and there are none: 3x3 over 512 channels of 2x2 pixels takes it 111 ms forward and
    back for 128 views, this 29 ms, and a ResNet18 at 64 px trains 1.8 times as fast. The weights are the same.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) to (n, out_channels, h', w'), as `nn.Conv2d`; square kernels, no dilation, no groups."""
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side + 2 * padding - size) // stride + 1 for side in input.shape[2:])
        if input.device.type != "cpu" or height * width > 4:
            return super().forward(input)
        padded = functional.pad(input.permute(0, 2, 3, 1), (0, 0, padding, padding, padding, padding))
        rows, columns = (
            # Offsets at which the kernel sees nothing but padding add nothing.
            [i for i in range(size) if any(0 <= i + stride * k - padding < side for k in range(n))]
            for side, n in zip(input.shape[2:], (height, width), strict=True)
        )
        seen = torch.cat(
            [
                padded[:, i : i + stride * (height - 1) + 1 : stride, j : j + stride * (width - 1) + 1 : stride]
                for i in rows
                for j in columns
            ],
            dim=3,
        )  # (n, h', w', rows * columns * c)
        weight = self.weight[:, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].permute(0, 2, 3, 1)
        return functional.linear(seen, weight.reshape(self.out_channels, -1), self.bias).permute(0, 3, 1, 2)


def use_small_map_convolutions(network: nn.Module) -> None:
    """Put `SmallMapConv2d` in the place of every plain convolution, with its weights."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and child.groups == 1 and child.dilation == (1, 1):
                replacement = SmallMapConv2d(
                    child.in_channels,
                    child.out_channels,
                    child.kernel_size[0],
                    stride=child.stride[0],
                    padding=int(child.padding[0]),
                    bias=child.bias is not None,
                    device="meta",  # draws no random weights
                )
                replacement.weight, replacement.bias = child.weight, child.bias
                setattr(module, name, replacement)


def fuse_batch_norms(network: nn.Module) -> None:
    """Make each batch normalization that directly follows its convolution a part of that one's weights.

    In evaluation both are linear. Features of 64 px patches take a CPU 8 % less time, of 32 px 13 %.
    """
    for module in list(network.modules()):
        for (name, convolution), (next_name, normalization) in pairwise(list(module.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, normalization))
                setattr(module, next_name, nn.Identity())


class ResNetBackbone(Backbone):
    """A torchvision ResNet from random weights, with a stem for small patches.

    The paper's 7x7 convolution (He et al. 2016) is as wide as a nucleus here; a 3x3 one keeps its edges, at equal cost.
    The pooling windows do not overlap, because the gradient of overlapping ones is summed in no fixed order on a GPU.
    """

    replayable = True

    def __init__(self, resnet: torchvision.models.ResNet, *, encoder_size_px: int, input_channels: int = 3) -> None:
        super().__init__(resnet.fc.in_features, (0.5,) * input_channels, (0.25,) * input_channels)
        resnet.conv1 = nn.Conv2d(
            input_channels, 64, kernel_size=3, stride=stem_stride(encoder_size_px), padding=1, bias=False
        )
        nn.init.kaiming_normal_(resnet.conv1.weight, mode="fan_out", nonlinearity="relu")
        resnet.maxpool = nn.MaxPool2d(kernel_size=2, stride=2)
        resnet.fc = nn.Identity()
        use_small_map_convolutions(resnet)
        self.resnet = resnet

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images (n, input_channels, size, size) in 0 to 1 as features (n, feature_dim)."""
        features: torch.Tensor = self.resnet(self.normalized(images))
        return features

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
