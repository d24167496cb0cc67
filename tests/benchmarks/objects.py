"""Rows of very many objects, made as an import makes them."""

from __future__ import annotations

import numpy as np

from apps.engine.components import FoundObjects
from apps.images.models import Image
from apps.objects.services import add_image
from apps.projects.models import Project


def add_objects(project: Project, n: int) -> None:
    """n objects by the service that imports use; their pixels are not needed here."""
    side = int(np.ceil(np.sqrt(n)))
    place = np.arange(n)
    row, column = (place // side * 20).astype(np.int32), (place % side * 20).astype(np.int32)
    square = np.array([0, 0, 0, 8, 8, 8, 8, 0], "<u2").tobytes()
    found = FoundObjects(
        raster=np.zeros((1, 1), np.uint16),
        row=(row + 3.5).astype(np.float32),
        column=(column + 3.5).astype(np.float32),
        box=np.column_stack([row, column, row + 8, column + 8]).astype(np.int32),
        area=np.full(n, 64, np.int32),
        outlines=[square] * n,
        source_id=place + 1,
        source_class=[None] * n,
    )
    add_image(
        image=Image(
            project=project, name="synthetic.png", height=20 * side, width=20 * side, checksum="0" * 64,
            mask_kind="indexed", store_key="synthetic",
        ),
        found=found,
        imported_by=None,
    )  # fmt: skip
    project.refresh_from_db()
