"""What every trained approach is."""

from typing import ClassVar

import torch
from torch import nn


class TrainedApproach(nn.Module):
    """The layers that only an approach's loss needs, and that loss.

    Made with `(feature_dim, settings, *, encoder_size_px)`.
    """

    wants_targets: ClassVar[bool] = False  # pictures to draw again from the features
    # Whether `forward` and its gradient do the same on a GPU for every batch of one size, without asking for a value (as
    # `.item()` does) or drawing random numbers of its own: it is then recorded and replayed, up to three times as fast.
    replayable: ClassVar[bool] = False

    def forward(self, features: torch.Tensor, targets: torch.Tensor | None) -> torch.Tensor:
        """The loss, a scalar; finite for a single object too.

        `features` (2n, feature_dim) are those of two views of n objects: rows i and n + i are one object. `targets`,
        with `wants_targets`, are the same views as images (2n, 3 or 4, size, size) in 0 to 1, turned, scaled and moved alike,
        but with their colors as they are, without blur and noise.
        """
        raise NotImplementedError
