"""Writing labels. One gesture is one action is one transaction, with the same few statements whatever its size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection, transaction
from django.utils import timezone
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.audit.chain import chain_hash
from apps.common.notifications import LABELS_CHANGED, notify
from apps.labels import statements
from apps.labels.events import LabelsChanged
from apps.labels.models import (
    LEFT_OUT,
    ON_SCREEN,
    TOKEN,
    WORKED,
    LabelAction,
    LabelChain,
    LabelingSession,
    LabelSet,
    is_of_differences,
)
from apps.labels.selectors import (
    STATING_KINDS,
    last_redoable,
    last_undoable,
    sets_beneath,
    shown_in,
    taken_back,
    text_of,
    was_ever_used,
)
from apps.labels.statements import Changed
from apps.projects.events import send_event_on_commit
from apps.projects.models import LabelClass, Project
from apps.projects.services import delete_label_class

Mode = LabelingSession.Mode
SESSION_PAUSE = timedelta(minutes=15)  # a longer pause begins a new labeling session
ACTIVE_GAP = timedelta(seconds=60)  # where no page has measured, a longer gap between gestures is no work beyond this


class LabelError(ValueError):
    """A gesture that can not be done; the message is for the user."""


class NothingToUndo(LabelError):
    """There is no gesture of this user left to undo or redo."""


class AnotherGesture(NothingToUndo):
    """What would be undone or redone is not what this user takes for it: another tab of theirs has been at work."""


QUICK_REVIEW_IS_A_PERSONS = "a quick review is labeled by a person, one object after the other"
ANOTHER = {
    LabelAction.Kind.UNDO: "Your last gesture is another one by now: {}. Once more takes that back.",
    LabelAction.Kind.REDO: "What you undid last is another one by now: {}. Once more brings that back.",
}


@dataclass(frozen=True)
class Gesture:
    """What a caller states about an action; who and when are the server's to say."""

    provenance: str
    selection: dict[str, Any]
    client_key: UUID | None = None
    reason: str = ""
    token: str = ""
    """Of a script: the beginning of its token. What it does is no one's labeling by the clock."""
    worked_s: float | None = None
    """How long somebody was at work for it, since the gesture before, as their page saw it; None where nobody measured."""


@transaction.atomic
def create_label_sets(project: Project) -> LabelSet:
    """What every new project gets: the head of its action chain and the shared label set."""
    LabelChain.objects.create(project=project)
    return LabelSet.objects.create(project=project, kind=LabelSet.Kind.SHARED, name="shared")


def get_or_create_label_set(*, project: Project, name: str, kind: str) -> LabelSet:
    """Raises LabelError where the project has a set of this name and of another kind: what people labeled is not a file's to replace."""
    label_set, _ = LabelSet.objects.get_or_create(project=project, name=name, defaults={"kind": kind})
    if label_set.kind != kind:
        raise LabelError(f"the label set {name!r} holds what was labeled here; choose another name")
    return label_set


def label_objects(
    *,
    label_set: LabelSet,
    label_class: LabelClass | None,
    ordinals: NDArray[np.uint32],
    actor: User,
    gesture: Gesture,
    only_unlabeled: bool = False,
) -> LabelAction:
    """Give many objects one class, or with None take their labels away. `only_unlabeled`: those that somebody has labeled,
    perhaps while this was on its way, keep their label.

    `ordinals` (n,) may hold repeats. Raises LabelError for an ordinal the project does not have, for a class of another
    project, for no ordinals where none is left out either, and for a selection that leaves out what it does not have or what it labels. A repeated
    `client_key` returns the action it made the first time. On a page of labels that differ from what the model says, a label that is
    given once more is kept: from now on it is this gesture's.
    """
    if label_class is not None and label_class.project_id != label_set.project_id:
        raise LabelError("this class belongs to another project")
    left_out = gesture.selection.get(LEFT_OUT)
    only_leaves_out = not len(ordinals) and label_class is not None and left_out
    unique = ordinals if only_leaves_out else checked_ordinals(ordinals, label_set.project)
    value = label_class.value if label_class else 0
    if label_set.kind == LabelSet.Kind.BASELINE and (gesture.token or len(unique) != 1):
        raise LabelError(QUICK_REVIEW_IS_A_PERSONS)
    if (fault := _fault_of_screen(gesture, unique)) is not None:
        raise LabelError(fault)
    if left_out:
        if max(left_out) >= label_set.project.n_objects:
            raise LabelError(f"{LEFT_OUT}: object {max(left_out)} is not in this project")
        if np.isin(left_out, unique).any():
            raise LabelError(f"{LEFT_OUT}: what is labeled is not left out")
    return _act(
        label_set=label_set,
        actor=actor,
        kind=LabelAction.Kind.LABEL if label_class else LabelAction.Kind.REMOVE,
        gesture=gesture,
        label_class=label_class,
        n_asked=len(unique),
        change=lambda action_id: statements.assign(
            label_set_id=label_set.pk,
            action_id=action_id,
            ordinals=unique,
            values=np.full(len(unique), value, np.uint8),
            beneath=sets_beneath(label_set),
            only_unlabeled=only_unlabeled,
            confirms=is_of_differences(gesture.selection),
        ),
    )


