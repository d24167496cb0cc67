"""Backbones by name; the convolutions of our own give what torch's gives."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import nn

from apps.engine.backbone_names import timm_architectures
from apps.engine.errors import EngineError
from apps.engine.nn.backbones import create_backbone, winograd
from apps.engine.nn.backbones.convolutions import LeanConv2d
from apps.engine.nn.devices import compute_threads


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads of small networks mostly wait for each other."""
    with compute_threads(1):
        yield


@pytest.mark.parametrize("sides", [(1, 1), (2, 2), (3, 3), (4, 4), (8, 8), (1, 4), (3, 2)])
@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (1, 1, 0), (7, 2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_over_a_small_map_is_the_same_forward_and_back(
    sides: tuple[int, int], size: int, stride: int, padding: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(5, 7, size, stride=stride, padding=padding, bias=bias).double()
    ours = LeanConv2d(5, 7, size, stride=stride, padding=padding, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    images = torch.randn(4, 5, *sides, dtype=torch.double)
    results = []
    for convolution in (plain, ours):
        asked = images.clone().requires_grad_()
        out = convolution(asked)
        (out * torch.arange(out.numel(), dtype=torch.double).reshape(out.shape)).sum().backward()
        results.append([out, asked.grad, *(p.grad for p in convolution.parameters())])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("side", [1, 2, 4])
def test_a_convolution_in_bf16_is_the_same_but_for_rounding(side: int) -> None:
    torch.manual_seed(0)
    plain, ours = nn.Conv2d(64, 64, 3, padding=1), LeanConv2d(64, 64, 3, padding=1)
    ours.load_state_dict(plain.state_dict())
    for convolution in (plain, ours):  # as in training
        convolution.weight.data = convolution.weight.data.contiguous(memory_format=torch.channels_last)
    images, weights = torch.randn(8, 64, side, side), torch.randn(8, 64, side, side)
    results = []
    for convolution in (plain, ours):
        asked = images.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            out = convolution(asked)
        (out * weights).sum().backward()
        results.append([out, asked.grad, *(p.grad for p in convolution.parameters())])
    for expected, got in zip(*results, strict=True):
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        assert (got.float() - expected.float()).norm() < 0.01 * expected.float().norm()


def test_a_convolution_over_a_small_map_can_be_used_twice_and_frozen() -> None:
    torch.manual_seed(0)
    plain, ours = nn.Conv2d(5, 5, 3, padding=1).double(), LeanConv2d(5, 5, 3, padding=1).double()
    ours.load_state_dict(plain.state_dict())
    images = torch.randn(3, 5, 2, 2, dtype=torch.double)
    for convolution in (plain, ours):
        convolution(convolution(images)).square().sum().backward()
    torch.testing.assert_close(ours.weight.grad, plain.weight.grad)
    ours.weight.grad = None
    asked = images.clone().requires_grad_()
    ours.requires_grad_(False)(asked).sum().backward()
    assert ours.weight.grad is None and asked.grad is not None


@pytest.mark.parametrize("sides", [(2, 2), (3, 3), (4, 4), (6, 3), (7, 7), (8, 8), (9, 2), (16, 12), (5, 10)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolution_in_tiles_is_the_same_forward_and_back(
    sides: tuple[int, int], bias: bool, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(winograd, "BLOCK_BYTES", 4 * 36 * 12 * 96 * 2)  # of the largest maps two views at a time
    torch.manual_seed(0)
    convolution = nn.Conv2d(64, 96, 3, padding=1, bias=bias)
    weight = convolution.weight.data.contiguous(memory_format=torch.channels_last)  # as in training
    arguments = [torch.randn(17, 64, *sides), weight, *([] if convolution.bias is None else [convolution.bias.data])]
    weights = torch.randn(17, 96, *sides)
    results = []
    for convolve, number_format in ((_plain_3x3, torch.double), (winograd.convolve_3x3, torch.float)):
        asked = [argument.to(number_format).requires_grad_() for argument in arguments]
        with compute_threads(threads):
            out = convolve(*asked, *([] if bias else [None]))
            (out * weights).sum().backward()
        results.append([out, *(argument.grad for argument in asked)])
    for expected, got in zip(*results, strict=True):
        assert got.dtype == torch.float and got.shape == expected.shape
        assert (got - expected).abs().max() < 3e-5 * expected.abs().max()


def _plain_3x3(maps: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return nn.functional.conv2d(maps, weight, bias, padding=1)


def test_a_convolution_in_tiles_takes_no_views_and_frozen_weights_and_is_changed_in_its_place() -> None:
    ours = LeanConv2d(64, 64, 3, padding=1)
    assert ours(torch.randn(0, 64, 8, 8)).shape == (0, 64, 8, 8)
    asked = torch.randn(2, 64, 8, 8, requires_grad=True)
    nn.functional.relu(ours.requires_grad_(False)(asked), inplace=True).sum().backward()
    assert ours.weight.grad is None and asked.grad is not None


def test_what_tiles_keep_for_a_size_is_of_use_in_training_after_features() -> None:
    ours = LeanConv2d(64, 64, 3, padding=1)
    winograd._Tiles.of.cache_clear()
    with torch.inference_mode():
        ours(torch.randn(1, 64, 12, 12))
    ours(torch.randn(1, 64, 12, 12)).sum().backward()
    assert ours.weight.grad is not None


@pytest.mark.parametrize(
    ("sides", "channels", "are_taken"),
    [
        ((2, 2), 512, True),
        ((4, 4), 256, True),
        ((8, 8), 128, True),
        ((16, 16), 64, True),
        ((1, 8), 64, False),
        ((5, 5), 64, False),
        ((16, 16), 32, False),
        ((32, 32), 64, False),
        ((128, 128), 64, False),
    ],
)
def test_a_convolution_takes_tiles_where_they_are_faster(
    sides: tuple[int, int], channels: int, are_taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    filters = winograd.convolve_3x3
    monkeypatch.setattr(winograd, "convolve_3x3", lambda *arguments: [taken.append(True), filters(*arguments)][1])
    LeanConv2d(channels, channels, 3, padding=1)(torch.randn(1, channels, *sides))
    assert bool(taken) is are_taken


def test_a_map_too_small_for_the_kernel_is_refused_as_ever() -> None:
    with pytest.raises(RuntimeError, match="Kernel size can't be greater than actual input size"):
        LeanConv2d(5, 7, 3)(torch.randn(1, 5, 1, 1))


@pytest.mark.parametrize("name", ["resnet18", "timm:resnet10t"])
def test_nothing_is_downloaded(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def refuse(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise OSError("no network here")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))  # where earlier downloads would lie
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    create_backbone(name, encoder_size_px=32)
    assert not asked and not any(tmp_path.iterdir())


@pytest.mark.parametrize("encoder_size_px", [16, 32, 64, 96])
def test_the_backbone_has_such_convolutions_and_torchvision_s_names(encoder_size_px: int) -> None:
    backbone = create_backbone("resnet18", encoder_size_px=encoder_size_px)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert all(isinstance(module, LeanConv2d) for module in convolutions)
    assert "resnet.layer4.0.downsample.0.weight" in backbone.state_dict()
    assert not any(parameter.is_meta for parameter in backbone.parameters())
    assert backbone.eval()(torch.rand(2, 3, encoder_size_px, encoder_size_px)).shape == (2, backbone.feature_dim)


@pytest.mark.parametrize("is_training", [False, True])
def test_the_backbone_computes_what_torchvision_s_network_does(is_training: bool) -> None:
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", encoder_size_px=32).train(is_training)
    plain = torchvision.models.resnet18().train(is_training)
    plain.conv1, plain.maxpool = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False), nn.MaxPool2d(2)
    plain.fc = nn.Identity()
    plain.load_state_dict(backbone.resnet.state_dict())
    images = torch.rand(40, 3, 32, 32)  # more than go through the stem at once
    expected, got = plain((images - 0.5) / 0.25), backbone(images)
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)
    weights = torch.randn(40, 512)
    for features in (expected, got):
        (features * weights).sum().backward()
    # Where a number is rounded to the other side of zero, what rectifies it passes the gradient on or not.
    gradient = plain.conv1.weight.grad
    assert (backbone.resnet.conv1.weight.grad - gradient).norm() < 0.02 * gradient.norm()


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_prepared_for_features_alone_a_backbone_gives_the_same_ones_without_normalizing(name: str) -> None:
    torch.manual_seed(0)
    backbone = create_backbone(name, encoder_size_px=32)
    images = torch.rand(6, 3, 32, 32)
    for _ in range(3):
        backbone(images + 0.1 * torch.randn_like(images))  # statistics of batches that are not those of nothing
    with torch.no_grad():
        expected = backbone.eval()(images)
        backbone.prepare_for_features()
        torch.testing.assert_close(backbone(images), expected, atol=1e-4, rtol=1e-3)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())


@pytest.mark.parametrize(
    ("name", "size_px", "feature_dim"),
    [
        ("resnet34", 32, 512),
        ("resnet50", 16, 2048),
        ("resnet101", 32, 2048),
        ("resnet152", 16, 2048),
        ("timm:vit_tiny_patch16_224", 64, 192),
        ("timm:vit_tiny_patch16_224", 40, 192),  # is enlarged to whole tokens
        ("timm:convnext_atto", 16, 320),
        ("timm:mobilenetv3_small_050", 64, 1024),
    ],
)
@pytest.mark.parametrize("channels", [3, 4])
def test_backbones_by_name_give_their_number_of_features(
    name: str, size_px: int, feature_dim: int, channels: int
) -> None:
    backbone = create_backbone(name, encoder_size_px=size_px, input_channels=channels).eval()
    with torch.inference_mode():
        features = backbone(torch.rand(2, channels, size_px, size_px))
    assert backbone.feature_dim == feature_dim
    assert features.shape == (2, feature_dim)
    assert backbone.source is None


@pytest.mark.parametrize(("size_px", "stride", "last_map_px"), [(16, 1, 1), (32, 2, 1), (64, 2, 2), (128, 2, 4)])
def test_a_resnet_s_stem_looks_at_small_patches_finely(size_px: int, stride: int, last_map_px: int) -> None:
    """Three pixels at a time instead of torchvision's seven, and at 16 px every pixel. The last map is of one position below 64 px."""
    resnet = create_backbone("resnet18", encoder_size_px=size_px).eval().resnet
    assert isinstance(resnet, torchvision.models.ResNet)
    assert (resnet.conv1.kernel_size, resnet.conv1.stride) == ((3, 3), (stride, stride))
    seen: list[torch.Size] = []
    resnet.layer4.register_forward_hook(lambda _module, _inputs, output: seen.append(output.shape))
    with torch.inference_mode():
        resnet(torch.rand(1, 3, size_px, size_px))
    assert seen[0][2:] == (last_map_px, last_map_px)


def test_the_same_seed_gives_the_same_random_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(3)
        states.append(create_backbone("timm:vit_tiny_patch16_224", encoder_size_px=32).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


@pytest.mark.parametrize("name", ["resnet1", "timm:vit_enormous", "timm:hf-hub:MahmoodLab/uni"])
def test_an_unknown_backbone_is_a_clear_error_and_never_looked_for_elsewhere(name: str) -> None:
    with pytest.raises(EngineError, match=name.rpartition(":")[2]):
        create_backbone(name, encoder_size_px=64)


def test_the_architectures_that_are_read_from_timm_s_source_are_those_it_has() -> None:
    assert timm_architectures() == set(timm.list_models())
