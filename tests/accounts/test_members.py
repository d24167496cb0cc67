from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from apps.accounts.models import OrganizationMember, User
from apps.accounts.services import (
    add_organization_member,
    change_member_role,
    deactivate_member,
    give_password,
    invite_member,
    note_password_changed,
    reactivate_member,
    remove_organization_member,
    reset_password,
)
from apps.audit.models import AuditEvent
from apps.audit.services import verify_audit
from apps.projects.models import ProjectMember
from tests.factories import PASSWORD, make_member

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]
Role = OrganizationMember.Role


def membership(world: World, user: User) -> OrganizationMember:
    return OrganizationMember.objects.get(organization=world.organization, user=user)


def test_an_invited_person_signs_in_with_the_password_shown_and_must_choose_their_own(
    world: World, signed_in: SignIn, client: Client
) -> None:
    url = reverse("organization_invite", args=[world.organization.pk])
    page = signed_in(world.owner).post(url, {"email": "New@Lab.example", "name": "New Person", "role": "member"})
    shown = re.search(r'id="one-time-password">([^<]+)<', page.content.decode())
    assert shown is not None
    assert "no-store" in page["Cache-Control"]

    client.post(reverse("account_login"), {"login": "new@lab.example", "password": shown[1]})
    assert client.get("/")["Location"] == reverse("account_change_password")
    assert client.get("/api/v1/projects/1/state").status_code == 403
    new = "something only I know"
    client.post(reverse("account_change_password"), {"oldpassword": shown[1], "password1": new, "password2": new})
    assert client.get("/").status_code == 200
    actions = set(AuditEvent.objects.filter(organization_id=world.organization.pk).values_list("action", flat=True))
    assert {"account.create", "organization.member.add", "account.sign_in", "account.password.change"} <= actions
    assert list(verify_audit(world.organization.pk)) == []


def test_a_one_time_password_is_in_no_audit_event(world: World) -> None:
    invitation = invite_member(
        organization=world.organization, email="x@lab.example", name="", role=Role.MEMBER, invited_by=world.owner
    )
    assert invitation.one_time_password
    for event in AuditEvent.objects.all():
        assert invitation.one_time_password not in f"{event.subject}{event.detail}"


def test_an_existing_account_is_added_by_its_address_and_keeps_its_password(world: World, signed_in: SignIn) -> None:
    response = signed_in(world.owner).post(
        reverse("organization_invite", args=[world.organization.pk]),
        {"email": world.stranger.email.upper(), "name": "ignored", "role": "auditor"},
    )
    assert response.status_code == 302
    assert membership(world, world.stranger).role == Role.AUDITOR
    world.stranger.refresh_from_db()
    assert world.stranger.check_password(PASSWORD)
    assert world.stranger.name == "Sam Stranger"


def test_inviting_a_member_again_says_so_at_the_field(world: World, signed_in: SignIn) -> None:
    response = signed_in(world.owner).post(
        reverse("organization_invite", args=[world.organization.pk]),
        {"email": world.rater.email, "name": "", "role": "member"},
    )
    assert response.status_code == 422
    assert "This person is a member already." in response.content.decode()


def test_the_last_owner_can_not_leave_be_demoted_or_be_deactivated(world: World) -> None:
    member = membership(world, world.owner)
    with pytest.raises(ValidationError, match="needs an owner"):
        remove_organization_member(member=member, removed_by=world.owner)
    with pytest.raises(ValidationError, match="needs an owner"):
        change_member_role(member=member, role=Role.ADMIN, changed_by=world.owner)
    with pytest.raises(ValidationError, match="needs an owner"):
        deactivate_member(member=member, deactivated_by=world.owner)


def test_an_owner_whose_account_is_closed_does_not_count(world: World) -> None:
    second = make_member(world.organization, "Second", Role.OWNER)
    deactivate_member(member=second, deactivated_by=world.owner)
    with pytest.raises(ValidationError, match="needs an owner"):
        remove_organization_member(member=membership(world, world.owner), removed_by=world.owner)


