"""The whole network of a project: features, the layers of its approach, and a classifier once classes have labels."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from apps.engine.nn.approaches import create_approach
from apps.engine.nn.backbones import FoundationModel, create_backbone
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.heads import LinearClassifier


class PatchModel(nn.Module):
    """`backbone` gives the features that everything else uses; `approach` and `classifier` are for training.

    `approach` is None for one that trains nothing.
    """

    def __init__(
        self, config: TrainConfig, class_values: tuple[int, ...] = (), *, weights_root: Path | None = None
    ) -> None:
        """New random weights from torch's current random state, or a foundation model's from the folder `weights_root`;
        `class_values` are the classes to tell apart."""
        super().__init__()
        settings = config.settings
        self.backbone = create_backbone(
            settings.backbone,
            encoder_size_px=config.encoder_size_px,
            input_channels=settings.input_channels,
            weights_root=weights_root,
        )
        self.approach = create_approach(
            config.approach, self.backbone.feature_dim, settings, encoder_size_px=config.encoder_size_px
        )
        self.classifier = LinearClassifier(self.backbone.feature_dim, class_values) if class_values else None

    @property
    def borrowed(self) -> FoundationModel | None:
        """What the backbone has from the weights folder: its description and, where nothing trains them, its weights, gigabytes that need no
        copy."""
        source = self.backbone.source
        return source if source is None or self.approach is None else replace(source, sha256=None)

    @property
    def class_values(self) -> tuple[int, ...]:
        """The classes that the classifier tells apart; none before two have labels."""
        return self.classifier.class_values if self.classifier is not None else ()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features (n, feature_dim) of images (n, 3 or 4, size, size) in 0 to 1."""
        features: torch.Tensor = self.backbone(images)
        return features
