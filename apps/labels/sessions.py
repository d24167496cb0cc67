"""Labeling sessions as people read them: who labeled when, how much, and how quickly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Count, Max, QuerySet, Sum

from apps.accounts.models import User
from apps.labels.models import LabelAction, LabelingSession
from apps.labels.quick_review import Concordance, concordances
from apps.labels.selectors import rate_of, standing
from apps.projects.access import permissions_of
from apps.projects.models import Project
from apps.projects.permissions import Permission

Mode = LabelingSession.Mode
SESSIONS_AT_ONCE = 500


@dataclass(frozen=True)
class SessionRecord:
    id: int
    person_id: int
    person: str
    mode: str
    """bulk, or quick_review: one patch after the other, without the model."""
    began: datetime
    ended: datetime
    """When the last gesture came."""
    active_seconds: float
    gestures: int
    """That gave labels or took them away; undoing and redoing are none."""
    median_objects: int | None
    """Of a gesture that labels; None where there is none."""
    labels: int
    """How many more objects have a label than before."""
    by_sample: int
    """Objects that were labeled with a sample, most of them unseen, by gestures that stand: that were not undone since."""
    labels_per_second: float | None
    """Without the first gesture, whose time nobody knows."""


@dataclass(frozen=True)
class PersonRecord:
    """What a person has done in the project, but for `alone` and `concordance` without their quick review."""

    person: str
    sessions: int
    last: datetime
    active_seconds: float
    labels: int
    labels_per_second: float | None
    alone: float | None
    """Labels a second in the quick review (LPS_M: Walker et al. 2024)."""
    concordance: Concordance | None

    @property
    def theta(self) -> float | None:
        """How many times as fast as alone (Walker et al. 2024)."""
        return self.labels_per_second / self.alone if self.labels_per_second is not None and self.alone else None


def may_see_everybody(user: User, project: Project) -> bool:
    """Whose sessions the user may see: those who may read the trail everybody's, all others their own."""
    return Permission.VIEW_AUDIT in permissions_of(user, project)


def sessions_for(project: Project, user: User) -> QuerySet[LabelingSession]:
    """The sessions that the user may see, the newest first. When and how quickly somebody labeled says nothing of a blinded set's labels."""
    sessions = LabelingSession.objects.filter(label_set__project=project)
    if not may_see_everybody(user, project):
        sessions = sessions.filter(rater=user)
    return sessions.select_related("rater").order_by("-started_at", "-pk")


def session_records(project: Project, sessions: Iterable[LabelingSession]) -> list[SessionRecord]:
    """Some hundred sessions of the project in the same order, with what their gestures were."""
    listed = list(sessions)
    gestures = _gestures(project, [session.pk for session in listed])
    return [_record(session, *gestures.get(session.pk, (0, None, 0))) for session in listed]


def all_session_records(project: Project, sessions: QuerySet[LabelingSession]) -> Iterator[SessionRecord]:
    """Of all of them, some hundred in memory at once."""
    ids = list(sessions.values_list("pk", flat=True))
    for first in range(0, len(ids), SESSIONS_AT_ONCE):
        yield from session_records(project, sessions.filter(pk__in=ids[first : first + SESSIONS_AT_ONCE]))


def people_records(project: Project, sessions: QuerySet[LabelingSession]) -> list[PersonRecord]:
    """The same by person, who labeled most first."""
    summed = (
        sessions.order_by()
        .values("rater", "mode")
        .annotate(
            n=Count("pk"),
            last=Max("last_action_at"),
            seconds=Sum("active_seconds"),
            n_labels=Sum("labels"),
            n_timed=Sum("timed_labels"),
        )
    )
    by_mode = {(row["rater"], row["mode"]): row for row in summed}
    agreed = concordances(project)
    nothing: dict[str, Any] = {"n": 0, "seconds": 0.0, "n_labels": 0, "n_timed": 0}
    records = []
    for pk, person in User.objects.in_bulk({rater for rater, _ in by_mode}).items():
        work, alone = by_mode.get((pk, Mode.BULK), nothing), by_mode.get((pk, Mode.QUICK_REVIEW), nothing)
        records.append(
            PersonRecord(
                person=str(person),
                sessions=work["n"],
                last=max(row["last"] for row in (work, alone) if row["n"]),
                active_seconds=work["seconds"],
                labels=max(work["n_labels"], 0),
                labels_per_second=rate_of(work["n_timed"], work["seconds"]),
                alone=rate_of(alone["n_timed"], alone["seconds"]),
                concordance=agreed.get(pk),
            )
        )
    return sorted(records, key=lambda record: (-record.labels, record.person))


def as_json(record: SessionRecord) -> dict[str, Any]:
    return asdict(record) | {"began": record.began.isoformat(), "ended": record.ended.isoformat()}


def _record(session: LabelingSession, gestures: int, median: int | None, by_sample: int) -> SessionRecord:
    return SessionRecord(
        id=session.pk,
        person_id=session.rater_id,
        person=str(session.rater),
        mode=session.mode,
        began=session.started_at,
        ended=session.last_action_at,
        active_seconds=round(session.active_seconds, 1),
        gestures=gestures,
        median_objects=median,
        labels=max(session.labels, 0),
        by_sample=by_sample,
        labels_per_second=rate_of(session.timed_labels, session.active_seconds),
    )


def _gestures(project: Project, session_ids: list[int]) -> dict[int, tuple[int, int | None, int]]:
    """By session: how many gestures, the median of the objects that one labels, and how many were labeled by sample."""
    kinds = LabelAction.Kind
    by_sample = LabelAction.objects.filter(
        project=project, session__in=session_ids, kind=kinds.LABEL, provenance=LabelAction.Provenance.SAMPLED
    )
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT session_id, count(*),
                percentile_disc(0.5) WITHIN GROUP (ORDER BY n) FILTER (WHERE kind = %(label)s AND n > 0),
                coalesce(sum(n) FILTER (WHERE id = ANY(%(by_sample)s::int8[])), 0)
            FROM labels_labelaction
            WHERE project_id = %(project)s AND session_id = ANY(%(sessions)s) AND kind IN (%(label)s, %(remove)s)
            GROUP BY session_id
            """,
            {
                "project": project.pk,
                "sessions": session_ids,
                "label": kinds.LABEL.value,
                "remove": kinds.REMOVE.value,
                "by_sample": standing(by_sample.values_list("pk", flat=True)),
            },
        )
        return {session_id: (n, median, n_sampled) for session_id, n, median, n_sampled in cursor.fetchall()}
