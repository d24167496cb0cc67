"""The backbone's own convolution gives what torch's gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from apps.engine.nn.backbones import SmallMapConv2d, create_backbone


@pytest.mark.parametrize("side", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("size", "stride", "padding"), [(3, 1, 1), (3, 2, 1), (1, 2, 0), (1, 1, 0), (7, 2, 3)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_convolution_over_a_small_map_is_the_same_forward_and_back(
    side: int, size: int, stride: int, padding: int, bias: bool
) -> None:
    torch.manual_seed(0)
    plain = nn.Conv2d(5, 7, size, stride=stride, padding=padding, bias=bias).double()
    ours = SmallMapConv2d(5, 7, size, stride=stride, padding=padding, bias=bias).double()
    ours.load_state_dict(plain.state_dict())
    images = torch.randn(4, 5, side, side, dtype=torch.double)
    results = []
    for convolution in (plain, ours):
        asked = images.clone().requires_grad_()
        out = convolution(asked)
        (out * torch.arange(out.numel(), dtype=torch.double).reshape(out.shape)).sum().backward()
        results.append([out, asked.grad, *(p.grad for p in convolution.parameters())])
    for expected, got in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("encoder_size_px", [16, 32, 64, 96])
def test_the_backbone_has_such_convolutions_and_torchvision_s_names(encoder_size_px: int) -> None:
    backbone = create_backbone("resnet18", encoder_size_px=encoder_size_px)
    convolutions = [module for module in backbone.modules() if isinstance(module, nn.Conv2d)]
    assert all(isinstance(module, SmallMapConv2d) for module in convolutions)
    assert "resnet.layer4.0.downsample.0.weight" in backbone.state_dict()
    assert not any(parameter.is_meta for parameter in backbone.parameters())
    assert backbone.eval()(torch.rand(2, 3, encoder_size_px, encoder_size_px)).shape == (2, backbone.feature_dim)
