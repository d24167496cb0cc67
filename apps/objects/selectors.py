from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from django.db.models import F, Q
from django.shortcuts import get_object_or_404
from numpy.typing import NDArray

from apps.engine.outlines import outline_points
from apps.engine.pixels import READERS_KEPT, PatchReader
from apps.images.models import Image
from apps.images.selectors import stored_image
from apps.objects.models import HistoObject
from apps.projects.models import Project


def patch_reader(project: Project, *, n_objects: int | None = None) -> PatchReader:
    """A reader over all the project's objects, at its patch size. Kept between requests.

    `n_objects`: of those that there were when there were so many, all of some images.
    """
    n = project.n_objects if n_objects is None else n_objects
    return _reader(project.pk, n, project.patch_size_px)


@lru_cache(maxsize=READERS_KEPT)
def _reader(project_id: int, n_objects: int, patch_size_px: int) -> PatchReader:
    # n_objects is part of the key: an import that ends later makes another reader, the old one stays right for its own.
    images = Image.objects.filter(project_id=project_id, first_ordinal__lt=n_objects).select_related("project")
    return PatchReader([stored_image(image) for image in images.order_by("first_ordinal")], patch_size_px)


def has_whole_patch(project: Project, n: int) -> NDArray[np.bool_]:
    """Of the first `n` objects, bool (n,), whether a patch lies in its image with all its pixels (see `PatchReader`)."""
    size = project.patch_size_px
    # A patch begins half its size before the centroid, rounded half up.
    first, after = size // 2 - 0.5, size - size // 2 - 0.5
    cut = HistoObject.objects.filter(project=project, ordinal__lt=n).filter(
        Q(row__lt=first)
        | Q(column__lt=first)
        | Q(row__gte=F("image__height") - after)
        | Q(column__gte=F("image__width") - after)
    )
    whole = np.ones(n, np.bool_)
    whole[np.fromiter(cut.values_list("ordinal", flat=True).iterator(), np.int64)] = False
    return whole


def image_id_by_ordinal(project: Project) -> NDArray[np.uint32]:
    """The image id of every object, uint32 (n_objects,)."""
    images = Image.objects.filter(project=project).order_by("first_ordinal").values_list("pk", "n_objects")
    ids, counts = zip(*images, strict=True) if images else ((), ())
    return np.repeat(np.array(ids, np.uint32), np.array(counts, np.int64))


def image_names(project: Project) -> list[dict[str, Any]]:
    """id and name of every image, in the order in which they were imported."""
    images = Image.objects.filter(project=project).order_by("first_ordinal").values_list("pk", "name")
    return [{"id": image_id, "name": name} for image_id, name in images]


def outlines_in_image(image: Image) -> tuple[NDArray[np.int64], list[bytes]]:
    """By ordinal, where the boxes of the image's objects begin, int64 (n, 2) row and column, and the outlines from there on, as stored
    (apps/engine/outlines.py)."""
    last = image.first_ordinal + image.n_objects - 1
    own = HistoObject.objects.filter(project_id=image.project_id, ordinal__range=(image.first_ordinal, last))
    found = list(own.order_by("ordinal").values_list("box_top", "box_left", "outline"))
    boxes = np.array([(top, left) for top, left, _ in found], np.int64).reshape(-1, 2)
    return boxes, [bytes(outline) for _, _, outline in found]


def get_object(project: Project, ordinal: int) -> HistoObject:
    return get_object_or_404(HistoObject.objects.select_related("image"), project=project, ordinal=ordinal)


def outline_in_image(histo_object: HistoObject) -> list[list[int]]:
    """The outline's corners as [row, column] in image pixels."""
    corners = outline_points(bytes(histo_object.outline)).astype(np.int64)
    listed: list[list[int]] = (corners + np.array([histo_object.box_top, histo_object.box_left])).tolist()
    return listed
