"""Random views of patches for training: drawn one by one, rendered by numba on a CPU and by torch on a GPU.

The draws are numbers in arrays, made by numpy from a seed; a renderer only computes what they say. That keeps the two
renderers equal (a test compares them), and every view of a batch different from every other.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from apps.engine.approaches.base import AugmentSettings
from apps.engine.jit import kernel
from apps.engine.nn.patches import Patches

Floats = npt.NDArray[np.float32]

# Luma of RGB (ITU-R BT.601), and RGB <-> YIQ: hue is the angle in the plane of I and Q.
LUMA = np.array([0.299, 0.587, 0.114])
RGB_TO_YIQ = np.array([LUMA, [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
YIQ_TO_RGB = np.linalg.inv(RGB_TO_YIQ)

# Gaussian noise is looked up from this many fixed values, at a random place per image row: a tenth of drawing it.
NOISE_TABLE_SIZE = 1 << 16
# The places are the upper bits of a linear congruential generator modulo 2^32 (Numerical Recipes).
MULTIPLIER, INCREMENT = 1664525, 1013904223


@dataclass(frozen=True)
class ViewDraws:
    """What happens to each of n views; every array has n rows."""

    affine: Floats  # (n, 2, 3) output (column, row, 1), in pixels from the center, to input (column, row) from it
    gamma: Floats  # (n, 3) exponent per channel: the factor on its optical density
    color: Floats  # (n, 3, 4) matrix and offset: new rgb = color @ (r, g, b, 1)
    blur: Floats  # (n,) weight of each neighbor in a 3-tap filter along both axes, 0 to 0.25
    noise: Floats  # (n,) standard deviation of the added noise
    noise_seed: npt.NDArray[np.uint32]  # (n,)

    def __len__(self) -> int:
        return len(self.gamma)

    def rows(self, rows: npt.NDArray[np.int64]) -> "ViewDraws":
        """The draws of some of the views."""
        return ViewDraws(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    def numbers(self) -> Floats:
        """All but the noise's seeds in one array (n, 23), in the order of the fields: one copy to a device."""
        parts = (self.affine, self.gamma, self.color, self.blur, self.noise)
        return np.concatenate([part.reshape(len(self), -1) for part in parts], axis=1)

    def geometry_only(self) -> "ViewDraws":
        """The same turns, scales and shifts, with colors as they are, without blur and noise."""
        return replace(
            self,
            gamma=np.ones_like(self.gamma),
            color=np.broadcast_to(np.eye(3, 4, dtype=np.float32), self.color.shape).copy(),
            blur=np.zeros_like(self.blur),
            noise=np.zeros_like(self.noise),
        )


def draw_views(rng: np.random.Generator, n: int, *, size_px: int, settings: AugmentSettings) -> ViewDraws:
    """Draw n views of patches of `size_px`, each on its own."""
    angle = np.radians(rng.uniform(-settings.max_rotation_degrees, settings.max_rotation_degrees, n))
    flip = rng.choice([-1.0, 1.0], n)
    # Log-uniform, and inverse since the matrix leads from the view back to the patch.
    zoom = np.exp(-rng.uniform(np.log(settings.smallest_scale), np.log(settings.largest_scale), n))
    shift = rng.uniform(-settings.max_shift, settings.max_shift, (n, 2)) * size_px
    affine = np.empty((n, 2, 3))
    affine[:, 0, 0], affine[:, 0, 1] = zoom * flip * np.cos(angle), -zoom * np.sin(angle)
    affine[:, 1, 0], affine[:, 1, 1] = zoom * flip * np.sin(angle), zoom * np.cos(angle)
    affine[:, :, 2] = shift

    gamma = rng.uniform(1 - settings.stain, 1 + settings.stain, (n, 3))
    brightness = rng.uniform(-settings.brightness, settings.brightness, n)
    contrast = rng.uniform(1 - settings.contrast, 1 + settings.contrast, n)
    saturation = rng.uniform(1 - settings.saturation, 1 + settings.saturation, n)
    hue = np.radians(rng.uniform(-settings.hue_degrees, settings.hue_degrees, n))
    chroma = np.zeros((n, 3, 3))  # in YIQ: luma stays, I and Q turn by the hue and stretch by the saturation
    chroma[:, 0, 0] = 1.0
    chroma[:, 1, 1] = chroma[:, 2, 2] = saturation * np.cos(hue)
    chroma[:, 2, 1] = saturation * np.sin(hue)
    chroma[:, 1, 2] = -chroma[:, 2, 1]
    color = np.empty((n, 3, 4))
    color[:, :, :3] = contrast[:, None, None] * (YIQ_TO_RGB @ chroma @ RGB_TO_YIQ)
    color[:, :, 3] = (0.5 * (1 - contrast) + brightness)[:, None]  # contrast is about mid-gray

    blurred = rng.random(n) < settings.blur_probability
    return ViewDraws(
        affine=affine.astype(np.float32),
        gamma=gamma.astype(np.float32),
        color=color.astype(np.float32),
        blur=np.where(blurred, rng.uniform(0.05, 0.25, n), 0.0).astype(np.float32),
        noise=rng.uniform(0.0, settings.max_noise, n).astype(np.float32),
        noise_seed=rng.integers(0, 1 << 32, n, dtype=np.uint32),
    )


