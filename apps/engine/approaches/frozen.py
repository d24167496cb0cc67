"""A backbone's own features, without any training: for networks that have learned elsewhere."""

from __future__ import annotations

from apps.engine.approaches.base import Approach, NetworkSettings

FROZEN = Approach(
    name="frozen",
    title="Frozen backbone",
    description="Trains nothing: features of a given backbone, and beside them, unless that is switched off, what is measured of each object. For pathology foundation models: any other backbone has random weights.",
    settings=NetworkSettings,
    trains=False,
)
