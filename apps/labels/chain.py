"""Checking the label history against itself, and the projection against the history."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import connection, transaction

from apps.audit.chain import chain_hash
from apps.audit.services import ChainFault
from apps.labels.models import Label, LabelAction, LabelChain, LabelEvent, LabelSet
from apps.labels.services import action_header
from apps.labels.statements import payload_hash
from apps.projects.models import Project

_FROM_EVENTS = """
    SELECT DISTINCT ON (event.ordinal) event.ordinal, event.new_value AS value, event.new_source AS source
    FROM labels_labelevent event JOIN labels_labelaction action ON action.id = event.action_id
    WHERE action.label_set_id = %(label_set)s
    ORDER BY event.ordinal, action.sequence DESC
"""


def verify_labels(project: Project) -> Iterator[ChainFault]:
    """Walk a project's actions from the first; yields each one that was changed, lost or no longer fits its events,
    and each label set whose projection differs from its events."""
    # The head first: what people label meanwhile lies beyond it, and is not this walk's.
    chain = LabelChain.objects.get(project=project)
    label_sets = list(project.label_sets.all())
    previous_hash, expected = "", 1
    actions = LabelAction.objects.filter(project=project, sequence__lte=chain.sequence).order_by("sequence")
    for action in actions.iterator():
        if action.sequence != expected:
            yield ChainFault(expected, f"missing: the next action is {action.sequence}")
        if action.previous_hash != previous_hash or action.hash != chain_hash(previous_hash, action_header(action)):
            yield ChainFault(action.sequence, "the action was changed after it was written")
        events = LabelEvent.objects.filter(action=action).order_by("ordinal")
        rows = events.values_list("ordinal", "old_value", "new_value", "old_source", "new_source")
        if payload_hash(rows.iterator()) != action.payload_hash:
            yield ChainFault(action.sequence, "its events were changed after they were written")
        previous_hash, expected = action.hash, action.sequence + 1
    if (chain.sequence, chain.hash) != (expected - 1, previous_hash):
        yield ChainFault(chain.sequence, "the end of the history is missing")
    for label_set in label_sets:
        if differing := _count_differing(label_set):
            yield ChainFault(label_set.revision, f"{differing} labels of {label_set} differ from the history")


def _count_differing(label_set: LabelSet) -> int:
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            SELECT count(*) FROM ({_FROM_EVENTS}) history
            FULL JOIN (SELECT * FROM labels_label WHERE label_set_id = %(label_set)s) label USING (ordinal)
            WHERE (history.value, history.source) IS DISTINCT FROM (label.value, label.source)
            """,
            {"label_set": label_set.pk},
        )
        row: tuple[int] = cursor.fetchone()
    return row[0]


@transaction.atomic
def rebuild_labels(label_set: LabelSet) -> int:
    """Make the projection anew from the events; returns the number of labeled objects."""
    LabelChain.objects.select_for_update(no_key=True).get(project_id=label_set.project_id)
    Label.objects.filter(label_set=label_set).delete()
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            INSERT INTO labels_label (label_set_id, ordinal, value, source)
            SELECT %(label_set)s, ordinal, value, source FROM ({_FROM_EVENTS}) history
            """,
            {"label_set": label_set.pk},
        )
        cursor.execute(
            "SELECT value, count(*) FROM labels_label WHERE label_set_id = %s AND value > 0 GROUP BY value",
            [label_set.pk],
        )
        label_set.counts = {str(value): n for value, n in cursor.fetchall()}
    label_set.save(update_fields=["counts"])
    return sum(label_set.counts.values())
