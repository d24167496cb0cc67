"""What the tests of killed and of several processes start: `python -m tests.engine.in_a_process WHAT OUT [KILL_AT [CONFIG]]`.

Works on made-up patches. WHAT is `train`, `embed`, or `both` after each other. CONFIG is one of `CONFIGS`, simclr where it is not
given. `train` writes OUT/model, OUT/result.json and the first step's gradients, OUT/gradients.npz, and keeps where it is in
OUT/states; `embed` reads OUT/model, writes OUT/vectors.npy and keeps its shards in OUT/shards. torchrun may start it. With KILL_AT
the process kills itself after so many batches, as a machine out of memory would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.optim.optimizer import register_optimizer_step_pre_hook

from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.processes import ALONE, Processes, join_processes
from apps.engine.nn.train import train_model
from apps.engine.registry import APPROACHES
from tests.engine.fake_patches import make_patches

CONFIG = TrainConfig(
    encoder_size_px=16, epochs=5, batch_size=16, device="cpu", precision="fp32", threads=1, learning_rate=3e-5
)
CONFIGS = {
    name: replace(CONFIG, approach=name, settings=APPROACHES.get(name).settings())
    for name in ("simclr", "barlow_twins", "autoencoder")
}
# Its batch normalization is timm's own kind, which does what comes after it too.
CONFIGS["timm"] = replace(CONFIG, settings=replace(CONFIG.settings, backbone="timm:mobilenetv3_small_050"))
N = 43  # two processes cannot share its batches evenly
STEPS_PER_EPOCH = 3


def kill_after(batches: int | None) -> Callable[[], bool]:
    """A `should_stop` that never says so, but kills the process instead."""
    asked = -1  # once before the first batch

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        if asked == batches:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    return should_stop


def train(out: Path, *, processes: Processes = ALONE, kill_at: int | None = None, config: str = "simclr") -> None:
    patches, kinds = make_patches(N)
    kinds[20:] = 0
    gradients: list[npt.NDArray[np.float32]] = []

    def keep_the_first(optimizer: torch.optim.Optimizer, *_step: object) -> None:
        if not gradients:
            with_gradients = (
                one for group in optimizer.param_groups for one in group["params"] if one.grad is not None
            )
            gradients.extend(one.grad.numpy().copy() for one in with_gradients)

    watching = register_optimizer_step_pre_hook(keep_the_first)
    result = train_model(
        CONFIGS[config],
        patches,
        class_values=kinds,
        checkpoint=out / "model",
        states=out / "states",
        processes=processes,
        should_stop=kill_after(kill_at),
    )
    watching.remove()
    if processes.is_first:
        np.savez(out / "gradients.npz", *gradients)
        (out / "result.json").write_text(json.dumps(asdict(result)))


def embed(out: Path, *, processes: Processes = ALONE, kill_at: int | None = None) -> int:
    """Returns how many patches were read for it. Shards have 16 batches of one object."""
    patches, _kinds = make_patches(N)
    vectors = embed_patches(
        out / "model",
        patches,
        batch_size=1,
        device="cpu",
        threads=1,
        shards=out / "shards",
        processes=processes,
        should_stop=kill_after(kill_at),
    )
    if processes.is_first:
        np.save(out / "vectors.npy", vectors)
    return patches.n_read


def main(what: str, folder: str, kill_at: str = "", config: str = "simclr") -> None:
    out, killed_at = Path(folder), int(kill_at) if kill_at else None
    with join_processes() as processes:
        if what in ("train", "both"):
            train(out, processes=processes, kill_at=killed_at, config=config)
        if what in ("embed", "both"):
            embed(out, processes=processes, kill_at=killed_at)


if __name__ == "__main__":
    main(*sys.argv[1:])
