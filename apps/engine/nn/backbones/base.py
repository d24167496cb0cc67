"""What every backbone is."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn


@dataclass(frozen=True)
class FoundationModel:
    """What a backbone has from a folder of the weights folder: the folder's name, and the content of its files."""

    name: str
    sha256: str | None
    """Of the weights; None where they were trained on since, and are no longer the file's."""
    description_sha256: str | None = None
    """Of what is said of the model there: its preprocessing and pooling, which make other features of the same weights. None where that
    was not asked: in what was saved before 2026-12."""

    def is_still(self, now: "FoundationModel") -> bool:
        """Whether what is in that folder `now` gives the features that it gave then, as far as is known."""
        same_weights = self.sha256 in (None, now.sha256)
        return self.name == now.name and same_weights and self.description_sha256 in (None, now.description_sha256)


class Backbone(nn.Module):
    """Features (n, feature_dim) of images (n, input_channels, size, size) in 0 to 1. Normalizes by its own mean and std.

    Mean and std are kept with the weights: a backbone that was trained elsewhere comes with its own.
    """

    replayable: ClassVar[bool] = False
    """Whether `forward` and its gradient do the same on a GPU for all images of one size, without asking for a value: it is
    then recorded and replayed, up to three times as fast."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, feature_dim: int, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.feature_dim = feature_dim
        self.input_size_px: int | None = None
        """What images are resized to, height and width; None: they are taken at their own size."""
        self.source: FoundationModel | None = None
        self.register_buffer("mean", torch.tensor(mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).reshape(1, -1, 1, 1))

    def normalized(self, images: torch.Tensor) -> torch.Tensor:
        """The images as the network wants them."""
        return torch.addcmul(-self.mean / self.std, images, 1 / self.std)

    @property
    def n_weights(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def prepare_for_features(self) -> None:
        """Called once where the weights will not change any more: whatever makes `forward` faster."""
