"""What the original PatchSorter (v5.8) does, rebuilt from a description of its behavior, none of it from its code.

Described are: the HDF5 file (EArrays, blosc level 9, one patch per chunk), the way objects are found and patches are cut
(padding by reflection, connected components, scikit-image's region properties, one row appended per object), the way a
patch is read (open the file, read one row, close), and the rows of the plot's JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tables
from skimage.measure import label, regionprops

Patches = npt.NDArray[np.uint8]

# name -> (type, value of a new row); patch and mask beside them
COLUMNS = {
    "imgID": (tables.UInt16Atom(), None),
    "patch_row": (tables.UInt16Atom(), None),
    "patch_column": (tables.UInt16Atom(), None),
    "prediction": (tables.Int8Atom(), -1),
    "ground_truth_label": (tables.Int8Atom(), -1),
    "pred_score": (tables.Float16Atom(), 0),
    "embed_x": (tables.Float16Atom(), -1),
    "embed_y": (tables.Float16Atom(), -1),
}


def create_file(path: Path, patch_size_px: int) -> tables.File:
    """An empty patch file, open for writing."""
    file = tables.open_file(str(path), "w")
    compression = tables.Filters(complevel=9, complib="blosc")
    p = patch_size_px
    file.create_earray(
        file.root, "patch", tables.UInt8Atom(), shape=(0, p, p, 3), chunkshape=(1, p, p, 3), filters=compression
    )
    file.create_earray(
        file.root, "mask", tables.UInt8Atom(), shape=(0, p, p), chunkshape=(1, p, p), filters=compression
    )
    for name, (atom, _) in COLUMNS.items():
        file.create_earray(file.root, name, atom, shape=(0,), filters=compression)
    return file


def extract_all(path: Path, pairs: Sequence[tuple[Path, Path]], *, patch_size_px: int) -> int:
    """A new file at `path` with every object of these images and masks; returns their number."""
    with create_file(path, patch_size_px) as file:
        return sum(
            extract(file, image, mask, image_id=number, patch_size_px=patch_size_px)
            for number, (image, mask) in enumerate(pairs)
        )


def extract(file: tables.File, image_path: Path, mask_path: Path, *, image_id: int, patch_size_px: int) -> int:
    """Append every object of an image to the file, one row after the other; returns their number."""
    p = patch_size_px
    half = p // 2
    image = cv2.cvtColor(_read(image_path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    image = np.pad(image, ((p, p), (p, p), (0, 0)), mode="reflect")
    mask = np.pad(_read(mask_path, cv2.IMREAD_UNCHANGED), p)
    n = 0
    for region in regionprops(label(mask)):
        row, column = (round(value) for value in region.centroid)
        patch = image[row - half : row + half, column - half : column + half]
        values = mask[row - half : row + half, column - half : column + half]
        value = values[half, half]
        if value == 0:  # a centroid beside its object: whatever lies nearest counts
            rows, columns = np.nonzero(values)
            nearest = np.argmin((rows - half) ** 2 + (columns - half) ** 2)
            value = values[rows[nearest], columns[nearest]]
        file.root.patch.append(patch[None])
        file.root.mask.append((values == value).astype(np.uint8)[None])
        known = {"imgID": image_id, "patch_row": row - p, "patch_column": column - p}
        for name, (_, otherwise) in COLUMNS.items():
            file.root[name].append([known.get(name, otherwise)])
        n += 1
    return n


def _read(path: Path, how: int) -> npt.NDArray[Any]:
    image = cv2.imread(str(path), how)
    assert image is not None, path
    return image


def write_patches(path: Path, patches: Patches, masks: npt.NDArray[np.bool_]) -> None:
    """The same file from patches that are there already, written in one go: for measuring how it is read."""
    with create_file(path, patches.shape[1]) as file:
        file.root.patch.append(patches)
        file.root.mask.append(masks.astype(np.uint8))
        for name, (_, otherwise) in COLUMNS.items():
            file.root[name].append([0 if otherwise is None else otherwise] * len(patches))


def read_patch(path: Path, row: int) -> Patches:
    """One patch (p, p, 3): the file is opened and closed for it."""
    with tables.open_file(str(path)) as file:
        patch: Patches = file.root.patch[row]
    return patch


def plot_json(
    coordinates: npt.NDArray[np.float32],
    classes: npt.NDArray[np.uint8],
    confidence: npt.NDArray[np.float32],
    *,
    shown: Callable[[npt.NDArray[np.float16]], Sequence[float]] = lambda values: values.tolist(),
) -> bytes:
    """Points as rows [patch id, x, y, label, prediction, score], the numbers from float16 columns."""
    n = len(classes)
    x, y = (shown(coordinates[:, axis].astype(np.float16)) for axis in (0, 1))
    rows = zip(
        range(n), x, y, [-1] * n, (classes.astype(np.int64) - 1).tolist(), shown(confidence.astype(np.float16)),
        strict=True,
    )  # fmt: skip
    return json.dumps({"embedding": list(rows)}).encode()
