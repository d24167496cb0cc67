from __future__ import annotations

from typing import Any

from django.core.management.base import CommandParser
from django.db import transaction

from apps.accounts.models import Organization, OrganizationMember, User
from apps.accounts.services import (
    add_organization_member,
    create_organization,
    create_user,
    make_one_time_password,
)
from apps.common.commands import JsonCommand
from apps.projects.lookup import find_project
from apps.projects.permissions import ProjectRole
from apps.projects.services import add_project_member


class Command(JsonCommand):
    help = "Let somebody in, for servers without a first user: account, organization and membership, what is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("email")
        parser.add_argument("--organization", required=True)
        parser.add_argument("--role", choices=OrganizationMember.Role.values, default="member")
        parser.add_argument("--project", help="also into this project")
        parser.add_argument("--project-role", choices=ProjectRole.values, default="rater")

    @transaction.atomic
    def run(self, **options: Any) -> dict[str, Any]:
        name = options["organization"].strip()
        organization = Organization.objects.filter(name=name).first() or create_organization(name=name)
        user = User.objects.filter(email=options["email"].strip().lower()).first()
        password = None
        if user is None:
            password = make_one_time_password()
            user = create_user(
                email=options["email"], password=password, must_change_password=True, organization=organization
            )
        if not organization.members.filter(user=user).exists():
            add_organization_member(organization=organization, user=user, role=options["role"], added_by=None)
        if options["project"]:
            project = find_project(options["project"])
            if not project.members.filter(user=user).exists():
                add_project_member(project=project, user=user, role=options["project_role"], added_by=None)
        # Shown once and stored nowhere; it has to be changed at the first sign-in.
        return {"user": user.email, "organization": organization.name, "one_time_password": password}
