"""Sampled acceptance: a selection is labeled as a whole after a look at a random sample of it, drawn by the server.

The stratum is frozen when the sample is drawn, and what the bound rests on is checked again when it is accepted: as many were
looked at as the number of wrong ones among them asks for, and neither the map, nor the project's setting, nor a label outside
of the sample has changed. Locks are taken in one order: the sample, then the chain of actions.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from django.db import transaction
from django.utils import timezone
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.common.packing import pack_ordinals, unpack_ordinals
from apps.engine.sampling import (
    MOST_ATTEMPTS,
    draw,
    error_bound,
    first_look,
    much_the_same,
    risk_of_attempt,
    sample_sizes,
)
from apps.labels.models import LabelAction, LabelSet, StratumSample
from apps.labels.selectors import attempts_at, denied_ordinals, labels_of, open_sample
from apps.labels.services import Gesture, LabelError, check_class_is_there, checked_ordinals, label_objects, lock_chain
from apps.projects.models import LabelClass, Project

State = StratumSample.State
SEED_BITS = 53  # what JSON carries exactly


class SampleNotAllowed(LabelError):
    """The project does not allow labels by sample."""


class SampleClosed(LabelError):
    """The sample is no longer open, or another one is."""


@dataclass(frozen=True)
class Verdict:
    """How an open sample stands."""

    wrong: NDArray[np.uint32]
    """The sampled ordinals that are marked, or labeled as another class by now."""
    stale: str
    """Why it can not be accepted whatever is in it, for the user; "" where nothing is in the way."""
    n_more: int | None
    """How many more are to be looked at, as so many are wrong, before it may be accepted; None where too many are."""


@transaction.atomic
def draw_sample(
    *,
    label_set: LabelSet,
    label_class: LabelClass,
    ordinals: NDArray[np.uint32],
    drawn_by: User,
    embedding: int | None,
    selection: dict[str, Any],
    client_key: UUID | None = None,
) -> StratumSample:
    """Freeze the unlabeled ones of `ordinals` (n,) as a stratum, and draw a sample that bounds its error below the
    project's limit if all of it is right. What was found not to be of this class is no part of it.

    Raises SampleNotAllowed, SampleClosed where the user has another one open, LabelError where nothing is unlabeled or much
    the same was sampled too often. A repeated `client_key` returns the sample that it made the first time.
    """
    lock_chain(label_set.project_id)  # nobody labels in between, and two requests draw one after the other
    project = Project.objects.get(pk=label_set.project_id)
    if not project.allows_sampled:
        raise SampleNotAllowed("labels by sample are not allowed in this project")
    if label_class.project_id != project.pk:
        raise LabelError("this class belongs to another project")
    check_class_is_there(label_class)
    if label_set.kind != LabelSet.Kind.SHARED:
        raise LabelError("samples are of the shared labels")
    mine = open_sample(project, drawn_by)
    if mine is not None:
        if client_key is not None and mine.client_key == client_key:
            return mine
        raise SampleClosed("you have an open sample in this project: go on with it, or end it")
    unique = checked_ordinals(ordinals, project)
    values, _ = labels_of(label_set, unique)
    stratum = unique[values == 0]
    if not len(stratum):
        raise LabelError("all of these objects are labeled already")
    stratum = stratum[~np.isin(stratum, denied_ordinals(label_set).get(label_class.value, ()))]
    if not len(stratum):
        raise LabelError(f"all of these objects were found not to be {label_class.name}")
    earlier = attempts_at(label_set, {label_class.value: len(stratum)}).get(label_class.value, ())
    attempt = 1 + sum(much_the_same(stratum, other.stratum) for other in earlier)
    if attempt > MOST_ATTEMPTS:
        raise LabelError(f"much the same objects were sampled {MOST_ATTEMPTS} times: review them page by page")
    seed = secrets.randbits(SEED_BITS)
    n = first_look(len(stratum), project.max_sampled_error, risk_of_attempt(attempt))
    return StratumSample.objects.create(
        label_set=label_set,
        project=project,
        label_class=label_class,
        drawn_by=drawn_by,
        client_key=client_key,
        embedding=embedding,
        stratum=pack_ordinals(stratum),
        drawn=stratum[draw(len(stratum), n, seed=seed)].tolist(),
        size=len(stratum),
        max_error=project.max_sampled_error,
        attempt=attempt,
        seed=seed,
        selection=selection,
        started_at=timezone.now(),
    )


@transaction.atomic
def mark_sampled(
    *, sample: StratumSample, wrong: Collection[int] = (), not_wrong: Collection[int] = ()
) -> StratumSample:
    """Mark sampled objects that do not belong to the class, and take marks back; those of all others stay, as somebody may
    look at one sample in two tabs."""
    sample = _locked(sample)
    if sample.state != State.OPEN:
        raise SampleClosed("this sample has ended")
    if foreign := {*wrong, *not_wrong} - set(sample.drawn):
        raise LabelError(f"object {min(foreign)} is not in the sample")
    if both := set(wrong) & set(not_wrong):
        raise LabelError(f"object {min(both)} can not be wrong and not wrong")
    sample.wrong = sorted((set(sample.wrong) | set(wrong)) - set(not_wrong))
    sample.save(update_fields=["wrong"])
    return sample


@transaction.atomic
def look_at_more(*, sample: StratumSample, n: int, embedding: int | None) -> StratumSample:
    """Show more of the stratum, `n` in all: as many as the wrong ones that were found ask for. Sent twice, it is done once; who
    asks for no more than there are gets those.

    Raises LabelError where that is another number or none is enough, SampleClosed where the sample has ended.
    """
    sample = _locked(sample)
    if sample.state != State.OPEN:
        raise SampleClosed("this sample has ended")
    if n <= sample.n:
        return sample
    verdict = judge(sample, embedding)
    if verdict.stale:
        raise LabelError(f"this sample can not be accepted any more, because {verdict.stale}")
    if verdict.n_more is None:
        raise LabelError(f"{len(verdict.wrong):,} of {sample.n:,} are wrong: looking at more does not help")
    if n != sample.n + verdict.n_more:
        raise LabelError(
            f"{len(verdict.wrong):,} are wrong by now: look at {sample.n + verdict.n_more:,} in all, not {n:,}"
        )
    stratum = unpack_ordinals(sample.stratum)
    at_random = stratum[draw(len(stratum), len(stratum), seed=sample.seed)]
    others = at_random[~np.isin(at_random, sample.drawn)]  # whatever another version's generator would draw first
    sample.drawn = [*sample.drawn, *others[: verdict.n_more].tolist()]
    sample.save(update_fields=["drawn"])
    return sample


@transaction.atomic
def accept_sample(
    *, sample: StratumSample, size: int, seen: int, embedding: int | None, worked_s: float | None = None
) -> StratumSample:
    """Label the stratum but for what was found wrong, in one action, if its sample allows that and nothing has changed since.

    `size` and `seen` are how many the user was told that they label, and how many patches were on their screen. Where too
    many are wrong, or something has changed, the sample ends as refused or expired: look at the state that is returned. Sent
    twice, it is accepted once. Raises LabelError where the numbers are not the sample's or more is to be looked at,
    SampleClosed where it ended without being accepted.
    """
    sample = _locked(sample)
    if sample.state == State.ACCEPTED:
        return sample
    if sample.state != State.OPEN:
        raise SampleClosed("this sample has ended")
    if seen < sample.n:
        raise LabelError(f"only {seen:,} of the {sample.n:,} patches were looked at")
    lock_chain(sample.project_id)
    verdict = judge(sample, embedding)
    sample.wrong = verdict.wrong.tolist()
    if verdict.stale or verdict.n_more is None:
        return _end(sample, State.EXPIRED if verdict.stale else State.REFUSED)
    if verdict.n_more:
        raise LabelError(f"{len(sample.wrong):,} of {sample.n:,} are wrong: look at {verdict.n_more:,} more")
    stratum = unpack_ordinals(sample.stratum)
    accepted = stratum[~np.isin(stratum, verdict.wrong)]
    if size != len(accepted):
        raise LabelError(f"{len(accepted):,} objects would be labeled, not {size:,}")
    sample.action = label_objects(
        label_set=sample.label_set,
        label_class=sample.label_class,
        ordinals=accepted,
        actor=sample.drawn_by,
        gesture=Gesture(
            provenance=LabelAction.Provenance.SAMPLED,
            selection={**sample.selection, "sample": stated(sample)},
            worked_s=worked_s,
        ),
    )
    return _end(sample, State.ACCEPTED)


@transaction.atomic
def end_sample(*, sample: StratumSample) -> StratumSample:
    """Leave a sample without accepting it; labels that were given meanwhile stay. One that has ended stays as it is."""
    sample = _locked(sample)
    if sample.state != State.OPEN:
        return sample
    lock_chain(sample.project_id)
    sample.wrong = judge(
        sample, sample.embedding
    ).wrong.tolist()  # a mark that was followed by the class was taken back
    return _end(sample, State.REFUSED if sample.wrong else State.ABANDONED)


def judge(sample: StratumSample, embedding: int | None) -> Verdict:
    """What an open sample's marks and the labels say now; `embedding` is the number of the newest map."""
    project = Project.objects.get(pk=sample.project_id)
    stratum = unpack_ordinals(sample.stratum)
    values, _ = labels_of(sample.label_set, stratum)
    drawn, marked = np.isin(stratum, sample.drawn), np.isin(stratum, sample.wrong)
    right = values == sample.label_class.value
    wrong = drawn & ~right & (marked | (values > 0))
    n_labeled = int((~drawn & (values > 0)).sum())
    denied = denied_ordinals(sample.label_set).get(sample.label_class.value, np.zeros(0, np.int64))
    n_denied = int((~drawn & (values == 0) & np.isin(stratum, denied)).sum())
    if not project.allows_sampled:
        stale = "labels by sample are not allowed in this project any more"
    elif sample.max_error > project.max_sampled_error:
        stale = "the project now asks for a smaller error"
    elif embedding != sample.embedding:
        stale = "there is a new map since the sample was drawn"
    elif n_labeled:
        objects = "object of the selection was" if n_labeled == 1 else "objects of the selection were"
        stale = f"{n_labeled:,} {objects} labeled since the sample was drawn"
    elif n_denied:
        objects = "object of the selection was" if n_denied == 1 else "objects of the selection were"
        stale = f"{n_denied:,} {objects} found not to be {sample.label_class.name} meanwhile"
    else:
        stale = ""
    sizes, n_wrong = sizes_of(sample), int(wrong.sum())
    n_more = max(0, sizes[n_wrong] - sample.n) if n_wrong < len(sizes) else None
    return Verdict(wrong=stratum[wrong], stale=stale, n_more=n_more)


