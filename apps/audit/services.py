from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from django.db import transaction
from django.utils import timezone

from apps.audit.chain import chain_hash
from apps.audit.models import AuditChain, AuditEvent

if TYPE_CHECKING:
    from django.contrib.auth.models import AbstractBaseUser

INSTALLATION = 0
MAX_SUBJECT = 400


@transaction.atomic(savepoint=False)
def record(
    *,
    actor: AbstractBaseUser | None,
    action: str,
    subject: str,
    organization_id: int = INSTALLATION,
    project_id: int | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add one event to the organization's trail, in the transaction of what it tells about."""
    chains = AuditChain.objects.select_for_update(no_key=True).filter(organization_id=organization_id)
    chain = chains.first()
    if chain is None:
        AuditChain.objects.get_or_create(organization_id=organization_id)
        chain = chains.get()
    _append(chain, actor=actor, action=action, subject=subject, project_id=project_id, detail=detail or {})


def _append(
    chain: AuditChain,
    *,
    actor: AbstractBaseUser | None,
    action: str,
    subject: str,
    project_id: int | None,
    detail: dict[str, Any],
) -> None:
    """To a chain whose row is locked."""
    event = AuditEvent(
        organization_id=chain.organization_id,
        project_id=project_id,
        sequence=chain.sequence + 1,
        at=timezone.now(),
        actor_id=actor.pk if actor else None,
        action=action,
        subject=subject[:MAX_SUBJECT],
        detail=detail,
        previous_hash=chain.hash,
    )
    event.hash = chain_hash(chain.hash, _header(event))
    event.save(force_insert=True)
    chain.sequence, chain.hash = event.sequence, event.hash
    chain.save(update_fields=["sequence", "hash"])


_reads_noted: dict[date, set[tuple[int, int | None, int, str, str]]] = {}


def record_read(
    *, actor: AbstractBaseUser, action: str, subject: str, organization_id: int, project_id: int | None
) -> None:
    """Note that somebody looked at something: once a person, thing and day (UTC), however often they look.

    A page does not wait for it: while an import, say, adds to the trail, the next look is noted instead.
    """
    now = timezone.now()
    today = now.date()
    for day in [day for day in _reads_noted if day < today]:
        _reads_noted.pop(day, None)
    noted = _reads_noted.setdefault(today, set())  # of this process; another asks the database
    key = organization_id, project_id, actor.pk, action, subject
    if key in noted:
        return
    with transaction.atomic():
        chains = AuditChain.objects.select_for_update(no_key=True, skip_locked=True)
        chain = chains.filter(organization_id=organization_id).first()
        if chain is None:
            return
        of_today = AuditEvent.objects.filter(
            organization_id=organization_id, project_id=project_id, at__gte=datetime.combine(today, time.min, UTC)
        )
        if not of_today.filter(actor_id=actor.pk, action=action, subject=subject[:MAX_SUBJECT]).exists():
            _append(chain, actor=actor, action=action, subject=subject, project_id=project_id, detail={})
    noted.add(key)


def record_download(
    *, actor: AbstractBaseUser, what: str, organization_id: int, project_id: int | None, query: str
) -> None:
    """Somebody takes a trail with them; `query` is what it was filtered by."""
    record(
        actor=actor,
        action="audit.download",
        subject=what,
        organization_id=organization_id,
        project_id=project_id,
        detail={"filter": query[:400]},
    )


def _header(event: AuditEvent) -> dict[str, Any]:
    return {
        "organization": event.organization_id,
        "project": event.project_id,
        "sequence": event.sequence,
        "at": event.at.isoformat(),
        "actor": event.actor_id,
        "action": event.action,
        "subject": event.subject,
        "detail": event.detail,
    }


@dataclass(frozen=True)
class ChainFault:
    sequence: int
    what: str


def audit_length(organization_id: int) -> int:
    """How many events an organization's trail has."""
    chain = _head(organization_id)
    return chain.sequence if chain else 0


def audited_organizations() -> list[int]:
    """Whose trails there are; INSTALLATION among them once something happened outside of every organization."""
    return list(AuditChain.objects.order_by("organization_id").values_list("organization_id", flat=True))


def verify_audit(organization_id: int) -> Iterator[ChainFault]:
    """Walk an organization's trail from its start; yields each place where it does not hold together."""
    # The head first: what happens meanwhile lies beyond it, and is not this walk's.
    chain = _head(organization_id)
    last = chain.sequence if chain else 0
    previous_hash, expected = "", 1
    events = AuditEvent.objects.filter(organization_id=organization_id, sequence__lte=last).order_by("sequence")
    for event in events.iterator():
        if event.sequence != expected:
            yield ChainFault(expected, f"missing: the next event is {event.sequence}")
        if event.previous_hash != previous_hash or event.hash != chain_hash(previous_hash, _header(event)):
            yield ChainFault(event.sequence, "changed after it was written")
        previous_hash, expected = event.hash, event.sequence + 1
    if chain is not None and (chain.sequence, chain.hash) != (expected - 1, previous_hash):
        yield ChainFault(chain.sequence, "the trail's end is missing")


def _head(organization_id: int) -> AuditChain | None:
    return AuditChain.objects.filter(organization_id=organization_id).first()
