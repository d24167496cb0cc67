"""What the approaches train beside the backbone: one file each, with the loss that is computed from the features."""

import torch

from apps.engine.approaches.base import NetworkSettings
from apps.engine.errors import EngineError
from apps.engine.nn.approaches.base import TrainedApproach
from apps.engine.registry import APPROACHES


def create_approach(
    name: str, feature_dim: int, settings: NetworkSettings, *, encoder_size_px: int
) -> TrainedApproach | None:
    """A new approach's layers for features of `feature_dim`, from torch's current random state.

    None for an approach that trains nothing. `EngineError` for a name that there is not.
    """
    approach = APPROACHES.get(name)
    if not approach.trains:
        return None
    kind = approach.load()
    with approach.blamed(but=(torch.OutOfMemoryError,)):
        created = kind(feature_dim, settings, encoder_size_px=encoder_size_px)
    if not isinstance(created, TrainedApproach):
        raise EngineError(f"the approach {name} made a {type(created).__name__}, which is no TrainedApproach")
    return created
