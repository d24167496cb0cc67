"""Label actions in words, for whoever reads the history."""

from __future__ import annotations

from typing import Any

from django import template

from apps.labels.models import LabelAction
from apps.labels.selectors import claim_of, objects_and_class

register = template.Library()
AMONG = {
    "all": "among all objects",
    "lasso": "in a lasso",
    "filter": "what the filters showed",
    "review": "a review of one class",
    "suggested": "proposed",
    "similar": "a search for similar objects",
    "unplaced": "not on the map yet",
    "image": "the objects of an image",
    "undone": "what an undo had changed",
    "sample": "within a sample",
    "quick_review": "in a quick review",
    "script": "chosen by a script",
}


@register.filter
def what_was_done(action: LabelAction) -> str:
    """What a gesture did, without its class, which has a chip."""
    match action.kind:
        case LabelAction.Kind.LABEL:
            return "labeled"
        case LabelAction.Kind.REMOVE:
            return "label removed"
        case LabelAction.Kind.IMPORT:
            return "imported"
        case _:
            of = action.undoes
            assert of is not None  # neither is made without
            if action.kind == LabelAction.Kind.UNDO:
                return f"undid {_named(of)}"
            assert of.undoes is not None
            return f"redid {_named(of.undoes)}"


def _named(action: LabelAction) -> str:
    # One that only left out says in its own line how many.
    return f"no. {action.sequence}: {objects_and_class(action)}" if action.n else f"no. {action.sequence}"


@register.filter
def how_it_was_done(action: Any) -> str:
    """How its objects were chosen, and what of them was looked at; of one of `label_history`."""
    if action.reason and not action.token:
        return str(action.reason)
    if action.provenance == LabelAction.Provenance.SAMPLED and action.kind == LabelAction.Kind.LABEL:
        claim = claim_of({**action.claim, "inspected": ()})
        return (
            f"by sample: {claim.n:,} of {claim.size:,} looked at, {claim.wrong:,} wrong; at most {100 * claim.bound:.1f} % of all are, "
            f"with {100 * claim.confidence:.1f} % confidence"
        )
    parts = [f"by a script with the token {action.token}…", action.reason] if action.token else []
    parts += [f"proposed: {action.title}" if action.title else AMONG.get(action.among, "")]
    if action.image:
        parts.append(f"of {action.image}")
    stated = action.n_on_screen or ""
    n_unseen = action.n_asked - int(stated) if stated.isdecimal() else 0
    if n_unseen > 0 and action.kind == LabelAction.Kind.LABEL:
        parts.append(f"{n_unseen:,} not on the screen")
    if action.n_left_out:
        parts.append(f"{action.n_left_out:,} left out")
    return "; ".join(filter(None, parts))
