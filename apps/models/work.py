"""What iterations leave that come to nothing, in the project's work folder: kept where the next one can go on with it.

Apart from the pipelines, as whoever gives a job up has no torch.
"""

from __future__ import annotations

from pathlib import Path

from django.db import DatabaseError

from apps.engine.arrays import JOINED_NAME
from apps.engine.durable import move_folder
from apps.models.selectors import failed_iteration
from apps.projects.models import Job

# In a work folder: whether the training came to its end; how much another job had done, if this one took its work over.
TRAINED_NAME, TAKEN_OVER_NAME = "trained", "taken-over"
PLAN_NAME = "plan.json"  # there too: what the job set out to do
MOST_SHARDS = 1 << 20  # beyond what any project's features are written in
# Of what came from outside, the work itself is not to blame.
OUTER_FAULTS = (OSError, MemoryError, DatabaseError)


def keep_work_of_the_dead(job: Job) -> None:
    """The iteration was given up, as its workers died: what they had done is kept where it is worth it."""
    kept = failed_iteration(job.project)
    for attempt in range(job.attempt, 0, -1):  # the newest that came to anything
        work = kept.parent / f"job-{job.pk}-{attempt}"
        if (work / PLAN_NAME).exists() and is_worth_keeping(work):
            move_folder(work, kept)
            return


def is_worth_keeping(work: Path, error: Exception | None = None) -> bool:
    """Whether there is anything that the next iteration could go on with; where two fail at the same point by no fault from
    outside, the fault may lie in what they share."""
    taken_over = work / TAKEN_OVER_NAME
    before = int(taken_over.read_text()) if taken_over.exists() else 0
    return amount_done(work) > (0 if isinstance(error, OUTER_FAULTS) else before)


def amount_done(work: Path) -> int:
    """Grows with each epoch whose state is kept, the end of the training, each shard of features, and when they are joined, after which there are
    no shards."""
    epochs = (int(path.name.removeprefix("epoch-")) for path in work.glob("new/states/epoch-*"))
    files = [path.name for path in work.glob("new/shards/*/*.npy")]
    features = MOST_SHARDS if JOINED_NAME in files else len(files)
    return max(epochs, default=0) + (work / "new" / TRAINED_NAME).exists() + features
