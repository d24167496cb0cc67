"""A table of classes -> labels."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from django.db import transaction

from apps.accounts.models import User
from apps.audit.services import record
from apps.engine.errors import BadInput
from apps.engine.pixels import read_raster
from apps.engine.tables import ClassTable, read_classes
from apps.images.models import Image
from apps.images.selectors import stored_image
from apps.labels.models import LabelSet
from apps.labels.services import get_or_create_label_set, import_label_values
from apps.objects.models import HistoObject
from apps.projects.models import Project
from apps.projects.services import class_key, get_or_create_label_classes

DEFAULT_LABEL_SET = "imported"
# Of the rows that match no object: enough to see what is wrong with the file. A million of them fill the screen and say no more.
MOST_LISTED = 20


@dataclass
class LabelImportResult:
    label_set: str
    rows: int
    labeled: int = 0
    without_class: int = 0
    classes_added: list[str] = field(default_factory=list)
    unmatched_rows: int = 0
    unmatched_by_cause: dict[str, int] = field(default_factory=dict)
    first_unmatched: list[dict[str, Any]] = field(default_factory=list)


@transaction.atomic
def import_labels_csv(
    *, project: Project, path: Path, label_set_name: str | None, imported_by: User | None, add_classes: bool = False
) -> LabelImportResult:
    """Read a classes.csv into a label set, as one action. Rows that match no object are counted in the result, the first of
    them listed.

    Raises BadInput for a file that can not be read, of which no row matches, or which names classes that the project does
    not have, unless `add_classes`: a class with labels stays for good, and most often it is a slip of the pen.
    """
    table = read_classes(path)
    result = LabelImportResult(
        label_set_name or DEFAULT_LABEL_SET, rows=len(table), without_class=table.n_without_class
    )
    class_by_ordinal = _match(project, table, result)
    if not class_by_ordinal:
        raise BadInput(table.name, f"none of its {len(table)} rows matches an object of the project")
    known = set(project.label_classes.values_list("name", flat=True))
    unknown = {class_key(name): name for name in class_by_ordinal.values()}
    for name in known:
        unknown.pop(class_key(name), None)
    if unknown and not add_classes:
        shown = ", ".join(repr(name) for name in list(unknown.values())[:MOST_LISTED])
        raise BadInput(table.name, f"the project has no class {shown}; --add-classes adds what is missing")
    classes = get_or_create_label_classes(
        project=project, names=dict.fromkeys(class_by_ordinal.values()), added_by=imported_by
    )
    result.classes_added = sorted({label_class.name for label_class in classes.values()} - known)
    action = import_label_values(
        label_set=get_or_create_label_set(project=project, name=result.label_set, kind=LabelSet.Kind.IMPORTED),
        ordinals=np.array(list(class_by_ordinal), np.uint32),
        values=np.array([classes[name].value for name in class_by_ordinal.values()], np.uint8),
        actor=imported_by,
        reason=f"imported from {table.name}"[:400],
    )
    result.labeled = action.n_asked
    record(
        actor=imported_by,
        action="labels.import",
        subject=f"label set {result.label_set}",
        organization_id=project.organization_id,
        project_id=project.pk,
        detail={
            "file": table.name,
            "rows": result.rows,
            "labeled": result.labeled,
            "unmatched_rows": result.unmatched_rows,
            "classes_added": result.classes_added,
        },
    )
    return result


def _match(project: Project, table: ClassTable, result: LabelImportResult) -> dict[int, str]:
    """Class name by ordinal; what fits no object, or states a second class for one, is entered in `result` as unmatched."""
    images = list(project.images.all())
    by_name = {image.name: image for image in images}
    by_stem: dict[str, list[Image]] = {}
    for image in images:
        by_stem.setdefault(PurePath(image.name).stem, []).append(image)
    rows_by_image: dict[str, list[int]] = {}
    for row, name in enumerate(table.image):
        rows_by_image.setdefault(name, []).append(row)
    class_by_ordinal: dict[int, str] = {}

    def refuse(row: int, why: str) -> None:
        result.unmatched_rows += 1
        result.unmatched_by_cause[why] = result.unmatched_by_cause.get(why, 0) + 1
        if len(result.first_unmatched) < MOST_LISTED:
            result.first_unmatched.append({"line": table.line[row], "image": table.image[row], "why": why})

    for name, rows in rows_by_image.items():
        same_stem = by_stem.get(PurePath(name).stem, [])
        found = by_name.get(name) or (same_stem[0] if len(same_stem) == 1 else None)
        if found is None:
            for row in rows:
                refuse(row, "the project has no such image")
            continue
        for row, ordinal in zip(rows, _ordinals_of(project, found, table, rows), strict=True):
            if ordinal is None:
                refuse(row, "there is no object")
            elif class_by_ordinal.setdefault(ordinal, table.class_name[row]) != table.class_name[row]:
                refuse(row, f"the object has another class in this file, {class_by_ordinal[ordinal]}")
    return class_by_ordinal


def _ordinals_of(project: Project, image: Image, table: ClassTable, rows: list[int]) -> list[int | None]:
    """The ordinal that each row means within one image: the object with its id, or the one at its pixel."""
    if table.label_id is not None:
        objects = HistoObject.objects.filter(
            project=project, ordinal__gte=image.first_ordinal, ordinal__lt=image.first_ordinal + image.n_objects
        )
        by_id = dict(objects.values_list("source_id", "ordinal"))
        return [by_id.get(int(table.label_id[row])) for row in rows]
    assert table.row is not None and table.column is not None
    raster = read_raster(stored_image(image))
    ordinals: list[int | None] = []
    for row in rows:
        r, c = int(np.floor(table.row[row] + 0.5)), int(np.floor(table.column[row] + 0.5))
        inside = 0 <= r < image.height and 0 <= c < image.width
        value = int(raster[r, c]) if inside else 0
        ordinals.append(image.first_ordinal + value - 1 if value else None)
    return ordinals
