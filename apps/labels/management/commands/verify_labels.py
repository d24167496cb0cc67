from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.audit.services import audit_length, verify_audit
from apps.common.commands import JsonCommand
from apps.labels.chain import rebuild_labels, verify_labels
from apps.projects.lookup import find_project


class Command(JsonCommand):
    help = "Check a project's label history and its organization's audit trail against their hash chains."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument(
            "--rebuild", action="store_true", help="make the current labels anew from the history first"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        project = find_project(options["project"])
        if options["rebuild"]:
            for label_set in project.label_sets.all():
                rebuild_labels(label_set)
        # Before the walks, which go on to what has come meanwhile: no more than these were checked for certain.
        n_actions, n_events = project.label_chain.sequence, audit_length(project.organization_id)
        faults = [*verify_labels(project), *verify_audit(project.organization_id)]
        if faults:
            raise CommandError("; ".join(f"entry {fault.sequence}: {fault.what}" for fault in faults))
        return {
            "project": project.pk,
            "actions": n_actions,
            "audit_events": n_events,
            "faults": 0,
        }
