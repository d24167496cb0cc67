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
from apps.common.wire import encode_plot, gzipped
from apps.engine.arrays import write_array
from apps.engine.masks import MaskKind, find_objects
from apps.engine.pixels import write_image
from apps.engine.surroundings import Surroundings, with_surroundings
from apps.images.models import Image
from apps.models.models import Embedding, ModelVersion
from apps.models.selectors import SURROUNDINGS_NAME, VECTORS_NAME
from apps.models.services import NewPredictions, publish_predictions
from apps.objects.services import add_image
from apps.projects.files import folder, write_bytes
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


def make_embedding(
    project: Project,
    features: npt.NDArray[np.floating[Any]],
    points: npt.NDArray[np.floating[Any]] | None = None,
    *,
    surroundings: Surroundings | None = None,
) -> Embedding:
    """The project's next map, of its first objects, in the files and rows that an iteration makes; features (n, d) are
    scaled to length 1. Without `surroundings` only the object counts. It predicts nothing yet."""
    number = project.embeddings.count() + 1
    n, dimension = features.shape
    points = features[:, :2] if points is None else points
    files = folder(project, "embeddings", number)
    length = np.linalg.norm(features, axis=1, keepdims=True)
    vectors = (features / np.maximum(length, 1e-12)).astype(np.float16)
    if surroundings is not None:
        vectors = with_surroundings(vectors, surroundings)
        write_array(files / SURROUNDINGS_NAME, surroundings.table)
    write_array(files / VECTORS_NAME, vectors)
    write_array(files / "coordinates.npy", points.astype(np.float32))
    write_bytes(files / "plot.bin.gz", gzipped(encode_plot(points.astype(np.float32))))
    version = ModelVersion.objects.create(project=project, number=number, approach="simclr")
    embedding = Embedding.objects.create(
        project=project, number=number, model_version=version, n=n, dimension=dimension
    )
    predict(embedding, np.zeros(n, np.uint8), np.zeros(n, np.uint8))
    return embedding


def predict(embedding: Embedding, classes: npt.NDArray[np.uint8], confidence: npt.NDArray[np.uint8]) -> None:
    """Predictions (n,) that knew of no labels, as the current ones of the embedding's project."""
    publish_predictions(
        embedding=embedding,
        new=NewPredictions(
            classes=classes,
            confidence=confidence,
            label_revision=0,
            n_labels=0,
            has_predictions=bool(classes.any()),
            quality={},
        ),
    )
