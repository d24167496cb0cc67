"""Organizations, their members and accounts. Each function is one intent, in one transaction, with its audit event.

What the rules forbid (the last owner leaving, an admin making owners) raises ValidationError with a text for the user.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import ApiToken, Organization, OrganizationMember, User
from apps.accounts.selectors import organization_role_of, tokens_of, user_by_email
from apps.accounts.signals import organization_member_removed
from apps.audit.models import AuditEvent
from apps.audit.services import record

Role = OrganizationMember.Role

# Without the letters and digits that look alike: the password is read from a screen and typed once.
ONE_TIME_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
TOKEN_DAYS = (7, 30, 90, 365)  # how long one may be good for
MOST_TOKENS = 20  # of one person
MOST_EVENTS_AN_HOUR = 100  # about one account, by its person
NAMES_OF_NOBODY = {"the server", "import"}  # what stands in pages and files where nobody does


@dataclass(frozen=True)
class Invitation:
    member: OrganizationMember
    one_time_password: str | None
    """Shown once and stored nowhere; None where the account was there already."""


@transaction.atomic
def create_organization(*, name: str, created_by: User | None = None) -> Organization:
    """Make an organization; whoever makes it becomes its first owner."""
    organization = Organization(name=name.strip())
    organization.full_clean()
    organization.save()
    record(
        actor=created_by,
        action="organization.create",
        subject=f"organization {organization.name}",
        organization_id=organization.pk,
    )
    if created_by is not None:
        add_organization_member(organization=organization, user=created_by, role=Role.OWNER, added_by=None)
    return organization


@transaction.atomic
def create_user(
    *,
    email: str,
    password: str,
    name: str = "",
    created_by: User | None = None,
    must_change_password: bool = False,
    organization: Organization | None = None,
) -> User:
    """Make an account. It can sign in but sees nothing until it is a member of something.

    `organization` is its home: the one whose administrators made it and may close it or give it a new password.
    Raises ValidationError for a bad or taken e-mail address.
    """
    user = User(
        email=email.strip().lower(),
        name=name.strip(),
        must_change_password=must_change_password,
        home_organization=organization,
    )
    user.full_clean(exclude=["password"])
    user.set_password(password)
    user.save()
    _record(created_by, "account.create", f"account {user.email}", organization, email=user.email)
    return user


@transaction.atomic
def add_organization_member(
    *, organization: Organization, user: User, role: str, added_by: User | None
) -> OrganizationMember:
    """Let a user into an organization. `added_by` None: a command at the server, which may do anything."""
    _check_may_give(added_by, organization, role)
    member = OrganizationMember(organization=organization, user=user, role=role)
    member.full_clean()
    member.save()
    _record(added_by, "organization.member.add", f"member {user.email}", organization, role=role)
    return member


@transaction.atomic
def invite_member(*, organization: Organization, email: str, name: str, role: str, invited_by: User) -> Invitation:
    """Add the account with this e-mail address; where there is none, make it with a password for one sign-in.

    Nobody proves that an address is theirs: an account that another organization made for somebody who never used it may be anybody's.
    """
    user = user_by_email(email)
    is_known = user is not None
    if user is not None:
        user = _locked_account(user)
        if not user.is_active:
            raise ValidationError(
                {
                    "email": "This account was deactivated. Whoever did so reactivates it first; where it belongs to no organization any "
                    f"more, who runs the server: manage.py give_password {user.email}"
                }
            )
    one_time_password = None
    if user is None:
        one_time_password = make_one_time_password()
        user = create_user(
            email=email,
            name=name,
            password=one_time_password,
            must_change_password=True,
            created_by=invited_by,
            organization=organization,
        )
    elif organization_role_of(user, organization):
        raise ValidationError({"email": "This person is a member already."})
    elif _belongs_nowhere(user):
        # So to nobody else; but who made it may know its password.
        user.home_organization = organization
        one_time_password = _give_one_time_password(user)
        user.save(update_fields=["home_organization"])
    elif user.must_change_password:
        raise ValidationError(
            {
                "email": "Another organization made this account, and nobody has signed in by it yet. Ask the person to do so first."
            }
        )
    member = add_organization_member(organization=organization, user=user, role=role, added_by=invited_by)
    if is_known and one_time_password is not None:
        _record_change(user, invited_by, "account.password.reset")
    return Invitation(member=member, one_time_password=one_time_password)


@transaction.atomic
def change_member_role(*, member: OrganizationMember, role: str, changed_by: User) -> OrganizationMember:
    member = _locked(member)
    _check_may_change(changed_by, member)
    _check_may_give(changed_by, member.organization, role)
    if role == member.role:
        return member
    if role != Role.OWNER:
        _check_not_last_owner(member)
    previous, member.role = member.role, role
    member.full_clean()
    member.save(update_fields=["role"])
    _record(
        changed_by,
        "organization.member.role",
        f"member {member.user.email}",
        member.organization,
        previous=previous,
        role=role,
    )
    return member


@transaction.atomic
def remove_organization_member(*, member: OrganizationMember, removed_by: User) -> None:
    """Take somebody out of the organization and, through the signal, out of its projects. The account stays."""
    member = _locked(member)
    _check_may_change(removed_by, member)
    _check_not_last_owner(member)
    organization, user = member.organization, member.user
    member.delete()
    if user.home_organization == organization:  # else they could be added again and their account be taken over
        user.home_organization = None
        user.save(update_fields=["home_organization"])
    organization_member_removed.send(
        sender=OrganizationMember, organization=organization, user=user, removed_by=removed_by
    )
    _record(removed_by, "organization.member.remove", f"member {user.email}", organization, role=member.role)


@transaction.atomic
def deactivate_member(*, member: OrganizationMember, deactivated_by: User) -> None:
    """Close the account: it cannot sign in, open sessions end with their next request, its tokens are gone. Its labels keep their name."""
    member = _locked(member)
    _check_may_change(deactivated_by, member)
    _check_account_is_ours(member)
    for membership in member.user.organization_memberships.select_related("organization"):
        _check_not_last_owner(membership)
    if member.user == deactivated_by:
        raise ValidationError("You cannot deactivate your own account.")
    member.user.is_active = False
    member.user.save(update_fields=["is_active"])
    tokens_of(member.user).delete()
    _record_change(member.user, deactivated_by, "account.deactivate")


@transaction.atomic
def reactivate_member(*, member: OrganizationMember, reactivated_by: User) -> None:
    member = _locked(member)
    _check_may_change(reactivated_by, member)
    _check_account_is_ours(member)
    member.user.is_active = True
    member.user.save(update_fields=["is_active"])
    _record_change(member.user, reactivated_by, "account.reactivate")


@transaction.atomic
def reset_password(*, member: OrganizationMember, reset_by: User) -> str:
    """Give the account a new password for one sign-in, and return it: it is stored nowhere. Open sessions end, and tokens are gone.

    Not where the account is a member of another organization, too: who knows the password could sign in there.
    """
    member = _locked(member)
    _check_may_change(reset_by, member)
    _check_account_is_ours(member)
    _locked_account(member.user)
    if member.user.organization_memberships.exclude(organization=member.organization_id).exists():
        raise ValidationError(
            "This person is a member of another organization, too, which a new password would open. Whoever runs the server can set "
            f"one: manage.py give_password {member.user.email}"
        )
    password = _give_one_time_password(member.user)
    _record_change(member.user, reset_by, "account.password.reset")
    return password


@transaction.atomic
def give_password(*, user: User) -> str:
    """For who runs the server: give an account a new password for one sign-in, and return it. A closed one is opened where it belongs to
    no organization any more, whose owners could; ValidationError for any other."""
    user = _locked_account(user)
    if not user.is_active and not _belongs_nowhere(user):
        raise ValidationError(
            "This account was deactivated: an owner or admin of its organization reactivates it first."
        )
    if not user.is_active:
        user.is_active = True
        user.save(update_fields=["is_active"])
        _record_change(user, None, "account.reactivate")
    password = _give_one_time_password(user)
    _record_change(user, None, "account.password.reset")
    return password


@transaction.atomic
def change_name(*, user: User, name: str) -> None:
    """What a person is called from now on; actions and events name the account, so the old ones show the new name, too."""
    user = _locked_account(user)
    previous, user.name = user.name, " ".join(name.split())
    if user.name == previous:
        return
    if user.name.casefold() in NAMES_OF_NOBODY:
        raise ValidationError({"name": "This is what the trail calls who is no person."})
    _check_pace(user)
    user.full_clean(exclude=["password"])
    user.save(update_fields=["name"])
    _record_of_own(user, "account.name", {"changes": {"name": [previous, user.name]}})


def check_unchanged(*, user: User) -> None:
    """Lock the account in the caller's transaction; ValidationError where it was closed or got another password since `user` was read."""
    now = _locked_account(User.objects.get(pk=user.pk))
    if not now.is_active or now.password != user.password:
        raise ValidationError("This account was closed, or its password changed, a moment ago. Sign in again.")


