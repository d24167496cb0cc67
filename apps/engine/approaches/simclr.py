"""Chen et al. 2020, "A simple framework for contrastive learning of visual representations"."""

from __future__ import annotations

from dataclasses import dataclass

from apps.engine.approaches.base import Approach, TrainingSettings
from apps.engine.settings import setting


@dataclass(frozen=True)
class SimCLRSettings(TrainingSettings):
    """The paper's loss and projection head."""

    temperature: float = setting(
        0.1,
        title="Temperature",
        help="Lower: the loss looks only at the objects most alike. The paper's best is 0.1.",
        above=0,
        at_most=10,
    )
    projection_dim: int = setting(
        128,
        title="Projection size",
        help="Numbers per view that the loss compares.",
        at_least=2,
        at_most=8192,
        shapes_network=True,
    )
    projection_hidden_layers: int = setting(
        1,
        title="Hidden layers of the projection",
        help="Layers between the features and what the loss compares; the paper has 1.",
        at_least=0,
        at_most=4,
        shapes_network=True,
    )


SIMCLR = Approach(
    name="simclr",
    title="SimCLR",
    description="Learns to find the other view of an object among all others; the best start for most projects.",
    settings=SimCLRSettings,
    implementation="apps.engine.nn.approaches.simclr:SimCLR",
)
