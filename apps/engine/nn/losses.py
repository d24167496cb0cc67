"""The losses, each a function of tensors with its source named."""

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional


def in_float32(tensor: torch.Tensor) -> torch.autocast:
    """Where products of float32 stay it. A step's autocast would round them to what its network computes in; divided by a small temperature, that
    is off by a tenth, or more than float16 holds."""
    return torch.autocast(tensor.device.type, enabled=False)


def nt_xent(first: torch.Tensor, second: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """The normalized temperature-scaled cross-entropy of SimCLR (Chen et al. 2020, equation 1), a scalar.

    `first` and `second` (n, d) are the projections of two views of the same n objects; each view has to find its
    partner among the 2n - 1 others. A single object has no others: its loss is 0.
    """
    n = len(first)
    views = functional.normalize(torch.cat([first, second]).float(), dim=1)  # (2n, d)
    with in_float32(views):
        similarity = views @ views.T / temperature  # (2n, 2n)
    itself = torch.eye(2 * n, dtype=torch.bool, device=views.device)
    similarity = similarity.masked_fill(itself, float("-inf"))
    partner = (torch.arange(2 * n, device=views.device) + n) % (2 * n)
    return functional.cross_entropy(similarity, partner)


def barlow_twins(first: torch.Tensor, second: torch.Tensor, *, redundancy_weight: float) -> torch.Tensor:
    """The loss of Barlow Twins (Zbontar et al. 2021, equations 1 and 2), divided by the number of dimensions, a scalar.

    `first` and `second` (n, d) are the projections of two views of the same n objects. Their cross-correlation (d, d)
    over the objects is to be the identity. Divided, so that the loss has the size of the others whatever d is.
    """
    first, second = (_standardized(view.float()) for view in (first, second))
    with in_float32(first):
        correlation = first.T @ second / len(first)  # (d, d)
    diagonal = torch.diagonal(correlation)
    off_diagonal = correlation.square().sum() - diagonal.square().sum()
    return ((1 - diagonal).square().sum() + redundancy_weight * off_diagonal) / len(correlation)


def _standardized(values: torch.Tensor) -> torch.Tensor:
    """Columns with mean 0 and standard deviation 1; 0 where a column does not vary, as in a batch of one."""
    centered = values - values.mean(dim=0)
    return centered / torch.sqrt(centered.square().mean(dim=0) + 1e-6)


def class_weights(class_values: npt.NDArray[np.uint8], values: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Weight per class in the order of `values`, inverse to its number among the labels `class_values` (0 = unlabeled).

    Scaled so that the mean over the labeled objects is 1: rare classes count as much as frequent ones, and the loss
    keeps its size. Every value must occur.
    """
    counts = np.array([np.count_nonzero(class_values == value) for value in values], dtype=np.float64)
    weights: npt.NDArray[np.float32] = (counts.sum() / (len(values) * counts)).astype(np.float32)
    return weights


def weighted_cross_entropy(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Class-weighted cross-entropy over the rows that have a label, a scalar; 0 where no row has one.

    `logits` (n, classes); `targets` (n,) int64, the class's row or -1 for unlabeled; `weights` (classes,).
    torch's own mean over no labeled row is 0/0, and NaN in the network's weights one step later.
    """
    total = functional.cross_entropy(logits.float(), targets, weight=weights, ignore_index=-1, reduction="sum")
    labeled = targets >= 0
    weight_sum = (weights[targets.clamp(min=0)] * labeled).sum()
    return total / weight_sum.clamp(min=torch.finfo(torch.float32).tiny)
