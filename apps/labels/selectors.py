from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import IntegerField, JSONField, Max, Q, QuerySet
from django.db.models.expressions import RawSQL
from django.db.models.fields.json import KT
from django.db.models.functions import Left
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.audit.selectors import made_by
from apps.common.packing import unpack_ordinals
from apps.engine.strata import Attempt
from apps.labels.models import (
    DIFFERENCES,
    LEFT_OUT,
    ON_SCREEN,
    TOKEN,
    Label,
    LabelAction,
    LabelEvent,
    LabelingSession,
    LabelSet,
    StratumSample,
)
from apps.labels.statements import read_ordinals, read_sources
from apps.projects.models import LabelClass, Project

MOST_TOLD = 200  # characters of what a page says of a gesture: it may say anything
MOST_KEPT = 16  # label sets of which a process remembers something
# The kinds of sets whose labels models learn from: see `labels_to_learn_from`.
STATING_KINDS = (LabelSet.Kind.SHARED, LabelSet.Kind.IMPORTED)
GESTURES = (LabelAction.Kind.LABEL, LabelAction.Kind.REMOVE)
# What `undo` takes back.
UNDOABLE = (*GESTURES, LabelAction.Kind.REDO)


def label_sets_visible_to(user: User, project: Project) -> QuerySet[LabelSet]:
    """The label sets of a project that the user may see: another rater's blinded set is not among them."""
    return project.label_sets.filter(Q(is_blinded=False) | Q(rater=user))


_CLAIM = """
    CASE WHEN labels_labelaction.provenance = 'sampled' THEN (labels_labelaction.selection -> 'sample') - 'inspected'::text END
"""
_N_LEFT_OUT = """
    CASE WHEN jsonb_typeof(labels_labelaction.selection -> %s) = 'array'
    THEN jsonb_array_length(labels_labelaction.selection -> %s) END
"""


