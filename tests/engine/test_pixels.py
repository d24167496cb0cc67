"""The pixel store: what is read is what was imported, at any size, at the border, in any order, from any thread."""

from __future__ import annotations

import io
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from apps.engine import pixels
from apps.engine.atlas import atlas, single_patch
from apps.engine.errors import EngineError
from apps.engine.masks import MaskKind, find_objects, objects_from_points, read_points
from apps.engine.pixels import (
    BEYOND,
    PatchReader,
    StoredImage,
    delete_image,
    part_path,
    read_pixels,
    read_raster,
    write_image,
)

RNG = np.random.default_rng(3)


def image_with_points(
    folder: Path, key: str, shape: tuple[int, int], places: list[tuple[float, float]], first: int = 0
) -> tuple[np.ndarray, StoredImage]:
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    points = read_points("".join(f"{r!r},{c!r}\n" for r, c in places).encode(), name="p.csv")
    write_image(folder, key, image, objects_from_points(points, shape))
    return image, StoredImage(first, len(places), folder, key)


def expected_patch(image: np.ndarray, row: float, column: float, size: int) -> np.ndarray:
    top, left = int(np.floor(row + 0.5)) - size // 2, int(np.floor(column + 0.5)) - size // 2
    pad = [
        (max(0, -top), max(0, top + size - image.shape[0])),
        (max(0, -left), max(0, left + size - image.shape[1])),
        (0, 0),
    ]
    padded = np.pad(image, pad, mode="reflect")
    top, left = max(0, top), max(0, left)
    return padded[top : top + size, left : left + size]


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.integers(1, 100),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_patch_is_the_image_around_the_centroid_mirrored_at_the_border(tmp_path, shape, size, place):
    row, column = (float(np.float32(share * (side - 1))) for share, side in zip(place, shape, strict=True))
    image, stored = image_with_points(tmp_path, "k", shape, [(row, column)])
    patch = PatchReader([stored], size).read([0])
    np.testing.assert_array_equal(patch[0], expected_patch(image, row, column, size))


def test_what_is_shown_to_a_human_is_gray_beyond_the_border_and_the_image_within(tmp_path: Path):
    image, stored = image_with_points(tmp_path, "k", (30, 20), [(2.0, 17.0)])
    patch = PatchReader([stored], 12).read([0], mirrored=False)[0]
    expected = np.full((12, 12, 3), BEYOND)
    expected[4:, :9] = image[:8, 11:]
    np.testing.assert_array_equal(patch, expected)
    context = PatchReader([stored], 12).read([0], patch_size_px=48, mirrored=False)[0]
    np.testing.assert_array_equal(context[22:, 7:27], image[:26])
    context[22:, 7:27] = BEYOND
    assert (context == BEYOND).all()


def test_several_images_in_any_order_with_repeats(tmp_path: Path):
    images, stored, places = [], [], []
    for k in range(7):
        here = [(float(r), float(c)) for r, c in zip(RNG.integers(0, 60, 5), range(0, 70, 14), strict=True)]
        image, one = image_with_points(tmp_path, f"i{k}", (60, 70), here, first=5 * k)
        images += [image] * 5
        places += here
        stored.append(one)
    reader = PatchReader(stored[::-1], 16, max_open_images=2)
    assert len(reader) == 35
    ordinals = RNG.integers(0, 35, 200)
    patches = reader.read(ordinals)
    assert patches.shape == (200, 16, 16, 3)
    for ordinal, patch in zip(ordinals, patches, strict=True):
        np.testing.assert_array_equal(patch, expected_patch(images[ordinal], *places[ordinal], 16))
    with ThreadPoolExecutor(4) as pool:
        for again in pool.map(lambda _: reader.read(ordinals), range(12)):
            np.testing.assert_array_equal(again, patches)
    assert reader.read([]).shape == (0, 16, 16, 3)


def test_images_added_later_change_no_ordinal_and_the_patch_size_may_change(tmp_path: Path):
    image, first = image_with_points(tmp_path, "a", (50, 50), [(10, 10), (30, 30)])
    before = PatchReader([first], 16).read([0, 1])
    _, second = image_with_points(tmp_path, "b", (50, 50), [(5, 5)], first=2)
    np.testing.assert_array_equal(PatchReader([first, second], 16).read([0, 1]), before)
    np.testing.assert_array_equal(PatchReader([first], 24).read([1])[0], expected_patch(image, 30, 30, 24))


def test_resizing_averages_when_shrinking(tmp_path: Path):
    image, stored = image_with_points(tmp_path, "a", (64, 64), [(32, 32)])
    reader = PatchReader([stored], 32)
    small = reader.read([0], size_px=16)[0]
    blocks = expected_patch(image, 32, 32, 32).reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    assert np.abs(small - blocks).max() <= 0.75
    assert reader.read([0], size_px=50).shape == (1, 50, 50, 3)
    assert reader.read([0], patch_size_px=64, size_px=32).shape == (1, 32, 32, 3)


