"""Signing in, failing to, and signing out are noted whichever door was used: Django sends its signals for all."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.http import HttpRequest

from apps.accounts.models import User
from apps.accounts.selectors import user_by_email
from apps.accounts.services import record_for_account
from apps.audit.services import record


def connect() -> None:
    user_logged_in.connect(_note_sign_in, dispatch_uid="audit_sign_in")
    user_logged_out.connect(_note_sign_out, dispatch_uid="audit_sign_out")
    user_login_failed.connect(_note_failed_sign_in, dispatch_uid="audit_failed_sign_in")


def _note_sign_in(*, request: HttpRequest | None, user: User, **_: Any) -> None:
    record_for_account(
        user=user, actor=user, action="account.sign_in", subject=f"account {user.email}", detail=_origin(request)
    )


def _note_sign_out(*, request: HttpRequest | None, user: User | None, **_: Any) -> None:
    if user is not None:  # signing out without having been signed in
        record_for_account(
            user=user, actor=user, action="account.sign_out", subject=f"account {user.email}", detail=_origin(request)
        )


def _note_failed_sign_in(*, credentials: dict[str, Any], request: HttpRequest | None = None, **_: Any) -> None:
    email = str(credentials.get("email") or credentials.get("username") or "")[:254]
    subject, detail = f"account {email}", _origin(request)
    user = user_by_email(email)
    if user is None:
        record(actor=None, action="account.sign_in.failed", subject=subject, detail=detail)
        return
    # Somebody tried to be this person: who it was is not known, so the account is the subject, not the actor.
    organization_ids = list(user.organization_memberships.values_list("organization_id", flat=True)) or [0]
    for organization_id in sorted(organization_ids):
        record(
            actor=None,
            action="account.sign_in.failed",
            subject=subject,
            organization_id=organization_id,
            detail=detail,
        )


def _origin(request: HttpRequest | None) -> dict[str, Any]:
    return {"address": request.META.get("REMOTE_ADDR", "")} if request is not None else {}
