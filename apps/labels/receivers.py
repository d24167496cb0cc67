from __future__ import annotations

from typing import Any

import numpy as np

from apps.accounts.models import User
from apps.images.models import Image
from apps.labels.models import LabelSet
from apps.labels.services import create_label_sets, get_or_create_label_set, import_label_values
from apps.projects.models import Project
from apps.projects.services import get_or_create_label_classes

MASK_LABEL_SET = "imported with masks"


def make_label_sets(*, project: Project, **_: Any) -> None:
    create_label_sets(project)


def take_over_class_names(
    *, image: Image, class_names: list[str | None] | None, imported_by: User | None, **_: Any
) -> None:
    """The classes that an image's own files state become labels of a set of their own, not of the shared one: ground
    truth there comes only from a human's gesture."""
    named = [(index, name) for index, name in enumerate(class_names or []) if name]
    if not named:
        return
    project = Project.objects.get(pk=image.project_id)
    classes = get_or_create_label_classes(
        project=project, names=dict.fromkeys(name for _, name in named), added_by=imported_by
    )
    import_label_values(
        label_set=get_or_create_label_set(project=project, name=MASK_LABEL_SET, kind=LabelSet.Kind.IMPORTED),
        ordinals=np.array([image.first_ordinal + index for index, _ in named], np.uint32),
        values=np.array([classes[name].value for _, name in named], np.uint8),
        actor=imported_by,
        reason=f"stated by the mask or points of {image.name}"[:400],
    )
