"""What can be said of an object without learning: its color, its surroundings, its shape, its texture.

A map from these is there seconds after the objects are, long before a network has seen them; and beside a network's
features they keep what the network's training was told to forget (stain, size). Every number is the same for a patch
turned by a quarter or mirrored. Colors are optical densities, -log(value), in which stains add up (Ruifrok and Johnston 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from apps.engine.cores import usable_cores
from apps.engine.errors import EngineError
from apps.engine.jit import kernel
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

Floats = npt.NDArray[np.float32]
Patches = npt.NDArray[np.uint8]
Masks = npt.NDArray[np.bool_]

# Patches of more pixels are shrunk to this first: the descriptors of a glomerulus need no more, and take as long.
LARGEST_SIZE_PX = 64
SMALLEST_SIZE_PX = 8
# Beyond the patch, rings of this many patch widths say where the object lies: epithelium and stroma differ in color there.
CONTEXT_WIDTHS = 2
BATCH_SIZE = 256
# Half a minute to a minute of a core: what a worker that dies loses.
KEPT_TOGETHER = 256 * BATCH_SIZE

N_RINGS = 6
N_DIRECTIONS = 32
N_HARMONICS = 6
N_SCALES = 3
N_LEVELS = 16  # of each channel, in histograms
# Uniform local binary patterns of eight neighbors: 0 to 8 of them brighter, and all that are not uniform.
N_PATTERNS = 10

# Part of the name of what is kept; another one where a number gets another meaning.
DESCRIPTORS_VERSION = 1

# Name and width of each group of columns.
GROUPS = {
    "object color": 18,
    "rim color": 9,
    "patch color": 6,
    "rings": 6 * N_RINGS,
    "context rings": 6 * N_RINGS,
    "shape": 8,
    "outline": N_HARMONICS,
    "texture": 5 * N_SCALES,
    "patterns": 2 * N_PATTERNS,
    "patch patterns": 3 * N_PATTERNS,
    "context patterns": 3 * N_PATTERNS,
    "object histogram": 3 * N_LEVELS,
    "patch histogram": 3 * N_LEVELS,
    "context histogram": 3 * N_LEVELS,
}
N_DESCRIPTORS = sum(GROUPS.values())
# What no pixel beyond the object's edge has a part in; texture and patterns reach two pixels over it.
OF_THE_OBJECT_ALONE = ("object color", "shape", "outline", "object histogram")
UNKNOWN_OF_A_PICTURE = ("context rings", "shape", "outline", "context patterns", "context histogram")


class ObjectSource(Protocol):
    """Anything that gives patches and masks by ordinal; `apps.engine.pixels.PatchReader` is one."""

    @property
    def patch_size_px(self) -> int: ...

    def __len__(self) -> int: ...

    def read(
        self, ordinals: npt.NDArray[np.int64], /, *, size_px: int | None = None, patch_size_px: int | None = None
    ) -> Patches: ...

    def read_masks(self, ordinals: npt.NDArray[np.int64], /) -> Masks: ...


def describe_objects(
    source: ObjectSource,
    ordinals: npt.NDArray[np.int64] | None = None,
    *,
    keep: Callable[[Floats], None] = lambda _: None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Floats:
    """Descriptors (n, N_DESCRIPTORS) float32 of the objects `ordinals` (default all), finite, in their own units.

    On all cores; `source` is read by several threads at once. `keep` gets the rows in their order, KEPT_TOGETHER at a
    time, as soon as they are there: what a caller who is stopped or killed may go on from. Reports the stage "measuring";
    raises `Stopped`, and `EngineError` for patches of fewer than SMALLEST_SIZE_PX or of an odd number of pixels, which have no middle
    to be the same in patch and context. Columns in the order of GROUPS.
    """
    if source.patch_size_px < SMALLEST_SIZE_PX or source.patch_size_px % 2:
        raise EngineError(
            f"patches of {source.patch_size_px} px cannot be measured: it takes an even number from {SMALLEST_SIZE_PX} on"
        )
    wanted = np.arange(len(source), dtype=np.int64) if ordinals is None else np.asarray(ordinals, np.int64)
    size = min(source.patch_size_px, LARGEST_SIZE_PX)
    described = np.empty((len(wanted), N_DESCRIPTORS), np.float32)
    progress = Progress("measuring", len(wanted), on_progress, should_stop)

    def describe(first: int) -> int:
        batch = wanted[first : first + BATCH_SIZE]
        context = source.read(batch, patch_size_px=CONTEXT_WIDTHS * source.patch_size_px, size_px=CONTEXT_WIDTHS * size)
        masks = _shrink(source.read_masks(batch), size)
        _describe(context, masks, OPTICAL_DENSITY, described[first : first + BATCH_SIZE])
        return len(batch)

    done = kept = 0
    with ThreadPoolExecutor(usable_cores(), "measure") as pool:
        for n_described in pool.map(describe, range(0, len(wanted), BATCH_SIZE)):
            done += n_described
            if done - kept >= KEPT_TOGETHER or done == len(wanted):
                keep(described[kept:done])
                kept = done
            progress.advance(n_described, f"{done:,} of {len(wanted):,} objects")
    return described


def describe_picture(picture: Patches) -> Floats:
    """Descriptors (1, N_DESCRIPTORS) of a picture (p, p, 3) of one object; NaN for what it does not show: the object's
    outline, and what lies around."""
    size = min(max(len(picture) // 2 * 2, SMALLEST_SIZE_PX), LARGEST_SIZE_PX)
    square = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA)
    beyond = size * (CONTEXT_WIDTHS - 1) // 2
    context = cv2.copyMakeBorder(square, beyond, beyond, beyond, beyond, cv2.BORDER_REFLECT_101)
    described = np.empty((1, N_DESCRIPTORS), np.float32)
    _describe(context[None], np.zeros((1, size, size), np.bool_), OPTICAL_DENSITY, described)
    described[:, columns_of(UNKNOWN_OF_A_PICTURE)] = np.nan
    return described


def columns_of(groups: Collection[str]) -> npt.NDArray[np.bool_]:
    """Which columns (N_DESCRIPTORS,) belong to these groups."""
    return np.repeat([name in groups for name in GROUPS], list(GROUPS.values()))


def _shrink(masks: Masks, size: int) -> Masks:
    if masks.shape[1] == size:
        return masks
    shrunk = [cv2.resize(mask.view(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) for mask in masks]
    return np.asarray(shrunk, np.uint8).view(np.bool_)


def _optical_density() -> Floats:
    return -np.log((np.arange(256, dtype=np.float32) + 1) / np.float32(256))


OPTICAL_DENSITY = _optical_density()


@kernel
def _describe(context: Any, masks: Any, optical_density: Any, out: Any) -> None:
    """context (n, 2 s, 2 s, 3) uint8 with the patch in its middle, masks (n, s, s), out (n, N_DESCRIPTORS)."""
    n, size = masks.shape[0], masks.shape[1]
    density = np.empty((size, size, 3), np.float32)
    mask = np.empty((size, size), np.bool_)
    rim = np.empty((size, size), np.bool_)
    gray = np.empty((size, size), np.float32)
    everywhere = np.ones((size, size), np.bool_)
    rings_of_patch, rings_of_context = _ring_of(size, 1), _ring_of(context.shape[1], CONTEXT_WIDTHS)
    first = (context.shape[1] - size) // 2
    for k in range(n):
        row = out[k]
        row[:] = 0.0
        patch = context[k, first : first + size, first : first + size]
        for i in range(size):
            for j in range(size):
                for channel in range(3):
                    density[i, j, channel] = optical_density[patch[i, j, channel]]
        _object_and_rim(masks[k], mask, rim)
        at = _object_color(patch, density, optical_density, mask, row, 0)
        at = _rim_color(density, rim, row, at)
        at = _patch_color(density, row, at)
        at = _rings(patch, optical_density, 1, rings_of_patch, row, at)
        at = _rings(context[k], optical_density, CONTEXT_WIDTHS, rings_of_context, row, at)
        at = _shape(mask, row, at)
        _gray(density, gray)
        at = _texture(gray, mask, rim, row, at)
        at = _patterns(gray, mask, 2, row, at)
        at = _patterns(gray, everywhere, 3, row, at)
        _coarse_gray(context[k], optical_density, gray)
        at = _patterns(gray, everywhere, 3, row, at)
        at = _histogram(patch, mask, 1, row, at)
        at = _histogram(patch, everywhere, 1, row, at)
        _histogram(context[k], everywhere, CONTEXT_WIDTHS, row, at)
        for i in range(row.size):
            if not np.isfinite(row[i]):
                row[i] = 0.0


@kernel
def _object_and_rim(given: Any, mask: Any, rim: Any) -> None:
    """The object, or a disk in the middle where there is next to none of it; and a rim of a sixteenth of the patch."""
    size = given.shape[0]
    count = 0
    for i in range(size):
        for j in range(size):
            mask[i, j] = given[i, j]
            count += given[i, j]
    middle = np.float32(0.5) * (size - 1)
    if count < 5:
        for i in range(size):
            for j in range(size):
                mask[i, j] = (i - middle) ** 2 + (j - middle) ** 2 <= (size / 6.0) ** 2
    width = max(1, size // 16)
    for i in range(size):
        for j in range(size):
            rim[i, j] = False
    for i in range(size):
        for j in range(size):
            if not mask[i, j]:
                continue
            # Only from the object's edge; what lies inside has no neighbor outside.
            if (
                0 < i < size - 1
                and 0 < j < size - 1
                and (mask[i - 1, j] and mask[i + 1, j] and mask[i, j - 1] and mask[i, j + 1])
            ):
                continue
            for y in range(max(0, i - width), min(size, i + width + 1)):
                for x in range(max(0, j - width), min(size, j + width + 1)):
                    if not mask[y, x] and (y - i) ** 2 + (x - j) ** 2 <= width * width:
                        rim[y, x] = True


@kernel
def _mean_and_spread(density: Any, where: Any, row: Any, at: Any) -> Any:
    """Mean and standard deviation of each channel over `where`: 6 numbers."""
    total = np.zeros(3, np.float64)
    squares = np.zeros(3, np.float64)
    count = 0
    for i in range(where.shape[0]):
        for j in range(where.shape[1]):
            if where[i, j]:
                count += 1
                for channel in range(3):
                    value = np.float64(density[i, j, channel])
                    total[channel] += value
                    squares[channel] += value * value
    for channel in range(3):
        mean = total[channel] / max(1, count)
        row[at + channel] = mean
        row[at + 3 + channel] = np.sqrt(max(0.0, squares[channel] / max(1, count) - mean * mean))
    return at + 6


@kernel
def _object_color(patch: Any, density: Any, optical_density: Any, mask: Any, row: Any, at: Any) -> Any:
    start = at
    at = _mean_and_spread(density, mask, row, at)
    counts = np.zeros((3, 256), np.int64)
    count = 0
    products = np.zeros(3, np.float64)
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            if mask[i, j]:
                for channel in range(3):
                    counts[channel, patch[i, j, channel]] += 1
                count += 1
                red = density[i, j, 0] - row[start]
                green = density[i, j, 1] - row[start + 1]
                blue = density[i, j, 2] - row[start + 2]
                products[0] += red * green
                products[1] += red * blue
                products[2] += green * blue
    for channel in range(3):
        seen, decile = 0, 0
        for level in range(256):
            seen += counts[channel, level]
            # The 1st, 5th and 9th decile of the values, which fall as the density grows.
            while decile < 3 and seen * 10 > count * (1 + 4 * decile):
                row[at + 3 * decile + channel] = optical_density[level]
                decile += 1
    at += 9
    for pair in range(3):
        one, other = (0, 1) if pair == 0 else ((0, 2) if pair == 1 else (1, 2))
        both = row[start + 3 + one] * row[start + 3 + other]
        row[at + pair] = products[pair] / count / (both + 1e-3)
    return at + 3


@kernel
def _rim_color(density: Any, rim: Any, row: Any, at: Any) -> Any:
    start = at
    at = _mean_and_spread(density, rim, row, at)
    for channel in range(3):
        row[at + channel] = row[channel] - row[start + channel]  # the object's mean, at the row's start, less the rim's
    return at + 3


@kernel
def _patch_color(density: Any, row: Any, at: Any) -> Any:
    return _mean_and_spread(density, np.ones(density.shape[:2], np.bool_), row, at)


@kernel
def _ring_of(size: Any, step: Any) -> Any:
    """Of a square's every `step`-th pixel, the ring about the middle that it is in; N_RINGS for those outside of all."""
    middle = 0.5 * (size - 1)
    ring = np.empty((-(-size // step), -(-size // step)), np.uint8)
    for a in range(ring.shape[0]):
        i = _picked(a * step, size)
        for b in range(ring.shape[1]):
            j = _picked(b * step, size)
            of_radius = int(np.sqrt((i - middle) ** 2 + (j - middle) ** 2) * 2 * N_RINGS / size)
            ring[a, b] = min(of_radius, N_RINGS)
    return ring


@kernel
def _picked(a: Any, size: Any) -> Any:
    """From both ends to the middle, so that a turned square has the same pixels picked."""
    half = size // 2
    return a if a < half else size - 1 - (a - half)


@kernel
def _rings(square: Any, optical_density: Any, step: Any, ring_of: Any, row: Any, at: Any) -> Any:
    """Mean and standard deviation of each channel in rings about the middle of a square, from every `step`-th pixel."""
    size = square.shape[0]
    total = np.zeros((N_RINGS + 1, 3), np.float64)
    squares = np.zeros((N_RINGS + 1, 3), np.float64)
    counts = np.zeros(N_RINGS + 1, np.int64)
    for a in range(ring_of.shape[0]):
        i = _picked(a * step, size)
        for b in range(ring_of.shape[1]):
            j = _picked(b * step, size)
            ring = ring_of[a, b]
            counts[ring] += 1
            for channel in range(3):
                value = np.float64(optical_density[square[i, j, channel]])
                total[ring, channel] += value
                squares[ring, channel] += value * value
    for ring in range(N_RINGS):
        for channel in range(3):
            mean = total[ring, channel] / max(1, counts[ring])
            row[at + channel] = mean
            row[at + 3 + channel] = np.sqrt(max(0.0, squares[ring, channel] / max(1, counts[ring]) - mean * mean))
        at += 6
    return at


@kernel
def _shape(mask: Any, row: Any, at: Any) -> Any:
    """Size and form by moments, edge and reach: 8 numbers; then the outline's harmonics."""
    size = mask.shape[0]
    count = 0
    crossings = np.zeros(3, np.int64)  # of the outline: none, by rows and columns, by diagonals
    y = x = yy = xx = yx = 0.0
    touches = 0
    for i in range(size):
        for j in range(size):
            if not mask[i, j]:
                continue
            count += 1
            y += i
            x += j
            yy += i * i
            xx += j * j
            yx += i * j
            for down in range(-1, 2):
                for right in range(-1, 2):
                    inside = 0 <= i + down < size and 0 <= j + right < size and mask[i + down, j + right]
                    if not inside:
                        crossings[abs(down) + abs(right)] += 1
            touches += i == 0 or j == 0 or i == size - 1 or j == size - 1
    y /= count
    x /= count
    # A pixel is a square and no point: 1/12 of variance along each side.
    yy = yy / count - y * y + 1 / 12
    xx = xx / count - x * x + 1 / 12
    yx = yx / count - y * x
    root = np.sqrt(((yy - xx) / 2) ** 2 + yx * yx)
    major, minor = np.sqrt((yy + xx) / 2 + root), np.sqrt(max(1 / 12, (yy + xx) / 2 - root))
    # Crofton's formula over four directions; diagonal lines are closer together by sqrt(2).
    perimeter = np.pi / 8 * (crossings[1] + crossings[2] / np.sqrt(2.0))
    row[at] = np.log(count)
    row[at + 1] = np.log(major)
    row[at + 2] = np.log(minor)
    row[at + 3] = minor / major
    row[at + 4] = 4 * np.pi * count / (perimeter * perimeter)
    row[at + 5] = count / (4 * np.pi * major * minor)  # 1 for an ellipse
    row[at + 6] = touches / count
    reach = np.zeros(N_DIRECTIONS, np.float64)
    for i in range(size):
        for j in range(size):
            if mask[i, j]:
                distance = np.sqrt((i - y) ** 2 + (j - x) ** 2)
                # Half a pixel wide, so that no direction is left empty in small objects.
                direction = int((np.arctan2(i - y, j - x) + np.pi) / (2 * np.pi) * N_DIRECTIONS) % N_DIRECTIONS
                if distance > reach[direction]:
                    reach[direction] = distance
    for direction in range(N_DIRECTIONS):
        if reach[direction] == 0.0:
            reach[direction] = 0.5 * (reach[direction - 1] + reach[(direction + 1) % N_DIRECTIONS])
    mean = max(reach.mean(), 1e-6)
    row[at + 7] = reach.max() / mean
    at += 8
    for harmonic in range(1, N_HARMONICS + 1):
        real = imaginary = 0.0
        for direction in range(N_DIRECTIONS):
            angle = 2 * np.pi * harmonic * direction / N_DIRECTIONS
            real += reach[direction] / mean * np.cos(angle)
            imaginary += reach[direction] / mean * np.sin(angle)
        row[at] = np.sqrt(real * real + imaginary * imaginary) / N_DIRECTIONS
        at += 1
    return at


@kernel
def _smooth(source: Any, step: Any, target: Any, between: Any) -> None:
    """A cubic B-spline with holes of `step`, along both axes, mirrored at the edge (Starck and Murtagh 1994)."""
    size = source.shape[0]
    last = size - 1
    for i in range(size):
        one, two = abs(i - step), abs(i - 2 * step)
        three, four = i + step, i + 2 * step
        three = three if three <= last else 2 * last - three
        four = four if four <= last else 2 * last - four
        for j in range(size):
            between[i, j] = (
                np.float32(0.375) * source[i, j]
                + np.float32(0.25) * (source[one, j] + source[three, j])
                + np.float32(0.0625) * (source[two, j] + source[four, j])
            )
    # A row with what is mirrored at its ends: no conditions while it is summed.
    wide = np.empty(size + 4 * step, np.float32)
    first, second, third = wide[:size], wide[step : step + size], wide[2 * step : 2 * step + size]
    fourth, fifth = wide[3 * step : 3 * step + size], wide[4 * step :]
    for i in range(size):
        for j in range(size):
            third[j] = between[i, j]
        for j in range(2 * step):
            wide[j] = between[i, 2 * step - j]
            wide[size + 2 * step + j] = between[i, last - 1 - j]
        for j in range(size):
            target[i, j] = (
                np.float32(0.375) * third[j]
                + np.float32(0.25) * (second[j] + fourth[j])
                + np.float32(0.0625) * (first[j] + fifth[j])
            )


@kernel
def _gray(density: Any, gray: Any) -> None:
    for i in range(gray.shape[0]):
        for j in range(gray.shape[1]):
            gray[i, j] = (density[i, j, 0] + density[i, j, 1] + density[i, j, 2]) / np.float32(3.0)


@kernel
def _coarse_gray(context: Any, optical_density: Any, gray: Any) -> None:
    """The context's density, the mean of CONTEXT_WIDTHS x CONTEXT_WIDTHS pixels in each."""
    for i in range(gray.shape[0]):
        for j in range(gray.shape[1]):
            total = np.float32(0.0)
            for y in range(CONTEXT_WIDTHS * i, CONTEXT_WIDTHS * (i + 1)):
                for x in range(CONTEXT_WIDTHS * j, CONTEXT_WIDTHS * (j + 1)):
                    for channel in range(3):
                        total += optical_density[context[y, x, channel]]
            gray[i, j] = total / np.float32(3 * CONTEXT_WIDTHS * CONTEXT_WIDTHS)


@kernel
def _texture(gray: Any, mask: Any, rim: Any, row: Any, at: Any) -> Any:
    """Per scale the detail's strength and the gradient in the object and at its rim, and the detail's skewness."""
    size = mask.shape[0]
    finer = gray.copy()
    coarser = np.empty_like(gray)
    between = np.empty_like(gray)
    for scale in range(N_SCALES):
        # Where the holes would reach past the whole patch there is no such scale.
        step = min(1 << scale, max(1, (size - 1) // 2))
        _smooth(finer, step, coarser, between)
        in_object = np.zeros(3, np.float64)
        at_rim = np.zeros(3, np.float64)
        mean = cube = 0.0
        for i in range(size):
            for j in range(size):
                if not (mask[i, j] or rim[i, j]):
                    continue
                detail = np.float64(finer[i, j] - coarser[i, j])
                down = coarser[min(i + 1, size - 1), j] - coarser[max(i - 1, 0), j]
                right = coarser[i, min(j + 1, size - 1)] - coarser[i, max(j - 1, 0)]
                slope = np.sqrt(np.float64(down * down + right * right))
                if mask[i, j]:
                    in_object[0] += 1
                    in_object[1] += detail * detail
                    in_object[2] += slope
                    mean += detail
                    cube += detail * detail * detail
                else:
                    at_rim[0] += 1
                    at_rim[1] += detail * detail
                    at_rim[2] += slope
        row[at] = np.sqrt(in_object[1] / in_object[0])
        row[at + 1] = in_object[2] / in_object[0]
        row[at + 2] = np.sqrt(at_rim[1] / max(1.0, at_rim[0]))
        row[at + 3] = at_rim[2] / max(1.0, at_rim[0])
        mean /= in_object[0]
        variance = max(0.0, in_object[1] / in_object[0] - mean * mean)
        third = cube / in_object[0] - 3 * mean * in_object[1] / in_object[0] + 2 * mean**3
        row[at + 4] = third / (variance * np.sqrt(variance) + 1e-7)
        at += 5
        finer, coarser = coarser, finer
    return at


def _pattern_of_each_code() -> Patches:
    """(256,): of eight neighbors around a pixel, one bit each where it is brighter, the rotation-invariant uniform pattern."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    changes = (bits != np.roll(bits, 1, axis=1)).sum(axis=1)
    return np.where(changes <= 2, bits.sum(axis=1), 9).astype(np.uint8)


PATTERN_OF_CODE = _pattern_of_each_code()
DOWN, RIGHT = (0, 1, 1, 1, 0, -1, -1, -1), (1, 1, 0, -1, -1, -1, 0, 1)


@kernel
def _patterns(gray: Any, where: Any, n_distances: Any, row: Any, at: Any) -> Any:
    """Root of the share of each rotation-invariant uniform local binary pattern (Ojala et al. 2002) over `where`, at the
    distances 1, 2, 4 ..."""
    size = gray.shape[0]
    reach = 1 << (n_distances - 1)
    # With the edge's pixels repeated beyond it: the innermost loop has no conditions, and runs in vector registers.
    wide = np.empty((size + 2 * reach, size + 2 * reach), np.float32)
    for i in range(size + 2 * reach):
        for j in range(size + 2 * reach):
            wide[i, j] = gray[min(max(i - reach, 0), size - 1), min(max(j - reach, 0), size - 1)]
    limits = np.empty(size, np.float32)
    codes = np.empty(size, np.uint8)
    for doubled in range(n_distances):
        distance = 1 << doubled
        counts = np.zeros(256, np.int64)
        for i in range(size):
            if not where[i].any():
                continue
            for j in range(size):
                # A margin keeps noise in flat regions from making patterns.
                limits[j] = gray[i, j] + np.float32(0.01)
                codes[j] = 0
            for k in range(8):
                left = reach + distance * RIGHT[k]
                neighbors = wide[reach + i + distance * DOWN[k], left : left + size]
                bit = np.uint8(1 << k)
                for j in range(size):
                    codes[j] |= bit if neighbors[j] > limits[j] else np.uint8(0)
            for j in range(size):
                counts[codes[j]] += where[i, j]
        count = 0
        for code in range(256):
            count += counts[code]
            row[at + PATTERN_OF_CODE[code]] += counts[code]
        for k in range(N_PATTERNS):
            row[at + k] = np.sqrt(row[at + k] / max(1, count))
        at += N_PATTERNS
    return at


@kernel
def _histogram(square: Any, where: Any, step: Any, row: Any, at: Any) -> Any:
    """Root of the share of each channel's levels over `where`, from every `step`-th pixel. Of the roots, differences are
    Hellinger distances: a rare color counts, and a frequent one does not drown it."""
    size = square.shape[0]
    count = 0
    for a in range(0, size, step):
        i = _picked(a, size)
        for b in range(0, size, step):
            j = _picked(b, size)
            if not where[i // step, j // step]:
                continue
            count += 1
            for channel in range(3):
                row[at + channel * N_LEVELS + square[i, j, channel] * N_LEVELS // 256] += 1
    for k in range(3 * N_LEVELS):
        row[at + k] = np.sqrt(row[at + k] / max(1, count))
    return at + 3 * N_LEVELS
