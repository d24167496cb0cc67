"""Training and embedding on a GPU: `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from apps.engine.errors import EngineError, Stopped
from apps.engine.nn import train
from apps.engine.nn.backbones.resnet import ResNetBackbone
from apps.engine.nn.checkpoints import load_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.steps import GpuSteps
from apps.engine.nn.train import TrainResult, train_model
from apps.engine.registry import APPROACHES
from tests.engine.fake_patches import make_patches

pytestmark = pytest.mark.gpu

N = 101  # batches of two sizes
CONFIG = TrainConfig(encoder_size_px=16, epochs=4, batch_size=16, device="cuda")


@pytest.fixture(autouse=True)
def every_run_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """To be recorded."""
    monkeypatch.setattr(train, "STEPS_WORTH_RECORDING", 1)


def run(config: TrainConfig, checkpoint: Path, **more: Any) -> TrainResult:
    patches, kinds = make_patches(N, size_px=config.encoder_size_px)
    kinds[50:] = 0
    return train_model(config, patches, class_values=kinds, checkpoint=checkpoint, **more)


def assert_same_weights(a: Path, b: Path) -> None:
    first, second = (load_checkpoint(folder)[0].state_dict() for folder in (a, b))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(torch.isfinite(values).all() for values in first.values())


@pytest.mark.parametrize("approach", ["simclr", "barlow_twins", "autoencoder"])
@pytest.mark.parametrize("precision", ["auto", "fp16", "fp32"])
def test_a_recorded_step_does_what_one_does_that_is_launched_kernel_by_kernel(
    approach: str, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = APPROACHES.get(approach).settings()
    config = replace(CONFIG, approach=approach, settings=settings, precision=precision)
    sizes = []
    record = GpuSteps._record
    monkeypatch.setattr(
        GpuSteps, "_record", lambda self, like: (sizes.append(len(like.classes)), record(self, like))[1]
    )
    recorded = run(config, tmp_path / "recorded")
    assert len(set(sizes)) == 2
    monkeypatch.setattr(ResNetBackbone, "replayable", False)
    sizes.clear()
    launched = run(config, tmp_path / "launched")
    assert not sizes
    assert recorded.losses == launched.losses
    assert_same_weights(tmp_path / "recorded", tmp_path / "launched")
    assert recorded.losses[-1] < recorded.losses[0]
    assert 0 < recorded.input_share < 1


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    for name in "ab":
        run(CONFIG, tmp_path / name)
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_a_stopped_training_goes_on_and_ends_with_the_very_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(CONFIG, tmp_path / "whole")
    monkeypatch.setattr(train.TrainingStates, "is_due", lambda _: True)
    asked = iter(range(1000))
    with pytest.raises(Stopped):
        run(CONFIG, tmp_path / "halves", states=tmp_path / "states", should_stop=lambda: next(asked) > 20)
    resumed = run(CONFIG, tmp_path / "halves", states=tmp_path / "states")
    assert resumed.resumed_after == 2
    assert_same_weights(tmp_path / "whole", tmp_path / "halves")


def test_an_architecture_of_timm_with_random_layers_trains_the_same_twice(tmp_path: Path) -> None:
    settings = APPROACHES.get("simclr").settings().changed({"backbone": "timm:ghostnet_050"})
    for name in "ab":
        run(replace(CONFIG, settings=settings, epochs=2, encoder_size_px=32), tmp_path / name)
    assert_same_weights(tmp_path / "a", tmp_path / "b")


def test_a_gpu_and_a_cpu_learn_the_same(tmp_path: Path) -> None:
    by = {
        device: run(replace(CONFIG, device=device, precision="fp32", learning_rate=3e-5), tmp_path / device)
        for device in ("cuda", "cpu")
    }
    np.testing.assert_allclose(by["cuda"].losses, by["cpu"].losses, rtol=1e-2)
    patches, _kinds = make_patches(N)
    on_gpu, on_cpu = (
        embed_patches(tmp_path / "cpu", patches, device=device, precision="fp32") for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(on_gpu, on_cpu, atol=2e-3)


def test_a_step_that_the_memory_does_not_hold_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    free, _total = torch.cuda.mem_get_info()
    taken = torch.empty(free - (600 << 20), dtype=torch.uint8, device="cuda")
    try:
        with pytest.raises(EngineError, match="memory"):
            run(replace(CONFIG, encoder_size_px=256, batch_size=N), tmp_path / "a")
    finally:
        del taken
        torch.cuda.empty_cache()
    assert not (tmp_path / "a").exists()
    run(CONFIG, tmp_path / "a")
