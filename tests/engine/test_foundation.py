"""Foundation models from files: read as published, and clear words for what is missing or does not fit.

The files are made here, with small random weights in the published layouts. Nothing may use the network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.layers import SwiGLUPacked
from torch.nn import functional

from apps.engine.approaches.base import NetworkSettings
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.backbone_names import RESNETS, backbone_names
from apps.engine.errors import EngineError
from apps.engine.nn.backbones import create_backbone
from apps.engine.nn.backbones.foundation import KNOWN
from apps.engine.nn.backbones.timm_network import build_network
from apps.engine.nn.checkpoints import has_its_weights
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.devices import compute_threads
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.train import train_model
from tests.engine.fake_patches import make_patches
from tests.engine.fake_weights import ARCHITECTURE, PREPROCESSING, publish


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with compute_threads(1):
        yield


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("something tried to reach a server")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def normalized(images: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(PREPROCESSING[part]).reshape(1, 3, 1, 1) for part in ("mean", "std"))
    return (images - mean) / std


@torch.inference_mode()
@pytest.mark.parametrize(("architecture", "n_features"), [(ARCHITECTURE, 24), ("resnet18", 512)])
def test_features_are_those_of_the_published_network_with_its_own_preprocessing(
    tmp_path: Path, architecture: str, n_features: int
) -> None:
    network = publish(tmp_path, "ours", architecture=architecture)
    backbone = create_backbone("weights:ours", encoder_size_px=64, weights_root=tmp_path).eval()
    images = torch.rand(3, 3, 32, 32)
    assert backbone.feature_dim == n_features
    torch.testing.assert_close(backbone(images), network(normalized(images)))
    larger = torch.rand(2, 3, 64, 64)
    smaller = functional.interpolate(larger, size=(32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(backbone(larger), backbone(smaller))


@torch.inference_mode()
def test_the_class_token_and_the_mean_of_the_patches_are_put_side_by_side_without_registers(tmp_path: Path) -> None:
    """As Virchow2 wants it: four registers between the class token and the patches, SwiGLU in the layers."""
    options = {"reg_tokens": 4, "global_pool": "", "mlp_layer": "SwiGLUPacked", "act_layer": "silu"}
    network = publish(tmp_path, "v", more={"pooling": "class_and_mean"}, **options)
    backbone = create_backbone("weights:v", encoder_size_px=32, weights_root=tmp_path).eval()
    images = torch.rand(2, 3, 32, 32)
    tokens = network(normalized(images))
    assert tokens.shape == (2, 1 + 4 + 16, 24)
    assert backbone.feature_dim == 48
    torch.testing.assert_close(backbone(images), torch.cat([tokens[:, 0], tokens[:, 5:].mean(dim=1)], dim=1))


@torch.inference_mode()
@pytest.mark.parametrize(("size_px", "in_the_middle"), [(32, [5, 6, 9, 10]), (24, [4])])
def test_the_middle_is_where_the_object_is_after_as_many_layers_as_are_wanted(
    tmp_path: Path, size_px: int, in_the_middle: list[int]
) -> None:
    preprocessing = {**PREPROCESSING, "input_size": [3, size_px, size_px]}
    more = {"pooling": "middle", "blocks": 2, "pretrained_cfg": preprocessing}
    network = publish(tmp_path, "m", more=more, depth=3, img_size=size_px, reg_tokens=3)
    backbone = create_backbone("weights:m", encoder_size_px=32, weights_root=tmp_path).eval()
    images = torch.rand(2, 3, size_px, size_px)
    network.blocks = network.blocks[:2]
    of_patches = network.forward_features(normalized(images))[:, 4:]
    assert backbone.feature_dim == 24
    torch.testing.assert_close(backbone(images), of_patches[:, in_the_middle].mean(dim=1))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"pooling": "maximum"}, "no pooling 'maximum'; there are network"),
        ({"blocks": 3}, r'm/config\.json: "blocks" is 3 and should be a number from 1 to 2'),
        ({"blocks": "2"}, "should be a number"),
        ({"architecture": "resnet18", "blocks": 2}, r'm/config\.json: "blocks" is for transformers'),
    ],
)
def test_what_can_not_be_taken_of_a_model_is_a_clear_error(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    publish(tmp_path, "m", architecture=more.get("architecture", ARCHITECTURE), more=more)
    with pytest.raises(EngineError, match=message):
        create_backbone("weights:m", encoder_size_px=32, weights_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "million_weights", "feature_dim"),
    [
        ("uni", 303, 1024),
        ("uni2-h", 681, 1536),
        ("virchow", 631, 2560),
        ("virchow2", 631, 2560),
        ("h-optimus-0", 1135, 1536),
        ("h-optimus-1", 1135, 1536),
    ],
)
def test_the_known_models_have_the_size_that_was_published(name: str, million_weights: int, feature_dim: int) -> None:
    known = KNOWN[name]
    arguments = dict(known["model_args"])
    if arguments.get("mlp_layer"):
        arguments["mlp_layer"] = SwiGLUPacked
    with torch.device("meta"):
        network = build_network(known["architecture"], 224, **arguments)
    assert round(sum(parameter.numel() for parameter in network.parameters()) / 1e6) == million_weights
    assert network.num_features * (2 if known["pooling"] == "class_and_mean" else 1) == feature_dim


@torch.inference_mode()
def test_a_known_model_needs_no_description_beside_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """H-optimus-0 as it is built and read, but for its width and depth."""
    known = KNOWN["h-optimus-0"]
    small = {**known["model_args"], "embed_dim": 24, "depth": 2, "num_heads": 2, "img_size": 28}
    preprocessing = {**known["pretrained_cfg"], "input_size": [3, 28, 28]}
    monkeypatch.setitem(KNOWN, "h-optimus-0", {**known, "model_args": small, "pretrained_cfg": preprocessing})
    network = publish(tmp_path, "H-optimus-0", architecture=known["architecture"], **small, patch_size=14)
    (tmp_path / "H-optimus-0" / "config.json").unlink()
    backbone = create_backbone("weights:H-optimus-0", encoder_size_px=64, weights_root=tmp_path).eval()
    images = torch.rand(2, 3, 28, 28)
    mean, std = (torch.tensor(preprocessing[part]).reshape(1, 3, 1, 1) for part in ("mean", "std"))
    tokens = network.forward_features((images - mean) / std)
    assert tokens.shape == (2, 1 + 4 + 4, 24)
    torch.testing.assert_close(backbone(images), tokens[:, 0])


# As UNI2-h has them: registers, of which none has a position, nor has the class token; SwiGLU in the layers.
UNI2 = {"no_embed_class": True, "reg_tokens": 8, "mlp_layer": "SwiGLUPacked", "act_layer": "silu"}


@torch.inference_mode()
@pytest.mark.parametrize("options", [{}, UNI2], ids=["positions of all tokens", "as UNI2-h"])
def test_positions_of_another_input_size_are_resampled(tmp_path: Path, options: dict[str, Any]) -> None:
    more = {"pooling": "class_token", "pretrained_cfg": {**PREPROCESSING, "input_size": [3, 48, 48]}}
    network: Any = publish(tmp_path, "ours", more=more, global_pool="", **options)
    backbone = create_backbone("weights:ours", encoder_size_px=48, weights_root=tmp_path).eval()
    images = torch.rand(2, 3, 48, 48)
    network.set_input_size((48, 48))  # timm's own way to the same
    tokens = network(normalized(images))
    assert tokens.shape == (2, 1 + options.get("reg_tokens", 0) + 36, 24)
    torch.testing.assert_close(backbone(images), tokens[:, 0])


def test_a_frozen_model_s_checkpoint_names_the_weights_and_does_not_copy_them(tmp_path: Path) -> None:
    network = publish(tmp_path, "ours")
    patches, _kinds = make_patches(5, size_px=32)
    config = TrainConfig(
        approach="frozen", settings=NetworkSettings(backbone="weights:ours"), encoder_size_px=32, device="cpu"
    )
    train_model(config, patches, checkpoint=tmp_path / "model", weights_root=tmp_path)
    assert (tmp_path / "model" / "model.safetensors").stat().st_size < 1000
    vectors = embed_patches(tmp_path / "model", patches, precision="fp32", device="cpu", weights_root=tmp_path)
    with torch.inference_mode():
        images = torch.from_numpy(patches.patches).permute(0, 3, 1, 2) / 255
        expected = functional.normalize(network(normalized(images)), dim=1)
    torch.testing.assert_close(torch.from_numpy(vectors).float(), expected, atol=1e-3, rtol=1e-2)

    shutil.rmtree(tmp_path / "ours")
    publish(tmp_path, "ours", init_values=0.2)
    with pytest.raises(EngineError, match="files of ours are no longer those"):
        embed_patches(tmp_path / "model", patches, weights_root=tmp_path)
    shutil.rmtree(tmp_path / "ours")
    publish(tmp_path, "ours")
    assert has_its_weights(tmp_path / "model", weights_root=tmp_path)
    describe(tmp_path / "ours", pooling="middle")
    assert not has_its_weights(tmp_path / "model", weights_root=tmp_path)
    with pytest.raises(EngineError, match="or what describes them"):
        embed_patches(tmp_path / "model", patches, weights_root=tmp_path)


def test_the_weights_are_read_once_however_many_models_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path, "ours")
    patches, _kinds = make_patches(5, size_px=32)
    config = TrainConfig(
        approach="frozen", settings=NetworkSettings(backbone="weights:ours"), encoder_size_px=32, device="cpu"
    )
    train_model(config, patches, checkpoint=tmp_path / "model", weights_root=tmp_path)
    read: list[str] = []
    file_digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.append(file.name) or file_digest(file, name))
    assert all(has_its_weights(tmp_path / "model", weights_root=tmp_path) for _ in range(3))
    assert read == [], "the training has read them"
    weights = tmp_path / "ours" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    assert not has_its_weights(tmp_path / "model", weights_root=tmp_path)
    assert read == [str(weights)]


def test_a_checkpoint_from_before_descriptions_were_kept_is_read_as_it_was(tmp_path: Path) -> None:
    publish(tmp_path, "ours")
    patches, _kinds = make_patches(5, size_px=32)
    settings = NetworkSettings(backbone="weights:ours")
    config = TrainConfig(approach="frozen", settings=settings, encoder_size_px=32, device="cpu")
    train_model(config, patches, checkpoint=tmp_path / "model", weights_root=tmp_path)
    path = tmp_path / "model" / "model.json"
    description = json.loads(path.read_text())
    del description["borrowed"]["description_sha256"]
    path.write_text(json.dumps(description))
    assert has_its_weights(tmp_path / "model", weights_root=tmp_path)
    assert embed_patches(tmp_path / "model", patches, weights_root=tmp_path).shape == (5, 24)


def describe(folder: Path, **more: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | more))


def test_a_foundation_model_can_be_trained_further_and_is_then_kept_whole(tmp_path: Path) -> None:
    publish(tmp_path, "ours")
    patches, _kinds = make_patches(8, size_px=32)
    settings = SimCLRSettings(backbone="weights:ours")
    config = TrainConfig(settings=settings, encoder_size_px=32, epochs=1, device="cpu", threads=1)
    train_model(config, patches, checkpoint=tmp_path / "model", weights_root=tmp_path)
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    before = load_file(tmp_path / "ours" / "model.safetensors")
    assert not torch.equal(tensors["backbone.network.blocks.0.attn.qkv.weight"], before["blocks.0.attn.qkv.weight"])
    assert embed_patches(tmp_path / "model", patches, weights_root=tmp_path).shape == (8, 24)
    save_file({name: 1.1 * tensor for name, tensor in before.items()}, tmp_path / "ours" / "model.safetensors")
    assert has_its_weights(tmp_path / "model", weights_root=tmp_path), "its own, by now"
    describe(tmp_path / "ours", blocks=1)
    assert not has_its_weights(tmp_path / "model", weights_root=tmp_path)
    with pytest.raises(EngineError, match="or what describes them"):
        embed_patches(tmp_path / "model", patches, weights_root=tmp_path)


# -- as the library transformers writes them -----------------------------------------------------------------------


def publish_for_transformers(root: Path, kind: str, *, gated: bool = False) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    tensors: dict[str, torch.Tensor] = {}

    def add(name: str, *shape: int) -> None:
        tensors[name] = 0.3 * torch.randn(*shape, generator=generator)

    def add_layer(name: str, out: int, *into: int) -> None:
        add(f"{name}.weight", out, *into)
        add(f"{name}.bias", out)

    add("embeddings.cls_token", 1, 1, 12)
    add("embeddings.position_embeddings", 1, 5, 12)
    add_layer("embeddings.patch_embeddings.projection", 12, 3, 8, 8)
    for i in range(2):
        layer = f"encoder.layer.{i}"
        for part in ("query", "key", "value"):
            add_layer(f"{layer}.attention.attention.{part}", 12, 12)
        add_layer(f"{layer}.attention.output.dense", 12, 12)
        norms = ("layernorm_before", "layernorm_after") if kind == "vit" else ("norm1", "norm2")
        for norm in norms:
            add_layer(f"{layer}.{norm}", 12)
        into, out = ("intermediate.dense", "output.dense") if kind == "vit" else ("mlp.fc1", "mlp.fc2")
        if gated:
            into, out = "mlp.weights_in", "mlp.weights_out"
        add_layer(f"{layer}.{into}", 48 if gated else 24, 12)
        add_layer(f"{layer}.{out}", 12, 24)
        if kind == "dinov2":
            add(f"{layer}.layer_scale1.lambda1", 12)
            add(f"{layer}.layer_scale2.lambda1", 12)
    add_layer("layernorm", 12)
    add_layer("pooler.dense", 12, 12) if kind == "vit" else add("embeddings.mask_token", 1, 12)
    folder = root / kind
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": kind,
        "hidden_size": 12,
        "patch_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "layer_norm_eps": 1e-12,
        "image_size": 16,
        **({"use_swiglu_ffn": True} if gated else {}),
    }
    (folder / "config.json").write_text(json.dumps(config))
    preprocessor = {"image_mean": PREPROCESSING["mean"], "image_std": PREPROCESSING["std"], "size": {"height": 16}}
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return tensors


def class_token(tensors: dict[str, torch.Tensor], images: torch.Tensor, n_layers: int = 2) -> torch.Tensor:
    """Dosovitskiy et al. 2021, written out from the tensors by their names in transformers."""

    def linear(name: str, values: torch.Tensor) -> torch.Tensor:
        return values @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(names: tuple[str, ...], values: torch.Tensor) -> torch.Tensor:
        name = next(name for name in names if f"{name}.weight" in tensors)
        return functional.layer_norm(values, (12,), tensors[f"{name}.weight"], tensors[f"{name}.bias"], eps=1e-12)

    projection = "embeddings.patch_embeddings.projection"
    patches = functional.conv2d(images, tensors[f"{projection}.weight"], tensors[f"{projection}.bias"], stride=8)
    tokens = patches.flatten(2).transpose(1, 2)
    tokens = torch.cat([tensors["embeddings.cls_token"].expand(len(images), -1, -1), tokens], dim=1)
    tokens = tokens + tensors["embeddings.position_embeddings"]
    for i in range(n_layers):
        layer = f"encoder.layer.{i}"
        seen = norm((f"{layer}.layernorm_before", f"{layer}.norm1"), tokens)
        query, key, value = (
            linear(f"{layer}.attention.attention.{part}", seen).unflatten(2, (3, 4)).transpose(1, 2)
            for part in ("query", "key", "value")
        )
        weights = (query @ key.transpose(2, 3) / 2.0).softmax(dim=3)
        attended = linear(f"{layer}.attention.output.dense", (weights @ value).transpose(1, 2).flatten(2))
        tokens = tokens + attended * tensors.get(f"{layer}.layer_scale1.lambda1", torch.ones(12))
        seen = norm((f"{layer}.layernorm_after", f"{layer}.norm2"), tokens)
        if f"{layer}.mlp.weights_in.weight" in tensors:  # SwiGLU (Shazeer 2020)
            gate, value = linear(f"{layer}.mlp.weights_in", seen).chunk(2, dim=2)
            hidden = linear(f"{layer}.mlp.weights_out", functional.silu(gate) * value)
        elif f"{layer}.mlp.fc1.weight" in tensors:
            hidden = linear(f"{layer}.mlp.fc2", functional.gelu(linear(f"{layer}.mlp.fc1", seen)))
        else:
            hidden = linear(f"{layer}.output.dense", functional.gelu(linear(f"{layer}.intermediate.dense", seen)))
        tokens = tokens + hidden * tensors.get(f"{layer}.layer_scale2.lambda1", torch.ones(12))
    return norm(("layernorm",), tokens)[:, 0]


@torch.inference_mode()
@pytest.mark.parametrize(("kind", "gated"), [("vit", False), ("dinov2", False), ("dinov2", True)])
def test_files_of_the_library_transformers_give_the_features_of_the_formula(
    tmp_path: Path, kind: str, gated: bool
) -> None:
    """The layouts of Phikon (vit), of Phikon-v2 (dinov2) and of Midnight (dinov2, gated)."""
    tensors = publish_for_transformers(tmp_path, kind, gated=gated)
    backbone = create_backbone(f"weights:{kind}", encoder_size_px=16, weights_root=tmp_path).eval()
    images = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(backbone(images), class_token(tensors, normalized(images)), atol=1e-4, rtol=1e-4)
    describe(tmp_path / kind, blocks=1)
    fewer = create_backbone(f"weights:{kind}", encoder_size_px=16, weights_root=tmp_path).eval()
    torch.testing.assert_close(fewer(images), class_token(tensors, normalized(images), 1), atol=1e-4, rtol=1e-4)


# -- what can be wrong ---------------------------------------------------------------------------------------------


def test_missing_files_say_where_they_belong(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"put model\.safetensors into .*/phikon on the server"):
        create_backbone("weights:phikon", encoder_size_px=64, weights_root=tmp_path)
    publish(tmp_path, "ours")
    (tmp_path / "ours" / "config.json").unlink()
    with pytest.raises(EngineError, match=r"config\.json of ours is not there.*/ours"):
        create_backbone("weights:ours", encoder_size_px=64, weights_root=tmp_path)
    with pytest.raises(EngineError, match="are not there, or may not be read"):
        create_backbone(f"weights:{'x' * 300}", encoder_size_px=64, weights_root=tmp_path)
    with pytest.raises(EngineError, match="none is set"):
        create_backbone("weights:uni", encoder_size_px=64)


@pytest.mark.parametrize("name", ["../ours", "a/b", ".hidden", ""])
def test_a_name_cannot_lead_out_of_the_weights_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match="no name of a folder"):
        create_backbone(f"weights:{name}", encoder_size_px=64, weights_root=tmp_path)


def test_weights_that_do_not_fit_name_file_and_tensor(tmp_path: Path) -> None:
    publish(tmp_path, "ours")
    path = tmp_path / "ours" / "model.safetensors"
    whole = load_file(path)

    def fault(tensors: dict[str, torch.Tensor]) -> str:
        save_file(tensors, path)
        with pytest.raises(EngineError) as caught:
            create_backbone("weights:ours", encoder_size_px=64, weights_root=tmp_path)
        assert f"{tmp_path.name}/ours/model.safetensors" in str(caught.value)
        assert str(tmp_path) not in str(caught.value), "where the server keeps its files is nobody's business here"
        return str(caught.value)

    assert "lacks blocks.1.norm2.bias" in fault({key: t for key, t in whole.items() if key != "blocks.1.norm2.bias"})
    assert "does not know blocks.7.x" in fault({**whole, "blocks.7.x": torch.zeros(1)})
    assert "norm.weight is (25,), not (24,)" in fault({**whole, "norm.weight": torch.zeros(25)})
    path.write_bytes(b"no tensors")
    with pytest.raises(EngineError, match=r"model\.safetensors cannot be read"):
        create_backbone("weights:ours", encoder_size_px=64, weights_root=tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"architecture": "vit_tiny_patch16_224"}', '{"model_type": "bert"}']
)
def test_a_config_that_describes_no_model_is_a_clear_error(tmp_path: Path, content: str) -> None:
    publish(tmp_path, "ours")
    (tmp_path / "ours" / "config.json").write_text(content)
    with pytest.raises(EngineError, match=r"config\.json|bert"):
        create_backbone("weights:ours", encoder_size_px=64, weights_root=tmp_path)


def test_a_fourth_channel_is_refused_and_the_names_are_listed(tmp_path: Path) -> None:
    publish(tmp_path, "ours")
    with pytest.raises(EngineError, match="RGB"):
        create_backbone("weights:ours", encoder_size_px=64, input_channels=4, weights_root=tmp_path)
    publish(tmp_path, ".cache")  # no name that could be chosen
    assert backbone_names(tmp_path) == [*RESNETS, "weights:ours"]
