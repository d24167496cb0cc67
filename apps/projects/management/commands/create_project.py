from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from apps.accounts.models import Organization
from apps.accounts.services import create_organization
from apps.common.commands import JsonCommand
from apps.engine.settings import read_assignments
from apps.projects.services import Learning, create_project


class Command(JsonCommand):
    help = "Create a project; the organization too, where it is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--organization", required=True)
        parser.add_argument("--classes", required=True, help="class names, separated by commas")
        parser.add_argument("--patch-size", type=int, default=64, help="px, even, 16 to 512 (default 64)")
        parser.add_argument(
            "--encoder-size", type=int, help="px that the network sees (default: the patch size, at most 64)"
        )

        parser.add_argument("--approach", default=Learning.approach, help="how features are learned (default simclr)")
        parser.add_argument(
            "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the approach; several times"
        )

        parser.add_argument("--reducer", default=Learning.reducer, help="how the map is drawn (default umap)")
        parser.add_argument("--classifier", default=Learning.classifier, help="what predicts (default kernel)")

    @transaction.atomic
    def run(self, **options: Any) -> dict[str, Any]:
        name = options["organization"].strip()
        organization = Organization.objects.filter(name=name).first() or create_organization(name=name)
        classes = [name.strip() for name in options["classes"].split(",") if name.strip()]
        if not classes:
            raise CommandError("--classes names no class")
        project = create_project(
            organization=organization,
            name=options["name"],
            classes=classes,
            patch_size_px=options["patch_size"],
            encoder_size_px=options["encoder_size"] or min(options["patch_size"], 64),
            approach=options["approach"],
            approach_settings=read_assignments(options["set"]),
            reducer=options["reducer"],
            classifier=options["classifier"],
            created_by=None,
        )
        return {
            "project": project.pk,
            "name": project.name,
            "organization": organization.name,
            "classes": {label_class.name: label_class.value for label_class in project.label_classes.all()},
            "patch_size_px": project.patch_size_px,
            "encoder_size_px": project.encoder_size_px,
            "approach": project.approach,
            "approach_settings": project.approach_settings,
            "reducer": project.reducer,
            "classifier": project.classifier,
        }
