"""Files -> objects. Each image is one unit: it is imported wholly or not at all, and one that fails stops no other."""

from __future__ import annotations

import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings
from django.core.exceptions import ValidationError
from numpy.typing import NDArray

from apps.accounts.models import User
from apps.engine.components import FoundObjects
from apps.engine.durable import replacing
from apps.engine.errors import BadInput
from apps.engine.formats import read_image, read_mask
from apps.engine.masks import (
    LabelValues,
    MaskKind,
    check_same_size,
    find_objects,
    objects_from_points,
    objects_from_tiling,
    read_points,
    wants_colors,
)
from apps.engine.pixels import delete_image, write_image
from apps.images.models import Image, Upload
from apps.images.services import reopen_upload
from apps.objects.services import add_image
from apps.objects.signals import import_finished
from apps.projects.files import DiskFull, check_space, folder, is_of_space
from apps.projects.jobs import Report
from apps.projects.models import Job, Project


@dataclass(frozen=True)
class SourceFile:
    """A file to import and the name it goes by; its SHA-256 as hex, where that is known already."""

    path: Path
    name: str
    checksum: str | None = None


@dataclass(frozen=True)
class ImageSource:
    """One image with what says where its objects are; with neither mask nor points it is tiled."""

    image: SourceFile
    mask: SourceFile | None = None
    points: SourceFile | None = None


@dataclass
class ImportResult:
    images: list[dict[str, Any]] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)
    already_imported: list[dict[str, str]] = field(default_factory=list)

    @property
    def n_objects(self) -> int:
        return sum(image["n_objects"] for image in self.images)

    def as_json(self) -> dict[str, Any]:
        return {"images": self.images, "errors": self.errors, "already_imported": self.already_imported}


def import_job(job: Job, report: Report) -> dict[str, Any]:
    """Import the files of an upload. Taken up again after a crash, it skips what is in already."""
    upload = Upload.objects.get(pk=job.params["upload"], project=job.project)
    files = {file.pk: file for file in upload.files.all()}

    def source(file_id: int | None) -> SourceFile | None:
        file = files.get(file_id) if file_id else None
        return SourceFile(Path(settings.MEDIA_ROOT) / file.path, file.name, file.checksum) if file else None

    sources = []
    for pair in job.params["pairs"]:
        image = source(pair["image_file_id"])
        if image is not None:
            sources.append(ImageSource(image, source(pair.get("mask_file_id")), source(pair.get("points_file_id"))))
    report.stage("reading images", start=0.0, end=1.0)
    result = import_sources(
        project=job.project,
        sources=sources,
        mask_kind=MaskKind(job.params["mask_kind"]),
        label_values=label_values_from_json(job.params["label_values"]),
        imported_by=job.requested_by,
        on_progress=report.progress,
        confirm=report.confirm_ownership,
    )
    for error in result.errors:
        report.log(f"{error['file']}: {error['cause']}")
    return result.as_json()


def close_upload(job_id: int) -> None:
    """Delete the files of an upload that is imported; make one whose import failed or was cancelled usable again."""
    job = Job.objects.select_related("project").get(pk=job_id)
    upload = Upload.objects.filter(pk=job.params["upload"], project=job.project).first()
    if upload is None:
        return
    if job.state == Job.State.FINISHED:
        shutil.rmtree(folder(job.project, "uploads", upload.pk), ignore_errors=True)
    elif not job.is_active:
        reopen_upload(upload)


def label_values_from_json(rows: Sequence[dict[str, Any]]) -> LabelValues:
    """The table of a labeled mask from rows {value | color "#rrggbb", class_name}."""
    return LabelValues(
        by_value={int(row["value"]): row["class_name"] for row in rows if row.get("value") not in (None, "")},
        by_color={int(row["color"].lstrip("#"), 16): row["class_name"] for row in rows if row.get("color")},
    )


def import_sources(
    *,
    project: Project,
    sources: Sequence[ImageSource],
    mask_kind: MaskKind,
    label_values: LabelValues,
    imported_by: User | None,
    on_progress: Callable[[str, float, str], None],
    confirm: Callable[[], None] = lambda: None,
) -> ImportResult:
    """Import images one by one; faults of single files are collected in the result, and the rest goes on. Raises DiskFull.

    While one image is written to disk and to the database, the next is decoded.
    """
    result = ImportResult()
    known = dict(Image.objects.filter(project=project).values_list("checksum", "name"))

    def read(source: ImageSource) -> _Content:
        return _read(source, mask_kind, label_values, project.patch_size_px, known)

    try:
        with ThreadPoolExecutor(max_workers=5, thread_name_prefix="import") as pool:
            ahead = pool.submit(read, sources[0]) if sources else None
            for position, source in enumerate(sources):
                on_progress(
                    "reading images", position / len(sources), f"{source.image.name} ({position + 1} of {len(sources)})"
                )
                assert ahead is not None
                current, following = ahead, sources[position + 1 : position + 2]
                ahead = pool.submit(read, following[0]) if following else None
                try:
                    content = current.result()
                    if content.found is None or content.checksum in known:
                        result.already_imported.append({"name": source.image.name, "as": known[content.checksum]})
                        continue
                    image = _import_one(project, source, mask_kind, content, imported_by, confirm, pool)
                    known[image.checksum] = image.name
                except BadInput as error:
                    result.errors.append({"file": error.file, "cause": error.cause})
                except DiskFull:
                    raise  # the next ones would hardly fit; who has made room goes on with the same files
                except OSError as error:
                    if is_of_space(error):
                        raise DiskFull from error
                    cause = f"could not be stored: {error.strerror or error}"
                    result.errors.append({"file": source.image.name, "cause": cause})
                except (ValueError, ValidationError) as error:
                    result.errors.append({"file": source.image.name, "cause": str(error)})
                else:
                    result.images.append({"name": image.name, "n_objects": image.n_objects, "notes": image.notes})
    finally:
        if result.images:  # also where it was stopped half-way
            import_finished.send(sender=Project, project=project, imported_by=imported_by)
    return result