@transaction.atomic
def note_password_changed(*, user: User) -> None:
    """The person has chosen a password of their own. Whoever knew the old one may have made tokens: these are gone."""
    user.must_change_password = False
    user.save(update_fields=["must_change_password"])
    tokens_of(user).delete()
    record_for_account(user=user, actor=user, action="account.password.change", subject=f"account {user.email}")


@dataclass(frozen=True)
class NewToken:
    token: ApiToken
    secret: str
    """Shown once and stored nowhere."""


@transaction.atomic
def create_token(*, user: User, name: str, days: int) -> NewToken:
    """Make a token by which scripts do what the user may do, for `days` of TOKEN_DAYS.

    Raises ValidationError for a bad name or time, and where the user has MOST_TOKENS; expired ones make room.
    """
    if days not in TOKEN_DAYS:
        raise ValidationError({"days": "Choose for how long."})
    user = _locked_account(user)
    if not user.is_active or user.must_change_password:  # since the page was asked for
        raise ValidationError("This account can not make tokens now.")
    _check_pace(user)
    tokens_of(user).filter(expiry__lt=timezone.now()).delete()
    if tokens_of(user).count() >= MOST_TOKENS:
        raise ValidationError(f"You have {MOST_TOKENS} tokens. Revoke one that is not needed any more.")
    token, secret = ApiToken.objects.create(user=user, expiry=timedelta(days=days), name=name.strip())
    token.full_clean()
    # Not its name: every organization of the person reads this.
    detail = {"token": token.token_key, "expires": f"{token.expiry:%Y-%m-%d %H:%M} UTC"}
    _record_of_own(user, "account.token.create", detail)
    return NewToken(token, secret)


