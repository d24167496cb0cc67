from __future__ import annotations

from collections.abc import Callable
from typing import Any

from allauth.account import views as allauth_views
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse, reverse_lazy
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.accounts.access import MANAGING_ROLES, get_organization_for_user
from apps.accounts.forms import InviteForm, NameForm, NewPasswordForm, RoleForm, TokenForm, role_choices
from apps.accounts.models import Organization, OrganizationMember
from apps.accounts.selectors import members_of, memberships_of, organization_role_of, tokens_of
from apps.accounts.services import (
    change_member_role,
    change_name,
    check_unchanged,
    create_token,
    deactivate_member,
    invite_member,
    note_password_changed,
    reactivate_member,
    remove_organization_member,
    reset_password,
    revoke_token,
)
from apps.common.forms import add_errors
from apps.common.requests import AuthenticatedRequest, posted

Role = OrganizationMember.Role


class _WithoutPlaceholders:
    """allauth repeats each label inside its field, where it vanishes on the first key; ours stand above."""

    def get_form(self, form_class: Any = None) -> Any:
        form = super().get_form(form_class)  # type: ignore[misc]
        for field in form.fields.values():
            field.widget.attrs.pop("placeholder", None)
        return form


class SignInView(_WithoutPlaceholders, allauth_views.LoginView):
    template_name = "accounts/sign_in.html"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """A fragment asked for after the session ended must not be filled with this page: htmx is sent to it."""
        if request.headers.get("HX-Request"):
            response = HttpResponse(status=204)
            response["HX-Redirect"] = request.get_full_path()
            return response
        return super().dispatch(request, *args, **kwargs)


class SignOutView(allauth_views.LogoutView):
    template_name = "accounts/sign_out.html"


class InactiveView(allauth_views.AccountInactiveView):
    template_name = "accounts/inactive.html"


class PasswordChangeView(_WithoutPlaceholders, allauth_views.PasswordChangeView):
    template_name = "accounts/password_change.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("account_home")

    def form_valid(self, form: Any) -> HttpResponse:
        if self.request.user.must_change_password:  # who came to work, and had to choose one before
            self.success_url = reverse_lazy("project_list")
        with transaction.atomic():
            try:
                check_unchanged(user=self.request.user)
            except ValidationError as error:
                form.add_error(None, error)
                return self.form_invalid(form)
            response = super().form_valid(form)
            note_password_changed(user=self.request.user)
        return response


@login_required
@require_GET
def account_home(request: AuthenticatedRequest) -> HttpResponse:
    return render(
        request,
        "accounts/account.html",
        {
            "memberships": memberships_of(request.user),
            "managing_roles": MANAGING_ROLES,
            "tokens": tokens_of(request.user),
            "now": timezone.now(),
        },
    )


