"""Small tables that people and other programs wrote: whatever is in them, the answer is rows or a sentence."""

from __future__ import annotations

import pytest

from apps.engine.csvfiles import read_rows
from apps.engine.errors import BadInput


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_every_usual_separator_is_recognized_and_empty_lines_are_left_out(separator):
    data = f"\n row {separator}column\n\n1{separator}2\n".encode("utf-8-sig")
    assert read_rows(data) == ([(2, ["row", "column"]), (4, ["1", "2"])], "file")


@pytest.mark.parametrize(
    "data", [b"", b" \n\t", b"\xef\xbb\xbf", "\u00a0".encode(), "\u00a0\n\u2003\n".encode(), b",,\n,,\n", b'"', b'""']
)
def test_a_file_in_which_nothing_is_written_is_empty(data):
    with pytest.raises(BadInput, match="the file is empty"):
        read_rows(data, name="a.csv")


@pytest.mark.parametrize("data", [b"1,2\n" * 4, b"1\r" * 4, b"1;2\r\n" * 4, b",".join([b"1"] * 40)])
def test_a_small_file_that_would_take_much_memory_is_refused(data):
    assert len(read_rows(data)[0]) in (1, 4)
    assert read_rows(data, most_rows=4)
    with pytest.raises(BadInput, match=r"a\.csv: the file has more than 3 lines, or 30 cells"):
        read_rows(data, name="a.csv", most_rows=3)
