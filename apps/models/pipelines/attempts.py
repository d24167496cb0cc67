"""What an attempt at an iteration leaves in its work folder, and how another one goes on with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.engine.arrays import write_array
from apps.engine.durable import move_folder, remove_folder
from apps.labels.selectors import labels_to_learn_from, shared_label_set, shown_revision
from apps.models.pipelines.planning import Plan, make_plan
from apps.models.selectors import failed_iteration
from apps.models.work import PLAN_NAME, TAKEN_OVER_NAME, TRAINED_NAME, amount_done
from apps.projects.files import folder, read_array, write_bytes
from apps.projects.jobs import Report
from apps.projects.models import Job, Project

# In a work folder: the labels as they were when the job set out, with their revision.
LABELS_NAME, REVISION_NAME = "labels.npy", "revision.json"


def work_folder(project: Project, job: Job) -> Path:
    """The folder of this attempt, with what the attempt before it had done when its worker died.

    Renamed, so that a worker that was only thought dead has nothing left to remove, and what it still writes is nobody's.
    """
    folders = [folder(project, "work") / f"job-{job.pk}-{attempt}" for attempt in range(job.attempt, 0, -1)]
    work = folders[0]
    left = next((path for path in folders[1:] if path.exists()), None)
    if left is not None:
        left.rename(work)
    work.mkdir(exist_ok=True)
    return work


def plan_of_attempt(project: Project, job: Job, work: Path, report: Report) -> Plan:
    """What is to be made, from the project's settings as they are now.

    What an attempt before this one did in `work` is kept if it was on its way to the same, and removed otherwise: half
    of a training by other settings belongs to neither.
    """
    kept = work / PLAN_NAME
    before = kept.read_bytes() if kept.exists() else None
    n_objects = json.loads(before)["n_objects"] if before else project.n_objects
    plan = make_plan(project, job.params, n_objects=n_objects)
    now = json.dumps({"n_objects": n_objects, "patch_size_px": project.patch_size_px, **plan.to_json()}).encode()
    if before is None and _take_over(project, work, now):
        report.log("goes on with what the iteration before this one had done when it failed")
    elif before not in (None, now):
        report.log("begins anew: what is to be made has changed since")
        remove_folder(work)
        work.mkdir()
        return plan_of_attempt(project, job, work, report)
    write_bytes(kept, now)
    return plan


def _take_over(project: Project, work: Path, plan: bytes) -> bool:
    """Have in `work`, where nothing is yet, what an iteration that failed had done by the same `plan`. A training that came
    to its end is of use whatever was labeled since; half of one is not."""
    failed = failed_iteration(project)
    kept, revision = failed / PLAN_NAME, failed / "new" / REVISION_NAME
    if not kept.exists() or kept.read_bytes() != plan:
        return False
    is_half_trained = (failed / "new" / "states").exists() and not (failed / "new" / TRAINED_NAME).exists()
    if is_half_trained and json.loads(revision.read_bytes()) != shown_revision(shared_label_set(project)):
        return False
    move_folder(failed, work)
    write_bytes(work / TAKEN_OVER_NAME, str(amount_done(work)).encode())
    return True


def labels_at_the_start(project: Project, work: Path) -> tuple[NDArray[np.uint8], int]:
    """The labels to learn from, of as many objects as there were, with their revision.

    As they were when the job first came here: with others, a training whose worker died could not be gone on with.
    """
    labels, revision = work / LABELS_NAME, work / REVISION_NAME
    if not labels.exists():
        # The revision first: a label that comes in between is learned from once more, rather than never.
        write_bytes(revision, json.dumps(shown_revision(shared_label_set(project))).encode())
        write_array(labels, labels_to_learn_from(project))
    return read_array(labels), json.loads(revision.read_text())


def clear(work: Path, report: Report) -> None:
    if report.is_owner():  # otherwise the next attempt goes on with it
        shutil.rmtree(work, ignore_errors=True)
