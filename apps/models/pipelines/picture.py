"""The vector of a picture that somebody searches with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from apps.engine.descriptors import describe_picture
from apps.engine.embedding import embed_objects, uses_descriptors
from apps.engine.pixels import resize
from apps.models.selectors import latest_embedding, model_folder, model_settings
from apps.models.services import PICTURE_NAME
from apps.projects.files import project_folder, read_array
from apps.projects.jobs import Report
from apps.projects.models import Job, Project


def embed_picture(job: Job, report: Report) -> dict[str, Any]:
    """The vector of a picture that somebody searches with, as the newest embedding's model sees it."""
    project = Project.objects.get(pk=job.project_id)
    embedding = latest_embedding(project)
    assert embedding is not None  # there was one when the job was started, and none is ever deleted
    work = project_folder(project) / "work" / job.params["work"]
    report.stage("reading the picture", start=0.0, end=1.0)
    picture = read_array(work / PICTURE_NAME)
    version = embedding.model_version
    model_has = model_settings(version)
    (vector,) = embed_objects(
        version.approach,
        model_has,
        model_folder(version),
        _OnePatch(picture),
        described=describe_picture(picture) if uses_descriptors(model_has) else None,
        may_fit=False,
        weights_root=settings.WEIGHTS_ROOT,
        on_progress=report.progress,
        should_stop=report.should_stop,
    )
    result = {"embedding": embedding.number, "vector": [float(number) for number in vector]}
    with transaction.atomic():
        report.confirm_ownership()  # another attempt would need the picture again
        report.keep_result(result)
    shutil.rmtree(work, ignore_errors=True)
    return result


@dataclass(frozen=True)
class _OnePatch:
    """A picture as the patch of a project's only object."""

    picture: NDArray[np.uint8]

    @property
    def patch_size_px(self) -> int:
        return len(self.picture)

    def __len__(self) -> int:
        return 1

    def read(
        self, ordinals: NDArray[np.int64], /, *, size_px: int | None = None, patch_size_px: int | None = None
    ) -> NDArray[np.uint8]:
        """The picture, mirrored beyond its edge."""
        beyond = ((patch_size_px or self.patch_size_px) - self.patch_size_px) // 2
        picture = np.pad(self.picture, ((beyond, beyond), (beyond, beyond), (0, 0)), mode="reflect")
        patches = np.stack([picture] * len(ordinals))
        return patches if size_px is None else resize(patches, size_px)

    def read_masks(self, ordinals: NDArray[np.int64], /) -> NDArray[np.bool_]:
        """For networks that see the object alone: nobody drew it, so all of the picture counts."""
        return np.ones((len(ordinals), *self.picture.shape[:2]), np.bool_)
