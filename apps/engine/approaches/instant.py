"""No network at all: what can be measured of each object, in seconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from apps.engine.approaches.base import Approach
from apps.engine.settings import Settings


@dataclass(frozen=True)
class InstantSettings(Settings):
    """There is nothing to choose."""

    descriptors: ClassVar[bool] = True


INSTANT = Approach(
    name="instant",
    title="Instant",
    description="Measures color, shape and texture of each object; a map within seconds, and no training.",
    settings=InstantSettings,
    trains=False,
    uses_network=False,
)
