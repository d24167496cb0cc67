"""Pictures of patches for the screen: many in one JPEG, or one with its outline. Gray where the image ends."""

from __future__ import annotations

from typing import Any

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt

from apps.engine.errors import EngineError
from apps.engine.jit import kernel
from apps.engine.pixels import Ordinals, PatchReader

COLUMNS = 32
QUALITY = 90
CONTEXT_FACTOR = 4
CHUNK_BYTES = 1 << 24  # patches held at a time while an atlas is filled; a context patch can be sixteen times its tile
MAX_SIDE_PX = 65500  # what a JPEG can hold
YELLOW = (255, 255, 0)  # no stain has it


def atlas(
    reader: PatchReader,
    ordinals: Ordinals,
    *,
    tile_px: int,
    patch_size_px: int | None = None,
    outline: bool = False,
    quality: int = QUALITY,
) -> bytes:
    """One JPEG of all patches in the order asked, row by row, min(n, 32) tiles to a row; the last row is filled with
    black.

    patch_size_px: the extent to show where it is not the reader's (4 x for context). outline=True marks which object is
    meant, with a line of one pixel around it that covers nothing of it. 4:4:4, so that thin colored structures keep
    their color. Raises EngineError for no ordinal, unknown ordinals and missing files.
    """
    wanted = np.asarray(ordinals, dtype=np.int64).reshape(-1)
    if not len(wanted):
        raise EngineError("an atlas needs at least one object")
    columns = min(len(wanted), COLUMNS)
    rows = -(-len(wanted) // columns)
    if tile_px < 1 or max(rows, columns) * tile_px > MAX_SIDE_PX:
        raise EngineError(f"{len(wanted)} tiles of {tile_px} px do not fit into one picture")
    sheet = np.zeros((rows, tile_px, columns, tile_px, 3), np.uint8)
    extent = patch_size_px or reader.patch_size_px
    rows_per_chunk = max(1, CHUNK_BYTES // (extent * extent * 3 * columns))
    for first in range(0, rows, rows_per_chunk):
        chunk = wanted[first * columns : (first + rows_per_chunk) * columns]
        tiles = reader.read(chunk, size_px=tile_px, patch_size_px=patch_size_px, mirrored=False)
        if outline:
            _line_around(reader.read_masks(chunk, patch_size_px=patch_size_px), tiles)
        n_full = len(chunk) // columns
        full = tiles[: n_full * columns].reshape(n_full, columns, tile_px, tile_px, 3)
        sheet[first : first + n_full] = full.transpose(0, 2, 1, 3, 4)
        rest = tiles[n_full * columns :]
        if len(rest):
            sheet[first + n_full, :, : len(rest)] = rest.transpose(1, 0, 2, 3)
    return encode_jpeg(sheet.reshape(rows * tile_px, columns * tile_px, 3), quality)


def single_patch(
    reader: PatchReader,
    ordinal: int,
    *,
    size_px: int,
    context: bool = False,
    outline: bool = False,
    quality: int = QUALITY,
) -> bytes:
    """One patch as a JPEG of size_px x size_px; context=True shows four times the extent around the same centroid.

    outline=True draws the object's border, bright on dark so that it shows on any stain.
    """
    extent = reader.patch_size_px * (CONTEXT_FACTOR if context else 1)
    picture = reader.read([ordinal], size_px=size_px, patch_size_px=extent, mirrored=False)[0]
    if outline:
        _draw_outline(picture, reader.read_masks([ordinal], patch_size_px=extent)[0])
    return encode_jpeg(picture, quality)


def encode_jpeg(pixels: npt.NDArray[np.uint8], quality: int = QUALITY) -> bytes:
    """(h, w, 3) uint8 RGB -> JPEG without chroma subsampling."""
    return bytes(imagecodecs.jpeg8_encode(np.ascontiguousarray(pixels), level=quality, subsampling="444"))


def _draw_outline(picture: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_]) -> None:
    size = picture.shape[0]
    scaled = cv2.resize(mask.view(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(scaled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    thickness = 1 if size < 192 else 2
    cv2.drawContours(picture, contours, -1, (0, 0, 0), thickness + 2)
    cv2.drawContours(picture, contours, -1, YELLOW, thickness)


@kernel
def _line_around(masks: Any, tiles: Any) -> Any:
    """masks: (n, p, p) bool, tiles: (n, t, t, 3): seven tenths of yellow on the pixels that have one of the object's beside
    them. Patches are reduced by picking: the line stays as thin as the screen allows."""
    extent = masks.shape[1]
    n, size = tiles.shape[:2]
    place = np.empty(size + 2, np.int64)
    for i in range(size + 2):
        place[i] = min(extent - 1, max(0, (2 * i - 1) * extent // (2 * size)))
    for k in range(n):
        mask = masks[k]
        for i in range(size):
            above, y, below = place[i], place[i + 1], place[i + 2]
            for j in range(size):
                left, x, right = place[j], place[j + 1], place[j + 2]
                if not mask[y, x] and (mask[above, x] or mask[below, x] or mask[y, left] or mask[y, right]):
                    for channel in range(3):
                        tiles[k, i, j, channel] = (3 * tiles[k, i, j, channel] + 7 * YELLOW[channel]) // 10
