"""The trail on the screen reads as words, whatever an event carries."""

from __future__ import annotations

from apps.common.templatetags.details import as_words


def test_a_detail_is_words_and_what_is_empty_is_left_out():
    detail = {
        "pairs": [{"image_file_id": 2, "mask_file_id": 1, "points_file_id": None}],
        "upload": 1,
        "label_values": [],
        "epochs": None,
        "train": True,
        "bytes": 1_952_688,
        "checksum": "3f442f437db04e990604043952e207416c2ea3d4",
    }
    assert as_words(detail) == "pairs: 1, upload: 1, train: yes, size: 2.0 MB, checksum: 3f442f437db0…"


def test_changes_and_nested_settings_are_words_too():
    detail = {
        "changes": {"name": ["", "Colon"], "is_uncertain": [False, True]},
        "settings": {"epochs": 3, "seed": None},
    }
    assert as_words(detail) == "name: empty → Colon, uncertain: no → yes, settings: epochs 3"


def test_a_long_list_ends_with_how_many_more():
    assert as_words({"grants": list("abcdefghij")}).endswith("h and 2 more")
