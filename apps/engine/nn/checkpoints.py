"""Weights on disk: a folder with `model.safetensors` and `model.json`, there as a whole or not at all. No pickle.

A foundation model stays in the installation's weights folder, if it was not trained on: the checkpoint names it and the SHA-256
of its file. Of either kind it names the SHA-256 of its description.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from apps.engine.durable import replacing, require_space, sync_folder
from apps.engine.errors import EngineError
from apps.engine.nn.backbones import FoundationModel, is_still_there
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.model import PatchModel

WEIGHTS_NAME = "model.safetensors"
DESCRIPTION_NAME = "model.json"
FORMAT = 1


def save_checkpoint(folder: Path, model: PatchModel, config: TrainConfig, extra: Mapping[str, Any]) -> None:
    """Write the model and its settings as `folder`, replacing one that is there.

    `extra` (JSON values) is kept beside the settings. Everything is written and synced in a folder of another name
    first, then renamed: a reader, and a machine that loses power, see the whole checkpoint or none.
    """
    description: dict[str, Any] = {
        "config": config.to_json(),
        "class_values": list(model.class_values),
        "extra": dict(extra),
    }
    tensors = model.state_dict()
    borrowed = model.borrowed
    if borrowed is not None:
        description["borrowed"] = asdict(borrowed)
        if borrowed.sha256 is not None:
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("backbone.")}
    write_folder(Path(folder), tensors, description)


def write_folder(folder: Path, tensors: Mapping[str, torch.Tensor], description: Mapping[str, Any]) -> None:
    """Write tensors and JSON values as `folder`, as a whole or not at all, replacing one that is there."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    require_space(folder.parent, sum(tensor.nbytes for tensor in tensors.values()))
    draft = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
    draft.mkdir()
    try:
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        try:
            safetensors.torch.save_file(on_cpu, draft / WEIGHTS_NAME)
        except SafetensorError as error:  # of the disk: what the tensors are is known to be right
            raise OSError(f"{WEIGHTS_NAME} could not be written: {error}") from error
        _sync(draft / WEIGHTS_NAME)
        text = json.dumps({"format": FORMAT, **description}, indent=1, allow_nan=False)
        with replacing(draft / DESCRIPTION_NAME) as file:
            file.write(text.encode())
        sync_folder(draft)
        if folder.exists():
            # A folder cannot be renamed over a filled one.
            replaced = folder.parent / f".{folder.name}.{uuid.uuid4().hex}"
            folder.rename(replaced)
            draft.rename(folder)
            shutil.rmtree(replaced)
        else:
            draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    sync_folder(folder.parent)


def load_checkpoint(folder: Path, *, weights_root: Path | None = None) -> tuple[PatchModel, TrainConfig]:
    """The model, on the CPU and in evaluation mode, and its settings; `EngineError` for what is no checkpoint.

    `weights_root` as in `create_backbone`.
    """
    folder = Path(folder)
    description = read_description(folder)
    try:
        config = TrainConfig.from_json(description["config"])
        model = PatchModel(config, tuple(description["class_values"]), weights_root=weights_root)
        tensors = safetensors.torch.load_file(folder / WEIGHTS_NAME)
        if "borrowed" in description:
            borrowed = FoundationModel(**description["borrowed"])
            if model.backbone.source is None or not borrowed.is_still(model.backbone.source):
                raise EngineError(
                    f"The files of {borrowed.name} are no longer those that the model in {folder.name} is of, its weights or what describes "
                    "them: put the former ones back, or make a new map"
                )
            if borrowed.sha256 is not None:
                tensors |= {f"backbone.{name}": tensor for name, tensor in model.backbone.state_dict().items()}
        model.load_state_dict(tensors)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
        raise EngineError(f"The model in {folder.name} cannot be read: {error}") from error
    return model.eval(), config


def has_its_weights(folder: Path, *, weights_root: Path | None) -> bool:
    """Whether a checkpoint needs nothing of the weights folder, or what it names is there still what it was made with.

    Raises EngineError where that is not there or describes nothing, or `folder` is no checkpoint.
    """
    borrowed = read_description(folder).get("borrowed")
    return borrowed is None or is_still_there(FoundationModel(**borrowed), weights_root)


def read_description(folder: Path) -> dict[str, Any]:
    """What was written beside the weights; of a checkpoint: format, config, class_values, extra."""
    try:
        description: dict[str, Any] = json.loads((Path(folder) / DESCRIPTION_NAME).read_text())
    except (OSError, ValueError) as error:
        raise EngineError(f"{Path(folder).name} is not a model folder: {error}") from error
    if description.get("format") != FORMAT:
        raise EngineError(
            f"The model in {Path(folder).name} has format {description.get('format')}; this version reads {FORMAT}"
        )
    return description


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
