"""Quick review: one patch after the other, without the model's opinion. Its pace is what all others are compared with (theta), and its
labels, which nobody else's and no prediction has touched, say how often a person agrees with the shared ones (concordance)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from django.db import connection, transaction
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.labels.models import LabelSet
from apps.projects.models import Project

N_OBJECTS = 100


@dataclass(frozen=True)
class QuickReview:
    """`ordinals` (k,) are still to be looked at, in this order, of `n` in all."""

    label_set: LabelSet
    ordinals: NDArray[np.int64]
    n: int


@dataclass(frozen=True)
class Concordance:
    """Of the objects that a person labeled in their quick review and that have a shared label, `n`, so many of the same class."""

    n: int
    n_same: int

    @property
    def share(self) -> float:
        return self.n_same / self.n


@transaction.atomic
def take_up_quick_review(*, project: Project, rater: User) -> QuickReview:
    """The person's quick review in this project: begun where there is none, gone on with else. The objects are drawn at random, by the
    set's number, so that everybody looks at others; what came into the project meanwhile may be among those that are left."""
    label_set, _ = LabelSet.objects.get_or_create(
        project=project,
        kind=LabelSet.Kind.BASELINE,
        rater=rater,
        defaults={"name": f"quick review of {rater.email[:90]} ({rater.pk})", "is_blinded": True},
    )
    drawn = np.random.default_rng(label_set.pk).permutation(project.n_objects)
    labeled = set(label_set.labels.filter(value__gt=0).values_list("ordinal", flat=True))
    n = min(N_OBJECTS, project.n_objects)
    left = drawn[~np.isin(drawn, list(labeled))][: max(0, n - len(labeled))]
    return QuickReview(label_set, left.astype(np.int64), n)


def concordances(project: Project) -> dict[int, Concordance]:
    """By person, with the labels that were given here: what came with a file is no second opinion. Without classes that are marked as
    uncertain, by either label."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH certain AS (SELECT value FROM projects_labelclass WHERE project_id = %(project)s AND NOT is_uncertain)
            SELECT alone.rater_id, count(*), count(*) FILTER (WHERE own.value = shown.value)
            FROM labels_labelset alone
            JOIN labels_label own ON own.label_set_id = alone.id AND own.value IN (SELECT value FROM certain)
            JOIN labels_labelset shared ON shared.project_id = alone.project_id AND shared.kind = %(shared)s
            JOIN labels_label shown ON shown.label_set_id = shared.id AND shown.ordinal = own.ordinal
                AND shown.value IN (SELECT value FROM certain)
            WHERE alone.project_id = %(project)s AND alone.kind = %(baseline)s
            GROUP BY alone.rater_id
            """,
            {
                "project": project.pk,
                "shared": LabelSet.Kind.SHARED.value,
                "baseline": LabelSet.Kind.BASELINE.value,
            },
        )
        return {rater: Concordance(n, n_same) for rater, n, n_same in cursor.fetchall()}
