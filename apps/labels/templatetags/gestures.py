"""Label actions in words, for whoever reads the history."""

from __future__ import annotations

from django import template

from apps.labels.models import LEFT_OUT, LabelAction
from apps.labels.selectors import text_of

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
                return f"undid no. {of.sequence}: {text_of(of)}"
            assert of.undoes is not None
            return f"redid no. {of.undoes.sequence}: {text_of(of)}"


@register.filter
def how_it_was_done(action: LabelAction) -> str:
    """How its objects were chosen, and what of them was looked at."""
    if action.reason:
        return action.reason
    sample = action.selection.get("sample")
    if isinstance(sample, dict):
        return (
            f"by sample: {sample['n']:,} of {sample['size']:,} looked at, {sample['wrong']:,} wrong; at most "
            f"{100 * sample['bound']:.1f} % of all are, with {100 * sample['confidence']:.1f} % confidence"
        )
    parts = [AMONG.get(str(action.selection.get("source")), "")]
    suggestion = action.selection.get("suggestion")
    if isinstance(suggestion, dict) and suggestion.get("title"):
        parts = [f"proposed: {suggestion['title']}"]
    if left_out := action.selection.get(LEFT_OUT):
        parts.append(f"{len(left_out):,} left out")
    return "; ".join(filter(None, parts))
