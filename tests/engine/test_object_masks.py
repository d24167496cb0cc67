"""The object's mask: neighbors count as little as the setting says, and the mask turns with its patch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from apps.engine.approaches.base import AugmentSettings, NetworkSettings
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.components import FoundObjects
from apps.engine.embedding import embed_objects
from apps.engine.errors import EngineError
from apps.engine.masks import MaskKind, find_objects
from apps.engine.nn.augment import draw_views, render_on_cpu
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.embed import embed_patches
from apps.engine.nn.object_masks import DIMMED, show_objects, with_object_mask
from apps.engine.nn.pretrained import see_objects
from apps.engine.nn.train import train_model
from apps.engine.pixels import PatchReader, StoredImage, write_image
from tests.engine.fake_patches import make_patches
from tests.engine.test_augment import render_by_torch

CPU = torch.device("cpu")
CHANGING = ["object_only", "dimmed", "channel"]


def crowded_image() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint16]]:
    """An image (40, 40, 3) with four objects that touch each other around its middle, and their indexed mask."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)
    mask = np.zeros((40, 40), np.uint16)
    for index, (row, column) in enumerate([(14, 14), (14, 20), (20, 14), (20, 20)]):
        mask[row : row + 6, column : column + 6] = index + 1
    return image, mask


def reader_of(folder: Path, image: npt.NDArray[np.uint8], found: FoundObjects) -> PatchReader:
    write_image(folder, "a", image, found)
    return PatchReader([StoredImage(0, len(found), folder, "a")], 16)


@pytest.fixture
def readers(tmp_path: Path) -> tuple[PatchReader, PatchReader]:
    """The same objects twice; in the second image all but the first object's own pixels are others."""
    image, mask = crowded_image()
    found = find_objects(mask, MaskKind.INDEXED, name="mask.png")
    other = np.where((found.raster == 1)[:, :, None], image, 255 - image)
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    return reader_of(tmp_path / "one", image, found), reader_of(tmp_path / "other", other, found)


def test_the_object_alone_is_the_same_whatever_its_neighbors_look_like(readers) -> None:
    first, other = (with_object_mask(reader, "object_only").read(np.array([0])) for reader in readers)
    assert np.array_equal(first, other)
    mask = readers[0].read_masks([0])
    assert mask.sum() == 36  # the object, not the three that touch it
    assert (first[~mask] == 255).all()
    assert np.array_equal(first[mask], readers[0].read([0])[mask])


def test_dimmed_surroundings_keep_a_part_of_their_contrast(readers) -> None:
    plain, mask = readers[0].read([0]), readers[0].read_masks([0])
    dimmed = with_object_mask(readers[0], "dimmed").read(np.array([0]))
    assert np.array_equal(dimmed[mask], plain[mask])
    np.testing.assert_allclose(255.0 - dimmed[~mask], DIMMED * (255.0 - plain[~mask]), atol=0.5)


def test_as_a_channel_the_mask_comes_after_the_untouched_colors(readers) -> None:
    four = with_object_mask(readers[0], "channel").read(np.array([2, 0]))
    assert four.shape == (2, 16, 16, 4)
    assert np.array_equal(four[..., :3], readers[0].read([2, 0]))
    assert np.array_equal(four[..., 3], readers[0].read_masks([2, 0]) * np.uint8(255))


def test_without_masks_only_the_whole_patch_can_be_seen() -> None:
    patches, _kinds = make_patches(2)
    assert with_object_mask(patches, "none") is patches
    with pytest.raises(EngineError, match="object_mask is dimmed, but there are no masks"):
        with_object_mask(patches, "dimmed")


@pytest.mark.parametrize("object_mask", CHANGING)
def test_features_of_the_object_alone_do_not_depend_on_its_neighbors(object_mask: str, readers, tmp_path: Path) -> None:
    config = TrainConfig(
        settings=SimCLRSettings(object_mask=object_mask, projection_dim=8),
        encoder_size_px=32, epochs=1, device="cpu", threads=1,
    )  # fmt: skip
    train_model(config, readers[0], checkpoint=tmp_path / "model")
    first, other = (embed_patches(tmp_path / "model", reader, precision="fp32", threads=1)[0] for reader in readers)
    assert first.shape == (512,)
    assert np.array_equal(first, other) == (object_mask == "object_only")


