"""Files on their way in: received, looked at, kept until they are imported or discarded."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.db import transaction
from django.utils import timezone

from apps.accounts.models import User
from apps.audit.services import record
from apps.engine.durable import has_space
from apps.engine.errors import BadInput
from apps.engine.pairing import MASK_FOLDERS, safe_name, sort_files
from apps.images.models import Image, Upload, UploadedFile
from apps.images.review import probe
from apps.images.selectors import files_of
from apps.projects.files import folder, project_folder
from apps.projects.models import Job, Project

Role = UploadedFile.Role
LABEL_VALUE_NAMES = ("values.csv", "legend.csv")
CSV_MAX_BYTES = 50_000_000  # a million points; a table is read as a whole


class UploadClosed(ValueError):
    """The upload is being imported or was, or is gone; the message is for the user."""


class FilesGone(ValueError):
    """Files that were reviewed are no longer in the upload; the message is for the user."""


@transaction.atomic
def start_upload(*, project: Project, created_by: User) -> Upload:
    """Begin to collect files. An upload of the same person that is still without any is used again."""
    empty = Upload.objects.filter(project=project, created_by=created_by, imported_at=None, files=None).first()
    if empty is None:
        return Upload.objects.create(project=project, created_by=created_by)
    empty.created_at = timezone.now()  # begun now, so not abandoned
    empty.save(update_fields=["created_at"])
    return empty


def receive_file(
    *, upload: Upload, name: str, said_role: str = "", content: File[bytes], received_by: User
) -> UploadedFile:
    """Store one file of an upload and look at it at once.

    `name` may carry the folders it was dropped with; of them only a masks/ counts. `said_role` is what the browser
    takes it for (image, mask, csv, values). The same file sent again gives the row it has. Raises BadInput with the
    cause, and remembers the refused file by name; nothing of it stays on disk. Raises UploadClosed after the import.
    """
    if upload.imported_at is not None:
        raise UploadClosed("These files are being imported already. Start another upload for more.")
    role: str = Role.IMAGE  # of a name that says nothing
    try:
        plain, role = _name_and_role(name, said_role)
        path, checksum, size = _write(upload, plain, role, content)
        try:
            finding = probe(path, role, name=plain, checksum=checksum)
            return _enter(upload, plain, role, path, checksum, size, finding, received_by)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except BadInput as error:
        _remember_refusal(upload, role, error, received_by)
        raise


@transaction.atomic
def remove_file(*, file: UploadedFile, removed_by: User) -> None:
    """Take one file out of an upload that was not imported yet."""
    _open_upload(file.upload)
    _remove(file, removed_by)


@transaction.atomic
def take_for_mask(*, file: UploadedFile, taken_by: User) -> None:
    """Make a file that came as an image a mask, because somebody says that it is one. Does nothing to one that is a mask
    already, or was removed by a second tab.

    Raises BadInput where it can not be read as a mask or the upload has another mask of its name, UploadClosed after the import.
    """
    upload = _open_upload(file.upload)
    image = files_of(upload, Role.IMAGE).filter(pk=file.pk).first()
    if image is None:
        return
    finding = probe(Path(settings.MEDIA_ROOT) / image.path, Role.MASK, name=image.name, checksum=image.checksum)
    masks = UploadedFile.objects.filter(upload=upload, name=image.name, role=Role.MASK)
    if masks.filter(error="").exists():
        raise BadInput(image.name, _another_of_this_name(image.name, Role.MASK))
    masks.delete()  # a refused attempt
    image.role, image.finding = Role.MASK, finding
    image.save(update_fields=["role", "finding"])
    _record(upload, taken_by, "upload.file.role", image.name, role=Role.MASK.value)


@transaction.atomic
def discard_upload(*, upload: Upload, discarded_by: User) -> None:
    """Delete the files of an upload that was not imported, and forget it."""
    _discard(_open_upload(upload), discarded_by)


@transaction.atomic
def close_for_import(*, upload: Upload, file_ids: Collection[int]) -> None:
    """Take nothing more into the upload, because these files of it are being imported.

    Raises UploadClosed where that has begun already, FilesGone where one of the files was removed meanwhile.
    """
    upload = _open_upload(upload)
    if files_of(upload).filter(pk__in=file_ids).count() < len(set(file_ids)):
        raise FilesGone("Files of this upload were removed meanwhile. Check what belongs together again.")
    upload.imported_at = timezone.now()
    upload.save(update_fields=["imported_at"])


@transaction.atomic
def reopen_upload(upload: Upload) -> bool:
    """Make an upload usable again if its import failed or was cancelled; whether it did and was."""
    locked = Upload.objects.select_for_update(no_key=True).select_related("project").filter(pk=upload.pk).first()
    if locked is None or locked.imported_at is None or not _import_came_to_nothing(locked):
        return False
    locked.imported_at, locked.created_at = None, timezone.now()  # begun anew, so not abandoned
    locked.save(update_fields=["imported_at", "created_at"])
    _record(locked, None, "upload.reopen", str(locked))
    return True


def sweep_uploads(*, older_than: timedelta) -> int:
    """Delete uploads that were not imported and that nothing was added to for so long; returns how many.

    One whose import came to nothing waits anew from when that is noticed.
    """
    failed = Job.objects.filter(kind="import", state__in=[Job.State.FAILED, Job.State.CANCELLED])
    ids = list(failed.values_list("params__upload", flat=True))
    for upload in Upload.objects.filter(imported_at__isnull=False, pk__in=ids):
        reopen_upload(upload)
    imported = Job.objects.filter(kind="import", state=Job.State.FINISHED)
    ids = list(imported.values_list("params__upload", flat=True))
    for upload in Upload.objects.filter(imported_at__isnull=False, pk__in=ids).select_related("project"):
        shutil.rmtree(_place_of(upload), ignore_errors=True)  # where the worker died between the two
    before = timezone.now() - older_than
    waiting = Upload.objects.filter(imported_at=None, created_at__lt=before)
    return sum(_discard_if_untouched(upload, before) for upload in waiting)


@transaction.atomic
def _discard_if_untouched(upload: Upload, before: datetime) -> bool:
    locked = Upload.objects.select_for_update(no_key=True, skip_locked=True).filter(pk=upload.pk, imported_at=None)
    found = locked.first()
    if found is None:
        return False
    place = _place_of(found)
    if place.exists() and place.stat().st_mtime >= before.timestamp():  # when the last file came or went
        return False
    _discard(found, None)
    return True


def _remove(file: UploadedFile, removed_by: User) -> None:
    if file.path:
        path = Path(settings.MEDIA_ROOT) / file.path
        transaction.on_commit(lambda: path.unlink(missing_ok=True))
    removed, _ = UploadedFile.objects.filter(pk=file.pk).delete()
    if removed:  # not by a second tab a moment ago
        _record(file.upload, removed_by, "upload.file.remove", file.name)


def _import_came_to_nothing(upload: Upload) -> bool:
    jobs = Job.objects.filter(project=upload.project, kind="import", params__upload=upload.pk)
    state = jobs.order_by("-pk").values_list("state", flat=True).first()
    return state in (Job.State.FAILED, Job.State.CANCELLED)


def _discard(upload: Upload, discarded_by: User | None) -> None:
    names = list(files_of(upload).values_list("name", flat=True))
    place = _place_of(upload)
    _record(upload, discarded_by, "upload.discard", f"upload of {len(names)} files", files=names[:100])
    upload.delete()
    transaction.on_commit(lambda: shutil.rmtree(place, ignore_errors=True))


def _place_of(upload: Upload) -> Path:
    return project_folder(upload.project) / "uploads" / str(upload.pk)


def _name_and_role(name: str, said_role: str) -> tuple[str, str]:
    *folders, last = name.split("/")
    if ".." in folders:
        raise BadInput(name[:120], "the file name holds a path that leads out of its folder")
    plain = safe_name(last)
    lower = plain.lower()
    if lower.endswith(".csv"):
        is_table = said_role in ("values", Role.LABEL_VALUES) or lower in LABEL_VALUE_NAMES
        return plain, Role.LABEL_VALUES if is_table else Role.POINTS
    if said_role in (Role.IMAGE, Role.MASK):
        return plain, said_role
    parent = folders[-1] if folders and folders[-1].lower() in MASK_FOLDERS else "images"
    _, masks, _, _ = sort_files([f"{parent}/{plain}"])
    return plain, Role.MASK if masks else Role.IMAGE


def _write(upload: Upload, name: str, role: str, content: File[bytes]) -> tuple[Path, str, int]:
    """Stream the file to the upload's folder; (where, SHA-256 as hex, bytes). The name on disk is ours, not the user's."""
    place = folder(upload.project, "uploads", upload.pk)
    if not has_space(place, content.size or 0):
        raise BadInput(name, "the server's disk is too full for this file; tell its administrator")
    limit, whose = settings.UPLOAD_MAX_BYTES, "the limit of this server"
    if role in (Role.POINTS, Role.LABEL_VALUES) and limit > CSV_MAX_BYTES:
        limit, whose = CSV_MAX_BYTES, "the limit for a CSV file"
    suffix = Path(name).suffix.lower()[:8]
    path = place / f"{uuid.uuid4().hex}{suffix if suffix[1:].isalnum() else ''}"
    checksum, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as file:
            for chunk in content.chunks():
                size += len(chunk)
                if size > limit:
                    raise BadInput(name, f"the file is larger than {limit / 1e6:,.0f} MB, {whose}")
                checksum.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if size == 0:
            raise BadInput(name, "the file is empty (0 bytes)")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, checksum.hexdigest(), size


@transaction.atomic
def _enter(
    upload: Upload, name: str, role: str, path: Path, checksum: str, size: int, finding: str, received_by: User
) -> UploadedFile:
    upload = _open_upload(upload)
    files = UploadedFile.objects.filter(upload=upload)
    same_name = files.filter(name=name, role=role, error="").first()
    if same_name is not None and same_name.checksum == checksum:
        path.unlink(missing_ok=True)  # sent again, for instance after a lost answer
        return same_name
    if same_name is not None:
        raise BadInput(name, _another_of_this_name(name, role))
    if role == Role.IMAGE:  # two images may well share a mask (an empty one), but not their pixels
        twin = files.filter(role=role, checksum=checksum, error="").first()
        if twin is not None and not Image.objects.filter(project=upload.project, name=twin.name).exists():
            raise BadInput(name, f"this is the same file as {twin.name}")
        if twin is not None:  # left out for its name, and here again under another
            _remove(twin, received_by)
    files.filter(name=name, role=role).exclude(error="").delete()  # the refused attempt before this one
    relative = path.relative_to(settings.MEDIA_ROOT).as_posix()
    file = UploadedFile.objects.create(
        upload=upload, name=name, role=role, path=relative, size=size, checksum=checksum, finding=finding
    )
    _record(upload, received_by, "upload.file", name, role=role, bytes=size, checksum=checksum)
    return file


def _another_of_this_name(name: str, role: str) -> str:
    """Why a second file of a name is refused, and what to do: most often it is the mask that has its image's name."""
    stem, dot, extension = name.rpartition(".")
    cause = "another file of this name is in this upload already; remove that one first, or rename"
    if role == Role.IMAGE and dot:
        cause += f". If one is the mask of the other, call it {stem}_mask.{extension} or drop the folder masks/ that it lies in"
    return cause


