"""Features: objects per second from the pixel store to vectors, against the original's way and a plain torch loop."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device, choose_precision, compute_threads
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.patches import Patches
from apps.engine.nn.train import train_model
from tests.benchmarks import original
from tests.benchmarks.original_training import CODE_SIZE
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.tiles import find_tiles, store_tiles
from tests.benchmarks.train import First

PATCH_SIZE_PX = 64
ORIGINAL_BATCH, PLAIN_BATCH = 32, 256
OBJECTS_ON_CPU = {False: 4096, True: 8192}
# The original's loop is far the slowest: a part of the objects says how fast it is.
OBJECTS_OF_THE_ORIGINAL = 512
LONGEST_S = 60.0
Vectors = npt.NDArray[Any]


def run(options: Options) -> Result:
    """Alternate the three on the same objects and threads; the plain loop has its patches in memory already."""
    device = choose_device(options.device)
    on_cpu = device.type == "cpu"
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary, compute_threads(0):
        work = Path(temporary)
        n_threads = torch.get_num_threads()
        tiles = find_tiles(8 if on_cpu and not options.full else 27, work)
        everything = store_tiles(tiles, work / "pixels", PATCH_SIZE_PX)
        patches = First(everything, OBJECTS_ON_CPU[options.full] if on_cpu else len(everything))
        n, n_original = len(patches), min(OBJECTS_OF_THE_ORIGINAL, len(patches))
        pixels = everything.read(np.arange(n))
        first = np.arange(n_original)
        original.write_patches(work / "patches.h5", pixels[:n_original], everything.read_masks(first))
        # What is measured does not depend on what the weights are.
        config = TrainConfig(approach="frozen", encoder_size_px=PATCH_SIZE_PX, device=options.device)
        train_model(config, patches, checkpoint=work / "model")
        network = torchvision.models.resnet18(weights=None)
        head = nn.Sequential(nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CODE_SIZE))

        def ours(n: int) -> Vectors:
            return embed_patches(work / "model", First(everything, n), device=options.device)

        def originals(n: int) -> Vectors:
            network.fc = head
            return embed_originally(network.to(device).eval(), work / "patches.h5", n, device)

        def plain(n: int) -> Vectors:
            network.fc = nn.Identity()
            return _plain(network.to(device).eval(), pixels[:n], device)

        ways: dict[str, tuple[Callable[[int], Vectors], int]] = {
            "ours": (ours, n),
            "original": (originals, n_original),
            "plain": (plain, n),
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for way, _ in ways.values():
            way(64)
        started = time.perf_counter()
        for _ in range(7 if options.full else 3):
            if rates["plain"] and not options.full and time.perf_counter() - started > LONGEST_S:
                break
            for name, (way, n_objects) in ways.items():
                began = time.perf_counter()
                assert len(way(n_objects)) == n_objects
                rates[name].append(n_objects / (time.perf_counter() - began))
    value, peer_value, plain_value = (statistics.median(rates[name]) for name in ways)
    return Result(
        name="embed",
        value=value,
        unit="features/s",
        peer="the original's way, rebuilt: per patch open the HDF5 file, read the row; 32 a batch, float32, with the "
        "gradient's bookkeeping, ResNet18",
        peer_value=peer_value,
        ratio=value / peer_value,
        goal=2.4,
        figures={
            **{name: spread(measured) for name, measured in rates.items()},
            "ratio_to_plain": significant(value / plain_value),
            "plain_is": f"torchvision's ResNet18, patches in memory, {PLAIN_BATCH} a batch, float32, inference_mode",
            "device": device.type if on_cpu else torch.cuda.get_device_name(device),
            "threads": n_threads,
            "precision": str(choose_precision(config.precision, device)).removeprefix("torch."),
            "objects": n,
            "input": tiles.source,
            "patch_size_px": PATCH_SIZE_PX,
        },
    )


class _Rows(Dataset[torch.Tensor]):
    """Single patches as tensors (3, p, p) in 0 to 1, as torchvision makes them."""

    def __init__(self, read: Callable[[int], Patches], n: int) -> None:
        self._read = read
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, row: int) -> torch.Tensor:
        return torch.from_numpy(self._read(row).transpose(2, 0, 1).copy()).float() / 255


def embed_originally(network: nn.Module, file: Path, n: int, device: torch.device) -> Vectors:
    """The first n patches of the original's file as vectors (n, c) of length 1, its way."""
    loader = DataLoader(_Rows(lambda row: original.read_patch(file, row), n), batch_size=ORIGINAL_BATCH)
    features = [functional.normalize(network(images.to(device)), dim=1).detach().cpu().numpy() for images in loader]
    return np.concatenate(features)


@torch.inference_mode()
def _plain(network: nn.Module, pixels: Patches, device: torch.device) -> Vectors:
    loader = DataLoader(_Rows(lambda row: pixels[row], len(pixels)), batch_size=PLAIN_BATCH)
    return np.concatenate([functional.normalize(network(images.to(device)), dim=1).cpu().numpy() for images in loader])
