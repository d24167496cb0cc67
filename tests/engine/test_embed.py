"""Features from a checkpoint: shape, length, repeatability, cancel."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from apps.engine.errors import EngineError, Stopped
from apps.engine.nn.backbones import create_backbone
from apps.engine.nn.checkpoints import save_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import BATCHES_PER_SHARD, batch_size_for, embed_patches
from apps.engine.nn.model import PatchModel
from tests.engine.fake_patches import make_patches


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "1"
    config = TrainConfig(encoder_size_px=16)
    torch.manual_seed(0)
    save_checkpoint(folder, PatchModel(config), config, {})
    return folder


@pytest.mark.parametrize(("n", "size_px"), [(0, 16), (1, 16), (7, 16), (5, 48)])
def test_features_have_length_one_whatever_the_number_and_size_of_patches(
    checkpoint: Path, n: int, size_px: int
) -> None:
    vectors = embed_patches(checkpoint, make_patches(n, size_px=size_px)[0], batch_size=3)
    assert vectors.shape == (n, 512)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)


def test_features_do_not_depend_on_the_other_patches_of_the_batch(checkpoint: Path) -> None:
    patches, _kinds = make_patches(9)
    whole = embed_patches(checkpoint, patches, precision="fp32").astype(np.float32)
    by_two = embed_patches(checkpoint, patches, batch_size=2, precision="fp32").astype(np.float32)
    np.testing.assert_allclose(whole, by_two, atol=1e-3)


def test_half_precision_gives_nearly_the_same_directions(checkpoint: Path) -> None:
    patches, _kinds = make_patches(9)
    exact = embed_patches(checkpoint, patches, precision="fp32").astype(np.float32)
    half = embed_patches(checkpoint, patches, precision="bf16").astype(np.float32)
    assert (exact * half).sum(axis=1).min() > 0.999


def test_a_batch_has_fewer_images_the_larger_they_are() -> None:
    backbone = create_backbone("resnet18", encoder_size_px=64)
    cpu = torch.device("cpu")
    assert [batch_size_for(backbone, cpu, size) for size in (32, 64, 128, 512)] == [512, 512, 128, 8]


def test_what_a_gpu_s_memory_does_not_hold_is_said(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(PatchModel, "forward", too_much)
    with pytest.raises(EngineError, match="does not hold the features of resnet18: 3 images of 16 px at a time"):
        embed_patches(checkpoint, make_patches(5)[0], batch_size=3)


def test_embedding_reports_and_stops(checkpoint: Path) -> None:
    patches, _kinds = make_patches(8)
    reports: list[tuple[str, float, str]] = []
    embed_patches(checkpoint, patches, batch_size=4, on_progress=lambda *report: reports.append(report))
    assert reports[0][:2] == ("embedding", 0.0)
    assert reports[-1][:2] == ("embedding", 1.0)
    with pytest.raises(Stopped):
        embed_patches(checkpoint, patches, should_stop=lambda: True)


def test_a_damaged_shard_is_named_and_made_anew_by_the_next_attempt(checkpoint: Path, tmp_path: Path) -> None:
    patches, _kinds = make_patches(2 * BATCHES_PER_SHARD)
    embedded = partial(embed_patches, checkpoint, patches, batch_size=1, shards=tmp_path)
    with pytest.raises(Stopped):
        embedded(should_stop=iter([False] * (BATCHES_PER_SHARD + 1) + [True]).__next__)
    (shard,) = tmp_path.rglob("0*.npy")
    shard.write_bytes(shard.read_bytes()[:200])
    with pytest.raises(EngineError, match=rf"{shard.name} is damaged"):
        embedded()
    np.testing.assert_array_equal(embedded(), embed_patches(checkpoint, patches, batch_size=1))
