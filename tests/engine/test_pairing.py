"""Which mask belongs to which image: by rules, in any order, and never by guessing."""

from __future__ import annotations

import random

import pytest

from apps.engine.errors import BadInput
from apps.engine.pairing import Pair, pair, safe_name, sort_files


@pytest.mark.parametrize(
    "mask", ["a.png", "a_mask.tif", "a-mask.png", "a.mask.png", "a_labels.png", "a_instances.PNG", "masks/a.png"]
)
def test_a_mask_pairs_by_stem_or_suffix(mask):
    assert pair(["a.jpg", "b.jpg"], [mask]).pairs == [Pair("a.jpg", mask), Pair("b.jpg")]


def test_points_pair_too_and_what_belongs_to_nothing_is_listed():
    result = pair(["images/a.png"], ["masks/a.png", "masks/zz.png"], ["csv/a.csv", "b_points.csv"])
    assert result.pairs == [Pair("images/a.png", "masks/a.png", "csv/a.csv")]
    assert result.unpaired == ["masks/zz.png", "b_points.csv"]
    assert result.errors == []


@pytest.mark.parametrize(
    ("images", "masks", "named"),
    [
        (["a.png", "a.jpg"], ["a_mask.png"], ["a.png", "a.jpg"]),
        (["a.png"], ["a.png", "a_mask.png"], ["a.png", "a_mask.png"]),
        (["a.png", "a_mask.png"], ["a_mask.png"], ["a.png", "a_mask.png"]),
        (["a.png", "a.png"], [], ["a.png", "twice"]),
    ],
)
def test_ambiguity_is_an_error_that_names_the_files(images, masks, named):
    result = pair(images, masks)
    assert len(result.errors) == 1
    assert all(name in result.errors[0] for name in named)
    assert not any(p.mask for p in result.pairs)


def test_the_order_of_the_files_does_not_matter():
    images = [f"t_{i}.png" for i in range(12)]
    masks = [f"masks/t_{i}_mask.png" for i in range(12)] + ["masks/t_3.png", "masks/x.png"]
    expected = pair(images, masks)
    assert len(expected.pairs) == 11
    for seed in range(5):
        shuffled = random.Random(seed).sample(masks, len(masks))
        assert pair(images, shuffled) == expected


def test_original_got_this_wrong_d14_a_mask_is_never_paired_by_likeness():
    result = pair(["train_1.png", "train_2.png"], ["train_11_mask.png", "Train_2_mask.png"])
    assert result.pairs == [Pair("train_1.png"), Pair("train_2.png")]
    assert result.unpaired == ["Train_2_mask.png", "train_11_mask.png"]


@pytest.mark.parametrize(
    "name",
    [
        "../a.png",
        "a/b.png",
        "..\\a.png",
        "C:a.png",
        "a\x00.png",
        "a\n.png",
        "a\u202egnp.exe",
        "",
        "..",
        ".hidden",
        "=1+1.png",
        "+a.png",
        " -a.png",
        "@a.png",
        "\ta.png",
        "x" * 300,
    ],
)
def test_names_that_are_no_plain_file_names_are_refused(name):
    with pytest.raises(BadInput):
        safe_name(name)
    result = pair([name], [])
    assert result.pairs == []
    assert len(result.errors) == 1
    assert result.errors[0].isprintable()


def test_plain_names_of_any_language_are_kept():
    assert safe_name("Gewebe Prüfung 1.png") == "Gewebe Prüfung 1.png"
    assert safe_name("u\u0308.png") == "ü.png"
    assert safe_name("組織.png") == "組織.png"


def test_a_mixed_folder_is_sorted():
    assert sort_files(["images/a.png", "masks/a.png", "b.tif", "b_mask.tif", "a.csv", "notes.txt"]) == (
        ["images/a.png", "b.tif"],
        ["masks/a.png", "b_mask.tif"],
        ["a.csv"],
        ["notes.txt"],
    )
