from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.models import Q

from apps.projects.permissions import Permission

if TYPE_CHECKING:
    from apps.accounts.models import User
    from apps.projects.models import Project  # noqa: F401


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> ProjectQuerySet:
        """Projects of the user's organizations that they run or audit, or are a member of that is not denied them."""
        memberships = user.project_memberships.exclude(denials__contains=[Permission.VIEW])
        through_organization = Q(organization__members__role__in=["owner", "admin", "auditor"])
        return self.filter(
            Q(pk__in=memberships.values("project")) | through_organization, organization__members__user=user
        )