def _fault_of_screen(gesture: Gesture, ordinals: NDArray[np.uint32]) -> str | None:
    """Why it can not be that so many of the labeled objects were on the screen."""
    on_screen = gesture.selection.get(ON_SCREEN)
    if on_screen is None:
        return None
    if gesture.token:
        return f"{ON_SCREEN}: a script has no screen"
    shown = on_screen.get("ordinals")
    if on_screen["n"] != (len(ordinals) if shown is None else len(set(shown))):
        return f"{ON_SCREEN}: n is not how many were on it"
    if shown and not np.isin(shown, ordinals).all():
        return f"{ON_SCREEN}: what was on it has to be among the labeled"
    return None


def import_label_values(
    *, label_set: LabelSet, ordinals: NDArray[np.uint32], values: NDArray[np.uint8], actor: User | None, reason: str
) -> LabelAction:
    """State a class value (n,) for each ordinal (n,), as a file says. One action for the whole file."""
    unique, first = np.unique(ordinals, return_index=True)
    checked_ordinals(unique, label_set.project)
    return _act(
        label_set=label_set,
        actor=actor,
        kind=LabelAction.Kind.IMPORT,
        gesture=Gesture(provenance=LabelAction.Provenance.IMPORT, selection={}, reason=reason),
        label_class=None,
        n_asked=len(unique),
        change=lambda action_id: statements.assign(
            label_set_id=label_set.pk, action_id=action_id, ordinals=unique, values=values[first]
        ),
    )


def undo(
    *,
    label_set: LabelSet,
    actor: User,
    client_key: UUID | None = None,
    expected_id: int | None = None,
    token: str = "",
    worked_s: float | None = None,
) -> LabelAction:
    """Take back the actor's last gesture on this set, by a new action. Objects labeled anew since keep their label.

    `expected_id`: the action that the actor takes for the last one. Raises AnotherGesture where it is not, NothingToUndo.
    """
    kind, otherwise = LabelAction.Kind.UNDO, "nothing to undo"
    return _revert(label_set, actor, kind, last_undoable, otherwise, client_key, expected_id, token, worked_s)


def redo(
    *,
    label_set: LabelSet,
    actor: User,
    client_key: UUID | None = None,
    expected_id: int | None = None,
    token: str = "",
    worked_s: float | None = None,
) -> LabelAction:
    """Take back the actor's last undo, `expected_id` as in `undo`."""
    kind, otherwise = LabelAction.Kind.REDO, "nothing to redo"
    return _revert(label_set, actor, kind, last_redoable, otherwise, client_key, expected_id, token, worked_s)


@transaction.atomic
def remove_label_class(*, label_class: LabelClass, removed_by: User) -> None:
    """Take a class away that nothing was ever labeled with, sampled for, or left out of. Raises LabelError for any other."""
    Project.objects.select_for_update(no_key=True).get(pk=label_class.project_id)  # before the chain, as imports do
    lock_chain(label_class.project_id)  # nobody labels in between
    if was_ever_used(label_class):
        raise LabelError(
            "Objects have this class, or had it, perhaps in somebody's quick review, and the history names it. Rename it instead."
        )
    delete_label_class(label_class=label_class, removed_by=removed_by)


