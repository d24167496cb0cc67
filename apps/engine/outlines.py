"""Outer outlines of objects along pixel corners."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.jit import kernel

MAX_SIDE_PX = 65535  # corners are stored as 16-bit offsets


def trace_outlines(
    raster: npt.NDArray[np.generic],
    start_row: npt.NDArray[np.int32],
    start_column: npt.NDArray[np.int32],
    box: npt.NDArray[np.int32],
) -> list[bytes]:
    """One closed polygon per object: uint16 little-endian pairs (row, column) relative to the box's top left.

    raster: (h, w), value i + 1 = object i. start_row, start_column: (n,) the first pixel in reading order of the piece
    to trace. Only corners where the direction turns are kept. An object wider or higher than 65,535 px gives b"".
    """
    corners, ends = _trace(raster, start_row, start_column, box)
    data = corners.astype("<u2", copy=False).tobytes()
    outlines: list[bytes] = []
    begin = 0
    for end in ends.tolist():
        outlines.append(data[begin * 4 : end * 4])
        begin = end
    return outlines


def outline_points(outline: bytes) -> npt.NDArray[np.uint16]:
    """(k, 2) uint16 row, column from the stored bytes."""
    return np.frombuffer(outline, dtype="<u2").reshape(-1, 2)


@kernel
def _trace(raster: Any, start_row: Any, start_column: Any, box: Any) -> Any:
    height, width = raster.shape
    n_objects = start_row.size
    ends = np.empty(n_objects, np.int64)
    corners = np.empty((max(64, 32 * n_objects), 2), np.uint16)
    n = 0
    # headings clockwise: east, south, west, north; the object is always on the right hand
    step_row = (0, 1, 0, -1)
    step_column = (1, 0, -1, 0)
    # the pixel ahead on the left of a corner, and on the right, as offsets from the corner's own pixel
    left_row = (-1, 0, 0, -1)
    left_column = (0, 0, -1, -1)
    right_row = (0, 0, -1, -1)
    right_column = (0, -1, -1, 0)
    for k in range(n_objects):
        top, left = box[k, 0], box[k, 1]
        if box[k, 2] - top > MAX_SIDE_PX or box[k, 3] - left > MAX_SIDE_PX:
            ends[k] = n
            continue
        value = k + 1
        begin_row, begin_column = start_row[k], start_column[k]
        r, c, heading = begin_row, begin_column, 0
        while True:
            if n + 1 > corners.shape[0]:
                grown = np.empty((corners.shape[0] * 2, 2), np.uint16)
                grown[:n] = corners[:n]
                corners = grown
            corners[n, 0] = r - top
            corners[n, 1] = c - left
            n += 1
            while True:  # straight on until the boundary turns
                r += step_row[heading]
                c += step_column[heading]
                y, x = r + left_row[heading], c + left_column[heading]
                if 0 <= y < height and 0 <= x < width and raster[y, x] == value:
                    heading = (heading + 3) & 3
                    break
                y, x = r + right_row[heading], c + right_column[heading]
                if not (0 <= y < height and 0 <= x < width and raster[y, x] == value):
                    heading = (heading + 1) & 3
                    break
            if r == begin_row and c == begin_column:
                break
        ends[k] = n
    return corners[:n].copy(), ends
