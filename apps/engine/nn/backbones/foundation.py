"""Foundation models from files on this machine: `NAME/model.safetensors` and `NAME/config.json` in the weights folder.

`config.json` has timm's layout, as published with the weights: `architecture`, `model_args`, and `pretrained_cfg` with
`input_size`, `mean`, `std` and `interpolation`. Two entries are our own: `pooling` (see `TimmBackbone`), and `blocks`, how many of a
transformer's layers are used, from the first. Several publishers leave out what their README then asks to pass in code; for the
models in `KNOWN` that is added here, by the folder's name.
Models in the layout of the library transformers (Phikon, Midnight) are read as they are, with their `config.json` and
`preprocessor_config.json`; their tensors are renamed to timm's names.
"""

import hashlib
import json
import re
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from timm.layers.mlp import SwiGLUPacked
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import nn

from apps.engine.backbone_names import CONFIG_NAME, find_weights, path_shown
from apps.engine.errors import EngineError
from apps.engine.nn.backbones.base import FoundationModel
from apps.engine.nn.backbones.timm_network import TimmBackbone, build_network

PREPROCESSOR_NAME = "preprocessor_config.json"

Config = dict[str, Any]
Tensors = dict[str, torch.Tensor]

_IMAGENET: Config = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
_SWIGLU: Config = {"mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
_VIRCHOW: Config = {
    "architecture": "vit_huge_patch14_224",
    "model_args": {"img_size": 224, "init_values": 1e-5, "mlp_ratio": 5.3375, "global_pool": "", **_SWIGLU},
    "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bicubic", **_IMAGENET},
    "pooling": "class_and_mean",
}
_H_OPTIMUS: Config = {
    "architecture": "vit_giant_patch14_reg4_dinov2",
    "model_args": {"img_size": 224, "init_values": 1e-5, "global_pool": "token"},
    "pretrained_cfg": {
        "input_size": [3, 224, 224],
        "mean": [0.707223, 0.578729, 0.703617],
        "std": [0.211883, 0.230117, 0.177517],
    },
    "pooling": "class_token",
}
# From the publishers' model cards. A config.json beside the weights goes before what is said here.
KNOWN: dict[str, Config] = {
    "uni": {  # Chen et al. 2024
        "architecture": "vit_large_patch16_224",
        "model_args": {"img_size": 224, "init_values": 1e-5},
        "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bilinear", **_IMAGENET},
        "pooling": "class_token",
    },
    "uni2-h": {
        "architecture": "vit_giant_patch14_224",
        "model_args": {
            "img_size": 224,
            "patch_size": 14,
            "depth": 24,
            "num_heads": 24,
            "init_values": 1e-5,
            "embed_dim": 1536,
            "mlp_ratio": 2.66667 * 2,
            "no_embed_class": True,
            "reg_tokens": 8,
            **_SWIGLU,
        },
        "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bilinear", **_IMAGENET},
        "pooling": "class_token",
    },
    "virchow": _VIRCHOW,  # Vorontsov et al. 2024
    "virchow2": {**_VIRCHOW, "model_args": {**_VIRCHOW["model_args"], "reg_tokens": 4}},
    "h-optimus-0": _H_OPTIMUS,  # Saillard et al. 2024
    "h-optimus-1": _H_OPTIMUS,
}