def _revert(
    label_set: LabelSet,
    actor: User,
    kind: LabelAction.Kind,
    find: Callable[[LabelSet, User], LabelAction | None],
    otherwise: str,
    client_key: UUID | None,
    expected_id: int | None,
    token: str,
    worked_s: float | None,
) -> LabelAction:
    if label_set.kind == LabelSet.Kind.BASELINE and token:
        raise LabelError(QUICK_REVIEW_IS_A_PERSONS)
    with transaction.atomic():
        lock_chain(label_set.project_id)  # two quick presses of Z undo two gestures, not one twice
        if sent_before := _sent_before(label_set, actor, kind, client_key):
            return sent_before
        target = find(label_set, actor)
        if target is None:
            raise NothingToUndo(otherwise)
        if expected_id is not None and target.pk != expected_id:
            raise AnotherGesture(ANOTHER[kind].format(text_of(target)))
        # Who was left out by what comes back is left out again.
        restored = target.undoes.selection if kind == LabelAction.Kind.REDO and target.undoes else {}
        return _act(
            label_set=label_set,
            actor=actor,
            kind=kind,
            gesture=Gesture(
                provenance=target.provenance,
                selection={LEFT_OUT: restored[LEFT_OUT]} if LEFT_OUT in restored else {},
                client_key=client_key,
                token=token,
                worked_s=worked_s,
            ),
            label_class=target.label_class,
            n_asked=target.n,
            undoes=target,
            change=lambda action_id: statements.revert(
                label_set_id=label_set.pk,
                action_id=action_id,
                reverted_id=target.pk,
                # What an undo took back is what a redo brings.
                taken_back=taken_back(label_set) if kind == LabelAction.Kind.UNDO else (),
            ),
        )


def checked_ordinals(ordinals: NDArray[np.uint32], project: Project) -> NDArray[np.uint32]:
    """Each ordinal once, ascending. Raises LabelError for none at all, and for one that the project does not have."""
    unique = np.unique(ordinals)
    if not len(unique):
        raise LabelError("no objects were given")
    if unique[-1] >= project.n_objects:
        raise LabelError(f"object {unique[-1]} is not in this project, which has {project.n_objects} objects")
    return unique


def check_class_is_there(label_class: LabelClass | None) -> None:
    """With the chain locked, so that it stays. Raises LabelError where it was removed since it was read."""
    if label_class is not None and not LabelClass.objects.filter(pk=label_class.pk).exists():
        raise LabelError(f"the class {label_class.name} was removed a moment ago")


@transaction.atomic
def _act(
    *,
    label_set: LabelSet,
    actor: User | None,
    kind: LabelAction.Kind,
    gesture: Gesture,
    label_class: LabelClass | None,
    n_asked: int,
    change: Callable[[int], Changed],
    undoes: LabelAction | None = None,
) -> LabelAction:
    """Lock the chain, change the labels, write the action and move the chain's head."""
    sequence, previous_hash, action_id = lock_chain(label_set.project_id)
    if sent_before := _sent_before(label_set, actor, kind, gesture.client_key):
        asked = label_class, n_asked, gesture.selection.get(LEFT_OUT)
        if (sent_before.label_class, sent_before.n_asked, sent_before.selection.get(LEFT_OUT)) != asked:
            raise LabelError("this client_key was used for another class or for other objects")
        return sent_before
    check_class_is_there(label_class)
    changed = change(action_id)
    now = timezone.now()
    action = LabelAction(
        id=action_id,
        project_id=label_set.project_id,
        sequence=sequence + 1,
        label_set=label_set,
        session=None
        if gesture.token
        else _take_session(label_set, actor, kind, changed, now, undoes, gesture.worked_s),
        actor=actor,
        kind=kind,
        provenance=gesture.provenance,
        label_class=label_class,
        undoes=undoes,
        client_key=gesture.client_key,
        n_asked=n_asked,
        n=changed.n,
        selection=_stated(gesture),
        reason=gesture.reason,
        at=now,
        previous_hash=previous_hash,
        payload_hash=changed.payload_hash,
    )
    action.hash = chain_hash(previous_hash, action_header(action))
    action.save(force_insert=True)
    LabelChain.objects.filter(pk=label_set.project_id).update(sequence=action.sequence, hash=action.hash)
    _update_label_set(label_set, action, changed)
    if label_set.kind in STATING_KINDS:
        notify(LABELS_CHANGED, label_set.project_id)  # the predictions follow (`follow_labels`)
    if not label_set.is_blinded:  # whose pages ask for it themselves; others are not even to hear when
        send_event_on_commit(
            label_set.project_id,
            LabelsChanged(
                type="labels.changed",
                label_set=shown_in(label_set).pk,
                revision=action.sequence,
                n=action.n,
                actor=str(actor) if actor else None,
            ),
        )
    return action


def _sent_before(
    label_set: LabelSet, actor: User | None, kind: LabelAction.Kind, client_key: UUID | None
) -> LabelAction | None:
    """The action that the same request made the first time, if this is a repetition; asked under the chain's lock.

    Raises LabelError if the key was used for something else.
    """
    if client_key is None:
        return None
    sent = LabelAction.objects.filter(label_set=label_set, client_key=client_key).first()
    if sent is None:
        return None
    if sent.kind != kind or sent.actor_id != (actor.pk if actor else None):
        raise LabelError("this client_key was used for another gesture")
    label_set.refresh_from_db(fields=["counts", "revision"])
    return sent


