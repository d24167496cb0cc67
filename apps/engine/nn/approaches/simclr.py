"""SimCLR's loss: each view has to find its partner among all others."""

import torch

from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.nn.approaches.base import TrainedApproach
from apps.engine.nn.heads import ProjectionHead
from apps.engine.nn.losses import nt_xent


class SimCLR(TrainedApproach):
    """Chen et al. 2020, "A simple framework for contrastive learning of visual representations"."""

    replayable = True

    def __init__(self, feature_dim: int, settings: SimCLRSettings, *, encoder_size_px: int) -> None:
        super().__init__()
        self.temperature = settings.temperature
        self.projection = ProjectionHead(
            feature_dim, settings.projection_dim, hidden_layers=settings.projection_hidden_layers
        )

    def forward(self, features: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """InfoNCE of the projections; 0 for a single object, which has no others."""
        first, second = self.projection(features).chunk(2)  # (n, projection_dim) each
        return nt_xent(first, second, temperature=self.temperature)
