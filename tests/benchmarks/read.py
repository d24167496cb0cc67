"""Random patches: batches of 256 from the pixel store, against opening an HDF5 file for each of them."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from apps.engine.pixels import PatchReader
from tests.benchmarks import original
from tests.benchmarks.report import Options, Result, spread
from tests.benchmarks.tiles import find_tiles, store_tiles

PATCH_SIZE_PX = 64
BATCH = 256


def run(options: Options) -> Result:
    """Both from the page cache, one thread, the same objects asked for in the same random order."""
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        work = Path(temporary)
        tiles = find_tiles(27, work)
        reader = store_tiles(tiles, work / "pixels", PATCH_SIZE_PX)
        n = len(reader)
        everything = np.arange(n)
        patches = reader.read(everything)
        original.write_patches(work / "patches.h5", patches, reader.read_masks(everything))
        rng = np.random.default_rng(0)
        _check_equal(reader, work / "patches.h5", patches, rng)
        ours, peers = [], []
        for _ in range(15 if options.full else 7):
            batches = [rng.integers(0, n, BATCH) for _ in range(200)]
            started = time.perf_counter()
            for batch in batches:
                reader.read(batch)
            ours.append(BATCH * len(batches) / (time.perf_counter() - started))
            rows = batches[0].tolist() + batches[1].tolist()
            started = time.perf_counter()
            for row in rows:
                original.read_patch(work / "patches.h5", row)
            peers.append(len(rows) / (time.perf_counter() - started))
        value, peer_value = statistics.median(ours), statistics.median(peers)
        return Result(
            name="read",
            value=value,
            unit="patches/s",
            peer="the original's way, rebuilt: per patch open the PyTables file (blosc 9, one patch per chunk), read "
            "one row, close",
            peer_value=peer_value,
            ratio=value / peer_value,
            goal=80.0,
            figures={
                "ours": spread(ours),
                "original": spread(peers),
                "input": tiles.source,
                "objects": n,
                "batch": BATCH,
                "patch_size_px": PATCH_SIZE_PX,
                "bytes_per_patch_ours": round(_bytes(work / "pixels") / n),
                "bytes_per_patch_original": round((work / "patches.h5").stat().st_size / n),
            },
        )


def _check_equal(reader: PatchReader, file: Path, patches: original.Patches, rng: np.random.Generator) -> None:
    """A fast wrong answer is worth nothing; also compiles and opens what the first read has to."""
    for row in rng.integers(0, len(reader), 20).tolist():
        assert np.array_equal(reader.read([row])[0], patches[row])
        assert np.array_equal(original.read_patch(file, row), patches[row])


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
