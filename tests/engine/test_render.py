"""What an export writes: class, color and instance masks, the legend and the tables."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from apps.engine import render
from apps.engine.errors import BadInput, EngineError
from apps.engine.formats import read_mask
from apps.engine.masks import LabelValues, MaskKind, find_objects, read_label_values, read_points
from apps.engine.tables import ImageRow, ObjectRow, read_classes, write_images_csv, write_objects_csv

RASTER = np.array([[1, 1, 0, 2], [0, 3, 3, 2]], np.uint16)
VALUES = np.array([7, 0, 254], np.uint8)
COLORS = {7: "#ff0000", 254: "#0000ff"}


def test_a_class_mask_holds_class_values(tmp_path: Path):
    path = tmp_path / "class_masks" / "a.png"
    render.write_class_mask(path, RASTER, VALUES)
    with Image.open(path) as picture:
        assert np.asarray(picture).dtype == np.uint16
    assert read_mask(path).tolist() == [[7, 7, 0, 65535], [0, 254, 254, 65535]]
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]


def test_a_color_mask_shows_colors_and_keeps_values(tmp_path: Path):
    path = tmp_path / "a.png"
    render.write_color_mask(path, RASTER, VALUES, COLORS)
    red, blue, gray, black = [255, 0, 0], [0, 0, 255], [128, 128, 128], [0, 0, 0]
    with Image.open(path) as picture:
        assert np.asarray(picture.convert("RGB")).tolist() == [[red, red, black, gray], [black, blue, blue, gray]]
    assert read_mask(path).tolist() == [[7, 7, 0, 255], [0, 254, 254, 255]]
    with pytest.raises(EngineError, match=r"\[254\] have no color"):
        render.write_color_mask(path, RASTER, VALUES, {7: "#ff0000"})
    with pytest.raises(EngineError, match="not a color"):
        render.write_color_mask(path, RASTER, VALUES, {7: "red", 254: "#0000ff"})


def test_values_and_raster_must_belong_together(tmp_path: Path):
    with pytest.raises(EngineError, match="more than the 2 objects"):
        render.class_mask(RASTER, VALUES[:2])
    with pytest.raises(EngineError, match="between 0 and 254"):
        render.class_mask(RASTER, np.array([1, 2, 255]))


def test_an_instance_mask_keeps_source_ids(tmp_path: Path):
    path = render.write_instance_mask(tmp_path, "a", RASTER, np.array([9, 4, 65535]))
    assert path.name == "a.png"
    assert read_mask(path).tolist() == [[9, 9, 0, 4], [0, 65535, 65535, 4]]
    large = render.write_instance_mask(tmp_path, "a", RASTER, np.array([1, 2, 65536]))
    assert large.name == "a.tif"
    assert read_mask(large).tolist() == [[1, 1, 0, 2], [0, 65536, 65536, 2]]
    for source_ids in ([9, 9, 1], [0, 1, 2], [1, 2, 2**32]):
        with pytest.raises(EngineError, match="different numbers"):
            render.write_instance_mask(tmp_path, "a", RASTER, np.array(source_ids))


def test_many_objects_make_a_32_bit_tiff(tmp_path: Path):
    raster = np.arange(1, 70_001, dtype=np.uint32).reshape(100, 700)
    path = render.write_instance_mask(tmp_path, "a", raster, np.arange(1, 70_001)[::-1].copy())
    assert path.name == "a.tif"
    np.testing.assert_array_equal(tifffile.imread(path), 70_001 - raster)
    np.testing.assert_array_equal(read_mask(path), 70_001 - raster)


def test_the_legend_is_a_table_of_label_values(tmp_path: Path):
    render.write_legend(
        tmp_path / "legend.csv",
        [render.LegendRow(1, "non-GS/SS, other", "#e41a1c"), render.LegendRow(2, 'the "b" class', "#377eb8", 0, 1)],
    )
    first, _, last = (tmp_path / "legend.csv").read_text().splitlines()
    assert first == "value,class_name,color,is_uncertain,is_non_object"
    assert last.endswith(",#377eb8,0,1")
    assert read_label_values(tmp_path / "legend.csv") == LabelValues(
        {1: "non-GS/SS, other", 2: 'the "b" class'}, {0xE41A1C: "non-GS/SS, other", 0x377EB8: 'the "b" class'}
    )


def test_objects_csv_is_written_and_read_again_as_classes_and_points(tmp_path: Path):
    path = tmp_path / "objects.csv"
    column = float(np.float32(12345.678))
    rows = [
        ObjectRow(
            "a.png",
            0,
            9,
            1.5,
            column,
            "tumor",
            1,
            "sampled",
            149,
            0,
            12400,
            0.019877,
            0,
            "rater@x",
            "2026-01-01T00:00:00Z",
            "other",
            0.91234,
        ),
        ObjectRow("a.png", 1, 4, 2, 3, "", None, "", None, None, None, None, None, "", "", "", None),
    ]
    assert write_objects_csv(path, iter(rows)) == 2
    with path.open(newline="") as file:
        read = list(csv.DictReader(file))
    assert list(read[0]) == [*ObjectRow._fields]
    assert read[0]["confidence"] == "0.9123"
    claim = [read[0][name] for name in ("sample_n", "sample_wrong", "sample_size", "error_bound")]
    assert claim == ["149", "0", "12400", "0.019877"]
    assert read[1]["class_value"] == ""
    classes = read_classes(path)
    assert (classes.image, classes.class_name, classes.n_without_class) == (["a.png"], ["tumor"], 1)
    assert classes.label_id is not None
    assert classes.label_id.tolist() == [9]
    points = read_points(path)
    assert (read[0]["row"], read[0]["column"], read[1]["row"]) == ("1.5", "12345.68", "2")
    assert points.column[0] == 12345.68
    assert points.class_name == ["tumor", None]


def test_classes_csv_by_id_and_by_place():
    by_id = read_classes(b"image,label_id,class_name\ntrain_1.png,1,epithelial\ntrain_1.png,2,other\n")
    assert by_id.label_id is not None
    assert (by_id.label_id.tolist(), by_id.class_name, by_id.line) == ([1, 2], ["epithelial", "other"], [2, 3])
    assert by_id.row is None
    by_place = read_classes(b"class_name;image;column;row\nx;a;3.5;2\n")
    assert by_place.label_id is None
    assert by_place.row is not None
    assert by_place.column is not None
    assert (by_place.row.tolist(), by_place.column.tolist()) == ([2.0], [3.5])


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("", "empty"),
        ("image,class_name\na,b\n", "must name the columns"),
        ("image,label_id,class_name\na,x,b\n", "line 2: label_id 'x'"),
        ("image,label_id,class_name\na,0,b\n", "line 2: label_id 0"),
        ("image,label_id,class_name\n,1,b\n", "line 2 names no image"),
        ("image,row,column,class_name\na,1,,b\n", "line 2: row '1' and column ''"),
        ("image,row,column,class_name\na,1,inf,b\n", "line 2"),
    ],
)
def test_a_bad_classes_csv_names_its_line(text, cause):
    with pytest.raises(BadInput, match=cause) as caught:
        read_classes(text.encode(), name="classes.csv")
    assert caught.value.file == "classes.csv"


def test_an_exported_class_mask_is_a_labeled_mask(tmp_path: Path):
    render.write_class_mask(tmp_path / "a.png", RASTER, VALUES)
    again = find_objects(
        read_mask(tmp_path / "a.png"),
        MaskKind.LABELED,
        name="a.png",
        label_values=LabelValues({7: "tumor", 254: "other"}),
    )
    assert again.source_class == ["tumor", None, "other"]


def test_images_csv_counts_the_objects_of_each_class(tmp_path: Path):
    rows = [
        ImageRow("a.png", 9, np.array([3, 1]), np.array([6, 3])),
        ImageRow("b, later.png", 0, np.array([0, 0]), np.array([0, 0])),
    ]
    write_images_csv(tmp_path / "images.csv", ["non-GS/SS, other", "tumor"], iter(rows))
    with (tmp_path / "images.csv").open(newline="") as file:
        read = list(csv.DictReader(file))
    assert [row["image"] for row in read] == ["a.png", "b, later.png"]
    assert read[0] == {
        "image": "a.png",
        "objects": "9",
        "labeled": "4",
        "non-GS/SS, other, labeled": "3",
        "non-GS/SS, other, labeled or predicted": "6",
        "tumor, labeled": "1",
        "tumor, labeled or predicted": "3",
    }