def lock_chain(project_id: int) -> tuple[int, str, int]:
    """Put everybody else's gestures in this project off until the transaction ends.

    Returns the chain's sequence and hash, and an id for the next action.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sequence, hash, nextval(pg_get_serial_sequence('labels_labelaction', 'id'))"
            " FROM labels_labelchain WHERE project_id = %s FOR NO KEY UPDATE",
            [project_id],
        )
        row: tuple[int, str, int] = cursor.fetchone()
    return row


def _update_label_set(label_set: LabelSet, action: LabelAction, changed: Changed) -> None:
    label_set.refresh_from_db(fields=["counts"])
    counts = {int(value): n for value, n in label_set.counts.items()}
    for old_value, new_value, n in changed.moves:
        counts[old_value] = counts.get(old_value, 0) - n
        counts[new_value] = counts.get(new_value, 0) + n
    label_set.counts = {str(value): n for value, n in sorted(counts.items()) if value and n}
    label_set.revision = action.sequence
    label_set.save(update_fields=["counts", "revision"])


def _take_session(
    label_set: LabelSet,
    actor: User | None,
    kind: LabelAction.Kind,
    changed: Changed,
    now: datetime,
    undoes: LabelAction | None,
    worked_s: float | None,
) -> LabelingSession | None:
    """The actor's running session, brought up to date with this gesture; imports, and taking back what a script did, are no one's
    labeling.

    What counts is how many more objects have a label than before: one corrected counts once, one undone not at all. Nobody knows how
    long a session's first gesture took: neither its labels nor their undoing count as labels of the time that was measured.
    """
    if actor is None or kind == LabelAction.Kind.IMPORT or (undoes is not None and undoes.session_id is None):
        return None
    session = label_set.sessions.filter(rater=actor).order_by("-last_action_at").first()
    labeled = sum(n * (bool(new_value) - bool(old_value)) for old_value, new_value, n in changed.moves)
    pause = now - session.last_action_at - timedelta(seconds=worked_s or 0) if session else timedelta.max
    if session is None or pause > SESSION_PAUSE:
        return LabelingSession.objects.create(
            label_set=label_set,
            rater=actor,
            mode=Mode.QUICK_REVIEW if label_set.kind == LabelSet.Kind.BASELINE else Mode.BULK,
            started_at=now,
            last_action_at=now,
            labels=labeled,
        )
    if worked_s is None:
        session.active_seconds += min(now - session.last_action_at, ACTIVE_GAP).total_seconds()
    else:  # gestures that waited for the network arrive together: the session as a whole is no longer than the clock says
        has_lasted = (now - session.started_at).total_seconds()
        session.active_seconds = max(session.active_seconds, min(session.active_seconds + worked_s, has_lasted))
    session.last_action_at = now
    session.labels += labeled
    if undoes is None or not _goes_back_to_its_first(session, undoes):
        session.timed_labels += labeled
    session.save(update_fields=["active_seconds", "last_action_at", "labels", "timed_labels"])
    return session


def _stated(gesture: Gesture) -> dict[str, Any]:
    """The selection as it is kept, with what only the server says."""
    stated: dict[str, Any] = {TOKEN: gesture.token or None, WORKED: gesture.worked_s}
    return gesture.selection | {key: value for key, value in stated.items() if value is not None}


def _goes_back_to_its_first(session: LabelingSession, action: LabelAction) -> bool:
    """Whether an action, or what it undoes or redoes, is the one that a session began with."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE chain AS (
                SELECT undoes_id, session_id, at FROM labels_labelaction WHERE id = %s
                UNION ALL
                SELECT earlier.undoes_id, earlier.session_id, earlier.at
                FROM chain JOIN labels_labelaction earlier ON earlier.id = chain.undoes_id
            )
            SELECT coalesce(bool_or(session_id = %s AND at = %s), false) FROM chain
            """,
            [action.pk, session.pk, session.started_at],
        )
        row: tuple[bool] = cursor.fetchone()
    return row[0]


def action_header(action: LabelAction) -> dict[str, Any]:
    """What an action's hash covers, besides the hash before it."""
    return {
        "id": action.pk,
        "project": action.project_id,
        "sequence": action.sequence,
        "label_set": action.label_set_id,
        "session": action.session_id,
        "actor": action.actor_id,
        "kind": str(action.kind),
        "provenance": str(action.provenance),
        "label_class": action.label_class_id,
        "undoes": action.undoes_id,
        "client_key": str(action.client_key) if action.client_key else None,
        "n_asked": action.n_asked,
        "n": action.n,
        "selection": action.selection,
        "reason": action.reason,
        "at": action.at.isoformat(),
        "payload": action.payload_hash,
    }
