from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.accounts.selectors import user_by_email
from apps.accounts.services import give_password
from apps.common.commands import JsonCommand


class Command(JsonCommand):
    help = (
        "Give an account a new password for one sign-in, for whoever forgot theirs; sessions end and tokens are gone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")

    def run(self, **options: Any) -> dict[str, Any]:
        user = user_by_email(options["email"])
        if user is None:
            raise CommandError(f"there is no account {options['email']}")
        # Shown once and stored nowhere; it has to be changed at the first sign-in.
        return {"user": user.email, "one_time_password": give_password(user=user)}
