from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from typing import TypeVar

from django.db.models import Model, QuerySet

from apps.audit.models import AuditEvent

RECORDS_AT_ONCE = 2000
# With all that the hashes are made of: whoever has all events of an organization can check them without us (docs/labeling.md).
AUDIT_COLUMNS = (
    "organization_id",
    "number",
    "at",
    "actor_id",
    "actor",
    "actor_email",
    "action",
    "subject",
    "project_id",
    "detail",
    "previous_hash",
    "hash",
)

Made = TypeVar("Made", bound=Model)


def made_by(
    records: QuerySet[Made],
    *,
    actor_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[Made]:
    """Of records that say who made them and when (`actor`, `at`), those of one person and from `since` to before `until`."""
    if actor_id is not None:
        records = records.filter(actor_id=actor_id)
    if since is not None:
        records = records.filter(at__gte=since)
    if until is not None:
        records = records.filter(at__lt=until)
    return records


def in_pages(records: QuerySet[Made]) -> Iterator[Made]:
    """All records of one chain, the newest first, some thousand in memory at once; `records` are sorted by `-sequence`."""
    last: int | None = None
    while True:
        page = list((records if last is None else records.filter(sequence__lt=last))[:RECORDS_AT_ONCE])
        yield from page
        if len(page) < RECORDS_AT_ONCE:
            return
        last = page[-1].sequence  # type: ignore[attr-defined]  # every chain numbers its records


def audit_rows(events: QuerySet[AuditEvent]) -> Iterator[tuple[object, ...]]:
    """Rows of AUDIT_COLUMNS for events of one organization, the newest first."""
    for event in in_pages(events):
        yield (
            event.organization_id,
            event.sequence,
            event.at.isoformat(),
            event.actor_id or "",
            str(event.actor) if event.actor else "the server",
            event.actor.email if event.actor else "",
            event.action,
            event.subject,
            event.project_id or "",
            json.dumps(event.detail, ensure_ascii=False),
            event.previous_hash,
            event.hash,
        )
