from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate

from apps.common.append_only import grant_app_role


def _grant_after_migrate(*, using: str, **_: Any) -> None:
    grant_app_role(using)


class CommonConfig(AppConfig):
    name = "apps.common"
    label = "common"

    def ready(self) -> None:
        # Sent once per app, and the last app's tables must be there: every round grants what exists by then.
        post_migrate.connect(_grant_after_migrate, dispatch_uid="grant_app_role")