def load_foundation_model(name: str, weights_root: Path | None) -> TimmBackbone:
    """The model of the folder `weights_root`/`name`.

    Raises EngineError where a file is missing (and says where it belongs), or does not fit its description (and names
    file and tensor).
    """
    weights = find_weights(name, weights_root)
    config = _read_config(weights.parent, name)
    source = FoundationModel(name, _sha256_of(weights), _sha256_of_description(config))
    tensors = _read_tensors(weights)
    try:
        if "model_type" in config:
            tensors = _from_transformers(tensors)
            config = _config_from_transformers(config, tensors)
        size = int(config["pretrained_cfg"]["input_size"][-1])
        mean, std = (tuple(map(float, config["pretrained_cfg"][part])) for part in ("mean", "std"))
        arguments = dict(config.get("model_args", {}))
        if "img_size" in arguments:
            arguments["img_size"] = size
        architecture = str(config["architecture"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise EngineError(f"{path_shown(weights.parent / CONFIG_NAME)} does not describe a model: {error!r}") from error
    network = _fill(architecture, size, arguments, tensors, weights)
    if "blocks" in config:
        _keep_first_blocks(network, config["blocks"], weights.parent / CONFIG_NAME)
    backbone = TimmBackbone(
        network,
        input_size_px=size,
        mean=mean,
        std=std,
        interpolation=config["pretrained_cfg"].get("interpolation", "bicubic"),
        pooling=config.get("pooling", "network"),
    )
    backbone.source = source
    return backbone


def is_still_there(model: FoundationModel, weights_root: Path | None) -> bool:
    """Whether its folder gives the features that it gave then; EngineError where the files are not there, or describe nothing."""
    weights = find_weights(model.name, weights_root)
    config = _read_config(weights.parent, model.name)
    # Gigabytes, which are not read where they do not matter.
    sha256 = None if model.sha256 is None else _sha256_of(weights)
    return model.is_still(FoundationModel(model.name, sha256, _sha256_of_description(config)))


def _sha256_of(weights: Path) -> str:
    now = weights.stat()
    return _sha256_when(weights, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)


@lru_cache(maxsize=32)
def _sha256_when(weights: Path, *_: int) -> str:
    """Gigabytes, which are read once for each state of the file, however many earlier models borrow it."""
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256_of_description(config: Config) -> str:
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _read_config(folder: Path, name: str) -> Config:
    """What is known of the model, and over it what its files say."""
    known = KNOWN.get(name.lower(), {})
    path = folder / CONFIG_NAME
    if not path.is_file():
        if known:
            return known
        raise EngineError(
            f"{CONFIG_NAME} of {name} is not there: put the one published with the weights "
            f"into {folder.parent.name}/{name} on the server"
        )
    config = _read_json(path)
    if "model_type" in config:
        preprocessor = folder / PREPROCESSOR_NAME
        return {**config, "preprocessor": _read_json(preprocessor) if preprocessor.is_file() else {}}
    merged = {part: {**known.get(part, {}), **(config.get(part) or {})} for part in ("model_args", "pretrained_cfg")}
    return {**known, **config, **merged}


def _read_json(path: Path) -> Config:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise EngineError(f"{path_shown(path)} cannot be read: {_reason(error)}") from error
    if not isinstance(content, dict):
        raise EngineError(f"{path_shown(path)} does not hold a JSON object")
    return content


def _read_tensors(path: Path) -> Tensors:
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118  (no mapping)
    except (OSError, SafetensorError) as error:
        raise EngineError(f"{path_shown(path)} cannot be read as safetensors: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    """Without the path, which an error of the system repeats."""
    return (error.strerror or "it cannot be opened") if isinstance(error, OSError) else str(error)


def _fill(architecture: str, size: int, arguments: Config, tensors: Tensors, path: Path) -> nn.Module:
    """The network with exactly these tensors."""
    arguments = {name: value for name, value in arguments.items() if name != "num_classes"}
    if arguments.get("mlp_layer") == "SwiGLUPacked":
        arguments["mlp_layer"] = SwiGLUPacked
    with torch.device("meta"):  # memory and random numbers for a billion weights that are replaced at once
        network = build_network(architecture, size, **arguments)
    wanted = network.state_dict()
    # A classifier that was published with the weights is not used.
    tensors = {key: tensor for key, tensor in tensors.items() if key in wanted or not key.startswith(("head.", "fc."))}
    position = tensors.get("pos_embed")
    if position is not None and "pos_embed" in wanted and position.shape != wanted["pos_embed"].shape:
        tensors["pos_embed"] = _resampled(position, wanted["pos_embed"], network)
    if missing := [key for key in wanted if key not in tensors]:
        raise EngineError(f"{path_shown(path)} does not fit {architecture}: it lacks {_some(missing)}")
    if unknown := [key for key in tensors if key not in wanted]:
        raise EngineError(f"{path_shown(path)} does not fit {architecture}, which does not know {_some(unknown)}")
    for key, tensor in tensors.items():
        if tensor.shape != wanted[key].shape:
            raise EngineError(
                f"{path_shown(path)} does not fit {architecture}: {key} is {tuple(tensor.shape)}, not {tuple(wanted[key].shape)}"
            )
    network.load_state_dict(tensors, assign=True)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        # Buffers that are computed and not kept in files.
        network = build_network(architecture, size, **arguments)
        network.load_state_dict(tensors)
    return network


def _keep_first_blocks(network: Any, n_blocks: Any, path: Path) -> None:
    """What a transformer's last layers tell apart is what it was trained for, which need not be single objects."""
    if not (hasattr(network, "num_prefix_tokens") and hasattr(network, "blocks")):
        raise EngineError(f'{path_shown(path)}: "blocks" is for transformers whose layers are all alike')
    most = len(network.blocks)
    if type(n_blocks) is not int or not 1 <= n_blocks <= most:
        raise EngineError(f'{path_shown(path)}: "blocks" is {n_blocks!r} and should be a number from 1 to {most}')
    network.blocks = network.blocks[:n_blocks]


def _resampled(position: torch.Tensor, wanted: torch.Tensor, network: nn.Module) -> torch.Tensor:
    """Position embeddings of another input size; as they are where that is not what differs."""
    prefix = 0 if getattr(network, "no_embed_class", False) else int(getattr(network, "num_prefix_tokens", 1))
    grid = round((wanted.shape[1] - prefix) ** 0.5)
    is_square = round((position.shape[1] - prefix) ** 0.5) ** 2 + prefix == position.shape[1]
    if position.shape[2] != wanted.shape[2] or not is_square:
        return position
    resampled: torch.Tensor = resample_abs_pos_embed(position, new_size=[grid, grid], num_prefix_tokens=prefix)
    return resampled


def _some(keys: list[str]) -> str:
    return keys[0] + (f" and {len(keys) - 1} more" if len(keys) > 1 else "")


# -- the layout of the library transformers ------------------------------------------------------------------------

_RENAMED = (
    (r"^(vit|dinov2)\.", ""),
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^layernorm\.", "norm."),
    (r"^encoder\.layer\.", "blocks."),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.output\.dense\.", ".attn.proj."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"\.output\.dense\.", ".mlp.fc2."),
    (r"\.mlp\.weights_in\.", ".mlp.fc1."),
    (r"\.mlp\.weights_out\.", ".mlp.fc2."),
    (r"\.layer_scale([12])\.lambda1$", r".ls\1.gamma"),
)
_NOT_USED = re.compile(r"(^|\.)(pooler\.|embeddings\.mask_token$|classifier\.)")


def _from_transformers(tensors: Tensors) -> Tensors:
    """The tensors under timm's names; query, key and value of a layer become one."""
    renamed: Tensors = {}
    for key, tensor in tensors.items():
        if _NOT_USED.search(key):
            continue
        for pattern, replacement in _RENAMED:
            key = re.sub(pattern, replacement, key)
        renamed[key] = tensor
    for key in [key for key in renamed if ".attention.attention.query." in key]:
        parts = [key.replace(".query.", f".{part}.") for part in ("query", "key", "value")]
        if all(part in renamed for part in parts):
            joined = key.replace(".attention.attention.query.", ".attn.qkv.")
            renamed[joined] = torch.cat([renamed.pop(part) for part in parts])
    return renamed


def _config_from_transformers(config: Config, tensors: Tensors) -> Config:
    """timm's description of a transformers `ViTModel` or `Dinov2Model`."""
    kind = config["model_type"]
    if kind not in ("vit", "dinov2"):
        raise EngineError(f"A transformers model of the type {kind!r} is not known; there are vit and dinov2")
    width, preprocessor = int(config["hidden_size"]), config["preprocessor"]
    arguments: Config = {
        "patch_size": int(config["patch_size"]),
        "embed_dim": width,
        "depth": int(config["num_hidden_layers"]),
        "num_heads": int(config["num_attention_heads"]),
        "norm_layer": partial(nn.LayerNorm, eps=float(config.get("layer_norm_eps", 1e-6))),
    }
    if kind == "dinov2":
        arguments["init_values"] = 1e-5
    if config.get("use_swiglu_ffn"):
        arguments.update(_SWIGLU)
    if (hidden := tensors.get("blocks.0.mlp.fc1.weight")) is not None:
        arguments["mlp_ratio"] = hidden.shape[0] / width
    sizes = {**preprocessor.get("size", {}), **preprocessor.get("crop_size", {})}
    size = int(sizes.get("height") or sizes.get("shortest_edge") or config["image_size"])
    return {
        "architecture": "vit_base_patch14_dinov2" if kind == "dinov2" else "vit_base_patch16_224",
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "mean": preprocessor.get("image_mean", _IMAGENET["mean"]),
            "std": preprocessor.get("image_std", _IMAGENET["std"]),
            "interpolation": "bicubic" if preprocessor.get("resample") == 3 else "bilinear",
        },
        "pooling": config.get("pooling", "class_token"),
        **({"blocks": config["blocks"]} if "blocks" in config else {}),
    }
