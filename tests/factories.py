"""Rows for tests, made through the services that users reach, so that they are as real ones are."""

from __future__ import annotations

import io
import itertools
import uuid
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PillowImage

from apps.accounts.models import Organization, OrganizationMember, User
from apps.accounts.services import add_organization_member, create_organization, create_user
from apps.engine.masks import MaskKind, find_objects
from apps.engine.pixels import write_image
from apps.images.models import Image
from apps.objects.services import add_image
from apps.projects.files import folder
from apps.projects.models import Project
from apps.projects.services import create_project

PASSWORD = "a long enough password"
_numbers = itertools.count(1)


def make_user(name: str = "", **fields: Any) -> User:
    number = next(_numbers)
    return create_user(
        email=fields.pop("email", f"{name.lower().replace(' ', '.') or 'user'}{number}@lab.example"),
        name=name,
        password=fields.pop("password", PASSWORD),
        **fields,
    )


def make_organization(name: str = "") -> Organization:
    return create_organization(name=name or f"Institute {next(_numbers)}")


def make_member(
    organization: Organization, name: str = "", role: str = OrganizationMember.Role.MEMBER
) -> OrganizationMember:
    user = make_user(name, organization=organization)
    return add_organization_member(organization=organization, user=user, role=role, added_by=None)


def make_project(organization: Organization, created_by: User | None = None, **fields: Any) -> Project:
    return create_project(
        organization=organization,
        name=fields.pop("name", f"Project {next(_numbers)}"),
        classes=fields.pop("classes", ["lymphocyte", "epithelial"]),
        created_by=created_by,
        **fields,
    )


def blobs(n_rows: int = 4, n_columns: int = 5, *, cell_px: int = 16) -> npt.NDArray[np.uint16]:
    """An indexed mask, (n_rows * cell_px, n_columns * cell_px), of n_rows * n_columns separate squares numbered from 1."""
    mask = np.zeros((n_rows * cell_px, n_columns * cell_px), np.uint16)
    for number in range(n_rows * n_columns):
        top, left = divmod(number, n_columns)
        place = slice(top * cell_px + 4, top * cell_px + 12), slice(left * cell_px + 4, left * cell_px + 12)
        mask[place] = number + 1
    return mask


def picture(height: int = 64, width: int = 80, seed: int = 0) -> npt.NDArray[np.uint8]:
    """An image of noise, (height, width, 3) uint8; another seed gives other pixels and so another checksum."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def png(pixels: npt.NDArray[Any]) -> bytes:
    """The pixels as a PNG file."""
    file = io.BytesIO()
    PillowImage.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def make_image(project: Project, name: str = "", **fields: Any) -> Image:
    """An image in the project with 20 objects, its pixels in the pixel store."""
    name = name or f"image_{next(_numbers)}.png"
    mask = fields.pop("mask", None)
    found = find_objects(blobs() if mask is None else mask, MaskKind.INDEXED, name=name)
    pixels = picture(found.raster.shape[0], found.raster.shape[1], seed=next(_numbers))
    key = f"{name}-{uuid.uuid4().hex[:8]}"
    write_image(folder(project, "pixels"), key, pixels, found)
    image = add_image(
        image=Image(
            project=project,
            name=name,
            height=pixels.shape[0],
            width=pixels.shape[1],
            checksum=fields.pop("checksum", uuid.uuid4().hex),
            mask_kind=MaskKind.INDEXED,
            store_key=key,
            notes=fields.pop("notes", []),
            **fields,
        ),
        found=found,
        imported_by=None,
    )
    project.refresh_from_db()
    return image
