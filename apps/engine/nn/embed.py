"""Features of every object, from a checkpoint: shard by shard, so that what was killed goes on with the shards it has.

Memory: the network, a batch and two more read ahead, one shard, and without a folder for shards the features themselves;
with one they stay in its file (a gigabyte for a million objects of 512 features), which is memory-mapped.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from apps.engine.arrays import JOINED_NAME, read_array, write_array
from apps.engine.durable import replacing, require_space
from apps.engine.errors import EngineError
from apps.engine.nn.backbones import Backbone
from apps.engine.nn.checkpoints import DESCRIPTION_NAME, WEIGHTS_NAME, load_checkpoint
from apps.engine.nn.devices import autocast, choose_device, choose_precision, compute_threads, to_device
from apps.engine.nn.object_masks import with_object_mask
from apps.engine.nn.patches import Ordinals, Patches, PatchSource, read_ahead, resize_patches
from apps.engine.nn.processes import ALONE, Processes
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

Vectors = npt.NDArray[np.float16]

# Every batch of a shard is full but for the last of all, so that a batch is the same whoever computes it.
BATCHES_PER_SHARD = 16
# A network of more weights than this is a foundation model: a CPU takes a second for an image of some, and cancelling
# waits for a batch.
MANY_WEIGHTS = 50_000_000


def embed_patches(
    checkpoint: Path,
    patches: PatchSource,
    *,
    batch_size: int | None = None,
    device: str = "auto",
    precision: str = "auto",
    threads: int = 0,
    weights_root: Path | None = None,
    shards: Path | None = None,
    processes: Processes = ALONE,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Vectors:
    """Features (n, d) float16 of all objects by ordinal, each row of length 1. Reports the stage "embedding".

    Device, precision and threads are chosen for this machine, whatever the checkpoint was trained on. float16 keeps a unit
    vector's entries to 3 digits, in half the space; the maps and neighbors from it do not differ from float32's.

    `shards` is a folder for what is done already. A call that was killed, made again, goes on with it; the answer is then
    memory-mapped from a file there, and the folder is the caller's to remove. Several `processes` need it: each computes
    every so many-th shard, and all get the same answer, which is that of one process. `weights_root` as in
    `create_backbone`.
    """
    if processes.count > 1 and shards is None:
        raise EngineError("Several processes need a folder for their shards")
    model, config = load_checkpoint(checkpoint, weights_root=weights_root)
    on_device = choose_device(device)
    number_format = choose_precision(precision, on_device)
    model.backbone.prepare_for_features()
    model = model.to(on_device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    size_px = model.backbone.input_size_px or config.encoder_size_px
    batch_size = batch_size or batch_size_for(model.backbone, on_device, size_px)
    seen = with_object_mask(patches, config.settings.object_mask)
    work = _Work(seen, config.encoder_size_px, model.backbone.feature_dim, batch_size)
    identity = [on_device.type, str(number_format), batch_size, len(patches)]
    done = _Shards(shards, _identity(checkpoint, identity), work, processes) if shards is not None else None
    if done is not None and done.result.exists():
        return done.mapped()
    vectors = None if done is not None else np.zeros((work.n, work.dimension), np.float16)
    first = processes.is_first
    wanted = done.missing() if done is not None else work.shards()
    progress = Progress(
        "embedding",
        sum(len(shard) for shard in wanted),
        on_progress if first else ignore_progress,
        should_stop if first else never_stop,
    )
    with (
        torch.inference_mode(),
        autocast(on_device, number_format),
        compute_threads(threads, processes=processes.count),
        _enough_memory(config.settings.backbone, batch_size, size_px),
    ):
        features = features_of(model, work.read, work.batches(wanted), on_device)
        for shard in wanted:
            rows = np.empty((len(shard), work.dimension), np.float16)
            filled = 0
            while filled < len(shard):
                batch = next(features)
                rows[filled : filled + len(batch)] = batch
                filled += len(batch)
                progress.advance(len(batch), f"{shard.start + filled:,} of {work.n:,} objects")
            if done is not None:
                done.keep(shard, rows)
            elif vectors is not None:
                vectors[shard.start : shard.stop] = rows
    if done is None:
        assert vectors is not None
        return vectors
    processes.wait_for_all()
    if first:
        done.join()
    processes.wait_for_all()
    return done.mapped()


def batch_size_for(backbone: Backbone, device: torch.device, size_px: int) -> int:
    """Images of `size_px` per batch: enough to keep the device busy, few where each takes long or is large."""
    if backbone.n_weights < MANY_WEIGHTS:
        at_most, of_px = 512, 64
    else:  # foundation models
        at_most, of_px = 8 if device.type == "cpu" else 64, 224
    return max(1, int(at_most / max(1.0, (size_px / of_px) ** 2)))


@contextmanager
def _enough_memory(backbone: str, batch_size: int, size_px: int) -> Iterator[None]:
    """Say what a GPU's memory did not hold."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"The GPU's memory does not hold the features of {backbone}: {batch_size} images of {size_px} px at a time. Others may be "
            "using it; a smaller backbone or encoder size needs less."
        ) from error


