"""Mask -> objects, for every kind of mask, and regular tilings where there is none.

Two pixels belong together when they touch by an edge or a corner (8-connectivity). An indexed mask is never relabeled.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

import numpy as np
import numpy.typing as npt

from apps.engine import csvfiles
from apps.engine.components import FoundObjects, Runs, build, find_runs, pack_colors
from apps.engine.errors import BadInput, EngineError
from apps.engine.points import DISC_RADIUS_PX, Points, objects_from_points, read_points

__all__ = [
    "DISC_RADIUS_PX",
    "MOST_VALUES",
    "NO_OBJECT_CAUSE",
    "FoundObjects",
    "LabelValues",
    "MaskKind",
    "Points",
    "check_same_size",
    "find_objects",
    "looks_like_mask",
    "objects_from_points",
    "objects_from_tiling",
    "read_label_values",
    "read_points",
    "values_present",
    "wants_colors",
]

MOST_COMPONENTS = 1_000_000  # ten times the nuclei of the largest image that is accepted; noise has more
NO_OBJECT_CAUSE = "the mask is empty: every pixel is background (0)"
# What PatchSorter's own exports write for an object without a label.
UNLABELED_VALUE = 65535
UNLABELED_COLOR = 0x808080
# A QuickAnnotator mask: objects are cyan; magenta and blue are looked-at background (training and test patches).
QUICK_ANNOTATOR_OBJECT = 0x00FFFF
QUICK_ANNOTATOR_COLORS = {0x0000FF, QUICK_ANNOTATOR_OBJECT, 0xFF00FF}

# How `looks_like_mask` tells. Of neighbors in a row so many have one and the same color in a mask; in pictures of tissue it is at
# most 0.6, and more only where glass is white throughout. Black and white areas are therefore left out of the second share, in which
# masks with objects of 8 px have 0.78. A binary mask has no other areas: it, and 16-bit numbers brought to 8 bits, have few colors.
MASK_FLATNESS, MASK_FLATNESS_OF_OBJECTS = 0.9, 0.6
MASK_COLORS = 16
MASK_ROWS = 512  # of more, every so many are looked at

# More than a project has classes.
MOST_VALUES = 300
MOST_TABLE_ROWS = 10_000
VALUES_AT_ONCE_PX = 1 << 20


class MaskKind(StrEnum):
    BINARY = "binary"
    INDEXED = "indexed"
    LABELED = "labeled"
    QUICK_ANNOTATOR = "quick_annotator"
    NONE = "none"


@dataclass(frozen=True)
class LabelValues:
    """Which value or color (0xRRGGBB) of a labeled mask means which class name. 0 and black are always background."""

    by_value: dict[int, str] = field(default_factory=dict)
    by_color: dict[int, str] = field(default_factory=dict)

    def class_names(self) -> list[str]:
        """Distinct names in the order of the table."""
        return list(dict.fromkeys([*self.by_value.values(), *self.by_color.values()]))


def wants_colors(kind: MaskKind, label_values: LabelValues | None = None) -> bool:
    """Whether read_mask should turn a palette into colors for this kind (otherwise the palette's indices count)."""
    return kind == MaskKind.QUICK_ANNOTATOR or (
        kind == MaskKind.LABELED and label_values is not None and bool(label_values.by_color)
    )


def check_same_size(
    image_shape: tuple[int, ...], mask_shape: tuple[int, ...], *, image_name: str, mask_name: str
) -> None:
    """Raises BadInput naming both sizes where a mask does not fit its image."""
    if tuple(image_shape[:2]) != tuple(mask_shape[:2]):
        raise BadInput(
            mask_name,
            f"the mask has {mask_shape[0]} rows x {mask_shape[1]} columns, "
            f"but its image {image_name} has {image_shape[0]} rows x {image_shape[1]} columns",
        )


def looks_like_mask(pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether what came as an image (h, w, 3) is rather a mask: it consists of areas of exactly one color, which no camera
    makes. Good for a question to the user; not sure enough to decide anything by.
    """
    rows = pixels[:: max(1, len(pixels) // MASK_ROWS)]
    left, right = rows[:, :-1], rows[:, 1:]
    equal = (left == right).all(axis=2)
    if not equal.size or equal.mean() < MASK_FLATNESS:
        return False
    background = equal & ((left == 0).all(axis=2) | (left == 255).all(axis=2))
    if (equal & ~background).sum() >= MASK_FLATNESS_OF_OBJECTS * max(1, (~background).sum()):
        return True
    return len(np.unique(pack_colors(rows))) <= MASK_COLORS


def find_objects(
    mask: npt.NDArray[np.generic], kind: MaskKind, *, name: str, label_values: LabelValues | None = None
) -> FoundObjects:
    """The objects of a mask as read_mask returned it.

    binary: one object per component of the one value that is not 0.
    indexed: one object per id, in ascending order, whatever its number of pieces.
    labeled: one object per component of one value (or color); label_values gives the class names and must know all
    values. quick_annotator: one object per component of (0, 255, 255), or of 255 in a one-channel mask.
    Raises BadInput (file = name), also where there is no object.
    """
    if mask.size == 0:
        raise BadInput(name, "the mask has no pixels")
    if mask.dtype == np.bool_:
        mask = np.ascontiguousarray(mask).view(np.uint8)
    if mask.dtype not in (np.uint8, np.uint16, np.uint32) or (mask.ndim == 3 and mask.dtype != np.uint8):
        raise EngineError(f"a mask of type {mask.dtype} was not read by read_mask")
    if kind == MaskKind.BINARY:
        return _find_binary(mask, name)
    if kind == MaskKind.INDEXED:
        return _find_indexed(mask, name)
    if kind == MaskKind.LABELED:
        return _find_labeled(mask, name, label_values)
    if kind == MaskKind.QUICK_ANNOTATOR:
        return _find_quick_annotator(mask, name)
    raise EngineError("a project without masks takes its objects from a tiling (objects_from_tiling) or from points")


def values_present(mask: npt.NDArray[np.generic]) -> list[int]:
    """The values of a mask (h, w), or 0xRRGGBB of a color mask (h, w, 3), ascending, without background (0).

    Of a mask with more than `MOST_VALUES`, one more than that, of its upper rows: a small file can hold a value for each of its millions
    of pixels.
    """
    found: npt.NDArray[np.generic] = np.zeros(0, np.uint32)
    n_rows = max(1, VALUES_AT_ONCE_PX // max(1, mask.shape[1]))
    for first in range(0, mask.shape[0], n_rows):
        block = mask[first : first + n_rows]
        pixels = (pack_colors(cast("npt.NDArray[np.uint8]", block)) if mask.ndim == 3 else block).ravel()
        differs = np.ones(pixels.shape, np.bool_)
        differs[1:] = pixels[1:] != pixels[:-1]
        found = np.setdiff1d(np.union1d(found, pixels[differs]), [0])
        if len(found) > MOST_VALUES:
            break
    return [int(value) for value in found[: MOST_VALUES + 1]]


def objects_from_tiling(shape: tuple[int, ...], patch_size_px: int) -> FoundObjects:
    """Square tiles side by side from the top left, for images without mask and points.

    What remains at the right and bottom, less than a patch, is left out and noted. An image smaller than a patch in one
    direction gives one tile of its own size in that direction.
    """
    height, width = int(shape[0]), int(shape[1])
    tile_height, tile_width = min(patch_size_px, height), min(patch_size_px, width)
    n_rows, n_columns = height // tile_height, width // tile_width
    tile_row = np.arange(height, dtype=np.uint32) // np.uint32(tile_height)
    tile_column = np.arange(width, dtype=np.uint32) // np.uint32(tile_width)
    n_tiles = n_rows * n_columns
    raster = tile_row[:, None] * np.uint32(n_columns) + tile_column[None, :] + np.uint32(1)
    raster[n_rows * tile_height :] = 0
    raster[:, n_columns * tile_width :] = 0
    notes = []
    if height > n_rows * tile_height or width > n_columns * tile_width:
        notes.append(
            f"the last {height - n_rows * tile_height} rows and {width - n_columns * tile_width} columns "
            f"are less than a patch of {patch_size_px} px and were left out"
        )
    if height < patch_size_px or width < patch_size_px:
        notes.append(
            f"the image ({height} x {width}) is smaller than a patch of {patch_size_px} px; its tile is clipped"
        )
    runs = find_runs(raster)
    return build(
        runs,
        runs.value.astype(np.int32) - 1,
        n_tiles,
        source_id=np.arange(1, n_tiles + 1, dtype=np.int64),
        notes=notes,
    )


def read_label_values(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> LabelValues:
    """A table with the columns class_name and value or color or both (as in an export's legend.csv).

    Colors are written #rrggbb, "r,g,b" or "r g b". Raises BadInput: unknown columns, one value with two classes, 0 as a
    class.
    """
    rows, shown = csvfiles.read_rows(source, name=name, most_rows=MOST_TABLE_ROWS)
    columns = csvfiles.columns_of(rows[0][1])
    if "class_name" not in columns or not ("value" in columns or "color" in columns):
        raise BadInput(shown, "the first line must name the columns: class_name, and value or color or both")
    by_value: dict[int, str] = {}
    by_color: dict[int, str] = {}
    for line, cells in rows[1:]:
        class_name = csvfiles.cell(cells, columns["class_name"])
        value = csvfiles.cell(cells, columns.get("value"))
        color = csvfiles.cell(cells, columns.get("color"))
        if not value and not color:
            raise BadInput(shown, f"line {line} has neither a value nor a color")
        if value:
            if not re.fullmatch(r"\d{1,10}", value):
                raise BadInput(shown, f"line {line}: {value!r} is not a whole number")
            _enter(by_value, int(value), class_name, shown, line, value)
        if color:
            _enter(by_color, _parse_color(color, shown, line), class_name, shown, line, color)
    if not by_value and not by_color:
        raise BadInput(shown, "the table states no class")
    return LabelValues(by_value, by_color)


def _enter(table: dict[int, str], key: int, class_name: str, name: str, line: int, written: str) -> None:
    if key == 0:
        if class_name.lower() in ("", "background"):
            return
        raise BadInput(name, f"line {line}: {written} is the background and cannot be the class {class_name!r}")
    if not class_name:
        raise BadInput(name, f"line {line}: {written} has no class name")
    if table.setdefault(key, class_name) != class_name:
        raise BadInput(name, f"line {line}: {written} stands for both {table[key]!r} and {class_name!r}")


def _parse_color(text: str, name: str, line: int) -> int:
    if re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
        return int(text.removeprefix("#"), 16)
    parts = re.fullmatch(r"\(?(\d{1,3})[ ,;]+(\d{1,3})[ ,;]+(\d{1,3})\)?", text)
    if parts is None or any(int(part) > 255 for part in parts.groups()):
        raise BadInput(name, f"line {line}: {text!r} is not a color; write #rrggbb or three numbers from 0 to 255")
    red, green, blue = (int(part) for part in parts.groups())
    return red << 16 | green << 8 | blue


def _listed(items: Iterable[str], at_most: int = 8) -> str:
    texts = list(items)
    more = len(texts) - at_most
    return ", ".join(texts[:at_most]) + (f" and {more} more" if more > 0 else "")


def _lossy(name: str) -> str:
    return (
        "; JPEG changes mask values, save the mask as PNG or TIFF" if name.lower().endswith((".jpg", ".jpeg")) else ""
    )


def _color_text(color: int) -> str:
    return f"#{color:06x}"


def _require_objects(runs: Runs, name: str) -> None:
    if not runs.n_components:
        raise BadInput(name, NO_OBJECT_CAUSE)
    if runs.n_components > MOST_COMPONENTS:
        raise BadInput(
            name,
            f"the mask has {runs.n_components:,} separate pieces; at most {MOST_COMPONENTS:,} of an image are accepted",
        )


def _by_component(
    runs: Runs, *, source_class: list[str | None] | None = None, notes: list[str] | None = None
) -> FoundObjects:
    return build(
        runs,
        runs.component,
        runs.n_components,
        source_id=np.arange(1, runs.n_components + 1, dtype=np.int64),
        source_class=source_class,
        notes=notes,
    )


def _find_binary(mask: npt.NDArray[np.generic], name: str) -> FoundObjects:
    color = mask.ndim == 3
    runs = find_runs(pack_colors(cast("npt.NDArray[np.uint8]", mask)) if color else mask)
    _require_objects(runs, name)
    values, _ = runs.values()
    if len(values) > 1:
        shown = _listed(_color_text(int(v)) if color else str(v) for v in [0, *values.tolist()])
        raise BadInput(
            name,
            f"a binary mask has background 0 and one other value, this one has {len(values) + 1} values ({shown}); "
            f"choose another mask kind{_lossy(name)}",
        )
    if runs.n_pixels == mask.shape[0] * mask.shape[1]:
        raise BadInput(name, f"a binary mask has background 0 and one other value, this one has only {values[0]}")
    return _by_component(runs)


def _find_indexed(mask: npt.NDArray[np.generic], name: str) -> FoundObjects:
    if mask.ndim != 2:
        raise BadInput(
            name,
            "an indexed mask has one channel of object ids, this one has colors; where a color means a class, the kind is "
            f"labeled{_lossy(name)}",
        )
    runs = find_runs(mask)
    _require_objects(runs, name)
    ids, object_of_run = runs.values()
    # A component holds one id only, so components per id are counted by looking at each component's first run.
    first_run = np.full(runs.n_components, -1, np.int64)
    first_run[runs.component[::-1]] = np.arange(len(runs.component) - 1, -1, -1)
    pieces = np.bincount(object_of_run[first_run], minlength=len(ids))
    split = np.flatnonzero(pieces > 1)
    notes = []
    if len(split):
        listed = _listed(str(ids[i]) for i in split)
        notes.append(f"{len(split)} ids consist of several pieces (ids {listed}); each id is one object")
    return build(runs, object_of_run, len(ids), source_id=ids, notes=notes)


def _find_labeled(mask: npt.NDArray[np.generic], name: str, label_values: LabelValues | None) -> FoundObjects:
    if label_values is None or not (label_values.by_value or label_values.by_color):
        raise BadInput(name, "a labeled mask needs the table that says which value or color is which class")
    if mask.ndim == 3 or not label_values.by_value:
        if not label_values.by_color:
            colors = _listed(map(_color_text, values_present(mask)))
            raise BadInput(
                name,
                f"the mask has colors ({colors}), but the table states values ({_listed(map(str, label_values.by_value))}); "
                f"its first line must be color,class_name{_lossy(name)}",
            )
        if mask.ndim == 2 and (mask.dtype != np.uint8):
            numbers = _listed(map(str, values_present(mask)))
            raise BadInput(
                name,
                f"the table states colors ({_listed(map(_color_text, label_values.by_color))}), but the mask has one "
                f"channel of numbers ({numbers}); its first line must be value,class_name",
            )
        if mask.ndim == 2:
            mask = np.repeat(mask[:, :, None], 3, axis=2)  # a gray v is the color (v, v, v)
        runs = find_runs(pack_colors(cast("npt.NDArray[np.uint8]", mask)))
        show: Callable[[int], str] = _color_text
        table, unlabeled = label_values.by_color, UNLABELED_COLOR
    else:
        runs = find_runs(mask)
        show = str
        table, unlabeled = label_values.by_value, UNLABELED_VALUE
    _require_objects(runs, name)
    values, value_of_run = runs.values()
    unknown = [int(value) for value in values if int(value) not in table and int(value) != unlabeled]
    if unknown:
        known = _listed(show(value) for value in table)
        raise BadInput(
            name, f"the table does not know {_listed(show(v) for v in unknown)}; it knows {known}{_lossy(name)}"
        )
    names = [table.get(int(value)) for value in values]
    value_of_component = np.zeros(runs.n_components, np.int64)
    value_of_component[runs.component] = value_of_run
    source_class = [names[i] for i in value_of_component.tolist()]
    notes = []
    n_without = sum(class_name is None for class_name in source_class)
    if n_without:
        notes.append(
            f"{n_without} objects have {show(unlabeled)}, which means unlabeled; they were taken without a class"
        )
    return _by_component(runs, source_class=source_class, notes=notes)


def _find_quick_annotator(mask: npt.NDArray[np.generic], name: str) -> FoundObjects:
    if mask.ndim == 2:
        runs = find_runs(mask)
        _require_objects(runs, name)
        values, _ = runs.values()
        if values.tolist() not in ([255], [1]):
            raise BadInput(
                name,
                "a QuickAnnotator mask holds 0 and 255, this one holds "
                f"{_listed(map(str, values.tolist()))}{_lossy(name)}",
            )
        return _by_component(runs)
    packed = pack_colors(cast("npt.NDArray[np.uint8]", mask))
    colors = set(values_present(packed))
    if colors - QUICK_ANNOTATOR_COLORS:
        listed = _listed(_color_text(color) for color in sorted(colors - QUICK_ANNOTATOR_COLORS))
        raise BadInput(
            name,
            "a QuickAnnotator mask has the colors #000000, #0000ff, #00ffff and #ff00ff, this one also has "
            f"{listed}{_lossy(name)}",
        )
    runs = find_runs((packed == QUICK_ANNOTATOR_OBJECT).view(np.uint8))
    if not runs.n_components:
        raise BadInput(name, "the mask is empty: no pixel is marked positive (#00ffff)")
    notes = []
    if colors - {QUICK_ANNOTATOR_OBJECT}:
        notes.append("blue and magenta mark background that was annotated; only cyan (positive) regions are objects")
    return _by_component(runs, notes=notes)
