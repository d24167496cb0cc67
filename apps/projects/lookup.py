from __future__ import annotations

from django.conf import settings
from django.core.management.base import CommandParser

from apps.accounts.models import User
from apps.accounts.selectors import organization_role_of, user_by_email
from apps.audit.services import record
from apps.projects.models import Project


class ProjectNotFound(ValueError):
    """No project, or more than one, is meant; the message says which."""


def find_project(spec: str) -> Project:
    """The project that a command names: by id, by `organization/name`, or by a name that only one project has.

    For the operator at the server's shell, who is asked for no permission; requests go through access.py.
    """
    projects = Project.objects.select_related("organization")
    organization, slash, name = spec.partition("/")
    found = list(projects.filter(name=spec))
    if not found and slash:
        found = list(projects.filter(organization__name=organization, name=name))
    if not found and spec.isdecimal():
        found = list(projects.filter(pk=int(spec)))
    if not found:
        # Who forgot PATCHSORTER_DATA sees it here.
        place = f" in {settings.DATA_DIR}" if settings.EMBEDDED_DATABASE else ""
        raise ProjectNotFound(f"there is no project {spec!r}{place}")
    if len(found) > 1:
        named = ", ".join(f"{project.organization}/{project.name}" for project in found)
        raise ProjectNotFound(f"{spec!r} names {len(found)} projects ({named}): say organization/name or the id")
    return found[0]


class PersonNotFound(ValueError):
    """There is no such account that could be doing it."""


def add_by_option(parser: CommandParser) -> None:
    """`--by`, for `find_actor`."""
    parser.add_argument(
        "--by", metavar="EMAIL", help="whose doing this is, for the audit trail (default: the server's)"
    )


def find_actor(email: str | None, project: Project, command: str) -> User | None:
    """Who a command says is doing it; None: the server. That it was said at the server is noted first. Raises PersonNotFound for an
    account that is closed or not of the project's organization."""
    if email is None:
        return None
    user = user_by_email(email)
    if user is None or not user.is_active or organization_role_of(user, project.organization) is None:
        raise PersonNotFound(f"{project.organization} has no active account {email}")
    record(
        actor=None,
        action="command.by",
        subject=f"{command}, in the name of {user.email}",
        organization_id=project.organization_id,
        project_id=project.pk,
    )
    return user
