from __future__ import annotations

import json
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from apps.engine.errors import EngineError


class JsonCommand(BaseCommand):
    """A command for scripts: one JSON line on stdout and exit code 0, or one line on stderr and another code."""

    def run(self, **options: Any) -> dict[str, Any]:
        """Do it and return what to print."""
        raise NotImplementedError

    def handle(self, *_: Any, **options: Any) -> None:
        try:
            result = self.run(**options)
        except ValidationError as error:
            raise CommandError(_one_line(error)) from error
        except (EngineError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(json.dumps(result, allow_nan=False))


def _one_line(error: ValidationError) -> str:
    if not hasattr(error, "error_dict"):
        return "; ".join(error.messages)
    by_field = error.message_dict.items()
    return "; ".join(
        f"{field}: {' '.join(texts)}" if field != "__all__" else " ".join(texts) for field, texts in by_field
    )