def test_original_got_this_wrong_d3_positions_and_ids_beyond_65535(tmp_path: Path):
    mask = np.zeros((20, 70_000), np.uint32)
    mask[8:11, 5] = 1
    mask[8:11, 69_980:69_983] = 70_001
    image = RNG.integers(0, 256, (20, 70_000, 3), dtype=np.uint8)
    objects = find_objects(mask, MaskKind.INDEXED, name="m")
    write_image(tmp_path, "k", image, objects)
    patch = PatchReader([StoredImage(0, 2, tmp_path, "k")], 8).read([1])[0]
    np.testing.assert_array_equal(patch, image[5:13, 69_977:69_985])
    assert objects.source_id.tolist() == [1, 70_001]


def test_original_got_this_wrong_d4_an_object_s_mask_holds_no_neighbor(tmp_path: Path):
    mask = np.zeros((40, 40), np.uint8)
    mask[10:14, 10:14] = 255
    mask[10:14, 16:20] = 255
    mask[0:2, 0:2] = 255
    objects = find_objects(mask, MaskKind.BINARY, name="m")
    write_image(tmp_path, "k", np.zeros((40, 40, 3), np.uint8), objects)
    masks = PatchReader([StoredImage(0, 3, tmp_path, "k")], 16).read_masks([2, 0, 1])
    assert masks.dtype == np.bool_
    assert masks.sum(axis=(1, 2)).tolist() == [16, 4, 16]
    expected = np.zeros((16, 16), bool)
    expected[7:9, 7:9] = True  # around (0.5, 0.5), rounded to (1, 1): beyond the image there is no object
    np.testing.assert_array_equal(masks[1], expected)


def test_the_whole_image_and_raster_can_be_read_and_deleted(tmp_path: Path):
    image, stored = image_with_points(tmp_path, "a", (30, 30), [(5, 5)])
    np.testing.assert_array_equal(read_pixels(stored), image)
    assert read_raster(stored)[5, 5] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.centroids.npy", "a.objects.npy", "a.pixels.npy"]
    delete_image(tmp_path, "a")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_only_temporary_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apps.engine.pixels.os.fsync", fail)
    with pytest.raises(OSError, match="No space"):
        image_with_points(tmp_path, "a", (30, 30), [(5, 5)])
    assert list(tmp_path.iterdir())
    assert all(path.name.endswith(".partial") for path in tmp_path.iterdir())
    with pytest.raises(EngineError, match=r"a\.pixels\.npy is missing"):
        PatchReader([StoredImage(0, 1, tmp_path, "a")], 8).read([0])


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("pixels", None, "missing"),
        ("pixels", b"not an array", "damaged"),
        ("pixels", np.zeros((30, 30), np.uint8), "RGB"),
        ("centroids", np.zeros((7, 2), np.float32), "1 centroids"),
        ("objects", np.zeros((30, 31), np.uint16), "another size"),
        ("objects", np.zeros((30, 30), np.float32), "raster"),
    ],
)
def test_a_damaged_store_is_a_clear_error(tmp_path: Path, part, content, message):
    _, stored = image_with_points(tmp_path, "a", (30, 30), [(5, 5)])
    path = part_path(tmp_path, "a", part)
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(EngineError, match=message):
        PatchReader([stored], 8).read_masks([0])


def test_a_truncated_file_is_a_clear_error(tmp_path: Path):
    _, stored = image_with_points(tmp_path, "a", (30, 30), [(5, 5)])
    path = part_path(tmp_path, "a", "pixels")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineError, match="damaged"):
        PatchReader([stored], 8).read([0])


def test_unknown_ordinals_and_gaps_are_refused(tmp_path: Path):
    _, stored = image_with_points(tmp_path, "a", (30, 30), [(5, 5)])
    for wrong in (-1, 1):
        with pytest.raises(EngineError, match=f"object {wrong} does not exist"):
            PatchReader([stored], 8).read([0, wrong])
    with pytest.raises(EngineError, match="gaps"):
        PatchReader([StoredImage(3, 1, tmp_path, "a")], 8)
    assert len(PatchReader([], 8)) == 0
    with pytest.raises(EngineError, match="belong together"):
        write_image(
            tmp_path,
            "b",
            np.zeros((9, 9, 3), np.uint8),
            find_objects(np.eye(8, dtype=np.uint8), MaskKind.INDEXED, name="m"),
        )


def decoded(jpeg: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(jpeg)))


