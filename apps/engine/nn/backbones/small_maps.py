"""Convolutions over maps of few pixels, where half of what a kernel meets is padding and a CPU's library multiplies that as well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

import torch
from torch import nn

# Of the map that comes out. In bf16 a CPU takes as long with either way over 4x4 pixels.
MOST_PIXELS, MOST_PIXELS_IN_HALVES = 16, 4


class SmallMapConv2d(nn.Conv2d):
    """A convolution that leaves out what its kernel sees of the padding, where a small map makes that the faster way on a CPU.

    Of 3x3 over 2x2 pixels more than half is padding, over 4x4 nearly a third; and oneDNN goes along a map's rows, which are short.
    Milliseconds of a core (Emerald Rapids) forward and back, 256 views, fp32: 512 channels of 2x2 pixels 56 instead of 385,
    256 of 4x4 96 instead of 150; 128 of 8x8 143 instead of 105. In bf16 96 instead of 260, 150 instead of 151. The weights are the same.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) to (n, out_channels, h', w'), as `nn.Conv2d`; square kernels, no dilation, no groups."""
        if input.device.type != "cpu":
            return super().forward(input)
        size, stride, padding = self.kernel_size[0], self.stride[0], int(self.padding[0])
        height, width = ((side + 2 * padding - size) // stride + 1 for side in input.shape[2:])
        number_format = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
        if height * width > (MOST_PIXELS_IN_HALVES if number_format.itemsize == 2 else MOST_PIXELS):
            return super().forward(input)
        meetings = _meetings((input.shape[2], input.shape[3]), (height, width), size, stride, padding)
        out: torch.Tensor = _SumOfProducts.apply(
            input.to(number_format), self.weight.to(number_format), (height, width), meetings
        )
        return out if self.bias is None else out + self.bias.to(number_format)[:, None, None]


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


@dataclass
class _Meeting:
    """`n` pixels that come out side by side, and as many that one weight of the kernel sees for them. Pixels count along the rows."""

    row: int  # of the weight in the kernel
    column: int
    first_seen: int
    first_out: int
    n: int = 1

    def goes_on_with(self, seen: int, out: int) -> bool:
        return (self.first_seen + self.n, self.first_out + self.n) == (seen, out)

    def seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """Those of a map (pixels, views, channels), as one matrix."""
        return pixels[self.first_seen : self.first_seen + self.n].flatten(0, 1)

    def out(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same of the map that comes out."""
        return pixels[self.first_out : self.first_out + self.n].flatten(0, 1)


@cache
def _meetings(
    sides: tuple[int, int], sides_out: tuple[int, int], size: int, stride: int, padding: int
) -> list[_Meeting]:
    """Everything that a kernel of size x size sees on a map (height, width), and not beside it."""
    found: list[_Meeting] = []
    for i, j in product(range(size), repeat=2):
        of_weight: list[_Meeting] = []
        for row_out, column_out in product(*map(range, sides_out)):
            row, column = row_out * stride + i - padding, column_out * stride + j - padding
            if 0 <= row < sides[0] and 0 <= column < sides[1]:
                seen, out = row * sides[1] + column, row_out * sides_out[1] + column_out
                if of_weight and of_weight[-1].goes_on_with(seen, out):
                    of_weight[-1].n += 1
                else:
                    of_weight.append(_Meeting(i, j, seen, out))
        found += of_weight
    return found


class _SumOfProducts(torch.autograd.Function):
    """What meets, multiplied and added up: pixel by pixel of the maps, all views of a pixel side by side."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor, sides_out: tuple[int, int], meetings: list[_Meeting]
    ) -> torch.Tensor:
        """(n, c, h, w) and (o, c, size, size) to (n, o, h', w')."""
        n, _, height, width = input.shape
        pixels = _by_pixel(input)
        by_weight = weight.contiguous(memory_format=torch.channels_last).permute(2, 3, 0, 1)
        out = input.new_zeros(sides_out[0] * sides_out[1], n, weight.shape[0])
        for meeting in meetings:
            _add_product(meeting.out(out), meeting.seen(pixels), by_weight[meeting.row, meeting.column].T)
        ctx.save_for_backward(pixels, by_weight)
        ctx.meetings, ctx.sides = meetings, (height, width)
        return _by_view(out, *sides_out)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pixels, by_weight = ctx.saved_tensors
        of_out = _by_pixel(gradient)
        of_pixels, of_weight = torch.zeros_like(pixels), torch.zeros_like(by_weight)
        for meeting in ctx.meetings:
            out, weight = meeting.out(of_out), (meeting.row, meeting.column)
            if ctx.needs_input_grad[0]:
                _add_product(meeting.seen(of_pixels), out, by_weight[weight])
            _add_product(of_weight[weight], out.T, meeting.seen(pixels))
        return _by_view(of_pixels, *ctx.sides), of_weight.permute(2, 3, 0, 1), None, None


def _add_product(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    torch.addmm(to, left, right, out=to)


def _by_pixel(maps: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) as (h * w, n, c)."""
    return maps.permute(2, 3, 0, 1).flatten(0, 1).contiguous()


def _by_view(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """And back, channels last."""
    return pixels.unflatten(0, (height, width)).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)
