"""The CSV files about labels: objects.csv and images.csv go out, classes.csv comes in (and objects.csv may come in again)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from apps.engine import csvfiles
from apps.engine.errors import BadInput
from apps.engine.pairing import FORMULA_SIGNS


class ObjectRow(NamedTuple):
    """One line of objects.csv. label_id: the object's number in the instance mask. Empty text or None = nothing to
    state.

    Where the provenance is "sampled", nobody saw the patch: sample_n of sample_size objects were looked at and sample_wrong of
    them were wrong, so that at most the share error_bound of these sample_size objects is, at 95 % confidence or more.
    on_screen: 1 where the patch was on the screen of who labeled it, 0 where it was not, None where nobody knows.
    """

    image: str
    ordinal: int
    label_id: int
    row: float
    column: float
    class_name: str
    class_value: int | None
    provenance: str
    sample_n: int | None
    sample_wrong: int | None
    sample_size: int | None
    error_bound: float | None
    on_screen: int | None
    labeled_by: str
    labeled_at: str
    prediction: str
    confidence: float | None


class ImageRow(NamedTuple):
    """One line of images.csv. labeled, with_predictions: (n_classes,) int64, the image's objects with a label of each class, and
    those together with the ones that have no label and are predicted to be of it.
    """

    image: str
    n_objects: int
    labeled: npt.NDArray[np.int64]
    with_predictions: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassTable:
    """Lines of a classes.csv that state a class, in the file's order.

    label_id: (n,) int64, the source or instance id in the image's mask; or None, then row, column: (n,) float64.
    n_without_class: lines whose class name is empty, left out of the rest.
    """

    name: str
    image: list[str]
    label_id: npt.NDArray[np.int64] | None
    row: npt.NDArray[np.float64] | None
    column: npt.NDArray[np.float64] | None
    class_name: list[str]
    line: list[int]
    n_without_class: int

    def __len__(self) -> int:
        return len(self.line)


def write_objects_csv(path: Path, rows: Iterable[ObjectRow]) -> int:
    """Write objects.csv and return the number of objects. Rows may be a generator: nothing is gathered in memory."""
    return csvfiles.write_rows(path, ObjectRow._fields, map(_cells_of, rows))


def _cells_of(row: ObjectRow) -> Iterable[object]:
    cells = row._asdict() | {
        "row": round(row.row, 2),  # a hundredth of a pixel: more digits only look exact
        "column": round(row.column, 2),
        "error_bound": "" if row.error_bound is None else f"{row.error_bound:.6f}",
        "confidence": "" if row.confidence is None else f"{row.confidence:.4f}",
    }
    # Names that a spreadsheet would take for a formula are refused on their way in; an e-mail address may begin so.
    if row.labeled_by.startswith(FORMULA_SIGNS):
        cells["labeled_by"] = f"'{row.labeled_by}"  # by which spreadsheets mark text
    return cells.values()


def write_images_csv(path: Path, class_names: Sequence[str], rows: Iterable[ImageRow]) -> None:
    """Write images.csv: a line an image, two columns a class."""
    of_classes = [column for name in class_names for column in (f"{name}, labeled", f"{name}, labeled or predicted")]
    lines = (
        [row.image, row.n_objects, row.labeled.sum(), *np.stack([row.labeled, row.with_predictions], axis=1).ravel()]
        for row in rows
    )
    csvfiles.write_rows(path, ["image", "objects", "labeled", *of_classes], lines)


def read_classes(source: str | os.PathLike[str] | bytes, *, name: str | None = None) -> ClassTable:
    """A table with the columns image, class_name and either label_id or row and column (label_id counts where both are
    there).

    The first line names the columns; others are ignored. Raises BadInput naming the file and the line.
    """
    rows, shown = csvfiles.read_rows(source, name=name)
    columns = csvfiles.columns_of(rows[0][1])
    by_id = "label_id" in columns
    by_place = "row" in columns and "column" in columns
    if "image" not in columns or "class_name" not in columns or not (by_id or by_place):
        raise BadInput(
            shown, "the first line must name the columns image,label_id,class_name or image,row,column,class_name"
        )
    images: list[str] = []
    ids: list[int] = []
    places: list[tuple[float, float]] = []
    class_names: list[str] = []
    lines: list[int] = []
    n_without_class = 0
    for line, cells in rows[1:]:
        image = csvfiles.cell(cells, columns["image"])
        class_name = csvfiles.cell(cells, columns["class_name"])
        if not image:
            raise BadInput(shown, f"line {line} names no image")
        label_id = _label_id(csvfiles.cell(cells, columns["label_id"]), shown, line) if by_id else 0
        place = (0.0, 0.0) if by_id else _place(cells, columns, shown, line)
        if not class_name:
            n_without_class += 1
            continue
        images.append(image)
        class_names.append(class_name)
        lines.append(line)
        ids.append(label_id)
        places.append(place)
    points = np.array(places, np.float64).reshape(-1, 2)
    return ClassTable(
        name=shown,
        image=images,
        label_id=np.array(ids, np.int64) if by_id else None,
        row=None if by_id else points[:, 0],
        column=None if by_id else points[:, 1],
        class_name=class_names,
        line=lines,
        n_without_class=n_without_class,
    )


def _label_id(text: str, name: str, line: int) -> int:
    try:
        label_id = int(text)
    except ValueError:
        raise BadInput(name, f"line {line}: label_id {text!r} is not a whole number") from None
    if not 1 <= label_id <= 2**32 - 1:
        raise BadInput(name, f"line {line}: label_id {label_id} is outside of 1 to 4,294,967,295")
    return label_id


def _place(cells: list[str], columns: dict[str, int], name: str, line: int) -> tuple[float, float]:
    row, column = csvfiles.cell(cells, columns["row"]), csvfiles.cell(cells, columns["column"])
    try:
        place = float(row), float(column)
    except ValueError:
        place = math.nan, math.nan
    if not all(map(math.isfinite, place)):
        raise BadInput(name, f"line {line}: row {row!r} and column {column!r} are not two numbers")
    return place
