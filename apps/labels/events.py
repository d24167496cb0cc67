from __future__ import annotations

from typing import Literal, TypedDict


class LabelsChanged(TypedDict):
    type: Literal["labels.changed"]
    label_set: int
    revision: int
    n: int
    actor: str | None
