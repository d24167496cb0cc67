"""Checkpoints: the same features after loading, all or nothing on disk, and clear words for a bad one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.errors import EngineError
from apps.engine.nn import checkpoints
from apps.engine.nn.checkpoints import load_checkpoint, read_description, save_checkpoint
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.model import PatchModel

CONFIG = TrainConfig(settings=SimCLRSettings(projection_dim=8), encoder_size_px=16, seed=4)


def make_model(config: TrainConfig = CONFIG) -> PatchModel:
    torch.manual_seed(0)
    model = PatchModel(config, (3, 7))
    model(torch.rand(8, 3, 16, 16))  # moves the batch statistics away from their start
    return model.eval()


@pytest.mark.parametrize("backbone", ["resnet18", "timm:convnext_atto", "timm:vit_tiny_patch16_224"])
def test_a_loaded_model_gives_the_same_features_and_knows_its_settings(tmp_path: Path, backbone: str) -> None:
    own = replace(CONFIG, settings=SimCLRSettings(projection_dim=8, backbone=backbone))
    model = make_model(own)
    save_checkpoint(tmp_path / "1", model, own, {"note": "x"})
    loaded, config = load_checkpoint(tmp_path / "1")
    images = torch.rand(5, 3, 16, 16)
    with torch.inference_mode():
        assert torch.equal(model(images), loaded(images))
    assert config == own
    assert loaded.class_values == (3, 7)
    assert read_description(tmp_path / "1")["extra"] == {"note": "x"}
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == ["model.json", "model.safetensors"]


def test_saving_again_replaces_the_folder_and_leaves_nothing_else(tmp_path: Path) -> None:
    for round_number in (1, 2):
        save_checkpoint(tmp_path / "1", make_model(), CONFIG, {"round": round_number})
    assert read_description(tmp_path / "1")["extra"] == {"round": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def test_a_failed_save_keeps_the_earlier_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path / "1", make_model(), CONFIG, {"round": 1})
    replacing = checkpoints.replacing

    @contextmanager
    def fail_on_description(path: Path) -> Iterator[BinaryIO]:
        with replacing(path) as file:
            yield file
            if path.name == "model.json":
                raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "replacing", fail_on_description)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(tmp_path / "1", make_model(), CONFIG, {"round": 2})
    assert read_description(tmp_path / "1")["extra"] == {"round": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["1"]


def spoil(folder: Path, what: str) -> None:
    description: dict[str, Any] = json.loads((folder / "model.json").read_text())
    if what == "format":
        (folder / "model.json").write_text(json.dumps(description | {"format": 99}))
    elif what == "classes":
        (folder / "model.json").write_text(json.dumps(description | {"class_values": [1]}))
    elif what == "weights":
        (folder / "model.safetensors").write_bytes(b"not weights")
    else:
        (folder / what).unlink()


@pytest.mark.parametrize("what", ["format", "classes", "weights", "model.json", "model.safetensors"])
def test_a_damaged_checkpoint_is_an_engine_error_that_names_it(tmp_path: Path, what: str) -> None:
    save_checkpoint(tmp_path / "version-9", make_model(), CONFIG, {})
    spoil(tmp_path / "version-9", what)
    with pytest.raises(EngineError, match="version-9"):
        load_checkpoint(tmp_path / "version-9")
