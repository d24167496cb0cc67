"""Zbontar et al. 2021, "Barlow Twins: self-supervised learning via redundancy reduction"."""

from __future__ import annotations

from dataclasses import dataclass

from apps.engine.approaches.base import Approach, TrainingSettings
from apps.engine.settings import setting


@dataclass(frozen=True)
class BarlowTwinsSettings(TrainingSettings):
    """The paper's loss; a projection as narrow as small projects and CPUs call for."""

    redundancy_weight: float = setting(
        0.005,
        title="Weight of redundancy",
        help="The paper's lambda: how much two features may not say the same, against each being equal in both views.",
        at_least=0,
        at_most=1,
    )
    projection_dim: int = setting(
        512,
        title="Projection size",
        help="Numbers per view that the loss compares. The paper's 8192 wants batches of thousands.",
        at_least=2,
        at_most=8192,
        shapes_network=True,
    )
    projection_hidden_layers: int = setting(
        2,
        title="Hidden layers of the projection",
        help="Layers between the features and what the loss compares; the paper has 2.",
        at_least=0,
        at_most=4,
        shapes_network=True,
    )


BARLOW_TWINS = Approach(
    name="barlow_twins",
    title="Barlow Twins",
    description="Learns features that agree between two views of an object and do not repeat each other; needs no negatives.",
    settings=BarlowTwinsSettings,
    implementation="apps.engine.nn.approaches.barlow_twins:BarlowTwins",
)
