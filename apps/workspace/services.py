from __future__ import annotations

from apps.accounts.models import User
from apps.labels.models import LabelSet
from apps.projects.jobs import start_job
from apps.projects.models import Job, Project


def start_export(*, project: Project, label_set: LabelSet | None, requested_by: User | None) -> Job:
    """Queue an export as masks and tables: of one label set, or of everything stated about the project's objects."""
    return start_job(
        project=project,
        kind="export",
        task="apps.workspace.tasks.export_labels",
        queue="cpu",
        requested_by=requested_by,
        params={"label_set": label_set.pk if label_set else None},
    )