@pytest.mark.parametrize("n", [1, 31, 32, 33, 200])
def test_an_atlas_shows_the_patches_row_by_row(tmp_path: Path, n):
    image = cv2.GaussianBlur(RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8), (0, 0), 4)
    places = [(float(r), float(c)) for r in range(10, 290, 20) for c in range(10, 290, 19)]
    points = read_points("".join(f"{r},{c}\n" for r, c in places).encode(), name="p.csv")
    write_image(tmp_path, "a", image, objects_from_points(points, (300, 300)))
    reader = PatchReader([StoredImage(0, len(places), tmp_path, "a")], 24)
    ordinals = RNG.integers(0, len(places), n)
    sheet = decoded(atlas(reader, ordinals, tile_px=24))
    columns = min(n, 32)
    assert sheet.shape == (24 * -(-n // columns), 24 * columns, 3)
    for i, patch in enumerate(reader.read(ordinals)):
        r, c = divmod(i, columns)
        tile = sheet[24 * r : 24 * r + 24, 24 * c : 24 * c + 24]
        assert np.abs(tile.astype(int) - patch).mean() < 4
    context = decoded(atlas(reader, ordinals, tile_px=16, patch_size_px=96))
    assert context.shape == (16 * -(-n // columns), 16 * columns, 3)


@pytest.mark.parametrize(("tile_px", "extent"), [(40, 40), (20, 40), (32, 160), (80, 40)])
def test_a_tile_marks_its_object_with_a_thin_line_around_it(tmp_path: Path, tile_px, extent):
    mask = np.zeros((300, 300), np.uint8)
    mask[140:160, 140:160] = 1
    mask[140:160, 161:175] = 2
    write_image(tmp_path, "a", np.full((300, 300, 3), 120, np.uint8), find_objects(mask, MaskKind.INDEXED, name="m"))
    reader = PatchReader([StoredImage(0, 2, tmp_path, "a")], 40)
    tile = decoded(atlas(reader, [0], tile_px=tile_px, patch_size_px=extent, outline=True)).astype(int)
    line = tile[..., 0] - tile[..., 2] > 80
    side = 20 * tile_px // extent
    begin = (extent // 2 - 10) * tile_px // extent
    around = np.zeros_like(line)
    around[begin - 1 : begin + side + 1, begin : begin + side] = True
    around[begin : begin + side, begin - 1 : begin + side + 1] = True
    around[begin : begin + side, begin : begin + side] = False
    np.testing.assert_array_equal(line, around)


def test_an_atlas_of_nothing_or_too_much_is_refused(tmp_path: Path):
    _, stored = image_with_points(tmp_path, "a", (30, 30), [(5, 5)])
    reader = PatchReader([stored], 8)
    with pytest.raises(EngineError, match="at least one"):
        atlas(reader, [], tile_px=16)
    with pytest.raises(EngineError, match="do not fit"):
        atlas(reader, [0] * 1024, tile_px=4096)


def test_one_patch_with_its_outline_and_its_context(tmp_path: Path):
    mask = np.zeros((200, 200), np.uint8)
    mask[90:110, 90:110] = 255
    write_image(tmp_path, "a", np.full((200, 200, 3), 200, np.uint8), find_objects(mask, MaskKind.BINARY, name="m"))
    reader = PatchReader([StoredImage(0, 1, tmp_path, "a")], 40)
    plain = decoded(single_patch(reader, 0, size_px=160))
    assert plain.shape == (160, 160, 3)
    assert np.ptp(plain) <= 2
    outlined = decoded(single_patch(reader, 0, size_px=160, outline=True)).astype(int)
    yellow = (outlined[..., 0] > 180) & (outlined[..., 2] < 110)
    rows, columns = np.nonzero(yellow)
    assert abs(rows.min() - 40) <= 2
    assert abs(columns.max() - 120) <= 2
    assert not yellow[60:100, 60:100].any()
    context = decoded(single_patch(reader, 0, size_px=160, outline=True, context=True)).astype(int)
    rows, _ = np.nonzero((context[..., 0] > 180) & (context[..., 2] < 110))
    assert abs(rows.min() - 70) <= 2


def test_patches_that_are_resized_are_the_same_however_many_are_read_together(tmp_path: Path, monkeypatch):
    _, stored = image_with_points(tmp_path, "k", (60, 60), [(20, 20), (30, 30), (40, 10)])
    reader = PatchReader([stored], 16)
    at_once = reader.read([2, 0, 1, 1], size_px=8, patch_size_px=32)
    monkeypatch.setattr(pixels, "READ_TOGETHER_BYTES", 1)
    np.testing.assert_array_equal(reader.read([2, 0, 1, 1], size_px=8, patch_size_px=32), at_once)


@pytest.mark.parametrize(
    ("soft", "hard", "raised_to"), [(1024, 1 << 20, 65_536), (1024, 4096, 4096), (1024, 1024, None)]
)
def test_readers_hold_no_more_images_open_than_a_process_may_have_files(monkeypatch, soft, hard, raised_to):
    raised: list[int] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: raised.append(limits[0]))
    most = pixels.most_open_images.__wrapped__()
    assert raised == ([raised_to] if raised_to else [])
    assert 16 <= most <= pixels.MOST_OPEN_IMAGES
    assert 2 * most * pixels.READERS_KEPT <= (raised_to or soft) - 256, "pixels and objects of each"
