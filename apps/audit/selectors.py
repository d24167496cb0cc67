from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from django.db.models import Model, QuerySet

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
