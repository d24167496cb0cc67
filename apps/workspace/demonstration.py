"""The project that a new installation opens with: real nuclei, ready to label."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from django.db import transaction
from PIL import Image as PillowImage

from apps.accounts.models import OrganizationMember, User
from apps.accounts.services import add_organization_member, create_organization, create_user, make_one_time_password
from apps.engine.demonstration import NAME, demonstration_image, segment_nuclei
from apps.engine.masks import LabelValues, MaskKind
from apps.models.services import start_iteration
from apps.objects.pipelines import ImageSource, SourceFile, import_sources
from apps.projects.models import Project
from apps.projects.permissions import ProjectRole
from apps.projects.services import add_project_member, create_project

ORGANIZATION = "Demonstration hospital"
PROJECT = "Colon nuclei"
CLASSES = ("epithelial", "stromal", "not a nucleus")
PATCH_SIZE_PX = 32  # a nucleus and its surroundings at the image's magnification


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in; the password is known here and nowhere else."""

    email: str
    password: str
    what: str


@dataclass(frozen=True)
class Demonstration:
    project: Project
    accounts: list[Account]


@transaction.atomic
def create_demonstration() -> Demonstration:
    """An organization with an administrator and a rater, and a project of real nuclei whose first training is queued.

    Raises ValidationError where the organization is there already.
    """
    organization = create_organization(name=ORGANIZATION)
    accounts = [
        Account("admin@demo.example", make_one_time_password(), "administrator"),
        Account("rater@demo.example", make_one_time_password(), "rater"),
    ]
    admin, rater = (
        create_user(
            email=account.email, password=account.password, name=f"Demo {account.what}", organization=organization
        )
        for account in accounts
    )
    add_organization_member(organization=organization, user=admin, role=OrganizationMember.Role.OWNER, added_by=None)
    add_organization_member(organization=organization, user=rater, role=OrganizationMember.Role.MEMBER, added_by=None)
    project = create_project(
        organization=organization,
        name=PROJECT,
        description="Nuclei of a colon section (hematoxylin, FHL2 with DAB) that comes with scikit-image.",
        classes=CLASSES,
        patch_size_px=PATCH_SIZE_PX,
        encoder_size_px=PATCH_SIZE_PX,
        created_by=admin,
    )
    add_project_member(project=project, user=rater, role=ProjectRole.RATER, added_by=admin)
    _import_nuclei(project, admin)
    project.refresh_from_db()
    start_iteration(project=project, requested_by=admin)
    return Demonstration(project, accounts)


def _import_nuclei(project: Project, admin: User) -> None:
    image = demonstration_image()
    with tempfile.TemporaryDirectory() as work:
        image_path, mask_path = Path(work) / NAME, Path(work) / "mask.png"
        PillowImage.fromarray(image).save(image_path)
        PillowImage.fromarray(segment_nuclei(image)).save(mask_path)
        import_sources(
            project=project,
            sources=[ImageSource(SourceFile(image_path, NAME), SourceFile(mask_path, "mask.png"))],
            mask_kind=MaskKind.INDEXED,
            label_values=LabelValues(),
            imported_by=admin,
            on_progress=lambda *_: None,
        )
