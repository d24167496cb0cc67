"""What is measured of objects without a network, and what is predicted from features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from apps.engine.arrays import write_array
from apps.engine.descriptors import DESCRIPTORS_VERSION, describe_objects
from apps.engine.embedding import sees_object_only
from apps.engine.errors import EngineError
from apps.engine.pixels import PatchReader
from apps.engine.settings import Settings
from apps.engine.surroundings import Surroundings, find_surroundings, with_surroundings
from apps.models.refit import predict_objects
from apps.models.services import NewPredictions
from apps.projects.files import folder, read_array
from apps.projects.jobs import Report
from apps.projects.models import Project


def measure(project: Project, patches: PatchReader, report: Report) -> NDArray[np.float32]:
    """The descriptors of all objects. Objects do not change: what was measured once is kept, by patch size, in files that
    are named by the number of objects before them."""
    kept = folder(project, "descriptors", f"{DESCRIPTORS_VERSION}-{project.patch_size_px}px")
    described: list[NDArray[np.float32]] = []
    n_kept = 0
    while (path := kept / f"{n_kept}.npy").exists():
        try:
            # A million objects' are 1.4 GB, which need not be there twice.
            described.append(read_array(path, is_mapped=True))
        except EngineError as error:
            report.log(f"The objects from {n_kept:,} on are measured anew: {error}")
            break
        n_kept += len(described[-1])

    def keep(rows: NDArray[np.float32]) -> None:
        nonlocal n_kept
        write_array(kept / f"{n_kept}.npy", rows)
        n_kept += len(rows)

    if n_kept < len(patches):
        new = np.arange(n_kept, len(patches))
        described.append(
            describe_objects(patches, new, keep=keep, on_progress=report.progress, should_stop=report.should_stop)
        )
    return (described[0] if len(described) == 1 else np.concatenate(described))[: len(patches)]


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
