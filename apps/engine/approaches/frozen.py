"""A backbone's own features, without any training: for networks that have learned elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from apps.engine.approaches.base import Approach, NetworkSettings
from apps.engine.backbone_names import EFFICIENTNET_LITE0
from apps.engine.settings import setting


@dataclass(frozen=True)
class FrozenSettings(NetworkSettings):
    """Which network."""

    backbone: str = setting(
        EFFICIENTNET_LITE0,
        title="Backbone",
        help="efficientnet_lite0, a small network that learned from photographs; weights:NAME for a foundation model in the installation's "
        "weights folder. Any other has random weights, which say little.",
        shapes_network=True,
    )


FROZEN = Approach(
    name="frozen",
    title="Frozen backbone",
    description="Trains nothing: features of a network that learned elsewhere, and beside them, unless that is switched off, what is measured of each object. The soonest good map, and the approach for pathology foundation models.",
    settings=FrozenSettings,
    trains=False,
)
