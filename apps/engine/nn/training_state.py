"""Where a training is, kept after its epochs, so that one that was killed goes on and ends as if it had not been.

There are no random states in it: everything random in an epoch is drawn from the run's seed and the epoch's number.
"""

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from apps.engine.errors import EngineError
from apps.engine.nn.checkpoints import WEIGHTS_NAME, read_description, write_folder

# Writing takes at most this share of the time: the state of a small project's epochs of a second is not kept each time.
SHARE_OF_TIME = 0.05


@dataclass(frozen=True)
class KeptState:
    """What was kept after `epochs` epochs."""

    epochs: int
    tensors: dict[str, torch.Tensor]
    values: dict[str, Any]


class TrainingStates:
    """The newest state of one run in a folder. `run` tells runs apart: another one's state is never gone on with."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder = folder
        self._run = run
        self._last_written = float("-inf")
        self._seconds_to_write = 0.0

    def newest(self) -> KeptState | None:
        """The newest state of this run that can be read."""
        for folder in sorted(self._folder.glob("epoch-*"), reverse=True):
            try:
                description = read_description(folder)
                if description["run"] == self._run:
                    tensors = safetensors.torch.load_file(folder / WEIGHTS_NAME)
                    return KeptState(description["epochs"], tensors, description["values"])
            except (EngineError, OSError, SafetensorError, KeyError):
                continue
        return None

    def is_due(self) -> bool:
        """Whether the time since the last writing makes up for another one."""
        return time.monotonic() - self._last_written >= self._seconds_to_write / SHARE_OF_TIME

    def keep(self, epochs: int, tensors: Mapping[str, torch.Tensor], values: Mapping[str, Any]) -> None:
        """Write the state after `epochs` epochs in place of the one before; a kill leaves one of the two."""
        started = time.monotonic()
        kept = self._folder / f"epoch-{epochs:06d}"
        write_folder(kept, tensors, {"run": self._run, "epochs": epochs, "values": dict(values)})
        for other in self._folder.iterdir():
            if other != kept:
                shutil.rmtree(other, ignore_errors=True)
        self._last_written = time.monotonic()
        self._seconds_to_write = self._last_written - started


def tensors_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The weights as "model.NAME" and what the optimizer remembers of each as "optimizer.KEY.NAME"."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, tensor in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = tensor
    return tensors


def put_back(model: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Set model and optimizer to what `tensors_of` gave."""
    prefix = "model."
    model.load_state_dict({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    for name, parameter in model.named_parameters():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            kept = tensors.get(f"optimizer.{key}.{name}")
            if kept is not None:
                # In the parameter's own order in memory, which the fused step goes by.
                like = torch.empty_like(parameter) if kept.shape == parameter.shape else torch.empty_like(kept)
                optimizer.state[parameter][key] = like.to(parameter.device).copy_(kept)
