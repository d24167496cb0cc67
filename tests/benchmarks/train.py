"""Training: objects per second through reading, augmenting and learning, against the original's way on this device."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device, choose_precision, compute_threads
from apps.engine.nn.patches import Ordinals, Patches, PatchSource
from apps.engine.nn.train import TrainResult, batch_size_for, train_model
from tests.benchmarks import original
from tests.benchmarks.original_training import BATCH, DOCUMENTED_VIEWS_PER_S, OriginalTraining, Spent
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.tiles import find_tiles, store_tiles

PATCH_SIZE_PX = 64
# On a CPU the network is the limit. On a GPU it is the original's loader: what is wanted there is from the design.
GOAL_ON_CPU, GOAL_ON_GPU = 2.0, 30.0
OBJECTS_ON_CPU = {False: 1024, True: 4096}  # the least that fills the steps a CPU takes
# A machine with busy neighbors trains at a fifth of its speed; then fewer rounds have to do.
LONGEST_S = 40.0


class First:
    """The first n objects of a reader."""

    def __init__(self, patches: PatchSource, n: int) -> None:
        self._patches = patches
        self._n = min(n, len(patches))

    def __len__(self) -> int:
        return self._n

    def read(self, ordinals: Ordinals, /) -> Patches:
        return self._patches.read(ordinals)


def run(options: Options) -> Result:
    """Alternate ours (`train_model` with its default settings, over a pixel store) and the peer, on the same threads."""
    device = choose_device(options.device)
    on_cpu = device.type == "cpu"
    # The number of threads that ours takes by itself, for the peer too.
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary, compute_threads(0):
        work = Path(temporary)
        n_threads = torch.get_num_threads()
        tiles = find_tiles(2 if on_cpu and not options.full else 27, work)
        everything = store_tiles(tiles, work / "pixels", PATCH_SIZE_PX)
        patches = First(everything, OBJECTS_ON_CPU[options.full] if on_cpu else len(everything))
        n = len(patches)
        ordinals = np.arange(n)
        original.write_patches(work / "patches.h5", everything.read(ordinals), everything.read_masks(ordinals))
        peer = OriginalTraining(work / "patches.h5", n, device)
        epochs = 1 if on_cpu else 10
        _train(First(patches, 256), work, options.device, epochs=1)
        peer.run(2)
        ours: list[TrainResult] = []
        peers: list[Spent] = []
        started = time.perf_counter()
        for _ in range(7 if options.full else 3):
            if ours and not options.full and time.perf_counter() - started > LONGEST_S:
                break
            ours.append(_train(patches, work, options.device, epochs=epochs))
            peers.append(peer.run(8))
    value = statistics.median(result.patches_per_second for result in ours)
    peer_value = statistics.median(spent.objects_per_second for spent in peers)
    documented = statistics.median(spent.objects_per_second_at(DOCUMENTED_VIEWS_PER_S) for spent in peers)
    config = TrainConfig(device=options.device)
    total = sum(spent.seconds for spent in peers)
    return Result(
        name="train",
        value=value,
        unit="patches/s (two views of each)",
        peer="the original's way, rebuilt: per patch open the HDF5 file and read four rows, two views through its list "
        "of 16 single-image operations (in OpenCV and numpy: albumentations is no dependency), 32 objects a step, "
        "float32, Adam, ResNet18",
        peer_value=peer_value,
        ratio=value / peer_value,
        goal=GOAL_ON_CPU if on_cpu else GOAL_ON_GPU,
        bounds={"loader_share": 0.1},
        figures={
            "loader_share": significant(statistics.median(result.input_share for result in ours)),
            "ours": spread([result.patches_per_second for result in ours]),
            "original": spread([spent.objects_per_second for spent in peers]),
            "ratio_per_round": spread(
                [a.patches_per_second / b.objects_per_second for a, b in zip(ours, peers, strict=True)]
            ),
            "original_seconds_share": {
                "reading": significant(sum(spent.reading for spent in peers) / total),
                "augmenting": significant(sum(spent.augmenting for spent in peers) / total),
                "network": significant(sum(spent.computing for spent in peers) / total),
            },
            "original_views_per_s_augmented": spread([spent.views_per_second for spent in peers]),
            "ratio_if_augmented_at_844_views_per_s_as_documented": significant(value / documented),
            "ratio_to_its_network_alone": significant(
                value / statistics.median(spent.objects / spent.computing for spent in peers)
            ),
            "device": device.type if on_cpu else torch.cuda.get_device_name(device),
            "threads": n_threads,
            "precision": str(choose_precision(config.precision, device)).removeprefix("torch."),
            "objects_per_step": {"ours": batch_size_for(config, n, device), "original": BATCH},
            "objects": n,
            "epochs": epochs,
            "input": tiles.source,
            "patch_size_px": PATCH_SIZE_PX,
        },
    )


def _train(patches: PatchSource, work: Path, device: str, *, epochs: int) -> TrainResult:
    return train_model(TrainConfig(device=device, epochs=epochs), patches, checkpoint=work / "model")
