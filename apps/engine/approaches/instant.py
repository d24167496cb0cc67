"""Nothing is trained: what can be measured of each object, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apps.engine.approaches.base import ABOUT_PRETRAINED, ABOUT_SURROUNDINGS, Approach
from apps.engine.settings import Settings, setting


@dataclass(frozen=True)
class InstantSettings(Settings):
    """What of each object is measured."""

    object_mask: str = setting(
        "none",
        title="What is measured",
        help=ABOUT_SURROUNDINGS,
        choices=(("none", "The object and its surroundings"), ("object_only", "The object alone")),
    )
    pretrained: bool = setting(False, title="Pretrained network", help=ABOUT_PRETRAINED)

    descriptors: ClassVar[bool] = True


INSTANT = Approach(
    name="instant",
    title="Instant",
    description="Measures color, shape and texture of each object; a map within seconds, and no training.",
    settings=InstantSettings,
    trains=False,
    uses_network=False,
)
