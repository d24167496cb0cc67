from __future__ import annotations

from django.db import models

from apps.images.models import Image
from apps.projects.models import Project


class HistoObject(models.Model):
    """One segmented thing. Inserted in bulk, never edited: what changes about it (label, prediction) is elsewhere.

    Written only by `services.add_image`, in the transaction that makes its image; constraints to project and image would
    be looked up twice a row, which takes longer than the rows.
    """

    project = models.ForeignKey(
        Project, models.CASCADE, related_name="histo_objects", db_index=False, db_constraint=False
    )
    image = models.ForeignKey(Image, models.CASCADE, related_name="histo_objects", db_index=False, db_constraint=False)
    ordinal = models.PositiveIntegerField()
    row = models.FloatField()  # centroid, px
    column = models.FloatField()
    box_top = models.IntegerField()  # px; bottom and right are exclusive
    box_left = models.IntegerField()
    box_bottom = models.IntegerField()
    box_right = models.IntegerField()
    area = models.IntegerField()  # px
    outline = models.BinaryField()  # uint16 LE pairs (row, column) from the box's top left
    source_id = models.BigIntegerField()  # the id in an indexed mask; else component or CSV row number

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "ordinal"], name="object_ordinal_unique")]

    def __str__(self) -> str:
        return f"object {self.ordinal}"
