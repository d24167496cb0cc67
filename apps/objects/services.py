from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import Q

from apps.accounts.models import User
from apps.audit.services import record
from apps.engine.components import FoundObjects
from apps.engine.errors import BadInput
from apps.images.models import Image, Upload
from apps.images.review import Review
from apps.images.services import close_for_import
from apps.objects.signals import objects_imported
from apps.projects.access import permissions_of
from apps.projects.events import ObjectsAdded, send_event_on_commit
from apps.projects.jobs import start_job
from apps.projects.models import Job, Project
from apps.projects.permissions import Permission


@transaction.atomic
def start_import(
    *,
    upload: Upload,
    mask_kind: str,
    label_values: list[dict[str, Any]],
    pairs: list[dict[str, int | None]],
    requested_by: User,
    first_map: bool = False,
) -> Job:
    """Queue the import of an upload's files. Each of `pairs` names rows of the upload: image_file_id, mask_file_id,
    points_file_id. With `first_map`, the project's first map follows it. Raises UploadClosed on the second call for one upload, FilesGone where files were removed meanwhile."""
    file_ids = [file_id for pair in pairs for file_id in pair.values() if file_id is not None]
    close_for_import(upload=upload, file_ids=file_ids)
    return start_job(
        project=upload.project,
        kind="import",
        task="apps.objects.tasks.import_images",
        queue="cpu",
        requested_by=requested_by,
        params={
            "upload": upload.pk,
            "mask_kind": mask_kind,
            "label_values": label_values,
            "pairs": pairs,
            "first_map": first_map,
        },
    )


class NotReady(ValueError):
    """What was reviewed cannot be imported as it is; the message is for the user. `missing`: values that still need a class."""

    def __init__(self, problem: str, missing: frozenset[str] = frozenset()) -> None:
        super().__init__(problem)
        self.missing = missing


def import_reviewed(*, upload: Upload, review: Review, requested_by: User, first_map: bool) -> Job:
    """Queue the import of what a review shows; the project's first map follows where that is asked for and allowed.

    Raises NotReady, and what `start_import` raises.
    """
    if review.mask_kind is None:
        raise NotReady("Choose what kind of masks these are.")
    missing = frozenset(row.key for row in review.value_rows if not row.class_name)
    if missing:
        raise NotReady("Name the class of every value.", missing)
    if review.blockers or not review.importable:
        raise NotReady("Solve what is listed first." if review.blockers else "There is nothing to import yet.")
    return start_import(
        upload=upload,
        mask_kind=review.mask_kind,
        label_values=[row.as_json() for row in review.value_rows],
        pairs=[row.as_pair() for row in review.importable],
        requested_by=requested_by,
        first_map=first_map and Permission.TRAIN in permissions_of(requested_by, upload.project),
    )


_COLUMNS = (
    'project_id, image_id, ordinal, "row", "column", box_top, box_left, box_bottom, box_right, area, outline, source_id'
)


@transaction.atomic
def add_image(
    *,
    image: Image,
    found: FoundObjects,
    imported_by: User | None,
    confirm: Callable[[], None] = lambda: None,
) -> Image:
    """Enter an image and its objects: all of it or nothing. `image` is unsaved and names its files in the pixel store.

    `confirm` is called in the transaction first, and may raise to forbid it (a job that is no longer its worker's).
    Raises BadInput if the project has this image, or another one of this name.
    """
    confirm()
    project = Project.objects.select_for_update(no_key=True).get(pk=image.project_id)
    twins = Image.objects.filter(Q(checksum=image.checksum) | Q(name=image.name), project=project)
    checksums = list(twins.values_list("checksum", flat=True))
    if image.checksum in checksums:
        raise BadInput(image.name, "the same file is in the project already")
    if checksums:
        raise BadInput(image.name, "the project has another image of this name; rename the file")
    image.first_ordinal, image.n_objects = project.n_objects, len(found)
    image.save(force_insert=True)
    _copy_objects(image, found)
    project.n_objects += len(found)
    project.save(update_fields=["n_objects"])
    objects_imported.send(sender=Image, image=image, class_names=found.source_class, imported_by=imported_by)
    # Last: the trail's head is locked from here on, and everybody in the organization writes to it.
    record(
        actor=imported_by,
        action="image.import",
        subject=image.name,
        organization_id=project.organization_id,
        project_id=project.pk,
        detail={"objects": len(found), "checksum": image.checksum, "mask_kind": image.mask_kind},
    )
    send_event_on_commit(project.pk, ObjectsAdded(type="objects.added", n_objects=project.n_objects))
    return image


def _copy_objects(image: Image, found: FoundObjects) -> None:
    numbers = np.arange(image.first_ordinal, image.first_ordinal + len(found))
    rows = zip(
        numbers.tolist(),
        found.row.tolist(),
        found.column.tolist(),
        found.box.tolist(),
        found.area.tolist(),
        found.outlines,
        found.source_id.tolist(),
        strict=True,
    )
    project_id, image_id = image.project_id, image.pk
    lines = "".join(
        f"{project_id}\t{image_id}\t{ordinal}\t{row!r}\t{column!r}\t{top}\t{left}\t{bottom}\t{right}\t{area}"
        f"\t\\\\x{outline.hex()}\t{source_id}\n"
        for ordinal, row, column, (top, left, bottom, right), area, outline, source_id in rows
    )
    with connection.cursor() as cursor, cursor.copy(f"COPY objects_histoobject ({_COLUMNS}) FROM STDIN") as copy:
        copy.write(lines)
