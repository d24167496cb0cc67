"""Labels -> pictures and tables that other programs read.

Everything is painted from the stored raster by object, never from the values of the imported mask, so the class of one
object cannot spill onto another. values: (n,) class value per object of the image, 0 = unlabeled.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from apps.engine import csvfiles
from apps.engine.durable import replacing
from apps.engine.errors import EngineError
from apps.engine.masks import UNLABELED_COLOR, UNLABELED_VALUE

MAX_CLASS_VALUE = 254
UNLABELED_INDEX = 255  # in the palette of a color mask


class LegendRow(NamedTuple):
    """color: #rrggbb. The flags: nobody can tell what it is; a fault of the mask, and no object."""

    value: int
    class_name: str
    color: str
    is_uncertain: int = 0
    is_non_object: int = 0


def paint(
    raster: npt.NDArray[np.generic], values: npt.NDArray[np.generic], *, unlabeled: int
) -> npt.NDArray[np.uint16]:
    """(h, w) uint16: 0 on background, each object's value on its pixels, `unlabeled` where that is 0.

    Raises EngineError where the raster names an object that has no value in the list.
    """
    numbers = np.asarray(values)
    if numbers.size and (numbers.min() < 0 or numbers.max() > MAX_CLASS_VALUE):
        raise EngineError(f"class values lie between 0 and {MAX_CLASS_VALUE}")
    table = np.zeros(len(numbers) + 1, np.uint16)
    table[1:] = numbers
    table[1:][numbers == 0] = unlabeled
    try:
        return np.asarray(table[raster], dtype=np.uint16)
    except IndexError as error:
        raise EngineError(f"the raster holds more than the {len(numbers)} objects that are listed") from error


def class_mask(raster: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint16]:
    """(h, w) uint16: class values, 0 = background, 65535 = unlabeled."""
    return paint(raster, values, unlabeled=UNLABELED_VALUE)


def write_class_mask(path: Path, raster: npt.NDArray[np.generic], values: npt.NDArray[np.generic]) -> None:
    """16-bit PNG of class_mask. Can be imported again as `labeled` with the export's legend.csv."""
    _write(path, _encode_png(class_mask(raster, values)))


def write_color_mask(
    path: Path, raster: npt.NDArray[np.generic], values: npt.NDArray[np.generic], colors: Mapping[int, str]
) -> None:
    """Palette PNG in the project's colors ({class value: "#rrggbb"}): background black, unlabeled gray (128, 128, 128).

    A pixel's palette index is its class value (255 = unlabeled), so nothing is lost where two classes share a color.
    """
    indices = paint(raster, values, unlabeled=UNLABELED_INDEX).astype(np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    palette[UNLABELED_INDEX] = _rgb(UNLABELED_COLOR)
    for value, color in colors.items():
        if not 1 <= value <= MAX_CLASS_VALUE:
            raise EngineError(f"class values lie between 1 and {MAX_CLASS_VALUE}, not {value}")
        try:
            palette[value] = _rgb(int(color.removeprefix("#"), 16))
        except ValueError as error:
            raise EngineError(f"{color!r} is not a color; #rrggbb is expected") from error
    missing = sorted(set(np.unique(np.asarray(values)).tolist()) - set(colors) - {0})
    if missing:
        raise EngineError(f"the class values {missing} have no color")
    picture = Image.fromarray(indices, "P")
    picture.putpalette(palette.tobytes(), "RGB")
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=3)
    _write(path, buffer.getvalue())


def write_instance_mask(
    folder: Path, stem: str, raster: npt.NDArray[np.generic], source_ids: npt.NDArray[np.integer]
) -> Path:
    """<stem>.png with 16 bits, or <stem>.tif with 32 where an id needs them; returns its path.

    source_ids: (n,) the objects' numbers, each once, 1 to 2^32 - 1; what label_id says in objects.csv. Imported again as
    `indexed` the file gives the same objects, in ascending order of their ids. Raises EngineError for other ids.
    """
    ids = np.asarray(source_ids, dtype=np.int64)
    if len(ids) and (ids.min() < 1 or ids.max() > 2**32 - 1 or len(np.unique(ids)) < len(ids)):
        raise EngineError("the objects of an image need different numbers from 1 to 4,294,967,295")
    table = np.zeros(len(ids) + 1, np.uint32 if len(ids) and ids.max() > 65535 else np.uint16)
    table[1:] = ids
    picture = table[raster]
    if picture.dtype == np.uint16:
        path = folder / f"{stem}.png"
        _write(path, _encode_png(picture))
        return path
    path = folder / f"{stem}.tif"
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, picture, compression="zlib", metadata=None)
    _write(path, buffer.getvalue())
    return path


def write_legend(path: Path, legend: Iterable[LegendRow]) -> None:
    """legend.csv: value,class_name,color and the flags. read_label_values reads it."""
    csvfiles.write_rows(path, LegendRow._fields, legend)


def _rgb(color: int) -> tuple[int, int, int]:
    return color >> 16 & 255, color >> 8 & 255, color & 255


def _encode_png(picture: npt.NDArray[np.generic]) -> bytes:
    done, data = cv2.imencode(".png", np.ascontiguousarray(picture), [cv2.IMWRITE_PNG_COMPRESSION, 3])
    if not done:
        raise EngineError("the mask could not be encoded")
    return data.tobytes()


def _write(path: Path, data: bytes) -> None:
    with replacing(path) as file:
        file.write(data)
