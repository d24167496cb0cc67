"""Real objects with their experts' classes: the shared sets as patches and class values."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from apps.engine.pixels import PatchReader
from tests.benchmarks.tiles import Tile, Tiles, read_objects, store_tiles
from tests.shared_data import ROOT


@dataclass(frozen=True)
class LabeledSet:
    """A real set; `class_values` (n,) uint8 are 1 to the number of classes, in the order of `class_names`."""

    name: str
    patches: PatchReader
    class_values: npt.NDArray[np.uint8]
    class_names: list[str]

    def __len__(self) -> int:
        return len(self.class_values)


def read_labeled_set(name: str, work: Path, *, patch_size_px: int, n_images: int | None = None) -> LabeledSet:
    """The set of that name (`consep_train`, `chula_rbc`), or its first images; the benchmark ends where the shared data is absent.

    `work`: a folder for the pixel store.
    """
    folder = ROOT / name
    images = sorted(folder.glob("images/*.png"))[:n_images]
    if not images:
        raise SystemExit("this benchmark needs the shared data: objects whose classes are known")
    tiles = [Tile(image, folder / "masks" / image.name) for image in images]
    with (folder / "classes.csv").open() as file:
        stated = {(row["image"], int(row["label_id"])): row["class_name"] for row in csv.DictReader(file)}
    class_names = sorted(set(stated.values()))
    values = [
        class_names.index(stated[tile.image.name, int(source_id)]) + 1
        for tile in tiles
        for source_id in read_objects(tile).source_id
    ]
    patches = store_tiles(Tiles(tiles, name), work / name, patch_size_px)
    return LabeledSet(name, patches, np.array(values, np.uint8), class_names)
