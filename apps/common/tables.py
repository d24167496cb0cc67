"""Tables as CSV files, written while they are sent."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import islice

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import StreamingHttpResponse

from apps.engine.pairing import FORMULA_SIGNS

ROWS_AT_ONCE = 2000


def table_response(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StreamingHttpResponse:
    """A CSV file (UTF-8, commas) to keep. `rows` may ask the database as they go: never all of them are in memory."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "private, no-store"}
    return StreamingHttpResponse(_pieces(columns, iter(rows)), content_type="text/csv; charset=utf-8", headers=headers)


async def _pieces(columns: Sequence[str], rows: Iterator[Sequence[object]]) -> AsyncIterator[bytes]:
    yield _written([columns])
    while piece := await sync_to_async(_next_of)(rows):
        yield _written(piece)


def _next_of(rows: Iterator[Sequence[object]]) -> list[Sequence[object]]:
    """No connection is kept while a slow reader takes it: once an answer has begun, nobody counts how many are sent."""
    try:
        return list(islice(rows, ROWS_AT_ONCE))
    finally:
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _written(rows: Iterable[Sequence[object]]) -> bytes:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([_harmless(cell) for cell in row] for row in rows)
    return file.getvalue().encode()


def _harmless(cell: object) -> object:
    """A text that somebody has typed is not to be a spreadsheet's formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_SIGNS) else cell
