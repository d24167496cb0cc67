"""Barlow Twins' loss: what two views say of an object agrees, and no two features say the same."""

import torch

from apps.engine.approaches.barlow_twins import BarlowTwinsSettings
from apps.engine.nn.approaches.base import TrainedApproach
from apps.engine.nn.heads import ProjectionHead
from apps.engine.nn.losses import barlow_twins


class BarlowTwins(TrainedApproach):
    """Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction"."""

    replayable = True

    def __init__(self, feature_dim: int, settings: BarlowTwinsSettings, *, encoder_size_px: int) -> None:
        super().__init__()
        self.redundancy_weight = settings.redundancy_weight
        self.projection = ProjectionHead(
            feature_dim, settings.projection_dim, hidden_layers=settings.projection_hidden_layers
        )

    def forward(self, features: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """The loss of the projections' cross-correlation; without gradient for a single object, which varies in nothing."""
        first, second = self.projection(features).chunk(2)  # (n, projection_dim) each
        return barlow_twins(first, second, redundancy_weight=self.redundancy_weight)
