"""The pixel store: every image decoded once into memory-mapped arrays, patches cropped on read.

Measured against one stored patch per object: half the bytes at 64 px and a twentieth at 256, a patch size that can
change without importing again, context for nothing, and real pixels where others reflect.

Files of an image with key K, each an .npy without pickles, written under a temporary name, synced, then renamed:
    K.pixels.npy (h, w, 3) uint8    K.objects.npy (h, w) uint16|uint32, i + 1 = object i    K.centroids.npy (n, 2)
    float32
"""

from __future__ import annotations

import io
import os
import resource
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from apps.engine.arrays import read_array
from apps.engine.components import FoundObjects
from apps.engine.durable import TEMPORARY_SUFFIX, sync_folder
from apps.engine.errors import EngineError
from apps.engine.jit import kernel

PARTS = ("pixels", "objects", "centroids")
# Of one reader; fewer where the process may not have as many files open. The processes' limit is often 1,024 until it is raised.
MOST_OPEN_IMAGES = 512
MOST_OPEN_FILES = 65_536
# Files that are for others: connections, the database, libraries.
FILES_OF_OTHERS = 256
# So many readers a process keeps, at most, each of which maps two files of an image.
READERS_KEPT = 16
# Patches that are resized are read so many bytes at a time, whatever their size and number.
READ_TOGETHER_BYTES = 16 << 20
BEYOND = np.uint8(128)  # the gray beyond the border where patches are not mirrored

