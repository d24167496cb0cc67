"""Networks that turn a patch into a feature vector, by name: see `apps.engine.backbone_names`.

Nothing is ever downloaded: what is not on this machine is an `EngineError` that says where to put it.
"""

from pathlib import Path

from apps.engine.backbone_names import TIMM_PREFIX, WEIGHTS_PREFIX, backbone_names
from apps.engine.errors import EngineError
from apps.engine.nn.backbones.base import Backbone, FoundationModel
from apps.engine.nn.backbones.foundation import is_still_there, load_foundation_model
from apps.engine.nn.backbones.resnet import CONSTRUCTORS, ResNetBackbone
from apps.engine.nn.backbones.timm_network import create_timm_backbone

__all__ = ["Backbone", "FoundationModel", "create_backbone", "is_still_there"]


def create_backbone(
    name: str, *, encoder_size_px: int, input_channels: int = 3, weights_root: Path | None = None
) -> Backbone:
    """A backbone for patches of `encoder_size_px`.

    Random weights come from torch's current random state. `weights_root` holds the folders of foundation models. Raises
    EngineError for a name that is not known, for files that are missing or do not fit, and for what cannot be built.
    """
    if name.startswith(TIMM_PREFIX):
        return create_timm_backbone(
            name.removeprefix(TIMM_PREFIX), encoder_size_px=encoder_size_px, input_channels=input_channels
        )
    if name.startswith(WEIGHTS_PREFIX):
        if input_channels != 3:
            raise EngineError(f"{name} was trained on RGB images; it cannot take {input_channels} channels")
        return load_foundation_model(name.removeprefix(WEIGHTS_PREFIX), weights_root)
    if name not in CONSTRUCTORS:
        known = ", ".join(backbone_names(weights_root))
        raise EngineError(f"There is no backbone called {name!r}; there are {known}, and {TIMM_PREFIX}ARCHITECTURE")
    return ResNetBackbone(
        CONSTRUCTORS[name](weights=None), encoder_size_px=encoder_size_px, input_channels=input_channels
    )
