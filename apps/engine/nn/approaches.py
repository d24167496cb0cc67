"""The ways to learn features without labels: one registry of names. Each owns the layers that only its loss needs."""

from typing import ClassVar, Protocol

import torch
from torch import nn

from apps.engine.errors import EngineError
from apps.engine.nn.heads import ProjectionHead
from apps.engine.nn.losses import nt_xent


class ApproachSettings(Protocol):
    """What an approach reads of the training's settings; `TrainConfig` is one."""

    @property
    def temperature(self) -> float: ...
    @property
    def projection_dim(self) -> int: ...


class SimCLR(nn.Module):
    """Chen et al. 2020, "A simple framework for contrastive learning of visual representations"."""

    name: ClassVar[str] = "simclr"

    def __init__(self, feature_dim: int, settings: ApproachSettings) -> None:
        super().__init__()
        self.temperature = settings.temperature
        self.projection = ProjectionHead(feature_dim, settings.projection_dim)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """The loss, a scalar, from the features (2n, feature_dim) of two views: rows i and n + i are one object."""
        first, second = self.projection(features).chunk(2)  # (n, projection_dim) each
        return nt_xent(first, second, temperature=self.temperature)


APPROACHES: dict[str, type[SimCLR]] = {SimCLR.name: SimCLR}


def create_approach(name: str, feature_dim: int, settings: ApproachSettings) -> SimCLR:
    """A new approach's loss and layers, for features of `feature_dim`."""
    if name not in APPROACHES:
        raise EngineError(f"There is no approach called {name!r}; there are {', '.join(APPROACHES)}")
    return APPROACHES[name](feature_dim, settings)