def test_an_owner_can_leave_when_another_stays(world: World) -> None:
    make_member(world.organization, "Second", Role.OWNER)
    remove_organization_member(member=membership(world, world.owner), removed_by=world.owner)
    assert not OrganizationMember.objects.filter(organization=world.organization, user=world.owner).exists()


def test_an_admin_can_neither_make_owners_nor_touch_them(world: World) -> None:
    admin = make_member(world.organization, "Admin", Role.ADMIN)
    with pytest.raises(ValidationError, match="Only an owner"):
        change_member_role(member=admin, role=Role.OWNER, changed_by=admin.user)
    with pytest.raises(ValidationError, match="Only an owner"):
        invite_member(
            organization=world.organization, email="o@lab.example", name="", role=Role.OWNER, invited_by=admin.user
        )
    owner = membership(world, world.owner)
    for change in (
        lambda: remove_organization_member(member=owner, removed_by=admin.user),
        lambda: deactivate_member(member=owner, deactivated_by=admin.user),
        lambda: reset_password(member=owner, reset_by=admin.user),
        lambda: change_member_role(member=owner, role=Role.MEMBER, changed_by=admin.user),
    ):
        with pytest.raises(ValidationError, match="Only an owner"):
            change()
    assert not User.objects.filter(email="o@lab.example").exists()


def test_an_account_that_was_made_elsewhere_can_be_removed_but_not_taken_over(world: World) -> None:
    member = add_organization_member(
        organization=world.organization, user=world.stranger, role=Role.MEMBER, added_by=world.owner
    )
    for change in (
        lambda: reset_password(member=member, reset_by=world.owner),
        lambda: deactivate_member(member=member, deactivated_by=world.owner),
    ):
        with pytest.raises(ValidationError, match="made elsewhere"):
            change()
    remove_organization_member(member=member, removed_by=world.owner)
    world.stranger.refresh_from_db()
    assert world.stranger.is_active
    assert world.stranger.check_password(PASSWORD)


def test_who_runs_the_server_opens_a_closed_account_again_that_belongs_nowhere_any_more(
    world: World, client: Client
) -> None:
    deactivate_member(member=membership(world, world.rater), deactivated_by=world.owner)
    remove_organization_member(member=membership(world, world.rater), removed_by=world.owner)
    password = give_password(user=world.rater)
    client.post(reverse("account_login"), {"login": world.rater.email, "password": password})
    assert client.get("/")["Location"] == reverse("account_change_password")


def test_an_organization_does_not_take_another_one_s_last_owner(world: World) -> None:
    OrganizationMember.objects.filter(organization=world.their_organization).delete()
    OrganizationMember.objects.create(organization=world.their_organization, user=world.rater, role=Role.OWNER)
    with pytest.raises(ValidationError, match="needs an owner"):
        deactivate_member(member=membership(world, world.rater), deactivated_by=world.owner)


