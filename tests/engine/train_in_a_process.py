"""What the tests of killed and of several processes start: `python -m tests.engine.train_in_a_process OUT [KILL_AT_STEP]`.

Trains on made-up patches, and writes OUT/model and OUT/result.json; where it is it keeps in OUT/states. torchrun may start
it too. With KILL_AT_STEP it kills itself after so many steps, as a machine out of memory would.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from apps.engine.nn.config import TrainConfig
from apps.engine.nn.processes import join_processes
from apps.engine.nn.train import train_model
from tests.engine.fake_patches import make_patches

CONFIG = TrainConfig(
    encoder_size_px=16, epochs=5, batch_size=16, device="cpu", precision="fp32", threads=1, learning_rate=3e-5
)
STEPS_PER_EPOCH = 3


def train(out: Path, *, kill_at_step: int | None = None) -> None:
    steps = -1  # asked once before the first

    def should_stop() -> bool:
        nonlocal steps
        steps += 1
        if steps == kill_at_step:
            os.kill(os.getpid(), signal.SIGKILL)
        return False

    patches, kinds = make_patches(43)  # two processes cannot share its batches evenly
    kinds[20:] = 0
    with join_processes() as processes:
        result = train_model(
            CONFIG,
            patches,
            class_values=kinds,
            checkpoint=out / "model",
            states=out / "states",
            processes=processes,
            should_stop=should_stop,
        )
        if processes.is_first:
            (out / "result.json").write_text(json.dumps(asdict(result)))


if __name__ == "__main__":
    train(Path(sys.argv[1]), kill_at_step=int(sys.argv[2]) if len(sys.argv) > 2 else None)