class _Work:
    """The objects in shards, the shards in batches."""

    def __init__(self, patches: PatchSource, size_px: int, dimension: int, batch_size: int) -> None:
        self.n = len(patches)
        self.dimension = dimension
        self._patches = patches
        self._size_px = size_px
        self._batch_size = batch_size

    def shards(self) -> list[range]:
        """The ordinals of each shard."""
        rows = BATCHES_PER_SHARD * self._batch_size
        return [range(start, min(self.n, start + rows)) for start in range(0, self.n, rows)]

    def batches(self, shards: list[range]) -> Iterator[Ordinals]:
        """The ordinals of each batch of some shards."""
        for shard in shards:
            for start in range(shard.start, shard.stop, self._batch_size):
                yield np.arange(start, min(shard.stop, start + self._batch_size), dtype=np.int64)

    def read(self, ordinals: Ordinals) -> Patches:
        """Patches (n, size, size, c) uint8 as the network sees them."""
        return resize_patches(self._patches.read(ordinals), self._size_px)


def features_of(
    network: nn.Module, read: Callable[[Ordinals], Patches], batches: Iterable[Ordinals], device: torch.device
) -> Iterator[Vectors]:
    """Features (b, d) of each batch, rows of length 1, by a network on that device. A GPU has the next batch to do while the one before is
    fetched."""
    under_way: torch.Tensor | None = None
    for pixels in read_ahead(read, batches):
        # (n, p, p, c) seen as (n, c, p, p) is channels last already.
        images = to_device(pixels, device).permute(0, 3, 1, 2).float() / 255
        features = functional.normalize(network(images).float(), dim=1).to(torch.float16)
        if under_way is not None:
            yield under_way.cpu().numpy()
        under_way = features
    if under_way is not None:
        yield under_way.cpu().numpy()


def _identity(checkpoint: Path, values: list[object]) -> str:
    """A text that is equal for calls that compute the same."""
    digest = hashlib.sha256(json.dumps(values).encode())
    for name in (DESCRIPTION_NAME, WEIGHTS_NAME):
        with (checkpoint / name).open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:32]


class _Shards:
    """The files of the shards that are done, in a folder of this very computation."""

    def __init__(self, folder: Path, identity: str, work: _Work, processes: Processes) -> None:
        self._folder = folder / identity
        self._work = work
        self._processes = processes
        self.result = self._folder / JOINED_NAME
        if processes.is_first:
            for other in folder.glob("*"):
                if other != self._folder:
                    shutil.rmtree(other, ignore_errors=True)
        self._folder.mkdir(parents=True, exist_ok=True)

    def missing(self) -> list[range]:
        """This process's shards that are not done."""
        own = self._work.shards()[self._processes.rank :: self._processes.count]
        return [shard for shard in own if not self._path(shard).exists()]

    def keep(self, shard: range, rows: Vectors) -> None:
        """Write a shard, as a whole or not at all."""
        write_array(self._path(shard), rows)

    def join(self) -> None:
        """All shards as one file, one of them in memory at a time."""
        require_space(self._folder, self._work.n * self._work.dimension * np.dtype(np.float16).itemsize)
        header = {"descr": "<f2", "fortran_order": False, "shape": (self._work.n, self._work.dimension)}
        with replacing(self.result) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for shard in self._work.shards():
                file.write(_read_or_remove(self._path(shard)).tobytes())
        for shard in self._work.shards():
            self._path(shard).unlink()

    def mapped(self) -> Vectors:
        """What `join` wrote, memory-mapped."""
        return _read_or_remove(self.result, is_mapped=True)

    def _path(self, shard: range) -> Path:
        return self._folder / f"{shard.start:012d}.npy"


def _read_or_remove(path: Path, *, is_mapped: bool = False) -> Vectors:
    """What is damaged is made anew by the next attempt."""
    try:
        vectors: Vectors = read_array(path, is_mapped=is_mapped)
    except EngineError:
        path.unlink(missing_ok=True)  # by another process, perhaps
        raise
    return vectors
