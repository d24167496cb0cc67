"""Several processes at one training or embedding, as torchrun starts them: one per GPU, or some on a CPU with gloo.

Every process reads, augments and computes the features of its share of each batch. Before the loss, the features of the
whole batch are gathered, so that an approach compares all objects of a batch with each other, sees what it would see in
one process, and knows nothing of this. Batch normalization takes its statistics over the whole batch too. What comes out
is one process's training, up to the order in which numbers are added.

Tested with two processes on a CPU; it has run on no machine with several GPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from timm.layers.norm_act import BatchNormAct2d, convert_sync_batchnorm
from torch import distributed, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from apps.engine.errors import EngineError

# torchrun ends all processes when one fails. Nothing else is a reason to give up: the first may be reading images.
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Processes:
    """Which of how many processes this is."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """The one that reports, is asked to stop, and writes what is written once. When it ends, torchrun ends all."""
        return self.rank == 0

    def shares(self, n: int) -> list[slice]:
        """The part of n things that each process does; their numbers differ by one at most."""
        ends = [n * (rank + 1) // self.count for rank in range(self.count)]
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def share(self, n: int) -> slice:
        """This process's part of n things."""
        return self.shares(n)[self.rank]

    def wait_for_all(self) -> None:
        """Return when every process is here."""
        if self.count > 1:
            distributed.all_reduce(torch.zeros(1))

    def gather_rows(self, own: torch.Tensor, n: int) -> torch.Tensor:
        """All n rows, of which each process has its share; gradients find their way back."""
        if self.count == 1:
            return own
        gathered: torch.Tensor = _Gather.apply(own, self, n)
        return gathered

    def gather_views(self, own: torch.Tensor, n: int) -> torch.Tensor:
        """As `gather_rows` for two views of each object: rows i and n + i of the answer (2n, ...) are one object."""
        if self.count == 1:
            return own
        by_object = own.unflatten(0, (2, -1)).transpose(0, 1)  # (share, 2, ...)
        return self.gather_rows(by_object, n).transpose(0, 1).flatten(0, 1)


ALONE = Processes()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, processes: Processes, n: int) -> torch.Tensor:
        ctx.processes, ctx.n = processes, n
        shares = processes.shares(n)
        rows = [share.stop - share.start for share in shares]
        # What is gathered has to be of one size.
        padded = functional.pad(own.flatten(1), (0, 0, 0, max(rows) - len(own))).contiguous()
        parts = [torch.empty_like(padded) for _ in rows]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:n_rows] for part, n_rows in zip(parts, rows, strict=True)]).unflatten(1, own.shape[1:])

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        # Every process computes the same loss from the same rows, so their gradients are this one's; the sum of them is
        # what DistributedDataParallel then divides by the number of processes.
        (gradient,) = gradients
        return gradient[ctx.processes.share(ctx.n)] * ctx.processes.count, None, None


class _Sum(torch.autograd.Function):
    """The sum over all processes, in each; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor) -> torch.Tensor:
        total = own.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        total = gradients[0].clone()
        distributed.all_reduce(total)
        return total


@contextmanager
def join_processes() -> Iterator[Processes]:
    """The processes that torchrun has started together with this one; alone where it has not.

    Each takes the GPU of its number where there is one. Inside, "cuda" is that one.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    on_gpus = torch.cuda.is_available()
    if on_gpus:
        local_rank = int(os.environ["LOCAL_RANK"])
        if local_rank >= torch.cuda.device_count():
            raise EngineError(f"Process {local_rank} has no GPU: torch finds {torch.cuda.device_count()}")
        torch.cuda.set_device(local_rank)
    distributed.init_process_group("cpu:gloo,cuda:nccl" if on_gpus else "gloo", timeout=PATIENCE)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()


class BatchNormOverProcesses(nn.BatchNorm2d):
    """Batch normalization over the batches of all processes; torch's own does that on GPUs only."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) normalized per channel; in evaluation as `nn.BatchNorm2d`."""
        if not self.training:
            return super().forward(input)
        values = input.float()
        count = torch.tensor(float(values.numel() // values.shape[1]))
        distributed.all_reduce(count)
        mean: torch.Tensor = _Sum.apply(values.sum((0, 2, 3))) / count
        centered = values - mean[:, None, None]
        variance: torch.Tensor = _Sum.apply(centered.square().sum((0, 2, 3))) / count
        assert self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None
        momentum = self.momentum if self.momentum is not None else 0.1
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, momentum)
            self.running_var.lerp_(variance * (count / (count - 1).clamp(min=1)), momentum)
        scale = self.weight * (variance + self.eps).rsqrt()
        normalized = centered * scale[:, None, None] + self.bias[:, None, None]
        return normalized.to(input.dtype)


class BatchNormActOverProcesses(BatchNormOverProcesses):
    """The same for timm's kind, whose `drop` and `act` follow within it."""

    drop: nn.Module
    act: nn.Module

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, c, h, w) normalized per channel, and what follows."""
        activated: torch.Tensor = self.act(self.drop(super().forward(input)))
        return activated


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> nn.Module:
    """The network with batch normalization over all processes; its weights keep their names.

    Raises `EngineError` where it normalizes batches in a way that is not known here: each process would go by its own share.
    """
    if device.type != "cpu":
        synchronized: nn.Module = convert_sync_batchnorm(network)
        return synchronized
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, _over_processes(child))
    return network


def _over_processes(layer: _BatchNorm) -> BatchNormOverProcesses:
    if type(layer) not in (nn.BatchNorm2d, BatchNormAct2d) or not layer.affine or not layer.track_running_stats:
        raise EngineError(f"Several processes on a CPU cannot train this backbone: they do not know its {layer}")
    kind = BatchNormActOverProcesses if isinstance(layer, BatchNormAct2d) else BatchNormOverProcesses
    over_all = kind(layer.num_features, eps=layer.eps, momentum=layer.momentum)
    for name, following in layer.named_children():
        over_all.add_module(name, following)
    over_all.weight, over_all.bias = layer.weight, layer.bias
    over_all.running_mean, over_all.running_var = layer.running_mean, layer.running_var
    over_all.num_batches_tracked = layer.num_batches_tracked
    return over_all
