"""Mask values -> runs -> objects, in one pass over the pixels.

A run is a horizontal stretch of one non-zero value. A 1000 x 1000 tile with 500 nuclei has about 10^4 runs, so
everything after the first scan (joining, counting, centroids, boxes) works on those and not on 10^6 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from apps.engine.jit import kernel
from apps.engine.outlines import trace_outlines


@dataclass(frozen=True)
class FoundObjects:
    """The objects of one image, in the order in which they will get their ordinals.

    raster: (h, w) uint16, or uint32 beyond 65,535 objects; value i + 1 = object i, 0 = background.
    row, column: (n,) float32, pixel centers at whole numbers; the mean of the object's pixels (for a bare point: the
    point). box: (n, 4) int32 top, left, bottom, right; the last two exclusive. area: (n,) int32 in pixels.
    outlines: per object uint16 little-endian pairs (row, column) of pixel corners relative to the box's top left; the
    closed outer polygon of the object's largest piece, clockwise on screen, without collinear corners; empty beyond
    65,535 px. source_id: (n,) int64, the id in an indexed mask, else the number of the component, tile or CSV row, from
    1. source_class: the class name the file states, or None. notes: for the user.
    """

    raster: npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
    row: npt.NDArray[np.float32]
    column: npt.NDArray[np.float32]
    box: npt.NDArray[np.int32]
    area: npt.NDArray[np.int32]
    outlines: list[bytes]
    source_id: npt.NDArray[np.int64]
    source_class: list[str | None]
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.area)


@dataclass(frozen=True)
class Runs:
    """All runs of a mask in reading order, with the 8-connected component of equal value each belongs to."""

    shape: tuple[int, int]
    row: npt.NDArray[np.int32]
    start: npt.NDArray[np.int32]
    stop: npt.NDArray[np.int32]
    value: npt.NDArray[np.uint32]
    component: npt.NDArray[np.int32]
    n_components: int

    @property
    def n_pixels(self) -> int:
        return int((self.stop.astype(np.int64) - self.start).sum())

    def values(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
        """(distinct values ascending, for each run the position of its value among them)."""
        if not len(self.value):
            return np.zeros(0, np.int64), np.zeros(0, np.int32)
        highest = int(self.value.max())
        if highest < 1 << 22:  # a table is ten times quicker than sorting; above that it would cost memory
            present = np.zeros(highest + 1, np.bool_)
            present[self.value] = True
            position = np.cumsum(present, dtype=np.int32) - 1
            return np.flatnonzero(present).astype(np.int64), position[self.value].astype(np.int32)
        distinct, inverse = np.unique(self.value, return_inverse=True)
        return distinct.astype(np.int64), inverse.astype(np.int32)


def find_runs(mask: npt.NDArray[np.generic]) -> Runs:
    """mask: (h, w) uint8, uint16 or uint32. Components join equal values through edges and corners (8-connectivity)."""
    row, start, stop, value, component, n_components = _scan(np.ascontiguousarray(mask))
    shape = (int(mask.shape[0]), int(mask.shape[1]))
    return Runs(shape, row, start, stop, value, component, int(n_components))


def build(
    runs: Runs,
    object_of_run: npt.NDArray[np.int32],
    n_objects: int,
    *,
    source_id: npt.NDArray[np.int64],
    source_class: list[str | None] | None = None,
    notes: list[str] | None = None,
) -> FoundObjects:
    """Measure and paint the objects that the runs were given to; every object 0..n_objects-1 must have a run."""
    dtype = np.uint16 if n_objects <= 65535 else np.uint32
    raster = np.zeros(runs.shape, dtype)
    row, column, box, area = _measure_and_paint(raster, runs.row, runs.start, runs.stop, object_of_run, n_objects)
    notes = list(notes or [])
    start_row, start_column = _first_pixels(
        runs.row, runs.start, runs.stop, runs.component, runs.n_components, object_of_run, n_objects
    )
    outlines = trace_outlines(raster, start_row, start_column, box)
    n_large = sum(not outline for outline in outlines)
    if n_large:
        notes.append(f"{n_large} objects are larger than 65,535 pixels across; they have no outline")
    return FoundObjects(
        raster=raster,
        row=row,
        column=column,
        box=box,
        area=area,
        outlines=outlines,
        source_id=source_id,
        source_class=source_class if source_class is not None else [None] * n_objects,
        notes=notes,
    )


def pack_colors(mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """(h, w, 3) uint8 -> (h, w) uint32 0xRRGGBB."""
    return cast("npt.NDArray[np.uint32]", _pack(np.ascontiguousarray(mask)))


@kernel
def _pack(mask: Any) -> Any:
    height, width = mask.shape[:2]
    out = np.empty((height, width), np.uint32)
    for r in range(height):
        for c in range(width):
            red = np.uint32(mask[r, c, 0])
            green = np.uint32(mask[r, c, 1])
            out[r, c] = (red << np.uint32(16)) | (green << np.uint32(8)) | np.uint32(mask[r, c, 2])
    return out


@kernel
def _scan(mask: Any) -> Any:
    height, width = mask.shape
    count = 0
    for r in range(height):
        line = mask[r]
        if line[0] != 0:
            count += 1
        for c in range(1, width):
            count += (line[c] != line[c - 1]) & (line[c] != 0)

    row = np.empty(count, np.int32)
    start = np.empty(count, np.int32)
    stop = np.empty(count, np.int32)
    value = np.empty(count, np.uint32)
    parent = np.empty(count, np.int32)
    n = 0
    above, above_end = 0, 0  # the runs of the row before
    for r in range(height):
        line = mask[r]
        first = n
        c = 0
        while c < width:
            v = line[c]
            if v == 0:
                c += 1
                while c < width and line[c] == 0:
                    c += 1
                continue
            begin = c
            c += 1
            while c < width and line[c] == v:
                c += 1
            row[n], start[n], stop[n], value[n], parent[n] = r, begin, c, v, n
            # Runs above that touch this one, corners included. One that reaches beyond it may touch the next too.
            while above < above_end and stop[above] < begin:
                above += 1
            other = above
            while other < above_end and start[other] <= c:
                if value[other] == v:
                    a = n
                    while parent[a] != a:
                        parent[a] = parent[parent[a]]
                        a = parent[a]
                    b = other
                    while parent[b] != b:
                        parent[b] = parent[parent[b]]
                        b = parent[b]
                    if a < b:
                        parent[b] = a
                    else:
                        parent[a] = b
                other += 1
            n += 1
        above, above_end = first, n

    # A root is the first run of its component, so components are numbered in reading order.
    component = np.empty(count, np.int32)
    n_components = 0
    for i in range(count):
        root = i
        while parent[root] != root:
            root = parent[root]
        if root == i:
            component[i] = n_components
            n_components += 1
        else:
            component[i] = component[root]
            parent[i] = root
    return row, start, stop, value, component, n_components


@kernel
def _measure_and_paint(raster: Any, row: Any, start: Any, stop: Any, object_of_run: Any, n_objects: Any) -> Any:
    area = np.zeros(n_objects, np.int64)
    row_sum = np.zeros(n_objects, np.int64)  # whole numbers: exact, where a float32 sum is not
    column_sum = np.zeros(n_objects, np.int64)
    box = np.empty((n_objects, 4), np.int32)
    for i in range(n_objects):
        box[i, 0] = 2147483647
        box[i, 1] = 2147483647
        box[i, 2] = 0
        box[i, 3] = 0
    for i in range(row.size):
        k = object_of_run[i]
        r = np.int64(row[i])
        a = np.int64(start[i])
        b = np.int64(stop[i])
        n = b - a
        area[k] += n
        row_sum[k] += r * n
        column_sum[k] += (a + b - 1) * n // 2
        box[k, 0] = min(box[k, 0], r)
        box[k, 1] = min(box[k, 1], a)
        box[k, 2] = max(box[k, 2], r + 1)
        box[k, 3] = max(box[k, 3], b)
        for c in range(a, b):
            raster[r, c] = k + 1
    row_mean = np.empty(n_objects, np.float32)
    column_mean = np.empty(n_objects, np.float32)
    small_area = np.empty(n_objects, np.int32)
    for k in range(n_objects):
        row_mean[k] = row_sum[k] / area[k]
        column_mean[k] = column_sum[k] / area[k]
        small_area[k] = area[k]
    return row_mean, column_mean, box, small_area


@kernel
def _first_pixels(
    row: Any, start: Any, stop: Any, component: Any, n_components: Any, object_of_run: Any, n_objects: Any
) -> Any:
    """The first pixel, in reading order, of each object's largest piece: a corner of its outer boundary."""
    size = np.zeros(n_components, np.int64)
    for i in range(row.size):
        size[component[i]] += stop[i] - start[i]
    largest = np.full(n_objects, -1, np.int64)
    first = np.zeros(n_objects, np.int64)
    for i in range(row.size):
        k = object_of_run[i]
        if largest[k] != component[i] and (largest[k] < 0 or size[component[i]] > size[largest[k]]):
            largest[k] = component[i]
            first[k] = i
    start_row = np.empty(n_objects, np.int32)
    start_column = np.empty(n_objects, np.int32)
    for k in range(n_objects):
        start_row[k] = row[first[k]]
        start_column[k] = start[first[k]]
    return start_row, start_column
