from __future__ import annotations

from allauth.account.adapter import DefaultAccountAdapter
from django.contrib.auth.models import AbstractBaseUser
from django.http import HttpRequest


class InvitationOnlyAdapter(DefaultAccountAdapter):
    """Accounts are made by an organization's administrators; nobody signs up from outside."""

    # In the words of the form, and with the way out.
    error_messages = {
        **DefaultAccountAdapter.error_messages,
        "email_password_mismatch": "This e-mail address and password do not belong together. Who forgot the password asks an owner or "
        "admin of the organization for a new one.",
    }

    def set_password(self, user: AbstractBaseUser, password: str) -> None:
        """Nothing else of the account: an administrator may have closed it since it was read."""
        user.set_password(password)
        user.save(update_fields=["password"])

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def is_ajax(self, request: HttpRequest) -> bool:
        """Forms are answered with pages: the library's JSON would hold what was typed, the password too."""
        return False
