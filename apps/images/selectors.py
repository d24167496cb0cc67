from __future__ import annotations

import io
from contextlib import nullcontext
from threading import BoundedSemaphore

from django.core.cache import caches
from django.db.models import Count, Q, QuerySet
from PIL import Image as PillowImage

from apps.accounts.models import User
from apps.engine.pixels import StoredImage, read_pixels, shrink
from apps.images.models import Image, Upload, UploadedFile
from apps.projects.files import project_folder
from apps.projects.models import Project

THUMBNAIL_SECONDS = 24 * 60 * 60
# Larger ones take memory: two are drawn at a time, of a process, and kept for as long as somebody may come back to them.
LARGEST_DRAWN_AT_ONCE_PX = 1024
LARGE_SECONDS = 60 * 60
_drawing_large = BoundedSemaphore(2)
JPEG_QUALITY = 88


def images_of(project: Project) -> QuerySet[Image]:
    """The project's images in the order of their objects."""
    return Image.objects.filter(project=project).order_by("first_ordinal", "pk")


def uploads_of(project: Project) -> QuerySet[Upload]:
    return Upload.objects.filter(project=project).select_related("project", "created_by")


def unfinished_uploads(project: Project, user: User) -> QuerySet[Upload]:
    """The user's uploads that hold files and were neither imported nor discarded, with `n_files`; the newest first."""
    return (
        uploads_of(project)
        .filter(created_by=user, imported_at=None)
        .annotate(n_files=Count("files", filter=Q(files__error="")))
        .filter(n_files__gt=0)
        .order_by("-pk")
    )


def files_of(upload: Upload, role: str | None = None) -> QuerySet[UploadedFile]:
    """The files that arrived whole and readable; the refused ones are in `refused_files`."""
    files = UploadedFile.objects.filter(upload=upload, error="").order_by("name")
    return files.filter(role=role) if role else files


def refused_files(upload: Upload) -> QuerySet[UploadedFile]:
    return UploadedFile.objects.filter(upload=upload).exclude(error="").order_by("name")


def stored_image(image: Image) -> StoredImage:
    """Where the image's pixels and object raster lie."""
    return StoredImage(image.first_ordinal, image.n_objects, project_folder(image.project) / "pixels", image.store_key)


def thumbnail(image: Image, size_px: int) -> bytes:
    """The image as a JPEG whose longer side has at most `size_px` pixels."""
    key, kept = f"thumbnail:{image.store_key}:{size_px}", caches["pictures"]
    found: bytes | None = kept.get(key)
    if found is not None:
        return found
    is_large = size_px > LARGEST_DRAWN_AT_ONCE_PX
    with _drawing_large if is_large else nullcontext():
        found = kept.get(key)  # by who was waited for
        if found is None:
            found = _draw_thumbnail(image, size_px)
            kept.set(key, found, LARGE_SECONDS if is_large else THUMBNAIL_SECONDS)
    return found


def _draw_thumbnail(image: Image, size_px: int) -> bytes:
    pixels = read_pixels(stored_image(image))  # (h, w, 3), memory-mapped
    if size_px <= LARGEST_DRAWN_AT_ONCE_PX:
        step = max(1, max(pixels.shape[:2]) // (2 * size_px))  # of a large image only the rows that count are read
        small = PillowImage.fromarray(pixels[::step, ::step].copy())
        small.thumbnail((size_px, size_px), PillowImage.Resampling.LANCZOS)
    else:
        small = PillowImage.fromarray(shrink(pixels, size_px))  # as the file is mapped, without a copy of it
    file = io.BytesIO()
    small.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
