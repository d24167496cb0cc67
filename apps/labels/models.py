"""Labels as facts: a gesture is a LabelAction, what it changed are LabelEvents, what holds now is their projection.

Objects are named by (project, ordinal). Ordinals are dense and never reused, so "is this an object of the project" is a
comparison with `Project.n_objects`, and none of the bulk statements joins the object table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.accounts.models import User
from apps.projects.models import LabelClass, Project


class LabelSet(models.Model):
    """One body of labels over a project."""

    class Kind(models.TextChoices):
        SHARED = "shared"
        RATER = "rater"
        BASELINE = "baseline"
        IMPORTED = "imported"
        ADJUDICATED = "adjudicated"

    project = models.ForeignKey(Project, models.CASCADE, related_name="label_sets")
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.SHARED)
    name = models.CharField(max_length=120)
    rater = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    round = models.PositiveSmallIntegerField(default=1)
    is_blinded = models.BooleanField(default=False)
    revision = models.BigIntegerField(default=0)  # sequence of the last action on this set
    counts = models.JSONField(default=dict)  # objects per class value ("1": 830), kept by every action
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="label_set_name_unique")]

    def __str__(self) -> str:
        return self.name


class LabelingSession(models.Model):
    """One person's stretch of labeling on one label set; a long enough pause ends it (`services.SESSION_PAUSE`)."""

    class Mode(models.TextChoices):
        BULK = "bulk"
        QUICK_REVIEW = "quick_review"

    label_set = models.ForeignKey(LabelSet, models.CASCADE, related_name="sessions")
    rater = models.ForeignKey(User, models.PROTECT, related_name="labeling_sessions")
    mode = models.CharField(max_length=12, choices=Mode, default=Mode.BULK)
    started_at = models.DateTimeField()
    last_action_at = models.DateTimeField()
    active_seconds = models.FloatField(default=0.0)
    # How many more objects have a label: below 0 where somebody took back more than they gave.
    labels = models.IntegerField(default=0)
    timed_labels = models.IntegerField(default=0)  # less those of the first gesture, whose time is unknown

    class Meta:
        indexes = [models.Index(fields=["label_set", "rater", "-last_action_at"], name="session_by_rater")]

    def __str__(self) -> str:
        return f"{self.rater}, {self.started_at:%Y-%m-%d %H:%M}"


class LabelChain(models.Model):
    """The head of a project's hash chain of actions; its row lock also puts concurrent gestures in order."""

    project = models.OneToOneField(Project, models.CASCADE, primary_key=True, related_name="label_chain")
    sequence = models.BigIntegerField(default=0)
    hash = models.CharField(max_length=64, default="")


# In the selection of a confirmed page: the ordinals of those that were seen on it and are not of its class.
LEFT_OUT = "left_out"
# In the selection of a gesture: how many of the labeled objects were on the screen (`n`), and which (`ordinals`) unless all were.
ON_SCREEN = "on_screen"
# In the selection of what a script did: the beginning of its token. Only the server says so.
TOKEN = "token"
# In the selection of what a person did: seconds of work for it. From a field of its own.
WORKED = "worked_s"
# The suggestion in the selection of who looks at labels that differ from what the model says, and corrects or keeps them.
DIFFERENCES = "discordant"


def is_of_differences(selection: Mapping[str, Any]) -> bool:
    """Whether a gesture with this selection was made on such a page."""
    suggestion = selection.get("suggestion")
    return isinstance(suggestion, dict) and suggestion.get("kind") == DIFFERENCES


