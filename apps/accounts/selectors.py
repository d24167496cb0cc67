from __future__ import annotations

from django.db.models import Exists, OuterRef, QuerySet

from apps.accounts.models import ApiToken, Organization, OrganizationMember, User


def members_of(organization: Organization) -> QuerySet[OrganizationMember]:
    """The organization's members, active accounts first, then by name; `is_elsewhere`: a member of another organization, too."""
    elsewhere = OrganizationMember.objects.filter(user=OuterRef("user")).exclude(organization=organization)
    return (
        OrganizationMember.objects.filter(organization=organization)
        .select_related("user", "organization")
        .annotate(is_elsewhere=Exists(elsewhere))
        .order_by("-user__is_active", "user__name", "user__email")
    )


def memberships_of(user: User) -> QuerySet[OrganizationMember]:
    """The organizations the user belongs to, with the role in each."""
    return OrganizationMember.objects.filter(user=user).select_related("organization").order_by("organization__name")


def organization_role_of(user: User, organization: Organization) -> str | None:
    return (
        OrganizationMember.objects.filter(user=user, organization=organization).values_list("role", flat=True).first()
    )


def user_by_email(email: str) -> User | None:
    return User.objects.filter(email=email.strip().lower()).first()


def tokens_of(user: User) -> QuerySet[ApiToken]:
    """The user's tokens for scripts, expired ones too, the newest first."""
    return ApiToken.objects.filter(user=user)