@dataclass(frozen=True)
class _Content:
    """An image's files, read: pixels (h, w, 3) and objects; neither where the project has the image already."""

    checksum: str
    mask_checksum: str = ""
    pixels: NDArray[np.uint8] | None = None
    found: FoundObjects | None = None


def _read(
    source: ImageSource, kind: MaskKind, label_values: LabelValues, patch_size_px: int, known: Mapping[str, str]
) -> _Content:
    checksum = checksum_of(source.image)
    if checksum in known:
        return _Content(checksum)
    pixels = read_image(source.image.path, name=source.image.name)
    found = _find(source, pixels.shape, kind, label_values, patch_size_px)
    return _Content(checksum, checksum_of(source.mask) if source.mask else "", pixels, found)


def checksum_of(source: SourceFile) -> str:
    """SHA-256 of the file, as hex."""
    if source.checksum:
        return source.checksum
    try:
        with source.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadInput(source.name, f"can not be read: {error.strerror}") from error


def _import_one(
    project: Project,
    source: ImageSource,
    mask_kind: MaskKind,
    content: _Content,
    imported_by: User | None,
    confirm: Callable[[], None],
    pool: ThreadPoolExecutor,
) -> Image:
    assert content.pixels is not None and content.found is not None
    key = f"{Path(source.image.name).stem[:40]}-{uuid.uuid4().hex[:12]}"
    store = folder(project, "pixels")
    n_kept = sum(file.path.stat().st_size for file in (source.image, source.mask) if file)
    check_space(store, content.pixels.nbytes + content.found.raster.nbytes + n_kept)
    originals = {source.image.path: _place(source.image, folder(project, "images"), key)}
    if source.mask:
        originals[source.mask.path] = _place(source.mask, folder(project, "masks"), key)
    try:
        # Side by side: most of it is waiting for the disk.
        writing = [pool.submit(write_image, store, key, content.pixels, content.found)]
        writing += [pool.submit(_keep, original, kept) for original, kept in originals.items()]
        wait(writing)
        for written in writing:
            written.result()
        return add_image(
            image=Image(
                project=project,
                name=source.image.name,
                height=content.pixels.shape[0],
                width=content.pixels.shape[1],
                checksum=content.checksum,
                mask_kind=mask_kind if source.mask else ("points" if source.points else MaskKind.NONE),
                mask_checksum=content.mask_checksum,
                store_key=key,
                notes=content.found.notes,
                created_by=imported_by,
            ),
            found=content.found,
            imported_by=imported_by,
            confirm=confirm,
        )
    except BaseException:
        # An interruption may come after the commit; then the files are an image's, and stay. If the database does not
        # say, they stay too: files without a row cost space, a row without files cost the project.
        if not Image.objects.filter(project=project, store_key=key).exists():
            delete_image(store, key)
            for kept in originals.values():
                kept.unlink(missing_ok=True)
        raise


def _find(
    source: ImageSource, shape: tuple[int, ...], kind: MaskKind, label_values: LabelValues, patch_size_px: int
) -> FoundObjects:
    found = None
    if source.mask is not None and kind != MaskKind.NONE:
        mask = read_mask(source.mask.path, name=source.mask.name, colors=wants_colors(kind, label_values))
        check_same_size(shape, mask.shape, image_name=source.image.name, mask_name=source.mask.name)
        found = find_objects(mask, kind, name=source.mask.name, label_values=label_values)
    if source.points is not None:
        return objects_from_points(read_points(source.points.path, name=source.points.name), shape[:2], found)
    if found is not None:
        return found
    if kind != MaskKind.NONE:
        raise BadInput(source.image.name, f"there is no mask for this image, and the mask kind is {kind}")
    return objects_from_tiling(shape[:2], patch_size_px)


def _place(source: SourceFile, folder: Path, key: str) -> Path:
    return folder / f"{key}{Path(source.name).suffix.lower()}"


def _keep(original: Path, kept: Path) -> None:
    """The original file, as it came, for the record."""
    with original.open("rb") as source, replacing(kept) as copy:
        shutil.copyfileobj(source, copy)
