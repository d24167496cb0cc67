"""A training as a worker runs it, beside which a person waits for something: `python -m tests.benchmarks.training_beside FOLDER`."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.engine.nn.config import TrainConfig
from apps.engine.nn.train import train_model
from apps.workspace.management.commands.run import programs
from tests.benchmarks.tiles import find_tiles, store_tiles

PATCH_SIZE_PX = 64
START_PATIENCE_S = 120.0


@contextmanager
def training_beside() -> Iterator[None]:
    """A training with a project's defaults, as many threads and the priority of a worker's; it runs until the end of the block."""
    worker = next(program for program in programs() if program.name == "worker-gpu")
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        folder = Path(temporary)
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "tests.benchmarks.training_beside", temporary],
                env={**os.environ, **worker.environment},
                stdout=output,
                stderr=output,
            )
        try:
            os.setpriority(os.PRIO_PROCESS, process.pid, worker.niceness)
            deadline = time.monotonic() + START_PATIENCE_S
            while not _sign_of_life(folder).exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"no training began:\n{log.read_text()[-2000:]}")
                time.sleep(0.1)
            yield
            if process.poll() is not None:
                raise RuntimeError(f"the training ended before what was measured beside it:\n{log.read_text()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def train(folder: Path) -> None:
    """Train without end; leaves a sign in the folder after the first step."""
    patches = store_tiles(find_tiles(2, folder), folder / "pixels", PATCH_SIZE_PX)
    sign = _sign_of_life(folder)
    train_model(
        TrainConfig(epochs=10_000),
        patches,
        checkpoint=folder / "model",
        on_progress=lambda stage, share, message: None if share == 0 else sign.touch(),
    )


def _sign_of_life(folder: Path) -> Path:
    return folder / "begun"


if __name__ == "__main__":
    train(Path(sys.argv[1]))
