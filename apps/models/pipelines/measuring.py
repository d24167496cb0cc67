"""What is known of objects without a training, and what is predicted from features."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from apps.engine.arrays import write_array
from apps.engine.descriptors import DESCRIPTORS_VERSION, describe_objects
from apps.engine.embedding import object_mask_of, sees_object_only, uses_descriptors, uses_pretrained
from apps.engine.errors import EngineError
from apps.engine.nn.pretrained import PRETRAINED_VERSION, mask_seen, see_objects
from apps.engine.pixels import PatchReader
from apps.engine.settings import Settings
from apps.engine.surroundings import Surroundings, find_surroundings, with_surroundings
from apps.models.refit import predict_objects
from apps.models.services import NewPredictions
from apps.projects.files import folder, read_array
from apps.projects.jobs import Report
from apps.projects.models import Project
from apps.projects.selectors import chosen_approach

Number = TypeVar("Number", bound=np.floating)
Keep = Callable[[NDArray[Number]], None]


def measure(project: Project, patches: PatchReader, report: Report, *, first: int = 0) -> NDArray[np.float32]:
    """The descriptors of all objects from the ordinal `first` on."""

    def describe(new: NDArray[np.int64], keep: Keep[np.float32]) -> NDArray[np.float32]:
        return describe_objects(patches, new, keep=keep, on_progress=report.progress, should_stop=report.should_stop)

    return _of_all("descriptors", _name_of_descriptors(project), describe, project, patches, report, first)


def recognize(
    project: Project, patches: PatchReader, object_mask: str, report: Report, *, first: int = 0
) -> NDArray[np.float16]:
    """What the pretrained network sees in all objects from the ordinal `first` on (n, N_FEATURES), of their surroundings what `object_mask`
    leaves."""

    def see(new: NDArray[np.int64], keep: Keep[np.float16]) -> NDArray[np.float16]:
        return see_objects(
            patches,
            new,
            object_mask=object_mask,
            keep=keep,
            on_progress=report.progress,
            should_stop=report.should_stop,
        )

    return _of_all("recognized", _name_of_recognized(project, object_mask), see, project, patches, report, first)


def forget_others(project: Project, of_model: Settings) -> None:
    """Remove what was made for models of another patch size or object mask, or by an earlier version of this software: gigabytes, of a million
    objects. Kept is what `of_model` or the project's own settings have a use for. What a worker that dies leaves, the next iteration removes."""
    in_use = [of_model, chosen_approach(project)[1]]
    described = {_name_of_descriptors(project) for settings in in_use if uses_descriptors(settings)}
    recognized = {
        _name_of_recognized(project, object_mask_of(settings)) for settings in in_use if uses_pretrained(settings)
    }
    for kind, names in {"descriptors": described, "recognized": recognized}.items():
        for kept in folder(project, kind).iterdir():
            if kept.name not in names:
                shutil.rmtree(kept, ignore_errors=True)


def _name_of_descriptors(project: Project) -> str:
    return f"{DESCRIPTORS_VERSION}-{project.patch_size_px}px"


def _name_of_recognized(project: Project, object_mask: str) -> str:
    return f"{PRETRAINED_VERSION}-{project.patch_size_px}px-{mask_seen(object_mask)}"


def _of_all(
    kind: str,
    name: str,
    make: Callable[[NDArray[np.int64], Keep[Number]], NDArray[Number]],
    project: Project,
    patches: PatchReader,
    report: Report,
    first: int,
) -> NDArray[Number]:
    """Rows of all objects from `first` on, of which `make` makes those of some ordinals. Objects do not change: what was made once is
    kept, as `name` says what it depends on, in files that are named by the number of objects before them."""
    kept = folder(project, kind, name)
    gathered = _Gathered[Number](range(first, len(patches)))
    n_kept = 0
    while (path := kept / f"{n_kept}.npy").exists():
        try:
            # A million objects' are a gigabyte and more, which need not be there twice.
            rows = read_array(path, is_mapped=True)
        except (EngineError, FileNotFoundError) as error:
            report.log(f"The objects from {n_kept:,} on are measured anew: {error}")
            break
        gathered.add(n_kept, rows)
        n_kept += len(rows)

    def keep(new: NDArray[Number]) -> None:
        nonlocal n_kept
        write_array(kept / f"{n_kept}.npy", new)
        n_kept += len(new)

    if n_kept < len(patches):
        start = n_kept
        gathered.add(start, make(np.arange(start, len(patches)), keep))
    assert gathered.rows is not None  # some are asked for, and all are there now
    return gathered.rows


class _Gathered(Generic[Number]):
    """Rows of the objects `wanted`, from parts of which one may hold them all. No part stays open that is copied: each import adds a file."""

    def __init__(self, wanted: range) -> None:
        self._wanted = wanted
        self.rows: NDArray[Number] | None = None

    def add(self, start: int, part: NDArray[Number]) -> None:
        """`part`: rows of the objects from `start` on."""
        begin, end = max(start, self._wanted.start), min(start + len(part), self._wanted.stop)
        if begin >= end:
            return
        rows = part[begin - start : end - start]
        if len(rows) == len(self._wanted):
            self.rows = rows
            return
        if self.rows is None:
            self.rows = np.empty((len(self._wanted), *part.shape[1:]), part.dtype)
        self.rows[begin - self._wanted.start : end - self._wanted.start] = rows


def predict(
    project: Project,
    vectors: NDArray[np.float16],
    of_model: Settings,
    patches: PatchReader,
    values: NDArray[np.uint8],
    label_revision: int,
    held_out: NDArray[np.bool_],
) -> tuple[NDArray[np.float16], Surroundings | None, NewPredictions]:
    """What predictions are made from before labels are known: the vectors (n, d), and what lies around each object where more than the
    object counts; which objects those are, None where only the object counts; and the predictions."""
    surroundings = None if sees_object_only(of_model) else find_surroundings(patches.images)
    predictors = vectors if surroundings is None else with_surroundings(vectors, surroundings)
    predictions, _ = predict_objects(
        project, predictors, values, surroundings=surroundings, label_revision=label_revision, held_out=held_out
    )
    return predictors, surroundings, predictions