@login_required
@require_http_methods(["GET", "POST"])
def account_name(request: AuthenticatedRequest) -> HttpResponse:
    form = NameForm(posted(request), initial={"name": request.user.name})
    if form.is_valid():
        try:
            change_name(user=request.user, name=form.cleaned_data["name"])
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, "Your name is saved.")
            return redirect("account_home")
    return render(request, "accounts/name.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def token_create(request: AuthenticatedRequest) -> HttpResponse:
    form = TokenForm(posted(request))
    if form.is_valid():
        try:
            new = create_token(user=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            return render(request, "accounts/new_token.html", {"token": new.token, "secret": new.secret})
    return render(request, "accounts/token_create.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_POST
def token_revoke(request: AuthenticatedRequest, token_key: str) -> HttpResponse:
    token = get_object_or_404(tokens_of(request.user), token_key=token_key)
    revoke_token(token=token)
    messages.success(request, f"{token.name} was revoked: no script is let in by it any more.")
    return redirect("account_home")


@login_required
@require_GET
def organization_members(request: AuthenticatedRequest, organization_id: int) -> HttpResponse:
    organization = get_organization_for_user(request.user, organization_id)
    role = organization_role_of(request.user, organization)
    return render(
        request,
        "accounts/members.html",
        {
            "organization": organization,
            "members": members_of(organization),
            "may_manage": role in MANAGING_ROLES,
            "is_owner": role == Role.OWNER,
            "roles": role_choices(with_owner=role == Role.OWNER),
        },
    )


@login_required
@never_cache
@require_http_methods(["GET", "POST"])
def organization_invite(request: AuthenticatedRequest, organization_id: int) -> HttpResponse:
    organization = get_organization_for_user(request.user, organization_id, to_manage=True)
    is_owner = organization_role_of(request.user, organization) == Role.OWNER
    form = InviteForm(posted(request), with_owner=is_owner)
    if form.is_valid():
        try:
            invitation = invite_member(organization=organization, invited_by=request.user, **form.cleaned_data)
        except ValidationError as error:
            add_errors(form, error)
        else:
            if invitation.one_time_password is None:
                added = f"The account with the address {form.cleaned_data['email']} was added."
                if invitation.member.user.home_organization_id not in (None, organization.pk):
                    added += " Another organization made it: make sure that the person signs in by it."
                messages.success(request, added)
                return redirect("organization_members", organization.pk)
            return _show_password(request, organization, invitation.member, invitation.one_time_password)
    return render(
        request,
        "accounts/invite.html",
        {"organization": organization, "form": form},
        status=422 if form.errors else 200,
    )


@login_required
@require_POST
def organization_member_role(request: AuthenticatedRequest, organization_id: int, member_id: int) -> HttpResponse:
    organization, member = _member_to_manage(request, organization_id, member_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "There is no such role.")
        return redirect("organization_members", organization.pk)
    role = form.cleaned_data["role"]
    return _change(
        request,
        organization,
        lambda: change_member_role(member=member, role=role, changed_by=request.user),
        f"{member.user} is now {Role(role).label.lower()}.",
    )


@login_required
@require_POST
def organization_member_remove(request: AuthenticatedRequest, organization_id: int, member_id: int) -> HttpResponse:
    organization, member = _member_to_manage(request, organization_id, member_id)
    return _change(
        request,
        organization,
        lambda: remove_organization_member(member=member, removed_by=request.user),
        f"{member.user} was removed from {organization} and its projects.",
    )


@login_required
@require_POST
def organization_member_deactivate(request: AuthenticatedRequest, organization_id: int, member_id: int) -> HttpResponse:
    organization, member = _member_to_manage(request, organization_id, member_id)
    return _change(
        request,
        organization,
        lambda: deactivate_member(member=member, deactivated_by=request.user),
        f"{member.user} can no longer sign in.",
    )


@login_required
@require_POST
def organization_member_reactivate(request: AuthenticatedRequest, organization_id: int, member_id: int) -> HttpResponse:
    organization, member = _member_to_manage(request, organization_id, member_id)
    return _change(
        request,
        organization,
        lambda: reactivate_member(member=member, reactivated_by=request.user),
        f"{member.user} can sign in again.",
    )


@login_required
@never_cache
@require_POST
def organization_member_password(request: AuthenticatedRequest, organization_id: int, member_id: int) -> HttpResponse:
    organization, member = _member_to_manage(request, organization_id, member_id)
    try:
        password = reset_password(member=member, reset_by=request.user)
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect("organization_members", organization.pk)
    return _show_password(request, organization, member, password)


def _member_to_manage(
    request: AuthenticatedRequest, organization_id: int, member_id: int
) -> tuple[Organization, OrganizationMember]:
    organization = get_organization_for_user(request.user, organization_id, to_manage=True)
    return organization, get_object_or_404(members_of(organization), pk=member_id)


def _change(
    request: AuthenticatedRequest, organization: Organization, change: Callable[[], object], done: str
) -> HttpResponse:
    try:
        change()
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, done)
    if organization_role_of(request.user, organization) is None:  # somebody removed themselves
        return redirect("project_list")
    return redirect("organization_members", organization.pk)


def _show_password(
    request: AuthenticatedRequest, organization: Organization, member: OrganizationMember, password: str
) -> HttpResponse:
    return render(
        request,
        "accounts/one_time_password.html",
        {
            "organization": organization,
            "member": member,
            "one_time_password": password,
            "sign_in_url": request.build_absolute_uri(reverse("account_login")),
        },
    )
