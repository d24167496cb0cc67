from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from django.db.models import Q, QuerySet
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.labels.models import LabelAction, LabelingSession, LabelSet
from apps.labels.statements import read_sources, read_values
from apps.projects.models import Project

UNDOABLE = (LabelAction.Kind.LABEL, LabelAction.Kind.REMOVE, LabelAction.Kind.REDO)


def label_sets_visible_to(user: User, project: Project) -> QuerySet[LabelSet]:
    """The label sets of a project that the user may see: another rater's blinded set is not among them."""
    return project.label_sets.filter(Q(is_blinded=False) | Q(rater=user))


def shared_label_set(project: Project) -> LabelSet:
    """The set that everybody labels together; every project has one from its first day."""
    return project.label_sets.get(kind=LabelSet.Kind.SHARED)


def class_values(label_set: LabelSet, n_objects: int) -> NDArray[np.uint8]:
    """The class value of every object, uint8 (n_objects,); 0 where it has no label."""
    values = np.zeros(n_objects, np.uint8)
    ordinals, labeled = read_values(
        "SELECT ordinal, value FROM labels_label WHERE label_set_id = %s AND value > 0 AND ordinal < %s",
        [label_set.pk, n_objects],
    )
    values[ordinals] = labeled
    return values


def changes_since(label_set: LabelSet, revision: int) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Ordinals (k,) that changed after `revision`, each once, ascending, and the class values (k,) they have now."""
    return read_values(
        """
        SELECT DISTINCT label.ordinal, label.value
        FROM labels_labelaction action
        JOIN labels_labelevent event ON event.action_id = action.id
        JOIN labels_label label ON label.label_set_id = %s AND label.ordinal = event.ordinal
        WHERE action.label_set_id = %s AND action.sequence > %s
        ORDER BY label.ordinal
        """,
        [label_set.pk, label_set.pk, revision],
    )


def counts_by_class(label_set: LabelSet, n_objects: int) -> dict[str, int]:
    """Objects per class value, as strings for JSON; "0" are the unlabeled."""
    counts = {value: n for value, n in label_set.counts.items() if n}
    return {"0": n_objects - sum(counts.values()), **counts}


def last_undoable(label_set: LabelSet, actor: User) -> LabelAction | None:
    """The actor's last gesture on this set that still stands."""
    return (
        label_set.actions.filter(actor=actor, kind__in=UNDOABLE, undone_by=None)
        .select_related("label_class")
        .order_by("-sequence")
        .first()
    )


def last_redoable(label_set: LabelSet, actor: User) -> LabelAction | None:
    """The actor's last undo, as long as no new gesture came after it."""
    mine = label_set.actions.filter(actor=actor)
    last_gesture = mine.filter(kind__in=["label", "remove"]).order_by("-sequence").values_list("sequence", flat=True)
    return (
        mine.filter(kind=LabelAction.Kind.UNDO, undone_by=None, sequence__gt=last_gesture.first() or 0)
        .select_related("label_class")
        .order_by("-sequence")
        .first()
    )


def describe_action(action: LabelAction | None) -> dict[str, Any] | None:
    """What undo and redo offer, as browsers are told of it."""
    if action is None:
        return None
    what = action.label_class.name if action.label_class else "no class"
    return {"action_id": action.pk, "text": f"{action.n:,} {'object' if action.n == 1 else 'objects'} → {what}"}


def current_session(label_set: LabelSet, rater: User) -> LabelingSession | None:
    return label_set.sessions.filter(rater=rater).order_by("-last_action_at").first()


def session_state(session: LabelingSession | None) -> Mapping[str, Any] | None:
    if session is None:
        return None
    rate = session.timed_labels / session.active_seconds if session.active_seconds else None
    return {"labels": session.labels, "seconds": session.active_seconds, "labels_per_second": rate}


def stated_labels(project: Project) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What is known about every object of the project: class values uint8 (n_objects,), 0 = unlabeled, and the id of the
    action that stated each, int64 (n_objects,), 0 = none. The shared set's labels stand before imported ones, later
    imports before earlier ones. This is what models learn from and what an export writes where no set is asked for."""
    values, sources = np.zeros(project.n_objects, np.uint8), np.zeros(project.n_objects, np.int64)
    known = [LabelSet.Kind.IMPORTED, LabelSet.Kind.SHARED]
    for kind in known:
        for label_set in project.label_sets.filter(kind=kind).order_by("id"):
            in_set, sources_in_set = labels_with_sources(label_set, project.n_objects)
            labeled = in_set > 0
            values[labeled], sources[labeled] = in_set[labeled], sources_in_set[labeled]
    return values, sources


def labels_with_sources(label_set: LabelSet, n_objects: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Class values uint8 (n_objects,) and the ids of the actions that stated them int64 (n_objects,) of one set."""
    values, sources = np.zeros(n_objects, np.uint8), np.zeros(n_objects, np.int64)
    rows = read_sources(
        "SELECT ordinal, value, source FROM labels_label WHERE label_set_id = %s AND value > 0 AND ordinal < %s",
        [label_set.pk, n_objects],
    )
    values[rows["ordinal"]], sources[rows["ordinal"]] = rows["value"], rows["source"]
    return values, sources
