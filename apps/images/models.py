from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from apps.accounts.models import User
from apps.projects.models import Project


class Image(models.Model):
    """An uploaded ROI with its objects. Its pixels and instance raster lie in the pixel store under `store_key`."""

    class Kind(models.TextChoices):
        ROI = "roi", "region of interest"
        WSI = "wsi", "whole slide image"

    project = models.ForeignKey(Project, models.CASCADE, related_name="images")
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=3, choices=Kind, default=Kind.ROI)
    height = models.PositiveIntegerField()
    width = models.PositiveIntegerField()
    mpp = models.FloatField(null=True)  # microns per pixel
    checksum = models.CharField(max_length=64)  # SHA-256 of the uploaded file
    mask_kind = models.CharField(max_length=20)
    mask_checksum = models.CharField(max_length=64, blank=True)
    store_key = models.CharField(max_length=80)
    first_ordinal = models.PositiveIntegerField()
    n_objects = models.PositiveIntegerField()
    notes = ArrayField(models.TextField(), default=list)  # what the import wants the user to know
    created_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["first_ordinal"]
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="image_name_unique"),
            models.UniqueConstraint(fields=["project", "checksum"], name="image_checksum_unique"),
            models.UniqueConstraint(fields=["project", "first_ordinal"], name="image_first_ordinal_unique"),
        ]

    def __str__(self) -> str:
        return self.name


class Upload(models.Model):
    """Files on their way in: collected, paired, reviewed, then imported as one job."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="uploads")
    created_by = models.ForeignKey(User, models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    imported_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"upload {self.pk}"


class UploadedFile(models.Model):
    class Role(models.TextChoices):
        IMAGE = "image"
        MASK = "mask"
        POINTS = "points", "CSV points"
        LABEL_VALUES = "values", "label values"

    class Finding(models.TextChoices):
        """What its owner may want to know about its content."""

        MASK_LIKE = "mask-like"  # of an image: areas of one color, as no camera makes them
        NO_OBJECT = "no-object"  # of a mask: all background

    upload = models.ForeignKey(Upload, models.CASCADE, related_name="files")
    name = models.CharField(max_length=255)
    role = models.CharField(max_length=10, choices=Role)
    path = models.CharField(max_length=400)  # below MEDIA_ROOT
    size = models.BigIntegerField()
    checksum = models.CharField(max_length=64)
    error = models.CharField(max_length=400, blank=True)
    finding = models.CharField(max_length=10, blank=True, choices=Finding)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["upload", "name", "role"], name="uploaded_file_unique")]

    def __str__(self) -> str:
        return self.name
