"""3x3 convolutions in down to a quarter of the products, on a CPU: minimal filtering (Winograd 1980; Lavin and Gray 2016).

A tile of m x m pixels that come out is A'[(G w G') * (B'dB)]A, with d the (m + 2) x (m + 2) pixels it sees, w the kernel and ' for transposed:
36 products for 4x4 pixels, which one by one take 144. Each is of what the tile and the kernel are at a *point*; of all tiles and channels it is a
product of matrices. The ways to the points and back are products as well, by matrices that hold all tiles along a side and leave the padding
out. oneDNN has nothing of this kind for float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from math import ceil, prod
from typing import Any

import torch
from torch.autograd.function import once_differentiable

# Points of so many views at once, that they stay in the caches; of as many more as there are threads, up to so many times.
BLOCK_BYTES, MOST_BLOCKS = 4 << 20, 8
# It is the faster way with so many products for each pixel and pair of channels, those of the ways to the points and back included (one by
# one they are 9, in fewer and longer loops), and with so many channels.
MOST_PRODUCTS, FEWEST_CHANNELS = 4.5, 64


def pays(height: int, width: int, channels: int, out_channels: int) -> bool:
    """Whether this is the faster way over maps of that size: not where tiles reach far beyond them, nor for few channels, nor where the ways to
    the points and back, as long as the sides, outweigh what is spared."""
    if min(height, width) < 2 or min(channels, out_channels) < FEWEST_CHANNELS:
        return False
    tiles = _Tiles.of(height, width)
    products = tiles.points * channels * out_channels
    products += tiles.seen.products * channels + tiles.out.products * out_channels
    return products <= MOST_PRODUCTS * height * width * channels * out_channels


def convolve_3x3(maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Maps (n, c, h, w) to (n, o, h, w), channels last, by weights (o, c, 3, 3), all float32 on a CPU; stride 1, padding 1.

    Rounds to 1e-5 of the largest number that comes out, where a plain sum rounds to 1e-6.
    """
    out: torch.Tensor = _Convolution.apply(maps, weight, bias)
    return out


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        n, _, height, width = maps.shape
        tiles, spaces = _Tiles.of(height, width), _Spaces(maps)
        weight_points = tiles.points_of(weight)
        # Not a view, which nobody could change in its place.
        out = torch.empty((n, len(weight), height, width), dtype=maps.dtype, memory_format=torch.channels_last)
        for part in tiles.parts(n, weight_points):
            seen = tiles.seen.to_points(_pixels(maps[part]), spaces, "seen")
            came_out = spaces("come out", *seen.shape[:3], len(weight))
            for row_seen, row_out in zip(seen, came_out, strict=True):
                torch.bmm(row_seen, weight_points, out=row_out)
            pixels = tiles.out.to_pixels(came_out, spaces, "seen")
            if bias is None:
                _pixels(out[part]).copy_(pixels)
            else:
                torch.add(pixels, bias, out=_pixels(out[part]))
        ctx.save_for_backward(maps, weight_points)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        maps, weight_points = ctx.saved_tensors
        for_maps, for_weight, for_bias = ctx.needs_input_grad
        tiles, spaces = _Tiles.of(*maps.shape[2:]), _Spaces(maps)
        maps_gradient = torch.empty_like(maps, memory_format=torch.channels_last) if for_maps else None
        points_gradient = torch.zeros_like(weight_points) if for_weight else None
        for part in tiles.parts(len(maps), weight_points):
            came_out = tiles.out.to_points(_pixels(gradient[part]), spaces, "come out")
            if points_gradient is not None:
                seen = tiles.seen.to_points(_pixels(maps[part]), spaces, "seen")
                for row_seen, row_out in zip(seen, came_out, strict=True):
                    torch.baddbmm(points_gradient, row_seen.transpose(1, 2), row_out, out=points_gradient)
            if maps_gradient is not None:
                seen = spaces("seen", *came_out.shape[:3], maps.shape[1])
                for row_seen, row_out in zip(seen, came_out, strict=True):
                    torch.bmm(row_out, weight_points.transpose(1, 2), out=row_seen)
                _pixels(maps_gradient[part]).copy_(tiles.seen.to_pixels(seen, spaces, "come out"))
        return (
            maps_gradient,
            None if points_gradient is None else tiles.weight_of(points_gradient),
            gradient.sum((0, 2, 3)) if for_bias else None,
        )


def _pixels(maps: torch.Tensor) -> torch.Tensor:
    """(n, c, h, w) as (h, w, n, c)."""
    return maps.permute(2, 3, 0, 1)


class _Spaces:
    """Memory by name, used again for every part of the views, of which the first is the largest."""

    def __init__(self, like: torch.Tensor) -> None:
        self._like = like
        self._by_name: dict[str, torch.Tensor] = {}

    def __call__(self, name: str, *shape: int) -> torch.Tensor:
        space = self._by_name.get(name)
        if space is None or len(space) < prod(shape):
            space = self._by_name[name] = self._like.new_empty(prod(shape))
        return space[: prod(shape)].view(shape)


