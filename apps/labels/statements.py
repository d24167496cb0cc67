"""The set-based SQL that labels objects: one statement for any number of them.

Each statement first says what changes, as rows (ordinal, old_value, old_source, new_value, new_source); the rest is
the same for all: add the events, bring the projection up to date, return how many changed, from which classes, and the
hash of the changes. Every look-up passes label_set_id, the leading column of the projection's key, and LATERAL with
LIMIT makes it one by the key for each object: without, the planner reads the whole projection (a million labels) for
ten thousand objects, which takes 200 ms more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from numpy.typing import NDArray

_STATE = """
    WITH change AS ({change}),
    event AS (
        INSERT INTO labels_labelevent (action_id, ordinal, old_value, new_value, old_source, new_source)
        SELECT %(action)s, ordinal, old_value, new_value, old_source, new_source FROM change
    ),
    projected AS (
        INSERT INTO labels_label (label_set_id, ordinal, value, source)
        SELECT %(label_set)s, ordinal, new_value, new_source FROM change
        ON CONFLICT (label_set_id, ordinal) DO UPDATE SET value = EXCLUDED.value, source = EXCLUDED.source
    ),
    moved AS (SELECT old_value, new_value, count(*) AS n FROM change GROUP BY old_value, new_value)
    SELECT
        (SELECT coalesce(json_agg(json_build_array(old_value, new_value, n)), '[]'::json) FROM moved),
        (SELECT encode(sha256(convert_to(coalesce(string_agg(
            ordinal || ',' || old_value || ',' || new_value || ',' || coalesce(old_source, 0) || ','
            || coalesce(new_source, 0), ';' ORDER BY ordinal), ''), 'UTF8')), 'hex') FROM change)
"""

_ASSIGN = _STATE.format(
    change="""
        SELECT asked.ordinal, coalesce(label.value, 0) AS old_value, label.source AS old_source,
               asked.value AS new_value, %(action)s::bigint AS new_source
        FROM unnest(%(ordinals)s::int4[], %(values)s::int2[]) AS asked (ordinal, value)
        LEFT JOIN LATERAL (
            SELECT value, source FROM labels_label
            WHERE label_set_id = %(label_set)s AND ordinal = asked.ordinal LIMIT 1
        ) label ON true
        WHERE (NOT %(only_unlabeled)s OR coalesce(label.value, 0) = 0) AND (
           coalesce(label.value, 0) <> asked.value
           OR asked.value > 0 AND %(confirms)s
           OR asked.value > 0 AND label.source IN (
                SELECT id FROM labels_labelaction
                WHERE label_set_id = %(label_set)s AND provenance = 'sampled' AND kind = 'label'
              )
           OR asked.value = 0 AND label.source IS NULL AND EXISTS (
                SELECT FROM labels_label imported
                WHERE imported.label_set_id = ANY(%(beneath)s) AND imported.ordinal = asked.ordinal
                  AND imported.value > 0
              )
        )
    """
)

# Only objects that still are as the reverted action left them are set back; the others keep the later label. What was there before
# it may have come from an action that somebody took back since, which then left these alone: then it is what was there before that.
_REVERT = _STATE.format(
    change="""
        WITH RECURSIVE before AS (
            SELECT ordinal, new_source AS left_by, old_value AS value, old_source AS source
            FROM labels_labelevent WHERE action_id = %(reverted)s
            UNION ALL
            SELECT before.ordinal, before.left_by, earlier.old_value, earlier.old_source
            FROM before JOIN labels_labelevent earlier
            ON earlier.action_id = before.source AND earlier.ordinal = before.ordinal
            WHERE before.source = ANY(%(taken_back)s::int8[])
        )
        SELECT before.ordinal, label.value AS old_value, label.source AS old_source,
               before.value AS new_value, before.source AS new_source
        FROM before
        CROSS JOIN LATERAL (
            SELECT value, source FROM labels_label
            WHERE label_set_id = %(label_set)s AND ordinal = before.ordinal LIMIT 1
        ) label
        WHERE (before.source = ANY(%(taken_back)s::int8[])) IS NOT TRUE AND label.source IS NOT DISTINCT FROM before.left_by
    """
)


@dataclass(frozen=True)
class Changed:
    """What a statement changed: (old value, new value, number of objects) per pair of classes, and its hash."""

    moves: Sequence[tuple[int, int, int]]
    payload_hash: str

    @property
    def n(self) -> int:
        return sum(n for _, _, n in self.moves)


def assign(
    *,
    label_set_id: int,
    action_id: int,
    ordinals: NDArray[np.uint32],
    values: NDArray[np.uint8],
    beneath: Sequence[int] = (),
    only_unlabeled: bool = False,
    confirms: bool = False,
) -> Changed:
    """Give each ordinal (n,) its class value (n,); objects that have it already do not change, but for those
    that were accepted by sample, as who labels them by hand has seen them, and where the action `confirms` labels.

    `beneath` are the label sets whose labels show where this one has none: taking a label away is a change where one
    of them has a label, too. `only_unlabeled`: objects that have any label in this set keep it.
    """
    return _run(
        _ASSIGN,
        label_set=label_set_id,
        action=action_id,
        beneath=list(beneath),
        only_unlabeled=only_unlabeled,
        confirms=confirms,
        ordinals=_array_literal(ordinals),
        values=_array_literal(values),
    )


def revert(*, label_set_id: int, action_id: int, reverted_id: int, taken_back: Sequence[int]) -> Changed:
    """Set the objects of an earlier action back to what they were before it, and before the actions `taken_back`."""
    return _run(_REVERT, label_set=label_set_id, action=action_id, reverted=reverted_id, taken_back=list(taken_back))


def _run(sql: str, **parameters: Any) -> Changed:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        moves, payload_hash = cursor.fetchone()
    return Changed([tuple(move) for move in moves], payload_hash)


def payload_hash(rows: Iterable[tuple[int, int, int, int | None, int | None]]) -> str:
    """What the statements' SQL computes, from event rows (ordinal, old, new, old source, new source) by ordinal."""
    text = ";".join(f"{ordinal},{old},{new},{a or 0},{b or 0}" for ordinal, old, new, a, b in rows)
    return hashlib.sha256(text.encode()).hexdigest()


