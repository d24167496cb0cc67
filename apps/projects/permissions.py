"""Who may do what: the one table of roles and permissions. Pure; `access.py` applies it to a user and a project."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from django.db.models import TextChoices


class ProjectRole(TextChoices):
    MANAGER = "manager"
    LEAD = "lead"
    REVIEWER = "reviewer"
    RATER = "rater"
    VIEWER = "viewer"


class Permission(StrEnum):
    VIEW = "project.view"
    LABEL = "label.write"
    UPLOAD = "data.upload"
    TRAIN = "train.start"
    EXPORT = "export.labels"
    EDIT_PROJECT = "project.edit"
    MANAGE_MEMBERS = "members.manage"
    VIEW_AUDIT = "audit.view"
    ALLOW_SAMPLED = "sampled.allow"


EVERYTHING = frozenset(Permission)
PERMISSIONS_BY_PROJECT_ROLE: dict[str, frozenset[Permission]] = {
    ProjectRole.MANAGER: EVERYTHING,
    ProjectRole.LEAD: frozenset(
        {Permission.VIEW, Permission.LABEL, Permission.UPLOAD, Permission.TRAIN, Permission.EXPORT}
    ),
    ProjectRole.REVIEWER: frozenset({Permission.VIEW, Permission.LABEL}),
    ProjectRole.RATER: frozenset({Permission.VIEW, Permission.LABEL}),
    ProjectRole.VIEWER: frozenset({Permission.VIEW}),
}
# Owners and admins run every project of their organization; to label in one they join it with a role, so that
# every rater of a project is listed among its members.
PERMISSIONS_BY_ORGANIZATION_ROLE: dict[str, frozenset[Permission]] = {
    "owner": EVERYTHING - {Permission.LABEL},
    "admin": EVERYTHING - {Permission.LABEL},
    "auditor": frozenset({Permission.VIEW, Permission.VIEW_AUDIT}),
    "member": frozenset(),
}


def effective_permissions(
    *, organization_role: str | None, project_role: str | None, grants: list[str], denials: list[str]
) -> frozenset[Permission]:
    """What the organization's role allows, with the project's role and single grants less its denials; unknown names have no effect.

    A project's managers take from nobody what the organization gives: they would shut out who looks after them. Without a role in the
    organization nothing else counts: who leaves it has left everything.
    """
    if organization_role is None:
        return frozenset()
    allowed = PERMISSIONS_BY_ORGANIZATION_ROLE.get(organization_role, frozenset())
    if project_role:
        allowed |= project_permissions(project_role, grants, denials)
    return allowed


def project_permissions(role: str, grants: Collection[str], denials: Collection[str]) -> frozenset[Permission]:
    """What a member may do through the project alone."""
    allowed = PERMISSIONS_BY_PROJECT_ROLE.get(role, frozenset())
    return (allowed | {permission for permission in Permission if permission in grants}).difference(denials)


# Who may start such a job, may cancel it; everybody may cancel a job of their own.
NEEDS_BY_JOB_KIND = {
    "iteration": Permission.TRAIN,
    "place": Permission.TRAIN,
    "export": Permission.EXPORT,
    "import": Permission.UPLOAD,
}
