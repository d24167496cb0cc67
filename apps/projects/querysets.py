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
        """Projects of the user's organizations that they are a member of, run or audit, unless they are denied it."""
        memberships = user.project_memberships.all()
        through_organization = Q(organization__members__role__in=["owner", "admin", "auditor"])
        return self.filter(
            Q(pk__in=memberships.values("project")) | through_organization, organization__members__user=user
        ).exclude(pk__in=memberships.filter(denials__contains=[Permission.VIEW]).values("project"))
