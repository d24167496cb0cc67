"""What models do when something changes below them."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import User
from apps.models.services import start_placing
from apps.objects.signals import import_finished
from apps.projects.models import Project


def connect() -> None:
    import_finished.connect(_place_new_objects, dispatch_uid="place_new_objects")


def _place_new_objects(*, project: Project, imported_by: User | None, **_: Any) -> None:
    """New objects come onto the map that is there, without waiting for the next training."""
    start_placing(project=project, requested_by=imported_by)
