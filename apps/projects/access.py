"""The only road from a user to a project: a stranger gets 404, too low a role 403. Pages, API and sockets all use it."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404

from apps.accounts.models import OrganizationMember, User
from apps.projects.models import Job, Project, ProjectMember
from apps.projects.permissions import NEEDS_BY_JOB_KIND, Permission, effective_permissions


def permissions_of(user: User, project: Project) -> frozenset[Permission]:
    """What the user may do in the project; empty for a stranger."""
    organization_role = (
        OrganizationMember.objects.filter(organization_id=project.organization_id, user=user)
        .values_list("role", flat=True)
        .first()
    )
    member = ProjectMember.objects.filter(project=project, user=user).first()
    return effective_permissions(
        organization_role=organization_role,
        project_role=member.role if member else None,
        grants=member.grants if member else [],
        denials=member.denials if member else [],
    )


def get_project_for_user(user: User, project_id: int, *, needs: Permission = Permission.VIEW) -> Project:
    """The project, if the user may do `needs` in it.

    Raises Http404 where the user may not even see it, PermissionDenied where the role is too low.
    """
    project = Project.objects.select_related("organization").filter(pk=project_id).first()
    permissions = permissions_of(user, project) if project and user.is_active else frozenset()
    if project is None or Permission.VIEW not in permissions:
        raise Http404("no such project")
    if needs not in permissions:
        raise PermissionDenied(f"this needs the permission {needs}")
    return project


def check_may_cancel(user: User, job: Job) -> None:
    """Raises PermissionDenied unless the job is the user's own, or one that the user may start."""
    needs = NEEDS_BY_JOB_KIND.get(job.kind, Permission.EDIT_PROJECT)
    if job.requested_by_id != user.pk and needs not in permissions_of(user, job.project):
        raise PermissionDenied(f"this needs the permission {needs}")
