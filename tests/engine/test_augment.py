"""The random views: both renderers agree, every view differs, and a draw does what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from apps.engine.approaches.base import AugmentSettings
from apps.engine.nn.augment import DeviceRenderer, ViewDraws, draw_views, render_on_cpu
from tests.engine.fake_patches import make_patches

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
USUAL = AugmentSettings()
STILL = AugmentSettings(
    max_rotation_degrees=0, smallest_scale=1, largest_scale=1, max_shift=0, stain=0, brightness=0, contrast=0,
    saturation=0, hue_degrees=0, blur_probability=0, max_noise=0,
)  # fmt: skip


def draws_for(n: int, size_px: int, settings: AugmentSettings = USUAL) -> ViewDraws:
    return draw_views(np.random.default_rng(3), n, size_px=size_px, settings=settings)


def render_by_torch(
    patches: npt.NDArray[np.uint8], draws: ViewDraws, device: str = "cpu", *, geometry_only: bool = False
) -> torch.Tensor:
    renderer = DeviceRenderer(patches.shape[1], torch.device(device))
    render = renderer.render_geometry if geometry_only else renderer.render
    arrays = (patches, draws.numbers(), draws.noise_seed.astype(np.int64))
    return render(*(torch.from_numpy(array).to(device) for array in arrays)).cpu()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size_px", [16, 33])
def test_numba_and_torch_render_the_same_views(size_px: int, device: str) -> None:
    patches = make_patches(5, size_px=size_px)[0].patches
    wide = AugmentSettings(
        smallest_scale=0.5, largest_scale=2.0, max_shift=0.8, blur_probability=0.5, stain=0.5, max_noise=0.1
    )
    draws = draws_for(10, size_px, wide)
    on_cpu, by_torch = render_on_cpu(patches, draws), render_by_torch(patches, draws, device)
    assert on_cpu.shape == by_torch.shape == (10, 3, size_px, size_px)
    assert on_cpu.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(on_cpu, by_torch, atol=2e-4, rtol=0)
    moved = render_by_torch(patches, draws, device, geometry_only=True)
    torch.testing.assert_close(render_on_cpu(patches, draws.geometry_only()), moved, atol=2e-4, rtol=0)


def test_the_noise_has_the_drawn_strength() -> None:
    patches = np.full((4, 32, 32, 3), 128, np.uint8)
    draws = draws_for(8, 32, replace(STILL, max_noise=0.1))
    views = render_on_cpu(patches, draws)
    np.testing.assert_allclose(views.flatten(1).std(dim=1).numpy(), draws.noise, rtol=0.1, atol=1e-3)
    assert views.mean().item() == pytest.approx(128 / 255, abs=0.005)


def test_without_any_strength_a_view_is_the_patch_or_its_mirror_image() -> None:
    patches = make_patches(2)[0].patches
    views = render_on_cpu(patches, draws_for(12, 16, STILL)).permute(0, 2, 3, 1).numpy() * 255
    for i, view in enumerate(views):
        patch = patches[i % 2].astype(np.float64)
        assert min(np.abs(view - patch).max(), np.abs(view - patch[:, ::-1]).max()) < 1e-2


def test_views_stay_in_range_differ_from_each_other_and_repeat_with_the_seed() -> None:
    patches = make_patches(1)[0].patches
    draws = draws_for(6, 16)
    views = render_on_cpu(patches, draws)
    assert 0 <= views.min() <= views.max() <= 1
    distances = torch.cdist(views.flatten(1), views.flatten(1)) + torch.eye(6) * 9
    assert distances.min() > 0.5
    assert torch.equal(views, render_on_cpu(patches, draws_for(6, 16)))


def test_gray_stays_gray_whatever_hue_and_saturation() -> None:
    patches = np.full((1, 8, 8, 3), 100, np.uint8)
    views = render_on_cpu(patches, draws_for(5, 8, replace(STILL, saturation=0.9, hue_degrees=180)))
    torch.testing.assert_close(views, torch.full_like(views, 100 / 255), atol=2e-3, rtol=0)


def test_the_geometry_alone_leaves_colors_as_they_are() -> None:
    patches = make_patches(3)[0].patches
    draws = draws_for(6, 16)
    only_moved = replace(draws, color=draws.geometry_only().color, gamma=np.ones_like(draws.gamma))
    only_moved = replace(only_moved, blur=np.zeros_like(draws.blur), noise=np.zeros_like(draws.noise))
    assert torch.equal(render_on_cpu(patches, draws.geometry_only()), render_on_cpu(patches, only_moved))
    still = draws_for(3, 16, STILL).geometry_only()
    views = render_on_cpu(patches, replace(still, affine=np.tile(np.eye(2, 3, dtype=np.float32), (3, 1, 1))))
    np.testing.assert_allclose(views.permute(0, 2, 3, 1).numpy() * 255, patches, atol=1e-3)
