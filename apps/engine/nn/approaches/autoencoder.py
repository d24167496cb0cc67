"""A denoising autoencoder: a decoder draws each view again from its features, as it was before color, blur and noise.

The target is turned, scaled and moved like the view, not the patch as it was: features that do not know how far a view
was turned could only be blamed for that, and would have to spend themselves on orientation. Colors, blur and noise are to
be taken back, so that the features hold the stain of the object rather than the random one of a view.
"""

import torch
from torch import nn
from torch.nn import functional

from apps.engine.approaches.autoencoder import AutoencoderSettings
from apps.engine.nn.approaches.base import TrainedApproach

# Coarsest map of the decoder, as in the generators that grow a picture from a vector (Radford et al. 2016).
COARSEST_PX = 4


class Autoencoder(TrainedApproach):
    """Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders"."""

    wants_targets = True
    replayable = True

    def __init__(self, feature_dim: int, settings: AutoencoderSettings, *, encoder_size_px: int) -> None:
        super().__init__()
        self.weight = settings.reconstruction_weight
        self.size_px = min(settings.reconstruction_px, encoder_size_px)
        self.decoder = Decoder(feature_dim, size_px=self.size_px, channels=settings.decoder_channels)

    def forward(self, features: torch.Tensor, targets: torch.Tensor | None = None) -> torch.Tensor:
        """Mean squared error over pixels and channels, in units of the contrast that the network's input has."""
        assert targets is not None
        drawn = self.decoder(features).float()
        wanted = functional.interpolate(targets[:, :3].float(), size=(self.size_px, self.size_px), mode="area")
        # 0.25 is the backbone's standard deviation of pixels: the loss starts near 1, as the others do.
        return self.weight * functional.mse_loss(drawn, (wanted - 0.5) / 0.25)


class Decoder(nn.Sequential):
    """Features (n, feature_dim) to pictures (n, 3, size_px, size_px), for any size.

    From a coarse map up by doublings, each nearest neighbor and a 3x3 convolution (Odena et al. 2016: no checkerboard).
    """

    def __init__(self, feature_dim: int, *, size_px: int, channels: int) -> None:
        doublings = 0
        while size_px >> (doublings + 1) >= COARSEST_PX:
            doublings += 1
        coarsest = -(-size_px // (1 << doublings))
        layers: list[nn.Module] = [
            nn.Linear(feature_dim, channels * coarsest * coarsest),
            nn.Unflatten(1, (channels, coarsest, coarsest)),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
        for _ in range(doublings):
            narrower = max(8, channels // 2)
            layers += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                nn.Conv2d(channels, narrower, 3, padding=1, bias=False),
                nn.BatchNorm2d(narrower),
                nn.ReLU(inplace=True),
            ]
            channels = narrower
        layers.append(nn.Conv2d(channels, 3, 3, padding=1))
        super().__init__(*layers)
        self.size_px = size_px

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pictures, standardized as the network's input; a side that is no power of two is cut from the next larger."""
        return super().forward(features)[:, :, : self.size_px, : self.size_px]
