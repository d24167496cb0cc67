from __future__ import annotations

from typing import Any

from allauth.account.forms import ChangePasswordForm
from django import forms

from apps.accounts.models import OrganizationMember
from apps.accounts.services import TOKEN_DAYS

ROLE_HELP = {
    OrganizationMember.Role.OWNER: "runs everything and appoints owners",
    OrganizationMember.Role.ADMIN: "runs projects and members",
    OrganizationMember.Role.AUDITOR: "reads everything, changes nothing",
    OrganizationMember.Role.MEMBER: "sees the projects they are added to",
}


def role_choices(*, with_owner: bool) -> list[tuple[str, str]]:
    """The roles with what each means; `with_owner` where the person who chooses may appoint owners."""
    roles = [role for role in OrganizationMember.Role if with_owner or role != OrganizationMember.Role.OWNER]
    return [(role.value, f"{role.label}: {ROLE_HELP[role]}") for role in roles]


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail address", widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    name = forms.CharField(
        label="Name",
        max_length=120,
        required=False,
        help_text="Shown beside this person's labels. Left as it is where the account exists already.",
    )
    role = forms.ChoiceField(label="Role in the organization", initial=OrganizationMember.Role.MEMBER)

    def __init__(self, *args: Any, with_owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = role_choices(with_owner=with_owner)  # type: ignore[attr-defined]


class NewPasswordForm(ChangePasswordForm):
    def clean_password1(self) -> str:
        """Another one than the present, which may be known to the administrator who made it."""
        password: str = self.cleaned_data["password1"]
        if self.user.check_password(password):
            raise forms.ValidationError("Choose another password than the current one.")
        return password


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=OrganizationMember.Role.choices)


class NameForm(forms.Form):
    name = forms.CharField(max_length=120, help_text="Shown beside your labels, to everybody in your projects.")


class TokenForm(forms.Form):
    name = forms.CharField(
        label="What is it for?", max_length=80, widget=forms.TextInput(attrs={"placeholder": "Nightly export"})
    )
    days = forms.TypedChoiceField(
        label="Good for",
        coerce=int,
        choices=[(days, "a year" if days == 365 else f"{days} days") for days in TOKEN_DAYS],
        initial=90,
    )
