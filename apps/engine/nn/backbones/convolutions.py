"""Convolutions with fewer products than torch's, on a CPU."""

from __future__ import annotations

import torch
from torch import nn

from apps.engine.nn.backbones import winograd
from apps.engine.nn.backbones.small_maps import sum_of_products

# Of the map that comes out. Over 4x4 pixels a CPU takes as long with either way in bf16; a kernel of one pixel sees no padding at all, and is
# faster only where oneDNN's rows are shortest.
MOST_PIXELS, MOST_PIXELS_IN_16_BITS, MOST_PIXELS_OF_ONE = 16, 4, 4


class LeanConv2d(nn.Conv2d):
    """A convolution that takes the fastest of three ways on a CPU, with the same weights.

    In fp32 a 3x3 kernel filters tiles (`winograd`). Otherwise over small maps what a kernel sees of the padding is left out (`small_maps`): of
    3x3 over 2x2 pixels more than half, over 4x4 nearly a third. Else it is torch's, by oneDNN, which multiplies the padding as well and goes
    along a map's rows. Milliseconds of a core (Emerald Rapids) forward and back, 256 views, fp32, by torch, without the padding, and in tiles: 64
    channels of 16x16 pixels 105 to 130, -, 75 to 98; 128 of 8x8 105 to 120, -, 52 to 61; 256 of 4x4 150, 83 to 97, 54 to 63; 512 of 2x2 385, 55
    to 63, 46 to 58. In bf16, by torch and without the padding: 256 of 4x4 151, 150; 512 of 2x2 260, 96.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) to (n, out_channels, h', w'), as `nn.Conv2d`; square kernels, no dilation, no groups."""
        if input.device.type != "cpu":
            return super().forward(input)
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side + 2 * padding - size) // stride + 1 for side in input.shape[2:])
        if min(height, width) < 1:  # is refused
            return super().forward(input)
        is_cast = torch.is_autocast_enabled("cpu") and input.dtype != torch.float64
        number_format = torch.get_autocast_dtype("cpu") if is_cast else input.dtype
        is_filter = (size, stride, padding, number_format) == (3, 1, 1, torch.float32)
        if is_filter and winograd.pays(height, width, self.in_channels, self.out_channels):
            return winograd.convolve_3x3(input, self.weight, self.bias)
        most = MOST_PIXELS_IN_16_BITS if number_format.itemsize == 2 else MOST_PIXELS
        if height * width > (min(most, MOST_PIXELS_OF_ONE) if size == 1 else most):
            return super().forward(input)
        weight, bias = self.weight, self.bias
        if is_cast:
            input, weight = input.to(number_format), weight.to(number_format)
            bias = None if bias is None else bias.to(number_format)
        out = sum_of_products(input, weight, (height, width), stride=stride, padding=padding)
        return out if bias is None else out + bias[:, None, None]


def use_lean_convolutions(network: nn.Module) -> None:
    """Put `LeanConv2d` in the place of every plain convolution, with its weights."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if type(child) is nn.Conv2d and child.groups == 1 and child.dilation == (1, 1):
                replacement = LeanConv2d(
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
