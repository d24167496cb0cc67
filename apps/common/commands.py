from __future__ import annotations

import json
import sys
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from apps.engine.errors import EngineError


class JsonCommand(BaseCommand):
    """A command for scripts: one JSON line on stdout and exit code 0, or one line on stderr and another code.

    On the embedded database, the tables are made where they are missing.
    """

    requires_system_checks = []

    def run(self, **options: Any) -> dict[str, Any]:
        """Do it and return what to print."""
        raise NotImplementedError

    def create_parser(self, prog_name: str, subcommand: str, **options: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **options)
        parser.print_usage = lambda file=None: None  # type: ignore[method-assign]  # a wrong argument is one line, too
        return parser

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            _bring_up_to_date()
            result = self.run(**options)
        except ValidationError as error:
            raise CommandError(_one_line(error)) from error
        except (EngineError, ValueError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'a file'}: {error.strerror or error}") from error
        except DatabaseError as error:
            raise CommandError(f"the database: {' '.join(str(error).split())}") from error
        self.stdout.write(json.dumps(result, allow_nan=False))

    def show_progress(self, stage: str, fraction: float, message: str) -> None:
        """Where a person looks on, say how far it is; a script's stderr stays free for what went wrong."""
        if sys.stderr.isatty():
            sys.stderr.write(f"{stage} {fraction:4.0%} {message}\n")  # self.stderr is red, for errors


def _bring_up_to_date() -> None:
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if not settings.EMBEDDED_DATABASE:
        raise CommandError("the database is not up to date: run manage.py migrate --database=owner")
    call_command("migrate", database="owner", interactive=False, verbosity=0)


def _one_line(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return "; ".join(error.messages)
    by_field = error.message_dict.items()
    return "; ".join(
        f"{field}: {' '.join(texts)}" if field != "__all__" else " ".join(texts) for field, texts in by_field
    )
