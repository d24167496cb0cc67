from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from apps.workspace.demonstration import create_demonstration


class Command(BaseCommand):
    help = "Create the demonstration: an organization, two accounts (printed once) and a project of real nuclei."

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            demonstration = create_demonstration()
        except ValidationError as error:
            raise CommandError("; ".join(error.messages)) from error
        self.stdout.write(f"Demonstration project: {demonstration.project} ({demonstration.project.n_objects} nuclei)")
        for account in demonstration.accounts:
            self.stdout.write(f"  {account.what:<14} {account.email:<20} password {account.password}")
        self.stdout.write("These passwords are shown only now.")
