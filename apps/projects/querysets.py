from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

if TYPE_CHECKING:
    from apps.accounts.models import User
    from apps.projects.models import Project  # noqa: F401


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> ProjectQuerySet:
        """Projects the user is a member of, or runs or audits through the organization."""
        through_organization = Q(
            organization__members__user=user, organization__members__role__in=["owner", "admin", "auditor"]
        )
        return self.filter(Q(members__user=user) | through_organization).distinct()
