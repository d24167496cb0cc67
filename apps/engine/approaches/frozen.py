"""A backbone's own features, without any training: for networks that have learned elsewhere."""

from __future__ import annotations

from apps.engine.approaches.base import Approach, NetworkSettings

FROZEN = Approach(
    name="frozen",
    title="Frozen backbone",
    description="Takes the features of a given backbone as they are, without any training. For pathology foundation models: any other backbone has random weights.",
    settings=NetworkSettings,
    trains=False,
)
