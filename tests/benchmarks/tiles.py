"""Real input: image tiles with their instance masks, from the shared data or from what scikit-image carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.engine.components import FoundObjects
from apps.engine.demonstration import demonstration_image, segment_nuclei
from apps.engine.formats import read_image, read_mask
from apps.engine.masks import MaskKind, find_objects
from apps.engine.pixels import PatchReader, StoredImage, write_image
from tests.shared_data import EXAMPLES, ROOT

SIDE_PX = 1000


@dataclass(frozen=True)
class Tile:
    image: Path
    mask: Path


@dataclass(frozen=True)
class Tiles:
    tiles: list[Tile]
    source: str


def find_tiles(n: int, work: Path) -> Tiles:
    """n tiles of about 1000 x 1000 px. `work`: a folder for those that have to be made."""
    consep = ROOT / "consep_train"
    found = [Tile(image, consep / "masks" / image.name) for image in sorted(consep.glob("images/*.png"))][:n]
    if found:
        return Tiles(found, f"{len(found)} tiles of CoNSeP's training set, 1000 x 1000 px, 16-bit instance masks")
    if (EXAMPLES / "train_6.png").exists():
        example = _cut(
            read_image(EXAMPLES / "train_6.png"), _ids(next(EXAMPLES.glob("indexed/*.png"))), n, work, "train_6"
        )
        return Tiles(example, f"{n} tiles cut from train_6 and its shifted copies, 1000 x 1000 px")
    image = demonstration_image()
    return Tiles(
        _cut(image, segment_nuclei(image).astype(np.int64), n, work, "demonstration"),
        f"{n} tiles of 1000 x 1000 px from the 512 x 512 px of scikit-image's immunohistochemistry, repeated and shifted",
    )


def _ids(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    return read_mask(path).astype(np.int64)


def _cut(
    image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]],
    ids: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
    n: int,
    work: Path,
    name: str,
) -> list[Tile]:
    """Repeat an image and its ids until it fills a tile, shifted a little further for each of them."""
    times = -(-SIDE_PX // min(image.shape[:2]))
    block = np.arange(times * times).reshape(times, times).repeat(ids.shape[0], 0).repeat(ids.shape[1], 1)
    wide = np.tile(ids, (times, times))
    numbered = np.where(wide > 0, wide + block * (ids.max() + 1), 0)
    pixels = np.tile(image, (times, times, 1))
    tiles = []
    for number in range(n):
        tile = Tile(work / f"{name}_{number}.png", work / f"{name}_{number}_mask.png")
        shift = (37 * number, 53 * number)
        Image.fromarray(np.roll(pixels, shift, (0, 1))[:SIDE_PX, :SIDE_PX]).save(tile.image)
        mask = np.roll(numbered, shift, (0, 1))[:SIDE_PX, :SIDE_PX]
        _, dense = np.unique(mask, return_inverse=True)
        Image.fromarray(dense.reshape(mask.shape).astype(np.uint16)).save(tile.mask)
        tiles.append(tile)
    return tiles


def multiply(tiles: Tiles, times: int, work: Path) -> Tiles:
    """So many times as many tiles, up to 8: the further ones turned and mirrored, a little darker or brighter in each
    channel, so that no two objects are alike to the last bit. `work`: a folder for them."""
    more = list(tiles.tiles)
    rng = np.random.default_rng(0)
    for turn in range(1, times):
        for number, tile in enumerate(tiles.tiles):
            made = Tile(work / f"turned_{turn}_{number}.png", work / f"turned_{turn}_{number}_mask.png")
            pixels = read_image(tile.image) * rng.uniform(0.9, 1.1, 3)
            Image.fromarray(_turned(pixels.clip(0, 255).astype(np.uint8), turn)).save(made.image, compress_level=1)
            mask = _turned(read_mask(tile.mask), turn)
            Image.fromarray(mask.astype(np.uint16)).save(made.mask, compress_level=1)
            more.append(made)
    return Tiles(more, f"{tiles.source}, and {times - 1} turned and recolored copies of each")


def _turned(
    pixels: np.ndarray[tuple[int, ...], np.dtype[Any]], turn: int
) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """By quarter turns, from the fourth on mirrored as well."""
    return np.rot90(pixels.swapaxes(0, 1) if turn >= 4 else pixels, turn % 4)


def store_tiles(tiles: Tiles, folder: Path, patch_size_px: int) -> PatchReader:
    """A pixel store of the tiles without rows, and its reader; what an import leaves on the disk."""
    stored: list[StoredImage] = []
    n = 0
    for number, tile in enumerate(tiles.tiles):
        found = read_objects(tile)
        write_image(folder, f"tile-{number}", read_image(tile.image), found)
        stored.append(StoredImage(n, len(found), folder, f"tile-{number}"))
        n += len(found)
    return PatchReader(stored, patch_size_px)


def read_objects(tile: Tile) -> FoundObjects:
    return find_objects(read_mask(tile.mask), MaskKind.INDEXED, name=tile.mask.name)
