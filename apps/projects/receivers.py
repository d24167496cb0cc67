"""What projects do when something changes below them."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import Organization, User
from apps.accounts.signals import organization_member_removed
from apps.projects.models import ProjectMember
from apps.projects.services import remove_project_member


def connect() -> None:
    organization_member_removed.connect(_end_project_memberships, dispatch_uid="end_project_memberships")


def _end_project_memberships(*, organization: Organization, user: User, removed_by: User, **_: Any) -> None:
    """Who leaves the organization leaves its projects, in the same transaction."""
    memberships = ProjectMember.objects.filter(project__organization=organization, user=user)
    for member in memberships.select_related("project", "user"):
        remove_project_member(member=member, removed_by=removed_by)