class LabelAction(models.Model):
    """One gesture on 1..n objects: the unit of undo, audit and timing. The database refuses to change or delete it."""

    class Kind(models.TextChoices):
        LABEL = "label"
        REMOVE = "remove"
        UNDO = "undo"
        REDO = "redo"
        IMPORT = "import"

    class Provenance(models.TextChoices):
        SINGLE = "single"
        BULK = "bulk"
        SAMPLED = "sampled"
        IMPORT = "import"

    project = models.ForeignKey(Project, models.PROTECT, related_name="label_actions", db_index=False)
    sequence = models.BigIntegerField()
    label_set = models.ForeignKey(LabelSet, models.PROTECT, related_name="actions", db_index=False)
    session = models.ForeignKey(LabelingSession, models.PROTECT, null=True, related_name="actions", db_index=False)
    actor = models.ForeignKey(User, models.PROTECT, null=True, related_name="label_actions", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    provenance = models.CharField(max_length=10, choices=Provenance)
    label_class = models.ForeignKey(LabelClass, models.PROTECT, null=True, related_name="+", db_index=False)
    undoes = models.OneToOneField("self", models.PROTECT, null=True, related_name="undone_by")
    client_key = models.UUIDField(null=True)  # the same key twice is the same gesture, sent again
    n_asked = models.PositiveIntegerField()
    n = models.PositiveIntegerField()  # objects whose label changed
    selection = models.JSONField(default=dict)  # lasso, filters, order, what was shown
    reason = models.CharField(max_length=400, blank=True)
    at = models.DateTimeField()
    previous_hash = models.CharField(max_length=64)
    payload_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "sequence"], name="label_action_sequence_unique"),
            models.UniqueConstraint(fields=["label_set", "client_key"], name="label_action_client_key_unique"),
        ]
        indexes = [
            models.Index(fields=["label_set", "actor", "-sequence"], name="label_action_by_actor"),
            models.Index(
                fields=["label_set"],
                condition=models.Q(provenance="sampled", kind="label"),
                name="label_action_by_sample",
            ),
            models.Index(
                fields=["label_set"],
                condition=models.Q(selection__has_key=LEFT_OUT),
                name="label_action_with_left_out",
            ),
            models.Index(
                fields=["label_set"],
                condition=models.Q(selection__suggestion__kind=DIFFERENCES),
                name="label_action_on_differences",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sequence} {self.kind} {self.n}"


class LabelEvent(models.Model):
    """What one action changed about one object. Written only by the statement in `statements.py`, from rows it has
    checked; constraints to other tables would cost more than the statement itself (four look-ups a row)."""

    pk = models.CompositePrimaryKey("action", "ordinal")
    action = models.ForeignKey(
        LabelAction, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="events"
    )
    ordinal = models.PositiveIntegerField()
    old_value = models.PositiveSmallIntegerField()  # class values; 0: no label
    new_value = models.PositiveSmallIntegerField()
    old_source = models.BigIntegerField(null=True)  # id of the action that the old state came from
    new_source = models.BigIntegerField(null=True)  # this action; in an undo, the one whose state is restored


class Label(models.Model):
    """The projection: an object's class in a label set now. Rebuildable from the events (`rebuild_labels`)."""

    pk = models.CompositePrimaryKey("label_set", "ordinal")
    label_set = models.ForeignKey(
        LabelSet, models.DO_NOTHING, db_constraint=False, db_index=False, related_name="labels"
    )
    ordinal = models.PositiveIntegerField()
    value = models.PositiveSmallIntegerField()  # class value; 0: the label was removed
    source = models.BigIntegerField(null=True)  # the action that this state comes from: who, when, how


class StratumSample(models.Model):
    """A random sample of a selection, drawn by the server, that somebody looks through to accept all of it for one class.

    What an accepted sample says about its labels (n, size, how many were wrong, bound, which were seen) stands in its action's `selection`,
    under the hash chain; this row is the way there, and what remains of those that were not accepted.
    """

    class State(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        REFUSED = "refused"  # too many of it were wrong, or it was left with wrong ones in it
        ABANDONED = "abandoned"
        EXPIRED = "expired"  # labels, map or settings are no longer those it was drawn from

    label_set = models.ForeignKey(LabelSet, models.PROTECT, related_name="samples")
    project = models.ForeignKey(Project, models.PROTECT, related_name="+", db_index=False)  # as the label set's
    label_class = models.ForeignKey(LabelClass, models.PROTECT, related_name="+", db_index=False)
    drawn_by = models.ForeignKey(User, models.PROTECT, related_name="+", db_index=False)
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    client_key = models.UUIDField(null=True)  # the same key twice is the same request, sent again
    embedding = models.PositiveIntegerField(null=True)  # number of the map at the time
    stratum = models.BinaryField()  # the unlabeled objects of the selection: pack_ordinals
    drawn = ArrayField(
        models.PositiveIntegerField()
    )  # ordinals in the order in which they are shown; more come at the end
    wrong = ArrayField(models.PositiveIntegerField(), default=list)  # marked as wrong; at the end also labeled so
    size = models.PositiveIntegerField()  # objects of the stratum
    max_error = models.FloatField()
    attempt = models.PositiveSmallIntegerField()  # 2: much the same objects were sampled before
    seed = models.BigIntegerField()
    selection = models.JSONField(default=dict)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    action = models.OneToOneField(LabelAction, models.PROTECT, null=True, related_name="sample")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["project", "drawn_by"],
                condition=models.Q(state="open"),
                name="one_open_sample_per_person",
            )
        ]
        indexes = [models.Index(fields=["label_set", "label_class", "state"], name="sample_by_class")]

    def __str__(self) -> str:
        return f"{self.n} of {self.size} as {self.label_class_id} ({self.state})"

    @property
    def n(self) -> int:
        return len(self.drawn)