def label_history(
    project: Project,
    user: User,
    *,
    label_class: LabelClass | None = None,
    actor: User | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[LabelAction]:
    """The gestures on the label sets that the user may see, the newest first; of their selections, which may be a megabyte each, only
    `among`, `image`, `title` (of what was proposed), `token` (of a script), `n_on_screen` (as a text), `n_left_out`, and as `claim` the numbers of a sample."""
    actions = LabelAction.objects.filter(project=project, label_set__in=label_sets_visible_to(user, project))
    if label_class is not None:
        actions = actions.filter(label_class=label_class)
    actions = made_by(actions, actor_id=actor.pk if actor else None, since=since, until=until)
    told = {
        "among": Left(KT("selection__source"), MOST_TOLD),
        "image": Left(KT("selection__image"), MOST_TOLD),
        "title": Left(KT("selection__suggestion__title"), MOST_TOLD),
        "token": Left(KT(f"selection__{TOKEN}"), MOST_TOLD),
        "n_on_screen": Left(KT(f"selection__{ON_SCREEN}__n"), MOST_TOLD),
        # Only the server draws samples: what else a page may have put there is not read.
        "claim": RawSQL(_CLAIM, [], JSONField()),
        "n_left_out": RawSQL(_N_LEFT_OUT, [LEFT_OUT, LEFT_OUT], IntegerField()),
    }
    related = ("actor", "label_class", "label_set", "undoes__label_class", "undoes__undoes__label_class")
    selections = ("selection", "undoes__selection", "undoes__undoes__selection")
    return actions.annotate(**told).select_related(*related).defer(*selections).order_by("-sequence")


def people_who_labeled(project: Project, user: User) -> QuerySet[User]:
    """Who made those gestures, for the filter."""
    actor_ids = label_history(project, user).filter(actor__isnull=False).order_by().values("actor_id")
    return User.objects.filter(pk__in=actor_ids).order_by("name", "email")


def shared_label_set(project: Project) -> LabelSet:
    """The set that everybody labels together; every project has one from its first day."""
    return project.label_sets.get(kind=LabelSet.Kind.SHARED)


def sets_beneath(label_set: LabelSet) -> list[int]:
    """The ids of the imported sets that show through the shared one where nobody made a gesture, oldest first."""
    if label_set.kind != LabelSet.Kind.SHARED:
        return []
    imported = LabelSet.objects.filter(project_id=label_set.project_id, kind=LabelSet.Kind.IMPORTED)
    return list(imported.order_by("id").values_list("id", flat=True))


def shown_in(label_set: LabelSet) -> LabelSet:
    """The set in which pages show these labels: the shared one for what was imported."""
    return shared_label_set(label_set.project) if label_set.kind == LabelSet.Kind.IMPORTED else label_set


def shown_revision(label_set: LabelSet) -> int:
    """A number that grows whenever what `class_values` gives may have changed: the last action on the set or beneath it."""
    sets = [label_set.pk, *sets_beneath(label_set)]
    last = LabelSet.objects.filter(pk__in=sets).aggregate(last=Max("revision"))["last"]
    return int(last or 0)


@dataclass(frozen=True)
class SampleClaim:
    """What a sampled acceptance says about the labels that it gave."""

    n: int
    wrong: int
    size: int
    """The sample had `n` of the `size` objects, `wrong` of them wrong and labeled otherwise or not at all."""
    bound: float
    """So the share of wrong ones among all of them is at most this, 0 to 1 ..."""
    confidence: float
    """... with this confidence, 0 to 1."""
    inspected: NDArray[np.uint32]
    """The ordinals (n,) that were seen: their labels count like any other bulk label."""


def sample_claims(label_set: LabelSet) -> dict[int, SampleClaim]:
    """The sampled acceptances of a label set by the id of their action."""
    actions = label_set.actions.filter(provenance=LabelAction.Provenance.SAMPLED, kind=LabelAction.Kind.LABEL)
    return {action_id: claim_of(sample) for action_id, sample in actions.values_list("pk", "selection__sample")}


def claim_of(sample: Mapping[str, Any]) -> SampleClaim:
    """The claim as its action's `selection` keeps it."""
    return SampleClaim(
        n=sample["n"],
        wrong=sample.get("wrong", 0),  # actions are never rewritten: the first ones allowed none and did not say so
        size=sample["size"],
        bound=sample["bound"],
        confidence=sample["confidence"],
        inspected=np.array(sample["inspected"], np.uint32),
    )


def accepted_unseen(
    claims: Mapping[int, SampleClaim], ordinals: NDArray[Any], sources: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which of the labels of `ordinals` (n,), stated by the actions `sources` (n,), nobody saw the patch of: (n,) bool."""
    unseen = np.zeros(len(sources), np.bool_)
    if claims:
        unseen = np.isin(sources, list(claims))
        rows = np.flatnonzero(unseen)
        inspected = [(action_id << 32) + claim.inspected.astype(np.int64) for action_id, claim in claims.items()]
        unseen[rows] = ~np.isin((sources[rows] << 32) + ordinals[rows].astype(np.int64), np.concatenate(inspected))
    return unseen


def provenance_of(action: LabelAction, claim: SampleClaim | None) -> str:
    """How a label came; `claim` is the sample's if it was accepted unseen, else None. Who was in a sample was seen, in bulk."""
    if claim is None and action.provenance == LabelAction.Provenance.SAMPLED:
        return LabelAction.Provenance.BULK
    return action.provenance


def shown_by(action: LabelAction) -> Callable[[int], bool | None]:
    """Of each object that a gesture labeled, whether its patch was on that person's screen; None where nobody knows."""
    if action.provenance == LabelAction.Provenance.SAMPLED:
        inspected = frozenset(action.selection["sample"]["inspected"])
        return lambda ordinal: ordinal in inspected
    stated = action.selection.get(ON_SCREEN)
    if not isinstance(stated, dict):
        return lambda ordinal: None
    if "ordinals" not in stated:
        return lambda ordinal: True
    shown = frozenset(stated["ordinals"])
    return lambda ordinal: ordinal in shown


def sampled_counts(label_set: LabelSet) -> dict[str, int]:
    """Labels per class value that were accepted by sample without being seen, as strings for JSON; classes without any
    are left out."""
    claims = sample_claims(label_set)
    if not claims:
        return {}
    seen = [(action_id, int(ordinal)) for action_id, claim in claims.items() for ordinal in claim.inspected]
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT value, count(*) FROM labels_label
            WHERE label_set_id = %s AND value > 0 AND source = ANY(%s)
              AND (source, ordinal) NOT IN (SELECT * FROM unnest(%s::int8[], %s::int4[]))
            GROUP BY value ORDER BY value
            """,
            [label_set.pk, list(claims), [action_id for action_id, _ in seen], [ordinal for _, ordinal in seen]],
        )
        return {str(value): n for value, n in cursor.fetchall()}


def open_sample(project: Project, user: User) -> StratumSample | None:
    """The sample that the user is looking through in this project."""
    return StratumSample.objects.filter(project=project, drawn_by=user, state=StratumSample.State.OPEN).first()


def denied_ordinals(label_set: LabelSet, *, only_accepted_samples: bool = False) -> dict[int, NDArray[np.int64]]:
    """What somebody has looked at and found not to be of the class, by the class's value: ordinals (k,), ascending. It was marked in a
    sample, or left out of a page that was confirmed and was not taken back.

    `only_accepted_samples`: no marks of a sample that was refused, is still open, or whose acceptance was undone. Its right ones have no
    labels: learned from, its wrong ones alone would make the class seem rarer than it is.
    """
    marked = StratumSample.objects.filter(label_set=label_set).exclude(wrong=[])
    if only_accepted_samples:
        marked = marked.filter(action__in=standing(marked.exclude(action=None).values_list("action_id", flat=True)))
    # The revision first: what is committed in between is read again rather than never.
    revision = LabelSet.objects.values_list("revision", flat=True).get(pk=label_set.pk)
    denied = {value: [ordinals] for value, ordinals in _left_out(label_set.pk, revision).items()}
    for value, wrong in marked.values_list("label_class__value", "wrong"):
        denied.setdefault(value, []).append(np.array(wrong, np.int64))
    return {value: np.unique(np.concatenate(found)) for value, found in denied.items()}


def standing(action_ids: Iterable[int]) -> list[int]:
    """Those of the actions that were not undone, or redone since: an undo undoes, a redo undoes that, and so on."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH RECURSIVE chain AS (
                SELECT id AS gesture, id AS last, 0 AS n_after FROM labels_labelaction WHERE id = ANY(%s::int8[])
                UNION ALL
                SELECT gesture, later.id, n_after + 1 FROM chain JOIN labels_labelaction later ON later.undoes_id = chain.last
            )
            SELECT gesture FROM chain GROUP BY gesture HAVING max(n_after) %% 2 = 0
            """,
            [list(action_ids)],
        )
        return [action_id for (action_id,) in cursor.fetchall()]


@lru_cache(MOST_KEPT)
def _kept_though_different(label_set_id: int, revision: int) -> NDArray[np.int64]:
    return read_ordinals(
        """
        SELECT label.ordinal FROM labels_labelaction action
        JOIN labels_labelevent event ON event.action_id = action.id
        JOIN labels_label label ON label.label_set_id = action.label_set_id AND label.ordinal = event.ordinal
            AND label.source = action.id
        WHERE action.label_set_id = %s AND (action.selection #> '{suggestion,kind}') = %s::jsonb
        ORDER BY label.ordinal
        """,
        [label_set_id, json.dumps(DIFFERENCES)],
    )


def kept_though_different(label_set: LabelSet) -> NDArray[np.int64]:
    """The ordinals (k,) whose label somebody gave or kept on a page of labels that differ from what the model says: they have been
    looked at for that."""
    revision = LabelSet.objects.values_list("revision", flat=True).get(pk=label_set.pk)
    return _kept_though_different(label_set.pk, revision)


def taken_back(label_set: LabelSet) -> list[int]:
    """The gestures on this set that were undone, and not redone since."""
    undone = list(label_set.actions.filter(kind__in=GESTURES, undone_by__isnull=False).values_list("pk", flat=True))
    return sorted(set(undone) - set(standing(undone)))


@lru_cache(MOST_KEPT)
def _left_out(label_set_id: int, revision: int) -> dict[int, NDArray[np.int64]]:
    """What was left out of confirmed pages, by the class's value, at the set's `revision`: every suggestion asks for it."""
    confirmed = LabelAction.objects.filter(
        label_set=label_set_id,
        selection__has_key=LEFT_OUT,
        kind__in=[LabelAction.Kind.LABEL, LabelAction.Kind.REDO],
        undone_by=None,
        label_class__isnull=False,
    )
    found: dict[int, list[NDArray[np.int64]]] = {}
    for value, ordinals in confirmed.values_list("label_class__value", f"selection__{LEFT_OUT}").iterator():
        found.setdefault(value, []).append(np.array(ordinals, np.int64))
    return {value: np.unique(np.concatenate(ordinals)) for value, ordinals in found.items()}


def attempts_at(label_set: LabelSet, sizes: Mapping[int, int]) -> dict[int, list[Attempt]]:
    """What anybody has sampled, by class value, whatever came of it: each sample of much the same objects counts as another
    attempt, also while it is open, or two people would each have the first one. For strata of `sizes`, by class value, only
    those that are so large that they can be much the same."""
    alike = Q()
    for value, size in sizes.items():
        alike |= Q(label_class__value=value, size__gt=size / 2, size__lt=2 * size)
    attempts: dict[int, list[Attempt]] = {}
    if sizes:
        samples = StratumSample.objects.filter(alike, label_set=label_set).order_by("id")
        for value, state, packed in samples.values_list("label_class__value", "state", "stratum").iterator():
            was_refused = state == StratumSample.State.REFUSED
            attempts.setdefault(value, []).append(Attempt(unpack_ordinals(packed), was_refused))
    return attempts


def class_values(label_set: LabelSet, n_objects: int) -> NDArray[np.uint8]:
    """The class value of every object, uint8 (n_objects,); 0 where it has no label. In the shared set, imported labels
    show where nobody made a gesture."""
    values, _ = labels_with_sources(label_set, n_objects)
    return values


_kept: OrderedDict[int, tuple[int, NDArray[np.uint8]]] = OrderedDict()
_keeping = Lock()


def kept_class_values(label_set: LabelSet, n_objects: int) -> NDArray[np.uint8]:
    """As `class_values`, read-only, kept by this process and brought up to date by what changed since: reading a million
    labels takes half a second, and every search and suggestion asks for them."""
    # The revision first: what is committed in between is read again rather than never.
    revision = shown_revision(label_set)
    known_revision, known = _kept.get(label_set.pk, (0, np.zeros(0, np.uint8)))
    if known_revision == revision and len(known) == n_objects:
        return known
    if len(known) != n_objects:
        values = class_values(label_set, n_objects)
    else:
        values = known.copy()
        ordinals, changed, _ = changes_since(label_set, known_revision)
        here = ordinals < n_objects
        values[ordinals[here]] = changed[here]
    values.flags.writeable = False
    with _keeping:
        _kept[label_set.pk] = (revision, values)
        _kept.move_to_end(label_set.pk)
        if len(_kept) > MOST_KEPT:
            _kept.popitem(last=False)
    return values


def changes_since(label_set: LabelSet, revision: int) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64]]:
    """Ordinals (k,) that changed after `revision`, each once, ascending, with what `labels_of` says about them."""
    ordinals = read_ordinals(
        """
        SELECT DISTINCT event.ordinal
        FROM labels_labelaction action JOIN labels_labelevent event ON event.action_id = action.id
        WHERE action.label_set_id = ANY(%s) AND action.sequence > %s
        ORDER BY event.ordinal
        """,
        [[label_set.pk, *sets_beneath(label_set)], revision],
    )
    return ordinals, *labels_of(label_set, ordinals)


def labels_of(label_set: LabelSet, ordinals: NDArray[Any]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """`labels_with_sources` of some objects: class values (k,) and sources (k,) for ascending ordinals (k,)."""
    values, sources = np.zeros(len(ordinals), np.uint8), np.zeros(len(ordinals), np.int64)
    for set_id in [*sets_beneath(label_set), label_set.pk]:
        rows = read_sources(
            """
            SELECT label.ordinal, label.value, label.source FROM unnest(%s::int4[]) AS asked (ordinal)
            JOIN labels_label label ON label.label_set_id = %s AND label.ordinal = asked.ordinal
            WHERE label.source IS NOT NULL
            """,
            ["{" + ",".join(map(str, ordinals.tolist())) + "}", set_id],
        )
        at = np.searchsorted(ordinals, rows["ordinal"])
        values[at], sources[at] = rows["value"], rows["source"]
    sources[values == 0] = 0
    return values, sources


def counts_by_class(label_set: LabelSet, n_objects: int) -> dict[str, int]:
    """Objects per class value as shown, as strings for JSON; "0" are the unlabeled."""
    counts = {value: n for value, n in label_set.counts.items() if n}
    if sets_beneath(label_set):
        shown = np.bincount(kept_class_values(label_set, n_objects), minlength=1)
        counts = {str(value): int(shown[value]) for value in np.flatnonzero(shown) if value}
    return {"0": n_objects - sum(counts.values()), **dict(sorted(counts.items()))}


def last_undoable(label_set: LabelSet, actor: User) -> LabelAction | None:
    """The actor's last gesture on this set that still stands and changed something, if only who may be accepted unseen."""
    changed_something = Q(n__gt=0) | Q(selection__has_key=LEFT_OUT)
    return (
        label_set.actions.filter(changed_something, actor=actor, kind__in=UNDOABLE, undone_by=None)
        .select_related("label_class")
        .order_by("-sequence")
        .first()
    )


def last_redoable(label_set: LabelSet, actor: User) -> LabelAction | None:
    """The actor's last undo, as long as no new gesture came after it."""
    mine = label_set.actions.filter(actor=actor)
    last_gesture = mine.filter(kind__in=GESTURES).order_by("-sequence").values_list("sequence", flat=True)
    return (
        mine.filter(kind=LabelAction.Kind.UNDO, undone_by=None, sequence__gt=last_gesture.first() or 0)
        .select_related("label_class", "undoes")
        .order_by("-sequence")
        .first()
    )


def describe_action(action: LabelAction | None) -> dict[str, Any] | None:
    """What undo and redo offer, as browsers are told of it; `at` is when the gesture was made that an undo took back."""
    return None if action is None else {"action_id": action.pk, "text": text_of(action), "at": _gesture_of(action).at}


def text_of(action: LabelAction) -> str:
    """What undo and redo call it."""
    if action.n == 0 and (left_out := _gesture_of(action).selection.get(LEFT_OUT)):
        return f"{len(left_out):,} left out of {action.label_class or 'no class'}"
    return objects_and_class(action)


def objects_and_class(action: LabelAction) -> str:
    """How many it changed, and to what."""
    how = ", accepted by sample" if action.provenance == LabelAction.Provenance.SAMPLED else ""
    return f"{action.n:,} {'object' if action.n == 1 else 'objects'} → {action.label_class or 'no class'}{how}"


def _gesture_of(action: LabelAction) -> LabelAction:
    return action.undoes if action.kind == LabelAction.Kind.UNDO and action.undoes else action


def was_ever_used(label_class: LabelClass) -> bool:
    """Whether anything in the project's history names the class. Reads all of it where nothing does."""
    gestures = LabelAction.objects.filter(project_id=label_class.project_id)
    # Gestures name their class, so only imports have to be read, whose actions name none.
    events = LabelEvent.objects.filter(action__in=gestures.filter(kind=LabelAction.Kind.IMPORT))
    return (
        gestures.filter(label_class=label_class).exists()
        or StratumSample.objects.filter(project_id=label_class.project_id, label_class=label_class).exists()
        or events.filter(Q(new_value=label_class.value) | Q(old_value=label_class.value)).exists()
    )


def current_session(label_set: LabelSet, rater: User) -> LabelingSession | None:
    return label_set.sessions.filter(rater=rater).order_by("-last_action_at").first()


def rate_of(timed_labels: int, active_seconds: float) -> float | None:
    """Labels a second; None where no time was measured."""
    return max(timed_labels, 0) / active_seconds if active_seconds else None


def session_state(session: LabelingSession | None) -> Mapping[str, Any] | None:
    if session is None:
        return None
    rate = rate_of(session.timed_labels, session.active_seconds)
    return {"labels": max(session.labels, 0), "seconds": session.active_seconds, "labels_per_second": rate}


def stated_labels(project: Project) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """What is known about every object of the project, as `labels_with_sources` of the shared set gives it. This is what
    the pages show, and what an export writes where no set is asked for."""
    return labels_with_sources(shared_label_set(project), project.n_objects)


def labels_to_learn_from(project: Project) -> NDArray[np.uint8]:
    """The stated class value of every object, uint8 (n_objects,), but 0 where nobody saw the patch.

    Models neither learn from labels that were accepted by sample nor are measured on them. Mostly such a label repeats
    what the model said, so it teaches nothing new; its few errors are the model's own, and often all of one rare class,
    which learning would make harder to find (Arazo et al., "Pseudo-labeling and confirmation bias", 2020); and an accuracy
    measured on them would be the model's agreement with itself. The inspected ones are seen labels like any other.
    """
    values, sources = stated_labels(project)
    values[accepted_unseen(sample_claims(shared_label_set(project)), np.arange(len(values)), sources)] = 0
    return values


def labels_with_sources(label_set: LabelSet, n_objects: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Class values uint8 (n_objects,), 0 = unlabeled, and the ids of the actions that stated them int64 (n_objects,),
    0 = none. A gesture in the shared set stands before imported labels, also one that took a label away; later imports
    stand before earlier ones."""
    values, sources = np.zeros(n_objects, np.uint8), np.zeros(n_objects, np.int64)
    for set_id in [*sets_beneath(label_set), label_set.pk]:
        rows = read_sources(
            "SELECT ordinal, value, source FROM labels_label"
            " WHERE label_set_id = %s AND source IS NOT NULL AND ordinal < %s",
            [set_id, n_objects],
        )
        values[rows["ordinal"]], sources[rows["ordinal"]] = rows["value"], rows["source"]
    sources[values == 0] = 0
    return values, sources


def stated_label(label_set: LabelSet, ordinal: int) -> Label | None:
    """The label that is shown for one object, of this set or of one beneath it."""
    for set_id in [label_set.pk, *reversed(sets_beneath(label_set))]:
        label = Label.objects.filter(label_set_id=set_id, ordinal=ordinal, source__isnull=False).first()
        if label is not None:
            return label if label.value else None
    return None