def sizes_of(sample: StratumSample) -> tuple[int, ...]:
    """How many of a sample are to be looked at by the number of wrong ones among them, from none: (k,) ascending."""
    return sample_sizes(sample.size, sample.max_error, risk_of_attempt(sample.attempt))


def stated(sample: StratumSample) -> dict[str, Any]:
    """What an accepted sample says, as its action keeps it."""
    risk = risk_of_attempt(sample.attempt)
    return {
        "id": sample.pk,
        "n": sample.n,
        "wrong": len(sample.wrong),
        "size": sample.size,
        "max_error": sample.max_error,
        "bound": round(error_bound(sample.size, (*(n for n in sizes_of(sample) if n < sample.n), sample.n), risk), 6),
        "confidence": round(float(1 - risk), 6),
        "attempt": sample.attempt,
        "seed": sample.seed,
        "inspected": sorted(sample.drawn),
    }


def _locked(sample: StratumSample) -> StratumSample:
    found = StratumSample.objects.select_for_update(no_key=True, of=["self"])
    return found.select_related("label_set__project", "label_class", "drawn_by").get(pk=sample.pk)


def _end(sample: StratumSample, state: str) -> StratumSample:
    sample.state, sample.ended_at = state, timezone.now()
    sample.save(update_fields=["state", "ended_at", "action", "wrong"])
    return sample