def _array_literal(array: NDArray[Any]) -> str:
    # A text literal: psycopg takes some five times as long to adapt a list of that length.
    return "{" + ",".join(map(str, array.tolist())) + "}"


_ORDINAL_ROW = np.dtype([("fields", ">i2"), ("ordinal_size", ">i4"), ("ordinal", ">i4")])
_SOURCE_ROW = np.dtype(
    [*_ORDINAL_ROW.descr, ("value_size", ">i4"), ("value", ">i2"), ("source_size", ">i4"), ("source", ">i8")]
)
_COPY_HEADER_BYTES, _COPY_TRAILER_BYTES = 19, 2


def read_ordinals(sql: str, parameters: Sequence[Any]) -> NDArray[np.int64]:
    """Ordinals (n,) of a query over an int4 column."""
    return _read(sql, parameters, _ORDINAL_ROW)["ordinal"].astype(np.int64)


def read_sources(sql: str, parameters: Sequence[Any]) -> NDArray[Any]:
    """Records (n,) with ordinal, value and source of a query over an int4, an int2 and an int8 column without NULL."""
    return _read(sql, parameters, _SOURCE_ROW)


def _read(sql: str, parameters: Sequence[Any], row: np.dtype[Any]) -> NDArray[Any]:
    # Binary COPY gives a million rows in half a second, where fetching tuples takes several. Django's cursor that logs
    # (DEBUG, and tests that count statements) copies without parameters only.
    query = connection.ops.compose_sql(sql, parameters)  # type: ignore[attr-defined]
    with connection.cursor() as cursor, cursor.copy(f"COPY ({query}) TO STDOUT (FORMAT binary)") as copy:
        content = b"".join(bytes(block) for block in copy)
    return np.frombuffer(content[_COPY_HEADER_BYTES : len(content) - _COPY_TRAILER_BYTES], row)
