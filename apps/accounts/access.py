"""The only road from a user to an organization: a stranger gets 404, too low a role 403."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import Http404

from apps.accounts.models import Organization, OrganizationMember, User

MANAGING_ROLES = (OrganizationMember.Role.OWNER, OrganizationMember.Role.ADMIN)
AUDITING_ROLES = (*MANAGING_ROLES, OrganizationMember.Role.AUDITOR)


def get_organization_for_user(
    user: User, organization_id: int, *, to_manage: bool = False, to_audit: bool = False
) -> Organization:
    """The organization, if the user belongs to it; with `to_manage`, if the user runs it, with `to_audit`, if they may read its trail."""
    member = (
        OrganizationMember.objects.select_related("organization")
        .filter(organization_id=organization_id, user=user, user__is_active=True)
        .first()
    )
    if member is None:
        raise Http404("no such organization")
    if to_manage and member.role not in MANAGING_ROLES:
        raise PermissionDenied("this needs an administrator of the organization")
    if to_audit and member.role not in AUDITING_ROLES:
        raise PermissionDenied("this needs an administrator or auditor of the organization")
    return member.organization