@transaction.atomic
def _remember_refusal(upload: Upload, role: str, error: BadInput, received_by: User) -> None:
    upload = _open_upload(upload)
    shown = error.file[:255]
    if not UploadedFile.objects.filter(upload=upload, name=shown, role=role, error="").exists():
        UploadedFile.objects.update_or_create(
            upload=upload,
            name=shown,
            role=role,
            defaults={"path": "", "size": 0, "checksum": "", "error": error.cause[:400]},
        )
    _record(upload, received_by, "upload.file.refused", shown, cause=error.cause[:400])


def _open_upload(upload: Upload) -> Upload:
    """The row, locked, so that no file slips in while the upload is being imported.

    NO KEY: the foreign keys of other transactions are checked as they commit, holding the audit chain that we want next.
    """
    locked = Upload.objects.select_for_update(no_key=True).select_related("project").filter(pk=upload.pk).first()
    if locked is None:
        raise UploadClosed("This upload was discarded. Start another one.")
    if locked.imported_at is not None:
        raise UploadClosed("These files are being imported already. Start another upload for more.")
    return locked


def _record(upload: Upload, actor: User | None, action: str, subject: str, **detail: object) -> None:
    record(
        actor=actor,
        action=action,
        subject=subject,
        organization_id=upload.project.organization_id,
        project_id=upload.project_id,
        detail={"upload": upload.pk, **detail},
    )
