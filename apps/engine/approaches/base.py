"""What an approach is, and the settings that many have. Imports no torch: pages make forms of the settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from apps.engine.backbone_names import NAME_PATTERN, RESNETS, TIMM_PREFIX, WEIGHTS_PREFIX
from apps.engine.errors import EngineError
from apps.engine.plugins import Entry
from apps.engine.settings import Settings, list_settings, setting

ABOUT_SURROUNDINGS = (
    "Surroundings help where they tell classes apart, and distract where objects are crowded. Predictions also look at the objects "
    "next to each and at what those are called, unless the object alone is chosen."
)
ABOUT_PRETRAINED = (
    "What a small network that learned from photographs sees of each object stands beside the rest. It tells much apart without having seen "
    "the project, and takes a second for a thousand objects on a CPU."
)
OBJECT_MASK_CHOICES = (
    ("none", "The whole patch"),
    ("object_only", "The object alone, its surroundings white"),
    ("dimmed", "The object, its surroundings dimmed"),
    ("channel", "The whole patch, the object's mask as a fourth channel"),
)


BACKBONE_NAME = "|".join([*RESNETS, f"({TIMM_PREFIX}|{WEIGHTS_PREFIX}){NAME_PATTERN}"])


@dataclass(frozen=True)
class Approach(Entry):
    """A way from patches to features.

    What `implementation` is: with `trains`, a class like those of `apps.engine.nn.approaches`, made of
    `apps.engine.nn.approaches.base.TrainedApproach`; `settings` is then a `TrainingSettings`. With `uses_network` alone, "":
    the backbone's features are the result; `settings` is a `NetworkSettings`. Without a network, a function
    `(patches, settings, *, on_progress, should_stop)` that returns features (n, d) from an `ObjectSource`, in which what is not finite is not known;
    `settings` is any `Settings`. With neither, "": the objects' descriptors, which its settings then have to name, and what else needs no
    training. `EngineError` for what does not fit together.
    """

    what = "approach"
    settings: type[Settings] = Settings
    trains: bool = True
    uses_network: bool = True

    def __post_init__(self) -> None:
        needed = TrainingSettings if self.trains else NetworkSettings if self.uses_network else Settings
        if not issubclass(self.settings, needed):
            raise EngineError(f"the settings of {self.name} have to be {needed.__name__}")
        try:
            list_settings(self.settings)
            defaults = self.settings()
        except (TypeError, KeyError) as error:  # a package of somebody else's may have written anything
            raise EngineError(f"the settings of {self.name} cannot be used: {error}") from error
        if not (self.uses_network or self.implementation or getattr(defaults, "descriptors", False)):
            raise EngineError(f"the approach {self.name} makes no features: it has neither network nor implementation")


@dataclass(frozen=True)
class AugmentSettings(Settings):
    """How far views differ. Made for histology: any orientation, but little change of size and of color.

    What two views of an object differ in, the features forget, and staining and size are what tells cells apart. On 507
    nuclei of one CoNSeP tile, 5 epochs: colors varied about three times as far gave 0.74 of the 20 nearest neighbors
    with the same class and 0.85 balanced accuracy of a linear probe; these settings gave 0.79 and 0.86.
    """

    max_rotation_degrees: float = setting(
        180.0, title="Rotation, degrees", help="Turned by at most this, either way.", at_least=0, at_most=180
    )
    smallest_scale: float = setting(
        0.85, title="Smallest scale", help="Below 1 the object is shown smaller.", at_least=0.1, at_most=1
    )
    largest_scale: float = setting(
        1.2, title="Largest scale", help="Above 1 the object is shown larger.", at_least=1, at_most=10
    )
    max_shift: float = setting(
        0.06, title="Shift", help="Moved by at most this part of the patch's width.", at_least=0, at_most=1
    )
    stain: float = setting(
        0.08, title="Stain", help="Optical density of each color channel varies by this part.", at_least=0, at_most=0.9
    )
    brightness: float = setting(0.06, title="Brightness", help="Of the full range.", at_least=0, at_most=1)
    contrast: float = setting(0.1, title="Contrast", help="Varies by this part.", at_least=0, at_most=1)
    saturation: float = setting(0.1, title="Saturation", help="Varies by this part.", at_least=0, at_most=1)
    hue_degrees: float = setting(
        4.0, title="Hue, degrees", help="Turned on the color circle by at most this.", at_least=0, at_most=180
    )
    blur_probability: float = setting(
        0.2, title="Blur", help="How many of the views are blurred, 0 to 1.", at_least=0, at_most=1
    )
    max_noise: float = setting(
        0.02, title="Noise", help="Largest standard deviation, of the full range.", at_least=0, at_most=1
    )


@dataclass(frozen=True)
class NetworkSettings(Settings):
    """What every approach with a network has."""

    backbone: str = setting(
        "resnet18",
        title="Backbone",
        help=(
            "resnet18, 34, 50, 101 or 152; timm:NAME for an architecture of timm; weights:NAME for a foundation model in "
            "the installation's weights folder. All but the last begin with random weights."
        ),
        shapes_network=True,
    )
    object_mask: str = setting(
        "none",
        title="What the network sees",
        help=ABOUT_SURROUNDINGS,
        choices=OBJECT_MASK_CHOICES,
        shapes_network=True,
    )
    descriptors: bool = setting(
        True,
        title="Color, shape and texture",
        help="What is measured of each object stands beside what the network sees. It keeps the size and the stain, which a "
        "network's training makes it forget. Where the network sees the object alone, nothing is measured around it.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not re.fullmatch(BACKBONE_NAME, self.backbone):
            raise EngineError(
                f"backbone is {self.backbone!r}, but has to be {', '.join(RESNETS)}, timm:NAME or weights:NAME"
            )
        if self.backbone.startswith(WEIGHTS_PREFIX) and self.object_mask == "channel":
            raise EngineError(f"object_mask is 'channel', but {self.backbone} was trained on three channels")

    @property
    def input_channels(self) -> int:
        """Channels of the images that the network sees: RGB, and the object's mask where that is one."""
        return 4 if self.object_mask == "channel" else 3


@dataclass(frozen=True)
class TrainingSettings(NetworkSettings):
    """What every approach has that trains its network."""

    pretrained: bool = setting(True, title="Pretrained network", help=ABOUT_PRETRAINED)
    epochs: int | None = setting(
        None,
        title="Epochs",
        help="How often a training sees every object. Empty: as often as suits the number of objects and the machine.",
        at_least=1,
        at_most=1000,
    )
    cross_entropy_weight: float = setting(
        1.0,
        title="Weight of the labels",
        help="How much the labels count against the approach's own loss, once two classes have some. 0: not at all.",
        at_least=0,
        at_most=1000,
    )
    augment: AugmentSettings = setting(
        AugmentSettings(), title="Augmentation", help="How far two views of an object differ."
    )