def render_on_cpu(patches: Patches, draws: ViewDraws) -> torch.Tensor:
    """Views (v, c, p, p) float32 in 0 to 1, channels last, of patches (n, p, p, c); view i shows patch i mod n.

    c is 3, or 4 with a mask: that one is only moved, with the pixels, as if each view had its own.
    One thread: it is a few percent of a step, and numba's own threads do not survive the fork of a job worker.
    """
    v, size = len(draws), patches.shape[1]
    views = np.empty((v, size, size, patches.shape[3]), np.float32)
    _render(
        np.ascontiguousarray(patches), draws.affine, draws.gamma, draws.color, draws.blur, draws.noise,
        draws.noise_seed, NOISE_TABLE, views,
    )  # fmt: skip
    return torch.from_numpy(views).permute(0, 3, 1, 2)


class DeviceRenderer:
    """The same views as `render_on_cpu`, computed by torch on `device` up to rounding.

    It holds what is not of a single batch, and a call only launches kernels, so that it can be recorded and replayed.
    """

    def __init__(self, size_px: int, device: torch.device) -> None:
        # The generator of an image row's noise, i + 1 steps after its seed: seed * multiplier[i] + increment[i].
        multipliers, increments = [MULTIPLIER], [INCREMENT]
        for _ in range(size_px - 1):
            multipliers.append(multipliers[-1] * MULTIPLIER % 2**32)
            increments.append((increments[-1] * MULTIPLIER + INCREMENT) % 2**32)
        self._multipliers = torch.tensor(multipliers, device=device)  # (p,)
        self._increments = torch.tensor(increments, device=device)  # (p,)
        columns, channels = torch.arange(size_px, device=device), torch.arange(3, device=device)
        self._values_along = (3 * columns + channels[:, None])[:, None]  # (3, 1, p)
        self._noise_table = torch.from_numpy(NOISE_TABLE).to(device)
        # grid_sample's coordinates run from -1 to 1 over (p - 1) pixels; rotation and scale are the same in both units.
        self._to_grid = torch.tensor([1.0, 1.0, 2 / max(1, size_px - 1)], device=device)
        # Of `ViewDraws.geometry_only`, after the affine map.
        as_they_are = np.concatenate([np.ones(3), np.eye(3, 4).ravel(), np.zeros(2)]).astype(np.float32)
        self._as_they_are = torch.from_numpy(as_they_are).to(device)

    def render(self, patches: torch.Tensor, numbers: torch.Tensor, noise_seed: torch.Tensor) -> torch.Tensor:
        """Views (v, c, p, p) float32 of `patches` (n, p, p, c) uint8; `numbers` (v, 23) are those of `ViewDraws`,
        `noise_seed` (v,) int64."""
        v = len(numbers)
        affine, gamma, color, blur, noise = numbers.split((6, 3, 12, 1, 1), dim=1)
        pixels = patches.permute(0, 3, 1, 2).float() / 255
        pixels = pixels.repeat(-(-v // len(patches)), 1, 1, 1)[:v]  # (v, c, p, p)
        pixels = torch.cat([pixels[:, :3] ** gamma[:, :, None, None], pixels[:, 3:]], dim=1)
        grid = functional.affine_grid(affine.reshape(v, 2, 3) * self._to_grid, list(pixels.shape), align_corners=True)
        moved = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="reflection", align_corners=True)
        views, masks = moved[:, :3], moved[:, 3:]
        weight = blur[:, :, None, None]
        padded = functional.pad(views, (1, 1, 0, 0), mode="replicate")
        views = (1 - 2 * weight) * views + weight * (padded[..., :-2] + padded[..., 2:])
        padded = functional.pad(views, (0, 0, 1, 1), mode="replicate")
        views = (1 - 2 * weight) * views + weight * (padded[..., :-2, :] + padded[..., 2:, :])
        matrix = color.reshape(v, 3, 4)
        views = torch.einsum("vdc,vcij->vdij", matrix[:, :, :3], views) + matrix[:, :, 3, None, None]
        # int64 overflows, but its lower 32 bits are right.
        state = (noise_seed[:, None] * self._multipliers + self._increments) & 0xFFFFFFFF  # (v, p)
        places = ((state >> 16)[:, None, :, None] + self._values_along) & (NOISE_TABLE_SIZE - 1)  # (v, 3, p, p)
        views = views + noise[:, :, None, None] * self._noise_table[places]
        return torch.cat([views, masks], dim=1).clamp(0, 1).contiguous(memory_format=torch.channels_last)

    def render_geometry(self, patches: torch.Tensor, numbers: torch.Tensor, noise_seed: torch.Tensor) -> torch.Tensor:
        """The same views turned, scaled and moved alike, with `ViewDraws.geometry_only`."""
        moved = torch.cat([numbers[:, :6], self._as_they_are.expand(len(numbers), -1)], dim=1)
        return self.render(patches, moved, noise_seed)


def _noise_table() -> Floats:
    return np.random.default_rng(0).standard_normal(NOISE_TABLE_SIZE).astype(np.float32)


NOISE_TABLE = _noise_table()


@kernel
def _reflect(position: Any, last: Any) -> Any:
    """A coordinate outside 0 to `last` mirrored back into it; the edge pixel is not repeated."""
    if last <= 0.0:
        return np.float32(0.0)
    period = np.float32(2.0) * last
    position = abs(position)
    if position > last:
        position = position % period
        if position > last:
            position = period - position
    return position


@kernel
def _render(
    patches: Patches,
    affine: Floats,
    gamma: Floats,
    color: Floats,
    blur: Floats,
    noise: Floats,
    noise_seed: npt.NDArray[np.uint32],
    noise_table: Floats,
    views: Floats,
) -> None:
    n, size = patches.shape[0], patches.shape[1]
    has_mask = patches.shape[3] == 4
    last = np.float32(size - 1)
    center = np.float32(0.5) * last
    pixels = np.empty((size, size, 3), np.float32)
    moved = np.empty((size, size, 3), np.float32)
    curve = np.empty((3, 256), np.float32)
    for v in range(views.shape[0]):
        for channel in range(3):
            for level in range(256):
                curve[channel, level] = (np.float32(level) / np.float32(255.0)) ** gamma[v, channel]
        patch = patches[v % n]
        for i in range(size):
            for j in range(size):
                for channel in range(3):
                    pixels[i, j, channel] = curve[channel, patch[i, j, channel]]
        for i in range(size):
            for j in range(size):
                down, right = np.float32(i) - center, np.float32(j) - center
                x = affine[v, 0, 0] * right + affine[v, 0, 1] * down + affine[v, 0, 2] + center
                y = affine[v, 1, 0] * right + affine[v, 1, 1] * down + affine[v, 1, 2] + center
                x, y = _reflect(x, last), _reflect(y, last)
                left, top = int(x), int(y)
                next_left, next_top = min(left + 1, size - 1), min(top + 1, size - 1)
                fx, fy = x - np.float32(left), y - np.float32(top)
                for channel in range(3):
                    above = pixels[top, left, channel]
                    above += fx * (pixels[top, next_left, channel] - above)
                    below = pixels[next_top, left, channel]
                    below += fx * (pixels[next_top, next_left, channel] - below)
                    moved[i, j, channel] = above + fy * (below - above)
                if has_mask:
                    above = np.float32(patch[top, left, 3]) * (np.float32(1.0) - fx)
                    above += np.float32(patch[top, next_left, 3]) * fx
                    below = np.float32(patch[next_top, left, 3]) * (np.float32(1.0) - fx)
                    below += np.float32(patch[next_top, next_left, 3]) * fx
                    views[v, i, j, 3] = (above + fy * (below - above)) / np.float32(255.0)
        weight = blur[v]
        if weight > np.float32(0.0):
            own = np.float32(1.0) - np.float32(2.0) * weight
            for i in range(size):
                for j in range(size):
                    for channel in range(3):
                        sides = moved[i, max(j - 1, 0), channel] + moved[i, min(j + 1, size - 1), channel]
                        pixels[i, j, channel] = own * moved[i, j, channel] + weight * sides
            for i in range(size):
                for j in range(size):
                    for channel in range(3):
                        sides = pixels[max(i - 1, 0), j, channel] + pixels[min(i + 1, size - 1), j, channel]
                        moved[i, j, channel] = own * pixels[i, j, channel] + weight * sides
        state = np.uint32(noise_seed[v])
        for i in range(size):
            state = np.uint32(state * np.uint32(MULTIPLIER) + np.uint32(INCREMENT))
            place = np.int64(state >> np.uint32(16))  # the low bits of this generator repeat soon
            for j in range(size):
                red, green, blue = moved[i, j, 0], moved[i, j, 1], moved[i, j, 2]
                for channel in range(3):
                    value = color[v, channel, 0] * red + color[v, channel, 1] * green + color[v, channel, 2] * blue
                    value += color[v, channel, 3] + noise[v] * noise_table[(place + 3 * j + channel) & 0xFFFF]
                    views[v, i, j, channel] = min(np.float32(1.0), max(np.float32(0.0), value))
