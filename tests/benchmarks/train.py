"""Training: objects per second through reading, augmenting and learning, against the original's way on this device."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from apps.engine.nn.backbones import create_backbone
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import choose_device, choose_precision, compute_threads
from apps.engine.nn.patches import Ordinals, Patches, PatchSource
from apps.engine.nn.train import TrainResult, batch_size_for, train_model
from tests.benchmarks import original
from tests.benchmarks.original_training import (
    BATCH,
    DOCUMENTED_VIEWS_PER_S,
    OriginalTraining,
    Spent,
    contrastive_loss,
    create_network,
)
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.tiles import find_tiles, store_tiles

PATCH_SIZE_PX = 64
# On a CPU the network is the limit. On a GPU it is the original's loader: what is wanted there is from the design.
# On a card of the 2080 Ti's class 30, on one of the H100's (capability 9) 100.
GOAL_ON_CPU, GOAL_ON_GPU, GOAL_ON_HOPPER = 2.0, 30.0, 100.0
PLAIN_BATCH = 128
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
        plain = PlainTraining(everything.read(ordinals), device)
        _train(First(patches, 256), work, options.device, epochs=1)
        peer.run(2)
        plain.run(1)
        ours: list[TrainResult] = []
        peers: list[Spent] = []
        plains: list[float] = []
        started = time.perf_counter()
        for _ in range(7 if options.full else 3):
            if ours and not options.full and time.perf_counter() - started > LONGEST_S:
                break
            ours.append(_train(patches, work, options.device, epochs=epochs))
            peers.append(peer.run(8))
            plains.append(plain.run(4))
    value = statistics.median(result.patches_per_second for result in ours)
    peer_value = statistics.median(spent.objects_per_second for spent in peers)
    documented = statistics.median(spent.objects_per_second_at(DOCUMENTED_VIEWS_PER_S) for spent in peers)
    config = TrainConfig(device=options.device)
    backbone = create_backbone(config.settings.backbone, encoder_size_px=config.encoder_size_px)
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
        goal=GOAL_ON_CPU if on_cpu else _goal_on(device),
        bounds={"loader_share": 0.1},
        figures={
            "loader_share": significant(statistics.median(result.input_share for result in ours)),
            "ours": spread([result.patches_per_second for result in ours]),
            "original": spread([spent.objects_per_second for spent in peers]),
            "plain": spread(plains),
            "ratio_to_plain": significant(value / statistics.median(plains)),
            "plain_is": f"SimCLR in a few lines of torch: patches in memory, torchvision's transforms by a DataLoader in this "
            f"process, {PLAIN_BATCH} objects a step, float32, Adam, ResNet18",
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
            "objects_per_step": {"ours": batch_size_for(config, backbone, n, device), "original": BATCH},
            "objects": n,
            "epochs": epochs,
            "input": tiles.source,
            "patch_size_px": PATCH_SIZE_PX,
        },
    )


class PlainTraining:
    """What a few lines of torch and torchvision do; `run` goes on with it."""

    def __init__(self, patches: Patches, device: torch.device) -> None:
        self._patches = patches
        self._device = device
        self._network = create_network().to(device).train()
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=1e-3)

    def run(self, steps: int) -> float:
        """Objects per second over so many steps."""
        rows = np.random.default_rng(0).choice(len(self._patches), PLAIN_BATCH)
        loader = DataLoader(_Views(self._patches[rows]), batch_size=PLAIN_BATCH)
        started = time.perf_counter()
        for _ in range(steps):
            for pairs in loader:
                loss = contrastive_loss(self._network(pairs.flatten(0, 1).to(self._device)))
                self._optimizer.zero_grad()
                loss.backward()
                self._optimizer.step()
                loss.item()
        return steps * PLAIN_BATCH / (time.perf_counter() - started)


class _Views(Dataset[torch.Tensor]):
    """Two views (2, 3, p, p) of each patch."""

    def __init__(self, patches: Patches) -> None:
        self._patches = patches
        self._transform = v2.Compose([
            v2.RandomResizedCrop(patches.shape[1], (0.7, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomVerticalFlip(),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.05),
            v2.ToDtype(torch.float32, scale=True),
        ])  # fmt: skip

    def __len__(self) -> int:
        return len(self._patches)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = torch.from_numpy(self._patches[row]).permute(2, 0, 1)
        return torch.stack([self._transform(image), self._transform(image)])


def _goal_on(gpu: torch.device) -> float:
    return GOAL_ON_HOPPER if torch.cuda.get_device_capability(gpu)[0] >= 9 else GOAL_ON_GPU


def _train(patches: PatchSource, work: Path, device: str, *, epochs: int) -> TrainResult:
    return train_model(TrainConfig(device=device, epochs=epochs), patches, checkpoint=work / "model")
