"""Files on their way in: received, looked at, kept until they are imported or discarded."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.engine.errors import BadInput
from apps.engine.pairing import MASK_FOLDERS, safe_name, sort_files
from apps.images.models import Upload, UploadedFile
from apps.images.review import probe
from apps.images.selectors import files_of
from apps.projects.files import folder
from apps.projects.models import Project

Role = UploadedFile.Role
LABEL_VALUE_NAMES = ("values.csv", "legend.csv")


class UploadClosed(ValueError):
    """The upload is being imported or was; the message is for the user."""


@transaction.atomic
def start_upload(*, project: Project, created_by: User) -> Upload:
    """Begin to collect files. An upload of the same person that is still without any is used again."""
    empty = Upload.objects.filter(project=project, created_by=created_by, imported_at=None, files=None).first()
    return empty or Upload.objects.create(project=project, created_by=created_by)


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
    try:
        plain, role = _name_and_role(name, said_role)
        path, checksum, size = _write(upload, plain, content)
        try:
            probe(path, role, name=plain, checksum=checksum)
            return _enter(upload, plain, role, path, checksum, size, received_by)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except BadInput as error:
        _remember_refusal(upload, error, received_by)
        raise


@transaction.atomic
def remove_file(*, file: UploadedFile, removed_by: User) -> None:
    """Take one file out of an upload that was not imported yet."""
    upload = _open_upload(file.upload)
    if file.path:
        path = Path(settings.MEDIA_ROOT) / file.path
        transaction.on_commit(lambda: path.unlink(missing_ok=True))
    file.delete()
    _record(upload, removed_by, "upload.file.remove", file.name)


@transaction.atomic
def discard_upload(*, upload: Upload, discarded_by: User) -> None:
    """Delete the files of an upload that was not imported, and forget it."""
    upload = _open_upload(upload)
    names = list(files_of(upload).values_list("name", flat=True))
    place = folder(upload.project, "uploads", upload.pk)
    _record(upload, discarded_by, "upload.discard", f"upload of {len(names)} files", files=names[:100])
    upload.delete()
    transaction.on_commit(lambda: shutil.rmtree(place, ignore_errors=True))


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


def _write(upload: Upload, name: str, content: File[bytes]) -> tuple[Path, str, int]:
    """Stream the file to the upload's folder; (where, SHA-256 as hex, bytes). The name on disk is ours, not the user's."""
    place = folder(upload.project, "uploads", upload.pk)
    suffix = Path(name).suffix.lower()[:8]
    path = place / f"{uuid.uuid4().hex}{suffix if suffix[1:].isalnum() else ''}"
    checksum, size = hashlib.sha256(), 0
    try:
        with path.open("xb") as file:
            for chunk in content.chunks():
                size += len(chunk)
                if size > settings.UPLOAD_MAX_BYTES:
                    limit = f"{settings.UPLOAD_MAX_BYTES / 1e6:,.0f} MB"
                    raise BadInput(name, f"the file is larger than {limit}, the limit of this server")
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
    upload: Upload, name: str, role: str, path: Path, checksum: str, size: int, received_by: User
) -> UploadedFile:
    upload = _open_upload(upload)
    files = UploadedFile.objects.filter(upload=upload)
    same_name = files.filter(name=name, role=role, error="").first()
    if same_name is not None and same_name.checksum == checksum:
        path.unlink(missing_ok=True)  # sent again, for instance after a lost answer
        return same_name
    if same_name is not None:
        raise BadInput(name, "another file of this name is in this upload already; remove that one first, or rename")
    if role == Role.IMAGE:  # two images may well share a mask (an empty one), but not their pixels
        twin = files.filter(role=role, checksum=checksum, error="").first()
        if twin is not None:
            raise BadInput(name, f"this is the same file as {twin.name}")
    files.filter(name=name).exclude(error="").delete()  # the refused attempt before this one
    relative = path.relative_to(settings.MEDIA_ROOT).as_posix()
    file = UploadedFile.objects.create(upload=upload, name=name, role=role, path=relative, size=size, checksum=checksum)
    _record(upload, received_by, "upload.file", name, role=role, bytes=size, checksum=checksum)
    return file


@transaction.atomic
def _remember_refusal(upload: Upload, error: BadInput, received_by: User) -> None:
    upload = _open_upload(upload)
    shown = error.file[:255]
    if not UploadedFile.objects.filter(upload=upload, name=shown, error="").exists():
        UploadedFile.objects.update_or_create(
            upload=upload,
            name=shown,
            role=Role.IMAGE,
            defaults={"path": "", "size": 0, "checksum": "", "error": error.cause[:400]},
        )
    _record(upload, received_by, "upload.file.refused", shown, cause=error.cause[:400])


def _open_upload(upload: Upload) -> Upload:
    """The row, locked, so that no file slips in while the upload is being imported.

    NO KEY: the foreign keys of other transactions are checked as they commit, holding the audit chain that we want next.
    """
    locked = Upload.objects.select_for_update(no_key=True).select_related("project").filter(pk=upload.pk).first()
    if locked is None or locked.imported_at is not None:
        raise UploadClosed("These files are being imported already. Start another upload for more.")
    return locked


def _record(upload: Upload, actor: User, action: str, subject: str, **detail: object) -> None:
    record(
        actor=actor,
        action=action,
        subject=subject,
        organization_id=upload.project.organization_id,
        project_id=upload.project_id,
        detail={"upload": upload.pk, **detail},
    )