def test_choosing_a_password_does_not_open_an_account_again_that_was_closed_meanwhile(
    world: World, signed_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = signed_in(world.rater)
    checked = User.check_password

    def closed_after_the_check(user: User, password: str) -> bool:
        right = checked(user, password)
        User.objects.filter(pk=user.pk).update(is_active=False)
        return right

    monkeypatch.setattr(User, "check_password", closed_after_the_check)
    new = "something only I know"
    client.post(reverse("account_change_password"), {"oldpassword": PASSWORD, "password1": new, "password2": new})
    world.rater.refresh_from_db()
    assert not world.rater.is_active
    assert checked(world.rater, PASSWORD), "nor has it another password"


def test_an_account_s_home_can_close_it_but_not_sign_in_by_it_where_it_is_a_member_of_another_organization(
    world: World, signed_in: SignIn
) -> None:
    invite_member(
        organization=world.their_organization,
        email=world.rater.email,
        name="",
        role=Role.MEMBER,
        invited_by=world.stranger,
    )
    member = membership(world, world.rater)
    with pytest.raises(ValidationError, match="which a new password would open"):
        reset_password(member=member, reset_by=world.owner)
    page = signed_in(world.owner).get(reverse("organization_members", args=[world.organization.pk])).content.decode()
    assert f'data-dialog-open="password-{member.pk}"' not in page
    assert f'data-dialog-open="deactivate-{member.pk}"' in page
    deactivate_member(member=member, deactivated_by=world.owner)
    world.rater.refresh_from_db()
    assert not world.rater.is_active
    theirs = OrganizationMember.objects.get(organization=world.their_organization, user=world.rater)
    with pytest.raises(ValidationError, match="made elsewhere"):
        reactivate_member(member=theirs, reactivated_by=world.stranger)
    reactivate_member(member=member, reactivated_by=world.owner)
    told = AuditEvent.objects.filter(action="account.deactivate").values_list("organization_id", flat=True)
    assert set(told) == {world.organization.pk, world.their_organization.pk}
    page = signed_in(world.stranger).get(reverse("organization_members", args=[world.their_organization.pk]))
    assert f'data-dialog-open="password-{theirs.pk}"' not in page.content.decode()


def test_an_account_that_another_organization_made_and_nobody_used_is_not_let_in(world: World) -> None:
    """Whoever made it knows its password."""
    invited = invite_member(
        organization=world.organization, email="new@clinic.example", name="", role=Role.MEMBER, invited_by=world.owner
    )

    def let_in() -> None:
        invite_member(
            organization=world.their_organization,
            email="new@clinic.example",
            name="",
            role=Role.MEMBER,
            invited_by=world.stranger,
        )

    with pytest.raises(ValidationError, match="nobody has signed in by it yet"):
        let_in()
    note_password_changed(user=invited.member.user)
    let_in()


def test_who_made_an_account_does_not_get_in_where_it_is_added_after_they_removed_it(world: World) -> None:
    email = "victim@clinic.example"
    made = invite_member(
        organization=world.organization, email=email, name="", role=Role.MEMBER, invited_by=world.owner
    )
    known = made.one_time_password
    remove_organization_member(member=made.member, removed_by=world.owner)
    added = invite_member(
        organization=world.their_organization, email=email, name="", role=Role.MEMBER, invited_by=world.stranger
    )
    user = User.objects.get(email=email)
    assert known is not None and added.one_time_password is not None
    assert not user.check_password(known) and user.check_password(added.one_time_password)
    assert user.must_change_password and user.home_organization == world.their_organization
    trail = AuditEvent.objects.filter(organization_id=world.their_organization.pk).values_list("action", flat=True)
    assert "account.password.reset" in trail
    remove_organization_member(member=added.member, removed_by=world.stranger)
    User.objects.filter(pk=user.pk).update(is_active=False)
    with pytest.raises(ValidationError, match="was deactivated"):
        invite_member(organization=world.organization, email=email, name="", role=Role.MEMBER, invited_by=world.owner)


def test_who_left_for_another_organization_can_not_be_added_again_and_taken_over(world: World) -> None:
    add_organization_member(
        organization=world.their_organization, user=world.rater, role=Role.MEMBER, added_by=world.stranger
    )
    remove_organization_member(member=membership(world, world.rater), removed_by=world.owner)
    again = invite_member(
        organization=world.organization, email=world.rater.email, name="", role=Role.MEMBER, invited_by=world.owner
    )
    with pytest.raises(ValidationError, match="made elsewhere"):
        reset_password(member=again.member, reset_by=world.owner)


def test_who_left_and_belongs_nowhere_is_at_home_where_they_are_added_again(world: World) -> None:
    remove_organization_member(member=membership(world, world.rater), removed_by=world.owner)
    again = invite_member(
        organization=world.organization, email=world.rater.email, name="", role=Role.MEMBER, invited_by=world.owner
    )
    assert reset_password(member=again.member, reset_by=world.owner)


def test_adding_an_account_tells_no_more_than_the_address_that_was_typed(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.owner)
    added = client.post(
        reverse("organization_invite", args=[world.organization.pk]),
        {"email": world.stranger.email, "name": "", "role": "member"},
    )
    said = [str(message) for message in get_messages(added.wsgi_request)]
    assert said == [
        f"The account with the address {world.stranger.email} was added. Another organization made it: "
        "make sure that the person signs in by it."
    ]


def test_removing_somebody_who_has_just_been_removed_says_so(world: World, signed_in: SignIn) -> None:
    member = membership(world, world.rater)
    remove_organization_member(member=member, removed_by=world.owner)
    for change in (
        lambda: remove_organization_member(member=member, removed_by=world.owner),
        lambda: change_member_role(member=member, role=Role.ADMIN, changed_by=world.owner),
    ):
        with pytest.raises(ValidationError, match="no longer a member"):
            change()
    assert AuditEvent.objects.filter(action="organization.member.remove").count() == 1


def test_the_password_until_now_is_no_new_password(world: World, client: Client) -> None:
    password = reset_password(member=membership(world, world.rater), reset_by=world.owner)
    client.post(reverse("account_login"), {"login": world.rater.email, "password": password})
    response = client.post(
        reverse("account_change_password"), {"oldpassword": password, "password1": password, "password2": password}
    )
    assert "Choose another password than the current one." in response.content.decode()
    assert client.get("/")["Location"] == reverse("account_change_password")


def test_who_leaves_the_organization_leaves_its_projects(world: World, signed_in: SignIn) -> None:
    url = reverse("organization_member_remove", args=[world.organization.pk, membership(world, world.rater).pk])
    assert signed_in(world.owner).post(url).status_code == 302
    assert not ProjectMember.objects.filter(user=world.rater).exists()
    assert signed_in(world.rater).get(reverse("project_overview", args=[world.project.pk])).status_code == 404
    assert AuditEvent.objects.filter(action="project.member.remove", project_id=world.project.pk).exists()


def test_a_deactivated_person_is_signed_out_and_can_not_sign_in(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.rater)
    member = membership(world, world.rater)
    signed_in(world.owner).post(reverse("organization_member_deactivate", args=[world.organization.pk, member.pk]))
    assert client.get("/").status_code == 302
    client.post(reverse("account_login"), {"login": world.rater.email, "password": PASSWORD})
    assert client.get("/").status_code == 302
    signed_in(world.owner).post(reverse("organization_member_reactivate", args=[world.organization.pk, member.pk]))
    client.post(reverse("account_login"), {"login": world.rater.email, "password": PASSWORD})
    assert client.get("/").status_code == 200


def test_a_new_password_ends_open_sessions(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.rater)
    url = reverse("organization_member_password", args=[world.organization.pk, membership(world, world.rater).pk])
    page = signed_in(world.owner).post(url)
    assert 'id="one-time-password"' in page.content.decode()
    assert client.get("/").status_code == 302


@pytest.mark.parametrize("name", ["manager", "colleague", "viewer"])
@pytest.mark.parametrize(
    "page",
    [
        "organization_invite",
        "organization_member_role",
        "organization_member_remove",
        "organization_member_deactivate",
        "organization_member_reactivate",
        "organization_member_password",
    ],
)
def test_a_plain_member_changes_nothing_about_members(world: World, signed_in: SignIn, name: str, page: str) -> None:
    own_membership = [] if page == "organization_invite" else [membership(world, world.rater).pk]
    url = reverse(page, args=[world.organization.pk, *own_membership])
    assert signed_in(world.user(name)).post(url, {"role": "owner"}).status_code == 403


def test_a_plain_member_sees_who_else_is_there_but_no_buttons(world: World, signed_in: SignIn) -> None:
    page = signed_in(world.colleague).get(reverse("organization_members", args=[world.organization.pk]))
    text = page.content.decode()
    assert "Rafa Rater" in text
    assert "Add a person" not in text
    assert 'name="role"' not in text


def test_a_member_of_another_organization_named_in_ones_own_address_is_not_found(
    world: World, signed_in: SignIn
) -> None:
    theirs = OrganizationMember.objects.get(user=world.stranger)
    url = reverse("organization_member_remove", args=[world.organization.pk, theirs.pk])
    assert signed_in(world.owner).post(url).status_code == 404
    assert OrganizationMember.objects.filter(pk=theirs.pk).exists()
