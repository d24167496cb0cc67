"""Objects from a CSV of points: with a mask a point claims the object under it, without one it becomes a small disc."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine import csvfiles
from apps.engine.components import FoundObjects, build, find_runs
from apps.engine.errors import BadInput
from apps.engine.jit import kernel

DISC_RADIUS_PX = 3
MOST_POINTS = 1_000_000  # of one image
ROW_NAMES = ("row", "r", "y")
COLUMN_NAMES = ("column", "col", "c", "x")
CLASS_NAMES = ("class_name", "class", "label")


@dataclass(frozen=True)
class Points:
    """row, column: (n,) float64, pixel centers at whole numbers. line: the point's line in the file, for messages."""

    name: str
    row: npt.NDArray[np.float64]
    column: npt.NDArray[np.float64]
    class_name: list[str | None]
    line: list[int]

    def __len__(self) -> int:
        return len(self.line)


def read_points(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> Points:
    """Lines of row,column[,class_name]. A first line of names may reorder them and add columns, which are ignored.

    Raises BadInput naming the file and the line.
    """
    rows, shown = csvfiles.read_rows(source, name=name, most_rows=MOST_POINTS + 1)
    at_row, at_column = 0, 1
    at_class: int | None = 2
    at_image: int | None = None
    if _number(csvfiles.cell(rows[0][1], 0)) is None and _number(csvfiles.cell(rows[0][1], 1)) is None:
        columns = csvfiles.columns_of(rows[0][1])
        found = [
            next((columns[n] for n in names if n in columns), None) for names in (ROW_NAMES, COLUMN_NAMES, CLASS_NAMES)
        ]
        if found[0] is None or found[1] is None:
            whole = (
                "; a table of labels by label_id is imported by the command import_labels"
                if "label_id" in columns
                else ""
            )
            raise BadInput(shown, f"the first line names no columns row and column{whole}")
        at_row, at_column, at_class = found[0], found[1], found[2]
        at_image = columns.get("image")
        rows = rows[1:]
    if not rows:
        raise BadInput(shown, "the file lists no point")
    row, column, class_name, lines = [], [], [], []
    for line, cells in rows:
        r, c = _number(csvfiles.cell(cells, at_row)), _number(csvfiles.cell(cells, at_column))
        if r is None or c is None:
            raise BadInput(
                shown, f"line {line}: {','.join(cells)[:80]!r} does not start with two numbers, row and column"
            )
        row.append(r)
        column.append(c)
        class_name.append(csvfiles.cell(cells, at_class) or None)
        lines.append(line)
    if at_image is not None and len({csvfiles.cell(cells, at_image) for _, cells in rows}) > 1:
        raise BadInput(shown, "the file lists points of several images; one file per image is expected")
    return Points(shown, np.array(row, np.float64), np.array(column, np.float64), class_name, lines)


def objects_from_points(
    points: Points, shape: tuple[int, ...], mask: FoundObjects | None = None, *, radius_px: int = DISC_RADIUS_PX
) -> FoundObjects:
    """One object per point, in the file's order; source_id is the number of the point, from 1.

    mask: the objects that find_objects found in the image's mask. A point claims the object at its pixel; objects
    without a point are left out (noted); a point on background becomes a disc (noted). Without a mask every point
    becomes a disc of radius_px; where discs overlap the nearest point wins. A disc's row and column are the point
    itself. Raises BadInput: a point outside of the image, two points in one object or on one pixel, no point.
    """
    height, width = int(shape[0]), int(shape[1])
    if not len(points):
        raise BadInput(points.name, "the file lists no point")
    row = np.floor(points.row + 0.5)
    column = np.floor(points.column + 0.5)
    outside = np.flatnonzero((row < 0) | (row >= height) | (column < 0) | (column >= width))
    if len(outside):
        i = int(outside[0])
        raise BadInput(
            points.name,
            f"line {points.line[i]}: the point at row {points.row[i]:g}, column {points.column[i]:g} lies outside of "
            f"the image ({height} rows x {width} columns); {len(outside)} of {len(points)} points do",
        )
    pixel_row, pixel_column = row.astype(np.int64), column.astype(np.int64)
    _refuse_doubles(points, pixel_row * width + pixel_column, "on the same pixel")

    n = len(points)
    notes: list[str] = []
    raster = np.zeros((height, width), np.uint32)
    is_disc = np.ones(n, np.bool_)
    if mask is not None:
        notes += mask.notes
        claimed = mask.raster[pixel_row, pixel_column].astype(np.int64)
        inside = np.flatnonzero(claimed)
        _refuse_doubles(points, claimed, "in the same object", among=inside)
        table = np.zeros(len(mask) + 1, np.uint32)
        table[claimed[inside]] = inside + 1
        raster = table[mask.raster]
        is_disc[inside] = False
        if len(mask) > len(inside):
            notes.append(
                f"{len(mask) - len(inside)} of {len(mask)} objects in the mask have no point and were left out"
            )
        if len(inside) < n:
            notes.append(
                f"{n - len(inside)} of {n} points lie on background; each became a disc of radius {radius_px} px"
            )
    _paint_discs(raster, points.row, points.column, pixel_row, pixel_column, is_disc, radius_px)

    runs = find_runs(raster)
    found = build(
        runs,
        runs.value.astype(np.int32) - 1,
        n,
        source_id=np.arange(1, n + 1, dtype=np.int64),
        source_class=list(points.class_name),
        notes=notes,
    )
    found.row[is_disc] = points.row[is_disc]
    found.column[is_disc] = points.column[is_disc]
    return found


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _refuse_doubles(
    points: Points, place: npt.NDArray[np.int64], where: str, among: npt.NDArray[np.int64] | None = None
) -> None:
    chosen = np.arange(len(place)) if among is None else among
    order = chosen[np.argsort(place[chosen], kind="stable")]
    same = np.flatnonzero(place[order][1:] == place[order][:-1])
    if len(same):
        first, second = points.line[order[same[0]]], points.line[order[same[0] + 1]]
        raise BadInput(points.name, f"the points of lines {first} and {second} lie {where}; an object has one point")


@kernel
def _paint_discs(
    raster: Any, row: Any, column: Any, pixel_row: Any, pixel_column: Any, is_disc: Any, radius: Any
) -> Any:
    """Background pixels within the radius go to the nearest point; a point's own pixel is always its own."""
    height, width = raster.shape
    for i in range(row.size):
        if not is_disc[i]:
            continue
        for r in range(max(0, pixel_row[i] - radius), min(height, pixel_row[i] + radius + 1)):
            for c in range(max(0, pixel_column[i] - radius), min(width, pixel_column[i] + radius + 1)):
                distance = (r - row[i]) ** 2 + (c - column[i]) ** 2
                if distance > radius * radius:
                    continue
                owner = np.int64(raster[r, c]) - 1
                if owner >= 0:
                    if not is_disc[owner]:
                        continue
                    if (r - row[owner]) ** 2 + (c - column[owner]) ** 2 <= distance:
                        continue
                raster[r, c] = i + 1
    for i in range(row.size):
        if is_disc[i]:
            raster[pixel_row[i], pixel_column[i]] = i + 1
