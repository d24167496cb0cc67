"""Masks and points -> objects: counts, centroids, boxes, outlines against independent readings of the same pixels."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import scipy.ndimage as ndi
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from apps.engine.errors import BadInput
from apps.engine.formats import read_image, read_mask
from apps.engine.masks import (
    FoundObjects,
    LabelValues,
    MaskKind,
    check_same_size,
    find_objects,
    looks_like_mask,
    objects_from_points,
    objects_from_tiling,
    read_label_values,
    read_points,
    values_present,
    wants_colors,
)
from apps.engine.outlines import outline_points
from tests.factories import blobs, picture, png
from tests.shared_data import EXAMPLES, needs_examples

EIGHT = np.ones((3, 3), int)
RASTERS = hnp.arrays(
    np.uint16,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16),
    elements=st.sampled_from([0, 0, 0, 1, 2, 3, 700]),
)


def found(mask: object, kind: MaskKind = MaskKind.INDEXED, **options: LabelValues) -> FoundObjects:
    values = np.array(mask)
    dtype = np.uint8 if values.ndim == 3 or values.max() < 256 else np.uint16 if values.max() < 65536 else np.uint32
    return find_objects(values.astype(dtype), kind, name="m.png", **options)


def test_a_mask_of_noise_is_refused_before_its_millions_of_pieces_are_measured() -> None:
    noise = np.zeros((2100, 2000), np.uint8)
    noise[::2, ::2] = 1
    for kind in (MaskKind.INDEXED, MaskKind.BINARY):
        with pytest.raises(BadInput, match=r"m\.png: the mask has 1,050,000 separate pieces; at most 1,000,000"):
            find_objects(noise, kind, name="m.png")


def filled(outline: bytes, shape: tuple[int, int]) -> np.ndarray:
    """Pixels whose center lies inside of the polygon, by the even-odd rule."""
    inside = np.zeros(shape, bool)
    points = outline_points(outline).astype(int)
    for (r0, c0), (r1, c1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if c0 == c1:  # a vertical edge flips everything right of it
            inside[min(r0, r1) : max(r0, r1), c0:] ^= True
    return inside


@given(RASTERS.filter(np.any), st.sampled_from([np.uint8, np.uint16, np.uint32]))
@settings(max_examples=150, deadline=None)
def test_indexed_objects_agree_with_plain_numpy(raster, dtype):
    scaled = (
        (raster % 251).astype(dtype)
        if dtype == np.uint8
        else raster.astype(dtype) * dtype(93 if dtype == np.uint16 else 6_000_000)
    )
    objects = find_objects(scaled, MaskKind.INDEXED, name="m")
    ids = np.unique(scaled[scaled > 0])
    assert objects.source_id.tolist() == ids.tolist()
    for i, source_id in enumerate(ids):
        mask = scaled == source_id
        rows, columns = np.nonzero(mask)
        np.testing.assert_array_equal(objects.raster == i + 1, mask)
        assert objects.area[i] == mask.sum()
        assert objects.row[i] == np.float32(rows.mean())
        assert objects.column[i] == np.float32(columns.mean())
        top, left, bottom, right = objects.box[i].tolist()
        assert (top, left, bottom, right) == (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1)
        pieces, _ = ndi.label(mask, EIGHT)
        sizes = np.bincount(pieces.ravel())[1:]
        largest = ndi.binary_fill_holes(pieces == 1 + sizes.argmax())
        np.testing.assert_array_equal(
            filled(objects.outlines[i], (bottom - top, right - left)), largest[top:bottom, left:right]
        )
        corners = outline_points(objects.outlines[i]).astype(int)
        turns = np.abs(np.diff(np.vstack([corners, corners[:1]]), axis=0))
        assert ((turns == 0).sum(axis=1) == 1).all()  # along the grid, and never two steps in one direction
        assert ((turns[:, 0] > 0) != (np.roll(turns, 1, axis=0)[:, 0] > 0)).all()
    assert bool(objects.notes) == any(ndi.label(scaled == i, EIGHT)[1] > 1 for i in ids)


@given(RASTERS.filter(np.any))
@settings(max_examples=100, deadline=None)
def test_labeled_objects_are_components_of_one_value(raster):
    table = LabelValues(by_value={1: "a", 2: "b", 3: "c", 700: "d"})
    objects = find_objects(raster, MaskKind.LABELED, name="m", label_values=table)
    n = 0
    for value in np.unique(raster[raster > 0]):
        labels, k = ndi.label(raster == value, EIGHT)
        n += k
        for component in range(1, k + 1):
            i = int(objects.raster[labels == component][0]) - 1
            np.testing.assert_array_equal(objects.raster == i + 1, labels == component)
            assert objects.source_class[i] == table.by_value[int(value)]
    assert len(objects) == n
    first_pixels = [int(np.flatnonzero(objects.raster.ravel() == i + 1)[0]) for i in range(n)]
    assert first_pixels == sorted(first_pixels)


def test_binary_takes_corners_as_touching_and_any_one_value():
    for value in (1, 255):
        objects = found(np.array([[value, 0, 0], [0, value, 0], [0, 0, 0]]), MaskKind.BINARY)
        assert len(objects) == 1
    assert len(find_objects(np.array([[True, False, True]]), MaskKind.BINARY, name="m")) == 2
    red = np.zeros((3, 3, 3))
    red[1, 1] = (255, 0, 0)
    assert len(found(red, MaskKind.BINARY)) == 1


def test_touching_ids_stay_apart_and_large_ids_are_kept():
    objects = find_objects(np.array([[4_294_967_295, 7, 7, 0]], np.uint32), MaskKind.INDEXED, name="m")
    assert objects.source_id.tolist() == [7, 4_294_967_295]
    assert objects.area.tolist() == [2, 1]
    assert objects.raster.tolist() == [[2, 1, 1, 0]]
    assert objects.raster.dtype == np.uint16


def test_an_id_in_several_pieces_is_one_object_and_said_so():
    objects = found([[5, 0, 5], [0, 0, 0], [9, 9, 5]])
    assert len(objects) == 2
    assert objects.notes == ["1 ids consist of several pieces (ids 5); each id is one object"]


def test_more_than_65535_objects_get_a_wider_raster():
    mask = np.arange(1, 70_001, dtype=np.uint32).reshape(100, 700)
    objects = find_objects(mask, MaskKind.INDEXED, name="m")
    assert objects.raster.dtype == np.uint32
    np.testing.assert_array_equal(objects.raster, mask)


def test_centroids_of_large_images_are_exact():
    mask = np.zeros((3, 70_000), np.uint8)
    mask[1, 69_990:69_995] = 255
    mask[1, :10_001] = 255
    objects = find_objects(mask, MaskKind.BINARY, name="m")
    assert objects.column.tolist() == [5000.0, 69_992.0]


def test_an_object_beyond_65535_px_has_no_outline_and_says_so():
    mask = np.ones((2, 65_600), np.uint8)
    mask[:, 65_590:] = 2
    objects = find_objects(mask, MaskKind.INDEXED, name="m")
    assert [len(outline) for outline in objects.outlines] == [0, 16]
    assert "no outline" in objects.notes[0]
    assert outline_points(objects.outlines[1]).tolist() == [[0, 0], [0, 10], [2, 10], [2, 0]]


TABLE = LabelValues(by_value={1: "a", 2: "b"}, by_color={0xFF0000: "red", 0x0000FF: "blue"})
RED, BLUE, BLACK, CYAN, MAGENTA = (255, 0, 0), (0, 0, 255), (0, 0, 0), (0, 255, 255), (255, 0, 255)


@pytest.mark.parametrize(
    ("mask", "kind", "table", "cause"),
    [
        ([[0, 0]], MaskKind.BINARY, None, "empty"),
        ([[0, 0]], MaskKind.INDEXED, None, "empty"),
        ([[0, 0]], MaskKind.LABELED, TABLE, "empty"),
        ([[0, 0]], MaskKind.QUICK_ANNOTATOR, None, "empty"),
        ([[BLACK, MAGENTA]], MaskKind.QUICK_ANNOTATOR, None, "no pixel is marked positive"),
        ([[0, 1, 2]], MaskKind.BINARY, None, r"3 values \(0, 1, 2\)"),
        ([[255, 255]], MaskKind.BINARY, None, "only 255"),
        ([[BLACK, RED]], MaskKind.INDEXED, None, "colors"),
        ([[0, 1, 7, 9]], MaskKind.LABELED, TABLE, "does not know 7, 9; it knows 1, 2"),
        ([[BLACK, RED, CYAN]], MaskKind.LABELED, TABLE, "does not know #00ffff; it knows #ff0000, #0000ff"),
        ([[0, 1]], MaskKind.LABELED, None, "needs the table"),
        (
            [[BLACK, RED]],
            MaskKind.LABELED,
            LabelValues(by_value={1: "a"}),
            r"colors \(#ff0000\), but the table states values \(1\)",
        ),
        (
            [[0, 70_000]],
            MaskKind.LABELED,
            LabelValues(by_color={1: "a"}),
            r"states colors \(#000001\).* numbers \(70000\)",
        ),
        ([[0, 1, 2]], MaskKind.QUICK_ANNOTATOR, None, "holds 0 and 255"),
        ([[BLACK, CYAN, (1, 2, 3)]], MaskKind.QUICK_ANNOTATOR, None, "also has #010203"),
    ],
)
def test_a_mask_that_does_not_fit_its_kind_is_refused(mask, kind, table, cause):
    with pytest.raises(BadInput, match=cause) as caught:
        found(mask, kind, label_values=table)
    assert caught.value.file == "m.png"


def test_a_jpeg_mask_is_told_why():
    with pytest.raises(BadInput, match="JPEG changes mask values"):
        find_objects(np.array([[0, 254, 255]], np.uint8), MaskKind.BINARY, name="m.JPG")


def test_sizes_are_both_named():
    check_same_size((3, 4, 3), (3, 4), image_name="i.png", mask_name="m.png")
    with pytest.raises(
        BadInput, match=r"m.png: the mask has 3 rows x 5 columns, but its image i.png has 3 rows x 4 columns"
    ):
        check_same_size((3, 4, 3), (3, 5), image_name="i.png", mask_name="m.png")


def test_quick_annotator_objects_are_the_positive_regions():
    mask = np.zeros((5, 9, 3), np.uint8)
    mask[:, 1:8] = MAGENTA
    mask[1:3, 2:4] = CYAN
    mask[1:3, 6:8] = CYAN
    mask[4, :3] = BLUE
    objects = find_objects(mask, MaskKind.QUICK_ANNOTATOR, name="m")
    assert objects.area.tolist() == [4, 4]
    assert "only cyan" in objects.notes[0]
    gray = np.where((mask == CYAN).all(axis=2), np.uint8(255), np.uint8(0))
    np.testing.assert_array_equal(find_objects(gray, MaskKind.QUICK_ANNOTATOR, name="m").raster, objects.raster)


def test_label_tables_are_read_by_value_and_color():
    table = read_label_values(
        b"\xef\xbb\xbfValue;class name;color\n1;tumor;#E41A1C\n2;other;55 126 184\n0;background;0 0 0\n"
    )
    assert table == LabelValues({1: "tumor", 2: "other"}, {0xE41A1C: "tumor", 0x377EB8: "other"})
    assert read_label_values(b'color,class_name\n"1,2,3",x\n').by_color == {0x010203: "x"}
    assert table.class_names() == ["tumor", "other"]
    assert wants_colors(MaskKind.LABELED, table)
    assert wants_colors(MaskKind.QUICK_ANNOTATOR)
    assert not wants_colors(MaskKind.LABELED, LabelValues({1: "a"}))
    assert not wants_colors(MaskKind.INDEXED)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        ("a,b\n1,2\n", "must name the columns"),
        ("value,class_name\n", "states no class"),
        ("value,class_name\nx,a\n", "line 2: 'x' is not a whole number"),
        ("value,class_name\n1,a\n1,b\n", "line 3: 1 stands for both 'a' and 'b'"),
        ("value,class_name\n1,\n", "no class name"),
        ("value,class_name\n0,tumor\n", "background"),
        ("color,class_name\n300 0 0,a\n", "not a color"),
        ("\x00\x01", "binary"),
    ],
)
def test_a_bad_label_table_names_its_line(text, cause):
    with pytest.raises(BadInput, match=cause):
        read_label_values(text.encode(), name="values.csv")


def test_values_are_listed_for_review():
    assert values_present(np.array([[0, 3, 3, 9]], np.uint8)) == [3, 9]
    assert values_present(np.array([[BLACK, RED, BLUE]], np.uint8)) == [0x0000FF, 0xFF0000]
    assert values_present(np.zeros((0, 5), np.uint8)) == []


def test_of_more_values_than_anybody_lists_only_so_many_are_found():
    rows = np.repeat(np.arange(301, dtype=np.uint32)[:, None], 8000, axis=1)  # more than one block
    assert values_present(rows) == list(range(1, 301))
    every_pixel = np.arange(1, 9_000_001, dtype=np.uint32).reshape(3000, 3000)
    tracemalloc.start()
    assert values_present(every_pixel) == list(range(1, 302))
    assert tracemalloc.get_traced_memory()[1] < 40_000_000, "36 MB is the mask's own size"
    tracemalloc.stop()


def test_an_unlabeled_object_of_an_export_comes_back_without_a_class():
    objects = found([[1, 0, 65535]], MaskKind.LABELED, label_values=TABLE)
    assert objects.source_class == ["a", None]
    assert "1 objects have 65535" in objects.notes[0]


@pytest.mark.parametrize(
    ("shape", "patch", "n", "boxes"),
    [
        ((64, 64), 64, 1, [[0, 0, 64, 64]]),  # image as large as the patch: the original crashed (its issue 15)
        ((70, 130), 64, 2, [[0, 0, 64, 64], [0, 64, 64, 128]]),
        ((20, 130), 64, 2, [[0, 0, 20, 64], [0, 64, 20, 128]]),
        ((20, 30), 64, 1, [[0, 0, 20, 30]]),
    ],
)
def test_tilings(shape, patch, n, boxes):
    objects = objects_from_tiling(shape, patch)
    assert len(objects) == n
    assert objects.box.tolist() == boxes
    assert objects.source_id.tolist() == list(range(1, n + 1))
    assert bool(objects.notes) == (shape != (64, 64))


def test_a_tile_s_patch_is_the_tile_for_every_even_size():
    for patch in (2, 6, 16, 30, 32, 64):
        objects = objects_from_tiling((3 * patch, 3 * patch), patch)
        tops = np.floor(objects.row + 0.5).astype(int) - patch // 2
        assert tops.tolist() == objects.box[:, 0].tolist()


def test_points_are_read_with_and_without_header():
    plain = read_points(b"1,2\n3.5,4.25,tumor\n", name="p.csv")
    assert (plain.row.tolist(), plain.column.tolist()) == ([1.0, 3.5], [2.0, 4.25])
    assert plain.class_name == [None, "tumor"]
    twice = read_points(b"row,column,note,note\n1,2,hello,Tumor?\n", name="p.csv")
    assert twice.class_name == [None], "no column says that it holds classes"
    named = read_points(b"image,column,row,class_name\na,2,1,\na,4.25,3.5,tumor\n", name="p.csv")
    assert (named.row.tolist(), named.class_name) == ([1.0, 3.5], [None, "tumor"])
    assert plain.line == [1, 2]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        ("row,column\n", "no point"),
        ("a,b\n1,2\n", "no columns row and column"),
        ("1,2\n3,x\n", "line 2: '3,x'"),
        ("1,2\n\n3\n", "line 3"),
        ("nan,2\n1,2\n", "line 1"),
        ("image,row,column\na,1,2\nb,1,2\n", "several images"),
    ],
)
def test_a_bad_point_file_names_its_line(text, cause):
    with pytest.raises(BadInput, match=cause):
        read_points(text.encode(), name="p.csv")


def test_points_become_discs_and_the_nearest_point_wins():
    points = read_points(b"10,10,a\n10,14,b\n", name="p.csv")
    objects = objects_from_points(points, (30, 30))
    rows, columns = np.mgrid[:30, :30]
    first, second = (rows - 10) ** 2 + (columns - 10) ** 2, (rows - 10) ** 2 + (columns - 14) ** 2
    expected = np.where((first <= 9) & (first <= second), 1, np.where(second <= 9, 2, 0))
    np.testing.assert_array_equal(objects.raster, expected)
    assert objects.column.tolist() == [10.0, 14.0]
    assert objects.source_class == ["a", "b"]


@given(st.lists(st.tuples(st.floats(-0.5, 11.4), st.floats(-0.5, 8.4)), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_every_point_keeps_its_own_pixel(places):
    pixels = [(int(np.floor(r + 0.5)), int(np.floor(c + 0.5))) for r, c in places]
    points = read_points("".join(f"{r!r},{c!r}\n" for r, c in places).encode(), name="p.csv")
    if len(set(pixels)) < len(pixels):
        with pytest.raises(BadInput, match="same pixel"):
            objects_from_points(points, (12, 9))
        return
    objects = objects_from_points(points, (12, 9))
    assert [int(objects.raster[pixel]) for pixel in pixels] == list(range(1, len(places) + 1))


def test_points_claim_the_objects_of_a_mask():
    mask = found([[4, 4, 0, 9, 9], [4, 4, 0, 9, 9], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [8, 8, 0, 0, 0]])
    points = read_points(b"0.2,3.8,b\n4,4,c\n", name="p.csv")
    objects = objects_from_points(points, (6, 5), mask)
    assert len(objects) == 2
    np.testing.assert_array_equal(objects.raster == 1, mask.raster == 3)
    assert not ((objects.raster == 2) & (mask.raster == 3)).any()
    assert objects.row[0] == 0.5  # the object's own centroid
    assert (objects.row[1], objects.column[1]) == (4, 4)
    assert objects.notes == [
        "2 of 3 objects in the mask have no point and were left out",
        "1 of 2 points lie on background; each became a disc of radius 3 px",
    ]


def test_wrong_points_name_their_lines():
    mask = found([[4, 4, 0, 9, 9]])
    with pytest.raises(BadInput, match="lines 2 and 3 lie in the same object"):
        objects_from_points(read_points(b"0,4\n0,0\n0,1\n", name="p.csv"), (1, 5), mask)
    with pytest.raises(BadInput, match=r"p\.csv: line 2: the point at row 0, column 5 lies outside of the image"):
        objects_from_points(read_points(b"0,4\n0,5\n", name="p.csv"), (1, 5))
    with pytest.raises(BadInput, match="same pixel"):
        objects_from_points(read_points(b"0,4\n0,4.3\n", name="p.csv"), (1, 5))


@needs_examples
def test_the_original_s_example_has_510_objects_in_every_kind():
    table = LabelValues(by_color={0x377EB8: "a", 0xE41A1C: "b"})
    centroids = []
    for folder, kind in (("binary", MaskKind.BINARY), ("indexed", MaskKind.INDEXED), ("labelled", MaskKind.LABELED)):
        objects = find_objects(
            read_mask(EXAMPLES / folder / "train_6_mask.png", colors=wants_colors(kind, table)),
            kind,
            name="train_6_mask.png",
            label_values=table,
        )
        assert len(objects) == 510
        assert not objects.notes
        centroids.append(sorted(zip(objects.row.tolist(), objects.column.tolist(), strict=True)))
        if kind == MaskKind.LABELED:
            assert sorted([objects.source_class.count("a"), objects.source_class.count("b")]) == [218, 292]
    assert centroids[0] == centroids[1] == centroids[2]


@needs_examples
def test_the_original_s_quick_annotator_example_has_3_objects():
    mask = read_mask(EXAMPLES / "QA" / "09-1339-01-4_mask.png", colors=True)
    assert find_objects(mask, MaskKind.QUICK_ANNOTATOR, name="m").area.tolist() == [18176, 41872, 26974]


@pytest.mark.parametrize(
    "mask",
    [blobs(), (blobs() > 0).astype(np.uint8) * 255, np.eye(3, dtype=np.uint8)[blobs() % 3] * 200],
    ids=["indexed", "binary", "colors"],
)
def test_a_mask_looks_like_one_however_it_was_saved(mask: npt.NDArray[Any]) -> None:
    assert looks_like_mask(read_image(png(mask), name="a.png"))


def test_pictures_do_not_look_like_masks() -> None:
    photo = picture(100, 100)
    mostly_glass = np.full((400, 400, 3), 255, np.uint8)
    mostly_glass[:100, :100] = photo
    assert not looks_like_mask(photo)
    assert not looks_like_mask(mostly_glass)
    assert not looks_like_mask(np.zeros((0, 0, 3), np.uint8))


@needs_examples
def test_the_example_tile_and_its_masks_are_told_apart() -> None:
    files = {path: looks_like_mask(read_image(path)) for path in EXAMPLES.rglob("train_6*.png")}
    assert len(files) > 3
    assert [path.name for path, mask in files.items() if not mask] == ["train_6.png"]