Ordinals = Sequence[int] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class StoredImage:
    """Where the pixels of objects first_ordinal .. first_ordinal + n_objects - 1 lie."""

    first_ordinal: int
    n_objects: int
    folder: Path
    key: str

    def to_json(self) -> dict[str, Any]:
        """As plain values, for another process."""
        return {**vars(self), "folder": str(self.folder)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> StoredImage:
        """Of what `to_json` gave."""
        return cls(**{**told, "folder": Path(told["folder"])})


def write_image(folder: Path, key: str, image: npt.NDArray[np.uint8], found: FoundObjects) -> None:
    """Store an image (h, w, 3) uint8 with its objects. Overwrites an image of the same key.

    When this returns the files are on disk under their final names. When it is interrupted, only files ending in
    TEMPORARY_SUFFIX remain, or complete files that no row names. Raises EngineError on shapes that do not belong
    together.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.shape[:2] != found.raster.shape:
        raise EngineError(f"image {image.shape} {image.dtype} and objects {found.raster.shape} do not belong together")
    folder.mkdir(parents=True, exist_ok=True)
    centroids = np.column_stack([found.row, found.column]).astype(np.float32, copy=False)
    arrays: dict[str, npt.NDArray[np.generic]] = {"pixels": image, "objects": found.raster, "centroids": centroids}
    temporary = {part: folder / f"{key}.{part}.npy{TEMPORARY_SUFFIX}" for part in arrays}
    # Waiting for three syncs at once instead of one after the other takes a third off.
    with ThreadPoolExecutor(max_workers=len(arrays)) as pool:
        list(pool.map(_write_synced, temporary.values(), arrays.values()))
    for part in arrays:
        os.replace(temporary[part], part_path(folder, key, part))
    sync_folder(folder)


def part_path(folder: Path, key: str, part: str) -> Path:
    """The file of one part: "pixels", "objects" or "centroids"."""
    return folder / f"{key}.{part}.npy"


def delete_image(folder: Path, key: str) -> None:
    """Remove an image's files, finished or not. What is not there is no error."""
    for part in PARTS:
        path = part_path(folder, key, part)
        path.unlink(missing_ok=True)
        path.with_name(path.name + TEMPORARY_SUFFIX).unlink(missing_ok=True)


def read_raster(image: StoredImage) -> npt.NDArray[np.generic]:
    """The image's objects, (h, w) uint16 or uint32, memory-mapped read-only: i + 1 = object i of this image."""
    raster = _open(image, "objects")
    if raster.ndim != 2 or raster.dtype not in (np.uint16, np.uint32):
        raise EngineError(f"{part_path(image.folder, image.key, 'objects').name} does not hold an object raster")
    return raster


def read_pixels(image: StoredImage) -> npt.NDArray[np.uint8]:
    """The whole image, (h, w, 3) uint8, memory-mapped read-only."""
    pixels = _open(image, "pixels")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise EngineError(f"{part_path(image.folder, image.key, 'pixels').name} does not hold RGB pixels")
    return pixels.view(np.uint8)


def read_centroids(image: StoredImage) -> npt.NDArray[np.float32]:
    """Row and column of the image's objects, (n_objects, 2) float32, in pixels."""
    centroids = np.array(_open(image, "centroids"))
    if centroids.shape != (image.n_objects, 2) or not np.isfinite(centroids).all():
        raise EngineError(
            f"{part_path(image.folder, image.key, 'centroids').name} does not hold {image.n_objects} centroids"
        )
    return centroids.astype(np.float32, copy=False)


class PatchReader:
    """Patches by ordinal, cropped from the stored images. Safe to share between threads; files are opened when needed.

    Images added later make a new reader from a longer list; ordinals do not change. A patch covers the rows
    c - p // 2 .. c - p // 2 + p - 1 where c is the centroid's row rounded half up, and columns likewise; beyond the
    image's border it is mirrored (without repeating the border pixel), as often as it takes, unless it is for the eye.
    """

    def __init__(
        self, images: Sequence[StoredImage], patch_size_px: int, *, max_open_images: int | None = None
    ) -> None:
        if patch_size_px < 1:
            raise EngineError(f"a patch cannot be {patch_size_px} px wide")
        self.images = sorted((image for image in images if image.n_objects), key=lambda image: image.first_ordinal)
        self.patch_size_px = patch_size_px
        self._ends = np.cumsum([image.n_objects for image in self.images], dtype=np.int64)
        starts = [image.first_ordinal for image in self.images]
        if starts != [0, *self._ends[:-1].tolist()][: len(starts)]:
            raise EngineError("the images' ordinals have gaps or overlap")
        self._max_open = max_open_images or most_open_images()
        self._open_images: OrderedDict[int, tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]] = OrderedDict()
        self._open_rasters: OrderedDict[int, npt.NDArray[np.generic]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(
        self,
        ordinals: Ordinals,
        *,
        size_px: int | None = None,
        patch_size_px: int | None = None,
        mirrored: bool = True,
    ) -> npt.NDArray[np.uint8]:
        """(n, p, p, 3) uint8 RGB in the order asked, or (n, size_px, size_px, 3) resized (area average when shrinking).

        patch_size_px: another extent around the same centroids, as for context. mirrored=False: gray beyond the image's
        border, for a human, who would take the mirror image for tissue. Raises EngineError for unknown ordinals and
        missing or damaged files.
        """
        extent = patch_size_px or self.patch_size_px
        wanted = self._checked(ordinals)
        if size_px is None or size_px == extent:
            return self._cropped(wanted, extent, mirrored)
        resized = np.empty((len(wanted), size_px, size_px, 3), np.uint8)
        together = max(1, READ_TOGETHER_BYTES // (3 * extent**2))
        for first in range(0, len(wanted), together):
            some = slice(first, first + together)
            resize(self._cropped(wanted[some], extent, mirrored), size_px, out=resized[some])
        return resized

    def read_masks(self, ordinals: Ordinals, *, patch_size_px: int | None = None) -> npt.NDArray[np.bool_]:
        """(n, p, p) bool: true on the pixels of that object alone, never on a neighbor's; false beyond the image."""
        extent = patch_size_px or self.patch_size_px
        wanted = self._checked(ordinals)
        masks = np.zeros((len(wanted), extent, extent), np.bool_)
        for image_index, positions, indices in self._groups(wanted):
            _, centers = self._image(image_index)
            _crop_mask(self._raster(image_index), centers, indices, positions, masks)
        return masks

    def _cropped(self, wanted: npt.NDArray[np.int64], extent: int, mirrored: bool) -> npt.NDArray[np.uint8]:
        patches = np.empty((len(wanted), extent, extent, 3), np.uint8)
        for image_index, positions, indices in self._groups(wanted):
            pixels, centers = self._image(image_index)
            _crop(pixels, centers, indices, positions, mirrored, patches.reshape(len(wanted), extent, 3 * extent))
        return patches

    def _checked(self, ordinals: Ordinals) -> npt.NDArray[np.int64]:
        wanted = np.asarray(ordinals, dtype=np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= len(self)):
            wrong = int(wanted.min()) if wanted.min() < 0 else int(wanted.max())
            raise EngineError(f"object {wrong} does not exist; there are {len(self)} objects, counted from 0")
        return wanted

    def _groups(self, wanted: npt.NDArray[np.int64]) -> list[tuple[int, npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
        """[(image, positions in the answer, indices within the image)], so that each image is opened once per call."""
        order = np.argsort(wanted, kind="stable")
        of_image = np.searchsorted(self._ends, wanted[order], side="right")
        bounds = np.flatnonzero(np.diff(of_image, prepend=-1, append=len(self.images)))
        groups = []
        for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
            image_index = int(of_image[begin])
            positions = order[begin:end]
            groups.append((image_index, positions, wanted[positions] - self.images[image_index].first_ordinal))
        return groups

    def _image(self, index: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        with self._lock:
            if index in self._open_images:
                self._open_images.move_to_end(index)
                return self._open_images[index]
        image = self.images[index]
        pixels = read_pixels(image)
        pixels = pixels.reshape(pixels.shape[0], -1)  # (h, 3 w)
        opened = (pixels, np.floor(read_centroids(image).astype(np.float64) + 0.5).astype(np.int64))
        with self._lock:
            self._open_images[index] = opened
            while len(self._open_images) > self._max_open:
                self._open_images.popitem(last=False)
        return opened

    def _raster(self, index: int) -> npt.NDArray[np.generic]:
        with self._lock:
            if index in self._open_rasters:
                self._open_rasters.move_to_end(index)
                return self._open_rasters[index]
        image = self.images[index]
        raster = read_raster(image)
        height, row_bytes = self._image(index)[0].shape
        if raster.shape != (height, row_bytes // 3):
            raise EngineError(f"{part_path(image.folder, image.key, 'objects').name} has another size than its image")
        with self._lock:
            self._open_rasters[index] = raster
            while len(self._open_rasters) > self._max_open:
                self._open_rasters.popitem(last=False)
        return raster


@cache
def most_open_images() -> int:
    """Of one reader, as many as all readers of a process may have: the limit of its open files is raised as far as it may be.

    A mapped file counts as an open one (Python's mmap keeps a descriptor).
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    files = MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    return max(8, min(MOST_OPEN_IMAGES, (files - FILES_OF_OTHERS) // (2 * READERS_KEPT)))


def resize(
    patches: npt.NDArray[np.uint8], size_px: int, *, out: npt.NDArray[np.uint8] | None = None
) -> npt.NDArray[np.uint8]:
    """(n, p, p, 3) -> (n, size_px, size_px, 3), into `out` where it is given: area average when shrinking, linear when growing."""
    resized = np.empty((len(patches), size_px, size_px, 3), np.uint8) if out is None else out
    how = cv2.INTER_AREA if size_px < patches.shape[1] else cv2.INTER_LINEAR
    for patch, out in zip(patches, resized, strict=True):
        cv2.resize(patch, (size_px, size_px), dst=out, interpolation=how)
    return resized


def shrink(image: npt.NDArray[np.uint8], longest_px: int) -> npt.NDArray[np.uint8]:
    """An image (h, w, 3) by area average, so that its longer side has at most `longest_px`; a smaller one as it is."""
    share = min(1.0, longest_px / max(image.shape[:2]))
    height, width = (max(1, round(side * share)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def middle_square(image: npt.NDArray[np.uint8], size_px: int) -> npt.NDArray[np.uint8]:
    """The largest square in the middle of an image (h, w, 3), scaled to (size_px, size_px, 3)."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resize(np.ascontiguousarray(image[None, top : top + side, left : left + side]), size_px)[0]


def _open(image: StoredImage, part: str) -> npt.NDArray[np.generic]:
    path = part_path(image.folder, image.key, part)
    try:
        return np.asarray(read_array(path, is_mapped=True, called=f"{path.name} in the pixel store"))
    except FileNotFoundError as error:
        raise EngineError(f"{path.name} is missing from the pixel store") from error
    except OSError as error:
        raise EngineError(f"{path.name} in the pixel store cannot be read ({error.strerror or error})") from error


def _write_synced(path: Path, array: npt.NDArray[np.generic]) -> None:
    contiguous = np.ascontiguousarray(array)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(contiguous))
    with path.open("wb") as file:
        file.write(header.getvalue())
        if contiguous.size:
            file.write(contiguous.data)
        file.flush()
        os.fsync(file.fileno())


@kernel
def _folded(index: Any, size: Any) -> Any:
    """Mirror an index into 0..size-1 without repeating the border, however far outside it lies."""
    if size == 1:
        return np.int64(0)
    period = 2 * (size - 1)
    folded = index % period
    return folded if folded < size else period - folded


@kernel
def _crop(pixels: Any, centers: Any, indices: Any, positions: Any, mirrored: Any, out: Any) -> Any:
    """pixels: (h, 3 w), out: (n, extent, 3 extent): rows of bytes, so that each becomes one block copy.

    Copying pixel by pixel was five times slower: the processor could not fetch the next rows while it was busy.
    """
    height = pixels.shape[0]
    width = pixels.shape[1] // 3
    extent = out.shape[1]
    for k in range(indices.size):
        top = centers[indices[k], 0] - extent // 2
        left = centers[indices[k], 1] - extent // 2
        target = out[positions[k]]
        inner = max(0, -left)  # first and last column that lie within the image
        outer = max(inner, min(extent, width - left))
        for r in range(extent):
            y = top + r
            if y < 0 or y >= height:
                if not mirrored:
                    target[r] = BEYOND
                    continue
                y = _folded(y, height)
            source = pixels[y, 3 * (left + inner) : 3 * (left + outer)]
            line = target[r, 3 * inner : 3 * outer]
            for i in range(source.size):
                line[i] = source[i]
            if outer - inner < extent:
                if not mirrored:
                    target[r, : 3 * inner] = BEYOND
                    target[r, 3 * outer :] = BEYOND
                    continue
                for c in range(extent):
                    if c < inner or c >= outer:
                        x = 3 * _folded(left + c, width)
                        target[r, 3 * c] = pixels[y, x]
                        target[r, 3 * c + 1] = pixels[y, x + 1]
                        target[r, 3 * c + 2] = pixels[y, x + 2]


@kernel
def _crop_mask(raster: Any, centers: Any, indices: Any, positions: Any, out: Any) -> Any:
    height, width = raster.shape
    extent = out.shape[1]
    one = np.ones(1, raster.dtype)
    for k in range(indices.size):
        value = one[0] * (indices[k] + 1)
        top = centers[indices[k], 0] - extent // 2
        left = centers[indices[k], 1] - extent // 2
        inner = max(0, -left)
        outer = max(inner, min(extent, width - left))
        for r in range(max(0, -top), min(extent, height - top)):
            source = raster[top + r, left + inner : left + outer]
            line = out[positions[k], r, inner:outer]
            for i in range(source.size):
                line[i] = source[i] == value
