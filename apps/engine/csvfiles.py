"""CSV files: reading small ones that people and other tools wrote, with any usual separator, with or without a byte order mark;
and writing ours."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from apps.engine.durable import replacing
from apps.engine.errors import BadInput

SEPARATORS = (",", ";", "\t")
CELLS_PER_ROW = 10
FIRST_LINE = 65_536  # characters of it in which separators are counted


def read_rows(
    source: str | os.PathLike[str] | bytes, *, name: str | None = None, most_rows: int | None = None
) -> tuple[list[tuple[int, list[str]]], str]:
    """([(line number from 1, stripped cells)], name shown to the user); empty lines are left out. Raises BadInput, also
    where no line is left, or more than `most_rows`, or ten times as many cells: one takes up to fifty times its bytes in memory."""
    if isinstance(source, bytes):
        data, shown = source, name or "file"
    else:
        path = Path(source)
        shown = name or path.name
        try:
            data = path.read_bytes()
        except OSError as error:
            raise BadInput(shown, f"the file cannot be read ({error.strerror or type(error).__name__})") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(shown, "this is not a CSV file in UTF-8") from error
    if "\0" in text:
        raise BadInput(shown, "this is not a CSV file (it holds binary data)")
    if most_rows is not None:
        n_lines = text.count("\n") + text.count("\r") - text.count("\r\n")
        n_cells = n_lines + max(map(text.count, SEPARATORS))
        if n_lines > most_rows or n_cells > CELLS_PER_ROW * most_rows:
            what = f"{most_rows:,} lines, or {CELLS_PER_ROW * most_rows:,} cells"
            raise BadInput(shown, f"the file has more than {what}, which is the limit; split it")
    first_line = next(iter(text.lstrip()[:FIRST_LINE].splitlines()), "")
    separator = max(SEPARATORS, key=first_line.count)  # the first of them where none occurs
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows: list[tuple[int, list[str]]] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                rows.append((reader.line_num, stripped))
    except csv.Error as error:
        raise BadInput(shown, f"line {reader.line_num} is not valid CSV ({error})") from error
    if not rows:
        raise BadInput(shown, "the file is empty")
    return rows, shown


def columns_of(header: list[str]) -> dict[str, int]:
    """Column name in lower case -> position; a name that comes twice keeps its first place."""
    places: dict[str, int] = {}
    for position, cell in enumerate(header):
        places.setdefault(cell.lower().replace(" ", "_"), position)
    return places


def cell(cells: list[str], position: int | None) -> str:
    """The cell, or "" where the line is shorter or the file has no such column."""
    return cells[position] if position is not None and position < len(cells) else ""


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Iterable[object]]) -> int:
    """Replace the file, in UTF-8 with commas, and return the number of rows. They may come from a generator: nothing is gathered
    in memory."""
    n = 0
    with replacing(path) as binary:
        file = io.TextIOWrapper(binary, encoding="utf-8", newline="")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(row)
            n += 1
        file.flush()
        file.detach()
    return n
