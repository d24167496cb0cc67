from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.audit.services import INSTALLATION, audit_length, audited_organizations, verify_audit
from apps.common.commands import JsonCommand
from apps.labels.chain import rebuild_labels, verify_labels
from apps.labels.models import LabelChain, LabelSet
from apps.projects.lookup import find_project
from apps.projects.models import Project


class Command(JsonCommand):
    help = "Check label histories and audit trails against their hash chains: a project's and its organization's, or all that there are."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "project", nargs="?", help="default: all projects, organizations and the installation itself"
        )
        parser.add_argument(
            "--rebuild", action="store_true", help="make the current labels anew from the history first"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        one = find_project(options["project"]) if options["project"] else None
        projects = [one] if one else list(Project.objects.order_by("pk"))
        trails = [one.organization_id] if one else audited_organizations()
        if options["rebuild"]:
            for label_set in LabelSet.objects.filter(project__in=projects):
                rebuild_labels(label_set)
        # Before the walks, which go on to what has come meanwhile: no more than these were checked for certain.
        n_actions = sum(LabelChain.objects.filter(project__in=projects).values_list("sequence", flat=True))
        n_events = sum(map(audit_length, trails))
        faults = [
            f"project {project.pk}, entry {f.sequence}: {f.what}"
            for project in projects
            for f in verify_labels(project)
        ]
        faults += [
            f"audit of {_named(trail)}, entry {f.sequence}: {f.what}" for trail in trails for f in verify_audit(trail)
        ]
        if faults:
            raise CommandError("; ".join(faults))
        return {
            "projects": [project.pk for project in projects],
            "actions": n_actions,
            "audit_events": n_events,
            "faults": 0,
        }


def _named(organization_id: int) -> str:
    return "the installation" if organization_id == INSTALLATION else f"organization {organization_id}"
