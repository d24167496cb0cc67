"""A denoising autoencoder (Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders")."""

from __future__ import annotations

from dataclasses import dataclass

from apps.engine.approaches.base import Approach, TrainingSettings
from apps.engine.settings import setting


@dataclass(frozen=True)
class AutoencoderSettings(TrainingSettings):
    """How the patch is drawn again from its features."""

    reconstruction_weight: float = setting(
        1.0,
        title="Weight of the reconstruction",
        help="How much the likeness of the drawn patch counts against the labels.",
        above=0,
        at_most=1000,
    )
    reconstruction_px: int = setting(
        32,
        title="Reconstruction, px",
        help="Side of the picture that is drawn, at most what the network sees. More shows finer detail and takes longer.",
        at_least=8,
        at_most=512,
        shapes_network=True,
    )
    decoder_channels: int = setting(
        64,
        title="Width of the decoder",
        help="Channels of its coarsest map; halved with each doubling of the side.",
        at_least=8,
        at_most=1024,
        shapes_network=True,
    )


AUTOENCODER = Approach(
    name="autoencoder",
    title="Autoencoder",
    description="Learns to draw the patch again from its features; sees all that varies, whether it matters or not.",
    settings=AutoencoderSettings,
    implementation="apps.engine.nn.approaches.autoencoder:Autoencoder",
)