@dataclass(frozen=True)
class _Way:
    """From pixels to points, and back by the transposed matrices: each is the gradient of the other."""

    down: torch.Tensor  # (tiles * points, height)
    across: torch.Tensor  # (points * tiles, width)
    tiles_down: int
    points: int  # of a tile

    @property
    def products(self) -> int:
        """Of a channel of one view, to points or to pixels."""
        height, width = self.down.shape[1], self.across.shape[1]
        return height * width * len(self.across) + len(self.down) * height * len(self.across)

    def to_points(self, pixels: torch.Tensor, spaces: _Spaces, to: str) -> torch.Tensor:
        """Pixels (h, w, n, c) as points (tiles down, points of a tile, tiles across * n, c)."""
        height, width, _, channels = pixels.shape
        side_by_side = spaces("pixels", *pixels.shape).copy_(pixels)
        points = _along_both(self.down, self.across, side_by_side.view(height, width, -1), spaces, to)
        return points.view(self.tiles_down, self.points, -1, channels)

    def to_pixels(self, points: torch.Tensor, spaces: _Spaces, to: str) -> torch.Tensor:
        """And such points as pixels."""
        as_there = points.view(len(self.down), len(self.across), -1)
        pixels = _along_both(self.down.T, self.across.T, as_there, spaces, to)
        return pixels.view(*pixels.shape[:2], -1, points.shape[-1])


def _along_both(down: torch.Tensor, across: torch.Tensor, maps: torch.Tensor, spaces: _Spaces, to: str) -> torch.Tensor:
    """`down` times each column times `across` transposed, of maps (h, w, any) in which each place holds many numbers."""
    height, _, many = maps.shape
    half_way = spaces("half way", height, len(across), many)
    torch.bmm(across.expand(height, -1, -1), maps, out=half_way)
    both = spaces(to, len(down), len(across) * many)
    return torch.mm(down, half_way.view(height, -1), out=both).view(len(down), len(across), many)


@dataclass(frozen=True)
class _Tiles:
    """Of maps of one size."""

    of_kernel: torch.Tensor  # (points, 9)
    seen: _Way
    out: _Way

    @property
    def points(self) -> int:
        """Of all tiles of a map."""
        return len(self.seen.down) * len(self.seen.across)

    @staticmethod
    @cache
    def of(height: int, width: int) -> _Tiles:
        """Those that cover a map."""
        with torch.inference_mode(False):  # or they could be used in it alone
            down, across = _Side.of(height), _Side.of(width)
            of_tile = down.points * across.points
            ways = [
                _Way(rows, columns.unflatten(0, (across.tiles, -1)).transpose(0, 1).flatten(0, 1), down.tiles, of_tile)
                for rows, columns in ((down.seen, across.seen), (down.out, across.out))
            ]
            return _Tiles(torch.kron(down.of_kernel, across.of_kernel).float(), *ways)

    def parts(self, n: int, weight_points: torch.Tensor) -> Iterator[slice]:
        """The views in parts that are worked on at once."""
        bytes_each = 4 * self.points * max(weight_points.shape[1:])
        n_at_once = max(1, BLOCK_BYTES // bytes_each) * min(torch.get_num_threads(), MOST_BLOCKS)
        return (slice(first, first + n_at_once) for first in range(0, n, n_at_once))

    def points_of(self, weight: torch.Tensor) -> torch.Tensor:
        """Weights (o, c, 3, 3) at points (points, c, o)."""
        n_out, channels = weight.shape[:2]
        return torch.mm(self.of_kernel, weight.permute(2, 3, 1, 0).reshape(9, -1)).view(-1, channels, n_out)

    def weight_of(self, points_gradient: torch.Tensor) -> torch.Tensor:
        """The gradient of the weights, from that of their points."""
        return (
            torch.mm(self.of_kernel.T, points_gradient.flatten(1))
            .view(3, 3, *points_gradient.shape[1:])
            .permute(3, 2, 0, 1)
        )


@dataclass(frozen=True)
class _Side:
    """The tiles along one side of a map."""

    tiles: int
    points: int
    of_kernel: torch.Tensor  # G, (points, 3), float64
    seen: torch.Tensor  # B' of all tiles, (tiles * points, side)
    out: torch.Tensor  # A of all tiles, (tiles * points, side)

    @staticmethod
    def of(side: int) -> _Side:
        if side == 2:  # a pixel of padding at either end: three products do (Karatsuba and Ofman 1962)
            of_kernel = torch.tensor([[0, 1, 0], [0, -1, 1], [1, -1, 0]], dtype=torch.float64)
            seen = torch.tensor([[1, 1], [0, 1], [1, 0]], dtype=torch.float32)
            out = torch.tensor([[1, 1], [1, 0], [0, 1]], dtype=torch.float32)
            return _Side(1, 3, of_kernel, seen, out)
        size = min(4, 3, key=lambda size: ceil(side / size) * (size + 2))
        points, tiles = size + 2, ceil(side / size)
        of_tile = torch.linalg.inv(_powers_at_points(points, points)).T
        seen = torch.zeros(tiles, points, tiles * size + 2, dtype=torch.float32)
        out = torch.zeros(tiles, points, tiles * size, dtype=torch.float32)
        for tile in range(tiles):
            first = tile * size
            seen[tile, :, first : first + points] = of_tile
            out[tile, :, first : first + size] = _powers_at_points(points, size)
        return _Side(
            tiles,
            points,
            _powers_at_points(points, 3),
            seen[:, :, 1 : side + 1].flatten(0, 1),
            out[:, :, :side].flatten(0, 1),
        )


def _powers_at_points(points: int, n: int) -> torch.Tensor:
    """What polynomials of n coefficients are at 0, 1, -1, 2, -2 and so on, and at infinity; float64 (points, n)."""
    finite = torch.tensor([0.0, 1, -1, 2, -2], dtype=torch.float64)[: points - 1]
    powers = torch.zeros(points, n, dtype=torch.float64)
    powers[:-1] = finite[:, None] ** torch.arange(n)
    powers[-1, -1] = 1
    return powers
