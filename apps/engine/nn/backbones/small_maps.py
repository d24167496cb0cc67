"""Convolutions over maps of few pixels, where half of what a kernel meets is padding and a CPU's library multiplies that as well."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import groupby, product
from typing import Any

import torch
from torch.autograd.function import once_differentiable


def sum_of_products(
    maps: torch.Tensor, weight: torch.Tensor, sides_out: tuple[int, int], *, stride: int, padding: int
) -> torch.Tensor:
    """Maps (n, c, h, w) to (n, o, h', w'), `sides_out` = (h', w'), by weights (o, c, size, size): what a kernel sees of the padding is left out."""
    runs = _runs((maps.shape[2], maps.shape[3]), sides_out, weight.shape[2], stride, padding)
    out: torch.Tensor = _SumOfProducts.apply(maps, weight, sides_out, runs)
    return out


@dataclass(frozen=True)
class _Run:
    """`n` pixels that come out side by side, and as many that one weight of the kernel sees for them. Pixels count along the rows."""

    row: int  # of the weight in the kernel
    column: int
    first_seen: int
    first_out: int
    n: int

    def seen(self, pixels: torch.Tensor) -> torch.Tensor:
        """Those of a map (pixels, views, channels), as one matrix."""
        return pixels[self.first_seen : self.first_seen + self.n].flatten(0, 1)

    def out(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same of the map that comes out."""
        return pixels[self.first_out : self.first_out + self.n].flatten(0, 1)


@cache
def _runs(sides: tuple[int, int], sides_out: tuple[int, int], size: int, stride: int, padding: int) -> tuple[_Run, ...]:
    """All that a kernel of size x size sees on a map (height, width), and nothing beside it."""
    found: list[_Run] = []
    for i, j in product(range(size), repeat=2):
        places = product(*map(range, sides_out))
        seen_for = [
            ((row * stride + i - padding, column * stride + j - padding), (row, column)) for row, column in places
        ]
        pixels = [
            (row * sides[1] + column, row_out * sides_out[1] + column_out)
            for (row, column), (row_out, column_out) in seen_for
            if 0 <= row < sides[0] and 0 <= column < sides[1]
        ]
        # Of pixels side by side, seen and come out, each is as many further as it comes later.
        for _, run in groupby(enumerate(pixels), lambda pixel: (pixel[1][0] - pixel[0], pixel[1][1] - pixel[0])):
            (_, (seen, out)), *others = run
            found.append(_Run(i, j, seen, out, 1 + len(others)))
    return tuple(found)


class _SumOfProducts(torch.autograd.Function):
    """What is seen, times its weights: pixel by pixel of the maps, all views of a pixel side by side. In 16 bits each product that is added
    is rounded, to a relative 0.003 of what comes out of 2x2 pixels where one sum has 0.002."""

    @staticmethod
    def forward(
        ctx: Any, input: torch.Tensor, weight: torch.Tensor, sides_out: tuple[int, int], runs: tuple[_Run, ...]
    ) -> torch.Tensor:
        """(n, c, h, w) and (o, c, size, size) to (n, o, h', w')."""
        n, _, height, width = input.shape
        pixels = _by_pixel(input)
        by_weight = weight.contiguous(memory_format=torch.channels_last).permute(2, 3, 0, 1)
        out = input.new_zeros(sides_out[0] * sides_out[1], n, weight.shape[0])
        for run in runs:
            _add_product(run.out(out), run.seen(pixels), by_weight[run.row, run.column].T)
        ctx.save_for_backward(pixels, by_weight)
        ctx.runs, ctx.sides = runs, (height, width)
        return _by_view(out, *sides_out)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        pixels, by_weight = ctx.saved_tensors
        of_out = _by_pixel(gradient)
        of_input = of_weights = None
        if ctx.needs_input_grad[0]:
            of_pixels = torch.zeros_like(pixels)
            for run in ctx.runs:
                _add_product(run.seen(of_pixels), run.out(of_out), by_weight[run.row, run.column])
            of_input = _by_view(of_pixels, *ctx.sides)
        if ctx.needs_input_grad[1]:
            of_weights = torch.zeros_like(by_weight)
            for run in ctx.runs:
                _add_product(of_weights[run.row, run.column], run.out(of_out).T, run.seen(pixels))
            of_weights = of_weights.permute(2, 3, 0, 1)
        return of_input, of_weights, None, None


def _add_product(to: torch.Tensor, left: torch.Tensor, right: torch.Tensor) -> None:
    torch.addmm(to, left, right, out=to)


def _by_pixel(maps: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) as (h * w, n, c)."""
    return maps.permute(2, 3, 0, 1).flatten(0, 1).contiguous()


def _by_view(pixels: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """And back, channels last."""
    return pixels.unflatten(0, (height, width)).permute(2, 3, 0, 1).contiguous(memory_format=torch.channels_last)
