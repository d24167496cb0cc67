from __future__ import annotations

from datetime import datetime
from itertools import groupby
from typing import Any

from django.db.models import Count, Max, Q, QuerySet

from apps.accounts.models import Organization, OrganizationMember, User
from apps.accounts.selectors import memberships_of
from apps.audit.models import AuditEvent
from apps.audit.selectors import made_by
from apps.engine.approaches.base import Approach
from apps.engine.errors import EngineError
from apps.engine.plugins import Registry
from apps.engine.registry import APPROACHES, CLASSIFIERS, REDUCERS
from apps.engine.settings import Settings
from apps.projects.models import Job, LabelClass, Project, ProjectMember

ACTIVE_STATES = (Job.State.QUEUED, Job.State.RUNNING)


def projects_by_organization(user: User) -> list[tuple[Organization, str | None, list[Project]]]:
    """What the user may see: (organization, the user's role in it or None, its projects), by name.

    Organizations the user belongs to are there with or without projects. Each project carries `n_members`,
    `n_active_jobs` and its label classes.
    """
    roles = {member.organization: member.role for member in memberships_of(user)}
    projects = (
        Project.objects.filter(pk__in=Project.objects.visible_to(user).values("pk"))
        .select_related("organization")
        .prefetch_related("label_classes")
        .annotate(
            n_members=Count("members", distinct=True),
            n_active_jobs=Count("jobs", filter=Q(jobs__state__in=ACTIVE_STATES), distinct=True),
        )
        .order_by("organization__name", "organization_id", "name")
    )
    found = {organization: list(group) for organization, group in groupby(projects, key=lambda p: p.organization)}
    organizations = sorted({*roles, *found}, key=lambda organization: organization.name.lower())
    return [(organization, roles.get(organization), found.get(organization, [])) for organization in organizations]


def label_classes_of(project: Project) -> QuerySet[LabelClass]:
    return LabelClass.objects.filter(project=project).order_by("value")


def project_members(project: Project) -> QuerySet[ProjectMember]:
    return (
        ProjectMember.objects.filter(project=project)
        .select_related("user")
        .order_by("-user__is_active", "user__name", "user__email")
    )


def organization_overseers(project: Project) -> QuerySet[OrganizationMember]:
    """Who has access without being a member: the organization's owners, admins and auditors."""
    return (
        OrganizationMember.objects.filter(
            organization_id=project.organization_id, role__in=["owner", "admin", "auditor"], user__is_active=True
        )
        .select_related("user")
        .order_by("role", "user__name", "user__email")
    )


def people_to_add(project: Project) -> QuerySet[User]:
    """Active members of the organization who are not members of the project yet."""
    return (
        User.objects.filter(is_active=True, organization_memberships__organization_id=project.organization_id)
        .exclude(project_memberships__project=project)
        .order_by("name", "email")
    )


def jobs_of(project: Project) -> QuerySet[Job]:
    """The project's jobs, the newest first."""
    return Job.objects.filter(project=project).select_related("requested_by").order_by("-id")


def listed_jobs(project: Project) -> QuerySet[Job]:
    """As `jobs_of`, without what a list says nothing of: of an import of thousands of images, log and result are megabytes."""
    return jobs_of(project).defer("log", "result", "params")


def project_trail(project: Project) -> QuerySet[AuditEvent]:
    """What is kept about the project, the newest first."""
    return AuditEvent.objects.filter(project_id=project.pk).select_related("actor").order_by("-sequence")


def organization_trail(organization: Organization, reader: User) -> QuerySet[AuditEvent]:
    """What is kept about the organization, with its accounts and the projects that the reader may see, the newest first."""
    seen = Project.objects.visible_to(reader).filter(organization=organization)
    of_it = AuditEvent.objects.filter(organization_id=organization.pk)
    return (
        of_it.filter(Q(project_id=None) | Q(project_id__in=seen.values("pk")))
        .select_related("actor")
        .order_by("-sequence")
    )


def audit_events(
    trail: QuerySet[AuditEvent],
    *,
    action: str = "",
    actor_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[AuditEvent]:
    """Those of a trail that a filter asks for; `action` matches a whole action or its beginning up to a dot."""
    if action:
        trail = trail.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    return made_by(trail, actor_id=actor_id, since=since, until=until)


def audited_actions(trail: QuerySet[AuditEvent]) -> list[str]:
    """The actions that occur in a trail, for the filter."""
    return sorted(set(trail.order_by("action").values_list("action", flat=True).distinct()))


def audited_people(trail: QuerySet[AuditEvent]) -> QuerySet[User]:
    actor_ids = trail.filter(actor__isnull=False).order_by().values("actor_id")
    return User.objects.filter(pk__in=actor_ids).order_by("name", "email")


def project_names(organization: Organization) -> dict[int, str]:
    return dict(Project.objects.filter(organization=organization).values_list("pk", "name"))


def chosen_approach(project: Project, name: str | None = None) -> tuple[Approach, Settings]:
    """The project's approach with its settings, or another by name with its defaults.

    EngineError where there is none of that name, and where a package that brought it is gone or broken.
    """
    approach = APPROACHES.get(name or project.approach)
    own = project.approach_settings if approach.name == project.approach else {}
    return approach, approach.settings.from_json(own)


def trains_a_network(project: Project) -> bool:
    """Whether the project's approach does; as most do, where it is of a package now gone."""
    return next((entry.trains for entry in APPROACHES.entries() if entry.name == project.approach), True)


def settings_to_show(project: Project, approach_name: str) -> tuple[Approach, Settings]:
    """An approach and the settings to begin with: the project's where it is the project's, else its defaults.

    The project's first approach's where there is none of that name: one that was of a package now gone must not close the
    page on which another can be chosen.
    """
    entries = APPROACHES.entries()
    approach = next((entry for entry in entries if entry.name == approach_name), entries[0])
    if approach.name == project.approach:
        try:
            return approach, approach.settings.from_json(project.approach_settings)
        except EngineError:  # a value that this version no longer takes
            pass
    return approach, approach.settings()


def broken_plugins() -> list[str]:
    """A sentence for each entry point of an installed package that cannot be used."""
    return [fault for registry in (APPROACHES, REDUCERS, CLASSIFIERS) for fault in registry.faults().values()]


def missing_plugins(project: Project) -> list[str]:
    """A sentence for each of the project's choices of which nothing is installed here."""
    chosen: list[tuple[Registry[Any], str]] = [
        (APPROACHES, project.approach), (REDUCERS, project.reducer), (CLASSIFIERS, project.classifier),
    ]  # fmt: skip
    return [
        f"This project's {registry.what}, {name}, is not installed here. Install its package and start PatchSorter anew, or choose "
        "another below."
        for registry, name in chosen
        if name not in registry.names() and name not in registry.faults()
    ]


def highest_class_value(project: Project) -> int:
    """That any class of the project has, or had before it was removed."""
    highest = LabelClass.objects.filter(project=project).aggregate(highest=Max("value"))["highest"]
    return max(int(highest or 0), project.last_removed_value)
