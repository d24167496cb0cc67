from __future__ import annotations

from django.db import transaction

from apps.accounts.models import User
from apps.labels.models import LabelSet
from apps.projects.jobs import check_not_too_many, start_job
from apps.projects.models import Job, Project


@transaction.atomic
def start_export(
    *, project: Project, label_set: LabelSet | None, requested_by: User | None, without_sampled: bool = False
) -> Job:
    """Queue an export as masks and tables: of one label set, or of everything stated about the project's objects; with
    `without_sampled`, of the labels whose patches somebody saw. Raises TooManyJobs."""
    check_not_too_many(kind="export", requested_by=requested_by)
    return start_job(
        project=project,
        kind="export",
        task="apps.workspace.tasks.export_labels",
        queue="cpu",
        requested_by=requested_by,
        params={"label_set": label_set.pk if label_set else None, "without_sampled": without_sampled},
    )
