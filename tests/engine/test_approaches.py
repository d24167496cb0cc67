"""Every approach: at every size, with few and many objects, repeatable, the same after loading, and it learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.engine.approaches.autoencoder import AutoencoderSettings
from apps.engine.approaches.barlow_twins import BarlowTwinsSettings
from apps.engine.approaches.base import NetworkSettings
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.errors import EngineError
from apps.engine.nn.approaches.autoencoder import Autoencoder, Decoder
from apps.engine.nn.checkpoints import load_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.train import train_model
from apps.engine.registry import APPROACHES
from tests.engine.fake_patches import make_patches

SMALL = {
    "simclr": SimCLRSettings(projection_dim=8),
    "barlow_twins": BarlowTwinsSettings(projection_dim=16),
    "autoencoder": AutoencoderSettings(reconstruction_px=16, decoder_channels=16),
    "frozen": NetworkSettings(),
}
TRAINED = ["simclr", "barlow_twins", "autoencoder"]


def tiny(approach: str, **more: object) -> TrainConfig:
    config = TrainConfig(
        approach=approach,
        settings=SMALL[approach],
        encoder_size_px=16,
        epochs=1,
        batch_size=16,
        device="cpu",
        threads=1,
    )
    return replace(config, **more)


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_checkpoint(folder)[0].state_dict())


def test_the_registry_says_of_each_approach_what_it_needs() -> None:
    assert {*SMALL, "instant"} == set(APPROACHES.names()), "each is tried below; `instant`, in test_descriptors"
    for approach in APPROACHES.entries():
        assert approach.title and approach.description.endswith(".")
        assert approach.uses_network or not approach.trains
        assert not approach.implementation or callable(approach.load())


@pytest.mark.parametrize("approach", SMALL)
@pytest.mark.parametrize("size_px", [16, 32, 50, 64, 128, 256])
def test_every_approach_works_at_every_size(approach: str, size_px: int, tmp_path: Path) -> None:
    patches, kinds = make_patches(2, size_px=size_px)
    settings = SMALL[approach]
    if approach == "autoencoder":
        settings = replace(settings, reconstruction_px=512)  # at most what the network sees
    config = tiny(approach, settings=settings, encoder_size_px=size_px)
    result = train_model(config, patches, class_values=kinds, checkpoint=tmp_path / "1")
    assert np.isfinite(result.losses).all()
    vectors = embed_patches(tmp_path / "1", patches, precision="fp32", threads=1)
    assert vectors.shape == (2, 512)
    assert np.isfinite(vectors).all()
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)


@pytest.mark.parametrize("approach", SMALL)
@pytest.mark.parametrize(("n", "labeled"), [(1, False), (2, True), (10, False), (37, True)])
def test_any_number_of_objects_gives_finite_weights(approach: str, n: int, labeled: bool, tmp_path: Path) -> None:
    patches, kinds = make_patches(n)  # 37 in batches of at most 16: the last one is uneven
    train_model(tiny(approach), patches, class_values=kinds if labeled else None, checkpoint=tmp_path / "1")
    assert all(torch.isfinite(tensor).all() for tensor in weights_of(tmp_path / "1").values())


@pytest.mark.parametrize("approach", TRAINED)
def test_the_loss_falls_with_and_without_labels(approach: str, tmp_path: Path) -> None:
    patches, kinds = make_patches(32)
    for name, labels in (("none", None), ("all", kinds)):
        config = tiny(approach, epochs=6, learning_rate=3e-3)
        losses = train_model(config, patches, class_values=labels, checkpoint=tmp_path / name).losses
        assert losses[-1] < 0.9 * losses[0], (name, losses)


@pytest.mark.parametrize("approach", TRAINED)
def test_labels_count_unless_their_weight_is_nothing(approach: str, tmp_path: Path) -> None:
    patches, kinds = make_patches(16)
    unheard = replace(SMALL[approach], cross_entropy_weight=0.0)
    train_model(tiny(approach, settings=unheard), patches, class_values=kinds, checkpoint=tmp_path / "unheard")
    train_model(tiny(approach), patches, class_values=kinds, checkpoint=tmp_path / "heard")
    assert (weights_of(tmp_path / "unheard")["classifier.weight"] == 0).all()
    assert (weights_of(tmp_path / "heard")["classifier.weight"] != 0).any()


@pytest.mark.parametrize("approach", SMALL)
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(approach: str, tmp_path: Path) -> None:
    patches, kinds = make_patches(20)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train_model(tiny(approach, seed=seed), patches, class_values=kinds, checkpoint=tmp_path / name)
    a, b, c = (weights_of(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert not torch.equal(a["backbone.resnet.conv1.weight"], c["backbone.resnet.conv1.weight"])


@pytest.mark.parametrize("approach", SMALL)
def test_a_model_goes_on_from_its_checkpoint_with_the_same_settings_and_weights(approach: str, tmp_path: Path) -> None:
    patches, kinds = make_patches(12)
    config = tiny(approach)
    train_model(config, patches, class_values=kinds, checkpoint=tmp_path / "1")
    assert load_checkpoint(tmp_path / "1")[1] == config
    still = replace(config, learning_rate=0.0)
    train_model(still, patches, class_values=kinds, start_from=tmp_path / "1", checkpoint=tmp_path / "2")
    before, after = weights_of(tmp_path / "1"), weights_of(tmp_path / "2")
    learned = [key for key in before if key.endswith(("weight", "bias"))]
    assert all(torch.equal(before[key], after[key]) for key in learned)


def test_a_frozen_backbone_stays_as_it_is(tmp_path: Path) -> None:
    patches, kinds = make_patches(12)
    result = train_model(tiny("frozen", epochs=5), patches, class_values=kinds, checkpoint=tmp_path / "1")
    assert (result.epochs, result.steps, result.losses, result.n_labeled) == (0, 0, [], 0)
    assert set(weights_of(tmp_path / "1")) == {
        name for name in weights_of(tmp_path / "1") if name.startswith("backbone.")
    }
    train_model(tiny("frozen"), patches, start_from=tmp_path / "1", checkpoint=tmp_path / "2")
    before, after = weights_of(tmp_path / "1"), weights_of(tmp_path / "2")
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_another_head_cannot_be_gone_on_from(tmp_path: Path) -> None:
    patches, _kinds = make_patches(4)
    train_model(tiny("simclr"), patches, checkpoint=tmp_path / "1")
    other = tiny("simclr", settings=SimCLRSettings(projection_dim=9))
    with pytest.raises(EngineError, match="its projection_dim is 8, now 9"):
        train_model(other, patches, start_from=tmp_path / "1", checkpoint=tmp_path / "2")
    with pytest.raises(EngineError, match="its approach is simclr, now barlow_twins"):
        train_model(tiny("barlow_twins"), patches, start_from=tmp_path / "1", checkpoint=tmp_path / "2")


@pytest.mark.parametrize("size_px", [8, 16, 31, 33, 50, 64, 100, 256])
def test_the_decoder_draws_a_picture_of_any_side(size_px: int) -> None:
    assert Decoder(12, size_px=size_px, channels=16)(torch.randn(2, 12)).shape == (2, 3, size_px, size_px)


def test_the_autoencoder_s_loss_is_the_squared_error_in_units_of_contrast() -> None:
    torch.manual_seed(0)
    autoencoder = Autoencoder(
        12, AutoencoderSettings(reconstruction_px=8, reconstruction_weight=2.0), encoder_size_px=16
    )
    features, targets = torch.randn(4, 12), torch.rand(4, 4, 16, 16)  # the fourth channel, a mask, is not drawn
    drawn = autoencoder.decoder(features).detach().numpy()
    halved = targets[:, :3].numpy().reshape(4, 3, 8, 2, 8, 2).mean(axis=(3, 5))
    expected = 2.0 * np.mean(((drawn * 0.25 + 0.5) - halved) ** 2) / 0.25**2
    assert autoencoder(features, targets).item() == pytest.approx(expected, rel=1e-4)