@transaction.atomic
def revoke_token(*, token: ApiToken) -> None:
    """Scripts are refused from their next request on."""
    user, detail = token.user, {"token": token.token_key}
    removed, _ = tokens_of(user).filter(pk=token.pk).delete()
    if removed:  # not by a second tab a moment ago
        _record_of_own(user, "account.token.revoke", detail)


def record_for_account(
    *, user: User, action: str, subject: str, actor: User | None, detail: dict[str, Any] | None = None
) -> None:
    """Note what concerns an account as a whole in the trail of every organization it belongs to. `actor` None: a command at the server."""
    organization_ids = list(
        OrganizationMember.objects.filter(user=user).order_by("organization_id").values_list("organization", flat=True)
    )
    if not organization_ids:
        record(actor=actor, action=action, subject=subject, detail=detail)
    for organization_id in organization_ids:  # a handful at most; each has a chain of its own
        record(actor=actor, action=action, subject=subject, organization_id=organization_id, detail=detail)


def make_one_time_password() -> str:
    """Four groups of four: 79 bits."""
    password = "-".join("".join(secrets.choice(ONE_TIME_ALPHABET) for _ in range(4)) for _ in range(4))
    validate_password(password)
    return password


def _give_one_time_password(user: User) -> str:
    """It is stored nowhere. Open sessions end, and tokens are gone."""
    password = make_one_time_password()
    user.set_password(password)
    user.must_change_password = True
    user.save(update_fields=["password", "must_change_password"])
    tokens_of(user).delete()
    return password


def _locked_account(user: User) -> User:
    """As it is now. Two organizations do not change what belongs to both at once."""
    return User.objects.select_for_update(no_key=True).get(pk=user.pk)


def _locked(member: OrganizationMember) -> OrganizationMember:
    """The row as it is now. The organization's lock keeps two owners from removing each other at once."""
    Organization.objects.select_for_update(no_key=True).get(pk=member.organization_id)
    found = OrganizationMember.objects.select_related("user", "organization").filter(pk=member.pk).first()
    if found is None:
        raise ValidationError("This person is no longer a member.")
    return found


def _check_may_give(actor: User | None, organization: Organization, role: str) -> None:
    if role == Role.OWNER and actor is not None and organization_role_of(actor, organization) != Role.OWNER:
        raise ValidationError({"role": "Only an owner can make somebody an owner."})


def _check_may_change(actor: User, member: OrganizationMember) -> None:
    if member.role == Role.OWNER and organization_role_of(actor, member.organization) != Role.OWNER:
        raise ValidationError("Only an owner can change an owner.")


def _check_not_last_owner(member: OrganizationMember) -> None:
    if member.role != Role.OWNER:
        return
    others = OrganizationMember.objects.filter(
        organization=member.organization, role=Role.OWNER, user__is_active=True
    ).exclude(pk=member.pk)
    if not others.exists():
        raise ValidationError("An organization needs an owner. Make somebody else an owner first.")


def _belongs_nowhere(user: User) -> bool:
    return user.home_organization is None and not user.organization_memberships.exists() and not user.is_superuser


def _check_account_is_ours(member: OrganizationMember) -> None:
    if member.user.is_superuser or member.user.home_organization_id != member.organization_id:
        raise ValidationError(
            "This account was made elsewhere, so it is not yours to change. You can remove it from this organization."
        )


def _check_pace(user: User) -> None:
    """Events stay for good and are written one after the other: nobody fills the trail with their account's."""
    since = timezone.now() - timedelta(hours=1)
    about = AuditEvent.objects.filter(actor=user, action__startswith="account.", subject=f"account {user.email}")
    n = about.filter(at__gte=since).count()
    if n >= MOST_EVENTS_AN_HOUR:
        raise ValidationError("Your account was changed very often within an hour. Go on later.")


def _record_of_own(user: User, action: str, detail: dict[str, Any]) -> None:
    record_for_account(user=user, actor=user, action=action, subject=f"account {user.email}", detail=detail)


def _record_change(user: User, actor: User | None, action: str) -> None:
    record_for_account(user=user, actor=actor, action=action, subject=f"account {user.email}")


def _record(actor: User | None, action: str, subject: str, organization: Organization | None, **detail: Any) -> None:
    if organization is None:
        record(actor=actor, action=action, subject=subject, detail=detail)
    else:
        record(actor=actor, action=action, subject=subject, organization_id=organization.pk, detail=detail)