@pytest.mark.parametrize("object_mask", CHANGING)
def test_nor_do_they_with_what_is_measured_beside_the_network(object_mask: str, readers, tmp_path: Path) -> None:
    settings = NetworkSettings(object_mask=object_mask)
    config = TrainConfig(approach="frozen", settings=settings, encoder_size_px=32, device="cpu", threads=1)
    train_model(config, readers[0], checkpoint=tmp_path / "model")
    # The first call makes the scale that the second one's features are on too.
    first, other = (embed_objects("frozen", settings, tmp_path / "model", reader)[0] for reader in readers)
    assert first.shape[0] > 512
    assert np.array_equal(first, other) == (object_mask == "object_only")


def test_training_on_the_object_alone_does_not_depend_on_neighbors(readers, tmp_path: Path) -> None:
    """Through every step: reading, resizing, turning, coloring."""
    config = TrainConfig(
        settings=SimCLRSettings(object_mask="object_only", projection_dim=8),
        encoder_size_px=32, epochs=2, device="cpu", threads=1,
    )  # fmt: skip

    class OnlyTheFirst:
        def __init__(self, reader: PatchReader) -> None:
            self.reader = reader

        def __len__(self) -> int:
            return 2

        def read(self, ordinals):
            return self.reader.read(np.zeros_like(ordinals))

        def read_masks(self, ordinals):
            return self.reader.read_masks(np.zeros_like(ordinals))

    losses = [train_model(config, OnlyTheFirst(reader), checkpoint=tmp_path / "m").losses for reader in readers]
    assert losses[0] == losses[1]


@pytest.mark.parametrize("size_px", [16, 33])
def test_both_renderers_move_the_mask_with_its_patch_and_change_nothing_else_of_it(size_px: int) -> None:
    patches, _kinds = make_patches(5, size_px=size_px)
    # As the mask, the red channel: a mask that is moved as the pixels are equals the moved red, before its color changes.
    four = np.concatenate([patches.patches, patches.patches[..., :1]], axis=3)
    wide = AugmentSettings(smallest_scale=0.5, largest_scale=2.0, max_shift=0.8, blur_probability=0.5, stain=0.5)
    draws = draw_views(np.random.default_rng(3), 10, size_px=size_px, settings=wide)
    for render in (render_on_cpu, render_by_torch):
        views, moved = render(four, draws), render(four, draws.geometry_only())
        assert views.shape == (10, 4, size_px, size_px)
        torch.testing.assert_close(moved[:, 3], moved[:, 0], atol=1e-4, rtol=0)
        torch.testing.assert_close(views[:, 3], moved[:, 3], atol=1e-6, rtol=0)
    torch.testing.assert_close(render_on_cpu(four, draws), render_by_torch(four, draws), atol=2e-4, rtol=0)
    three = render_on_cpu(patches.patches, draws)
    assert torch.equal(three, render_on_cpu(four, draws)[:, :3])


def test_showing_objects_leaves_what_was_read_as_it_was() -> None:
    patches, _kinds = make_patches(2)
    before = patches.patches.copy()
    show_objects(patches.patches, np.zeros((2, 16, 16), bool), "object_only")
    assert np.array_equal(patches.patches, before)


@pytest.mark.parametrize("object_mask", ["none", *CHANGING])
def test_nor_do_they_with_what_the_pretrained_network_sees(object_mask: str, readers) -> None:
    first, other = (see_objects(reader, object_mask=object_mask)[0] for reader in readers)
    assert np.array_equal(first, other) == (object_mask == "object_only")
    whole = see_objects(readers[0])[0]
    assert np.array_equal(first, whole) == (object_mask in {"none", "channel"}), "photographs have no fourth channel"
