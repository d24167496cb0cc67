from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from apps.common.commands import JsonCommand
from apps.labels.pipelines import import_labels_csv
from apps.projects.lookup import add_by_option, find_actor, find_project


class Command(JsonCommand):
    help = "Import labels from a CSV: image,label_id,class_name or image,row,column,class_name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("project")
        parser.add_argument("file", type=Path)
        parser.add_argument("--label-set", help='the label set to write to (default "imported")')
        add_by_option(parser)
        parser.add_argument("--add-classes", action="store_true", help="add the classes that the project does not have")

    def run(self, **options: Any) -> dict[str, Any]:
        project = find_project(options["project"])
        result = import_labels_csv(
            project=project,
            path=options["file"],
            label_set_name=options["label_set"],
            imported_by=find_actor(options["by"], project, "import_labels"),
            add_classes=options["add_classes"],
        )
        return {"project": project.pk, **asdict(result)}
