from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, CommandParser

from apps.common.commands import JsonCommand
from apps.engine.masks import LabelValues, MaskKind, read_label_values
from apps.objects.folders import read_folder
from apps.objects.pipelines import import_sources
from apps.projects.files import DiskFull
from apps.projects.lookup import add_by_option, find_actor, find_project

LABEL_VALUES_FORMAT = "a CSV whose first line is value,class_name (numbers) or color,class_name (#rrggbb)"


class Command(JsonCommand):
    help = "Import a server folder: images/ and masks/ with equal names, or files with the suffix _mask."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("folder", type=Path)
        parser.add_argument(
            "--mask-kind",
            choices=[kind.value for kind in MaskKind],
            default=MaskKind.INDEXED.value,
            help="what the masks hold: by default object ids (indexed)",
        )
        add_by_option(parser)
        parser.add_argument("--label-values", type=Path, help=f"for labeled masks: {LABEL_VALUES_FORMAT}")

    def run(self, **options: Any) -> dict[str, Any]:
        project = find_project(options["project"])
        kind = MaskKind(options["mask_kind"])
        if kind == MaskKind.LABELED and not options["label_values"]:
            raise CommandError(f"labeled masks need --label-values: {LABEL_VALUES_FORMAT}")
        label_values = read_label_values(options["label_values"]) if options["label_values"] else LabelValues()
        content = read_folder(options["folder"])
        if content.errors:
            raise CommandError("; ".join(content.errors))

        try:
            result = import_sources(
                project=project,
                sources=content.sources,
                mask_kind=kind,
                label_values=label_values,
                imported_by=find_actor(options["by"], project, "import_images"),
                on_progress=self.show_progress,
            )
        except DiskFull as full:
            raise CommandError(f"{full}; the same command goes on where it stopped") from full
        if result.errors and not result.images:
            raise CommandError("; ".join(f"{error['file']}: {error['cause']}" for error in result.errors))
        for error in result.errors:
            self.stderr.write(f"{error['file']}: {error['cause']}")
        project.refresh_from_db()
        return {
            "project": project.pk,
            "images": len(result.images),
            "objects": result.n_objects,
            "objects_in_project": project.n_objects,
            "unpaired": content.unpaired,
            "ignored": content.ignored,
            "notes": {image["name"]: image["notes"] for image in result.images if image["notes"]},
            "already_imported": result.already_imported,
            "errors": result.errors,
        }
