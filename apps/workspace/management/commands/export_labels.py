from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.audit.services import record
from apps.common.commands import JsonCommand
from apps.projects.lookup import add_by_option, find_actor, find_project
from apps.workspace.pipelines import export_labels


class Command(JsonCommand):
    help = "Export labels: class_masks/, color_masks/, instance_masks/, legend.csv, objects.csv, images.csv and EXPORT_README.txt."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("folder", type=Path)
        parser.add_argument("--label-set", help="only this label set (default: shared labels before imported ones)")
        add_by_option(parser)
        parser.add_argument(
            "--without-sampled", action="store_true", help="leave out labels that were accepted by sample, unseen"
        )

    def run(self, **options: Any) -> dict[str, Any]:
        project = find_project(options["project"])
        actor = find_actor(options["by"], project, "export_labels")
        label_set = None
        if options["label_set"]:
            sets = project.label_sets.filter(is_blinded=False)
            label_set = sets.filter(name=options["label_set"]).first()
            if label_set is None:
                names = ", ".join(sets.values_list("name", flat=True))
                raise CommandError(f"the project has no label set {options['label_set']!r}; it has {names}")
        result = export_labels(
            project=project,
            label_set=label_set,
            target=options["folder"],
            without_sampled=options["without_sampled"],
            on_progress=self.show_progress,
        )
        record(
            actor=actor,
            action="export.folder",
            subject=options["folder"].resolve().name,
            organization_id=project.organization_id,
            project_id=project.pk,
            detail={"label_set": options["label_set"], **result},
        )
        return {"project": project.pk, "folder": str(options["folder"]), **result}
