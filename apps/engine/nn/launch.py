"""Training and embedding on all GPUs of this machine, for a program that has one process: it starts torchrun.

A job's worker may be a daemon, which may not have children by `multiprocessing`; a program it may start. That is told its
work by a file, says on standard output how it goes, and ends when the one that started it does, however that ends.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import torch

from apps.engine.arrays import read_array, write_array
from apps.engine.errors import EngineError, Stopped
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import Vectors, embed_patches
from apps.engine.nn.patches import PatchSource
from apps.engine.nn.processes import join_processes
from apps.engine.nn.train import ClassValues, TrainResult, train_model
from apps.engine.pixels import PatchReader, StoredImage
from apps.engine.progress import ProgressCallback, StopCallback, ignore_progress, never_stop

REPOSITORY = Path(__file__).resolve().parents[3]
# Processes take some ten seconds to start; by then one GPU is done with fewer.
LEAST_OBJECTS_PER_PROCESS = 20_000
ASKED_EVERY_S = 0.2
PATIENCE_S = 10.0
STDERR_SHOWN = 2000  # characters


def processes_for(patches: PatchSource) -> int:
    """How many processes are worth while here: one per GPU where there are objects enough for several.

    One for patches that are not in a pixel store, which other processes could not read.
    """
    if not isinstance(patches, PatchReader):
        return 1
    return max(1, min(torch.cuda.device_count(), len(patches) // LEAST_OBJECTS_PER_PROCESS))


def train_on_this_machine(
    config: TrainConfig,
    patches: PatchSource,
    *,
    class_values: ClassValues | None = None,
    start_from: Path | None = None,
    checkpoint: Path,
    weights_root: Path | None = None,
    states: Path,
    processes: int | None = None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> TrainResult:
    """`train_model` by as many processes as `processes_for` says, or by `processes`."""
    count = processes or processes_for(patches)
    if count == 1:
        return train_model(
            config,
            patches,
            class_values=class_values,
            start_from=start_from,
            checkpoint=checkpoint,
            weights_root=weights_root,
            states=states,
            on_progress=on_progress,
            should_stop=should_stop,
        )
    told = {
        "config": config.to_json(),
        "start_from": str(start_from) if start_from else None,
        "checkpoint": str(checkpoint),
        "weights_root": str(weights_root) if weights_root else None,
        "states": str(states),
    }
    if class_values is not None:
        path = states.with_name(f"{states.name}-class-values.npy")
        write_array(path, class_values)
        told["class_values"] = str(path)
    result = _torchrun(count, "train", patches, told, states, on_progress, should_stop)
    return TrainResult(**result)


def embed_on_this_machine(
    checkpoint: Path,
    patches: PatchSource,
    *,
    weights_root: Path | None = None,
    shards: Path,
    processes: int | None = None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Vectors:
    """`embed_patches` by as many processes as `processes_for` says, or by `processes`."""
    count = processes or processes_for(patches)
    if count > 1:
        told = {
            "checkpoint": str(checkpoint),
            "weights_root": str(weights_root) if weights_root else None,
            "shards": str(shards),
        }
        _torchrun(count, "embed", patches, told, shards, on_progress, should_stop)
    # After the others: finds the file that they have made.
    return embed_patches(
        checkpoint,
        patches,
        weights_root=weights_root,
        shards=shards,
        on_progress=on_progress,
        should_stop=should_stop,
    )


def _torchrun(
    count: int,
    what: str,
    patches: PatchSource,
    told: Mapping[str, Any],
    beside: Path,
    on_progress: ProgressCallback,
    should_stop: StopCallback,
) -> dict[str, Any]:
    """Run `main` in `count` processes; the result that the first one says."""
    assert isinstance(patches, PatchReader)
    images = [image.to_json() for image in patches.images]
    beside.parent.mkdir(parents=True, exist_ok=True)
    order, errors = (beside.with_name(f"{beside.name}-{part}") for part in ("order.json", "errors.txt"))
    order.write_text(json.dumps({"what": what, "images": images, "patch_size_px": patches.patch_size_px, **told}))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    with errors.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "-m", "apps.engine.nn.launch", str(order)],
            stdin=subprocess.PIPE,  # all of them inherit it, and see it closed when this process is no more
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
            start_new_session=True,
        )
    try:
        result = _follow(process, on_progress, should_stop)
        if process.wait(PATIENCE_S) != 0 or result is None:
            said = errors.read_text()[-STDERR_SHOWN:]
            raise RuntimeError(f"{count} processes for {what} ended with {process.returncode}: {said}")
        return result
    finally:
        _end(process)


def _follow(
    process: "subprocess.Popen[str]", on_progress: ProgressCallback, should_stop: StopCallback
) -> dict[str, Any] | None:
    """Pass on what the first process says until all have ended; returns its result."""
    lines: queue.Queue[str | None] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_read, args=[process.stdout, lines], daemon=True).start()
    result: dict[str, Any] | None = None
    while True:
        if should_stop():
            raise Stopped("the processes were stopped")
        try:
            line = lines.get(timeout=ASKED_EVERY_S)
        except queue.Empty:
            continue
        if line is None:
            return result
        try:
            said = json.loads(line)
        except ValueError:
            continue  # a library's remark
        if not isinstance(said, dict):
            continue  # one that is a mere number
        if "progress" in said:
            on_progress(*said["progress"])
        elif "error" in said:
            raise EngineError(said["error"])
        elif "result" in said:
            result = said["result"]


def _read(stream: IO[str], lines: "queue.Queue[str | None]") -> None:
    with stream:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _end(process: "subprocess.Popen[str]") -> None:
    """End torchrun; its processes lead sessions of their own and end when their standard input does."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(PATIENCE_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# -- in the processes that torchrun starts -------------------------------------------------------------------------


def main(order_path: str) -> int:
    """Do what the file says, as one of several processes."""
    threading.Thread(target=_end_with_the_starter, daemon=True).start()
    order = json.loads(Path(order_path).read_text())
    images = [StoredImage.from_json(image) for image in order["images"]]
    patches = PatchReader(images, order["patch_size_px"])
    checkpoint, weights_root = Path(order["checkpoint"]), _path(order["weights_root"])
    with join_processes() as processes:
        try:
            if order["what"] == "train":
                values = _path(order.get("class_values"))
                trained = train_model(
                    TrainConfig.from_json(order["config"]),
                    patches,
                    class_values=read_array(values) if values else None,
                    start_from=_path(order["start_from"]),
                    checkpoint=checkpoint,
                    weights_root=weights_root,
                    states=Path(order["states"]),
                    processes=processes,
                    on_progress=_say_progress,
                )
                result = asdict(trained)
            else:
                shards = Path(order["shards"])
                embed_patches(
                    checkpoint,
                    patches,
                    weights_root=weights_root,
                    shards=shards,
                    processes=processes,
                    on_progress=_say_progress,
                )
                result = {}
        except EngineError as error:
            _say({"error": str(error)})
            return 1
        if processes.is_first:
            _say({"result": result})
    return 0


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _say(what: dict[str, Any]) -> None:
    # As one write: torchrun runs Python unbuffered, where `print` writes the line's end by itself, and all processes
    # share the pipe.
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _say_progress(stage: str, fraction: float, message: str) -> None:
    _say({"progress": [stage, fraction, message]})


def _end_with_the_starter() -> None:
    with suppress(OSError):
        while os.read(sys.stdin.fileno(), 1):
            pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
