"""What a project's first page shows: how far it is, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import Sum

from apps.accounts.models import User
from apps.images.models import Image
from apps.labels.models import LabelSet
from apps.labels.selectors import counts_by_class, label_sets_visible_to, rate_of, sampled_counts
from apps.models.models import LABELS_TO_BELIEVE, Embedding, PredictionSet
from apps.models.selectors import current_prediction_set, latest_embedding, title_of_approach, title_of_reducer
from apps.projects.files import export_archive
from apps.projects.models import Job, Project
from apps.projects.permissions import Permission
from apps.projects.selectors import ACTIVE_STATES, jobs_of, label_classes_of, trains_a_network

StepState = Literal["done", "current", "later"]
# With so many labels a training begins to pay; half of a small project is enough.
ENOUGH_TO_TRAIN = 50


@dataclass(frozen=True)
class ClassProgress:
    name: str
    color: str
    key: str
    n: int
    share: float
    """Of all objects, 0 to 1."""
    n_sampled: int
    """Of `n`, those accepted by sample, their patches unseen."""


NEEDED = {
    "images": Permission.UPLOAD,
    "train": Permission.TRAIN,
    "label": Permission.LABEL,
    "retrain": Permission.TRAIN,
    "export": Permission.EXPORT,
}


@dataclass(frozen=True)
class Step:
    """One thing to do on the way to labeled objects. `key` names it for the template, which knows the button."""

    key: Literal["images", "train", "label", "retrain", "export"]
    title: str
    text: str
    state: StepState

    @property
    def needs(self) -> Permission:
        """What somebody has to be allowed to take it."""
        return NEEDED[self.key]


@dataclass(frozen=True)
class Overview:
    n_images: int
    n_objects: int
    n_labeled: int
    classes: list[ClassProgress]
    label_set: LabelSet
    seconds: float
    """Time spent labeling, by everybody, pauses left out."""
    labels_per_second: float | None
    embedding: Embedding | None
    predictions: PredictionSet | None
    importing: Job | None
    """The import that is running or waiting, if any."""
    iteration: Job | None
    """The same of an iteration."""
    last_export: Job | None
    last_archive: Job | None
    """The last export, if its file is still there."""
    steps: list[Step]

    @property
    def n_sampled(self) -> int:
        return sum(entry.n_sampled for entry in self.classes)

    @property
    def n_unlabeled(self) -> int:
        return self.n_objects - self.n_labeled

    @property
    def quality(self) -> dict[str, Any]:
        return self.predictions.quality if self.predictions else {}

    @property
    def expected_right(self) -> float | None:
        return self.predictions.expected_right if self.predictions else None

    @property
    def when_known(self) -> str:
        """When it can be said how well the rest is predicted; nothing where it can, or nothing is."""
        predictions = self.predictions
        if predictions is None or not predictions.has_predictions:
            return ""
        if predictions.is_measured:
            return "once more images have labels" if predictions.few_images else ""
        if predictions.n_labels < LABELS_TO_BELIEVE:
            return f"from some {LABELS_TO_BELIEVE} labels on"
        return "with a few more labels"

    @property
    def learned_by(self) -> str:
        """How the model learned, in words."""
        return title_of_approach(self.embedding.model_version) if self.embedding else ""

    @property
    def drawn_by(self) -> str:
        """What drew the map, in words."""
        return title_of_reducer(self.embedding) if self.embedding else ""

    @property
    def n_not_on_map(self) -> int:
        """Objects that were added since the map was made."""
        return self.n_objects - self.embedding.n if self.embedding else self.n_objects


def project_overview(project: Project, user: User) -> Overview:
    label_set = label_sets_visible_to(user, project).filter(kind=LabelSet.Kind.SHARED).get()
    sampled = sampled_counts(label_set)
    counts = {int(value): n for value, n in counts_by_class(label_set, project.n_objects).items() if value != "0"}
    n_labeled = sum(counts.values())
    label_classes = list(label_classes_of(project))
    classes = [
        ClassProgress(
            name=label_class.name,
            color=label_class.color,
            key=label_class.key,
            n=counts.get(label_class.value, 0),
            share=counts.get(label_class.value, 0) / project.n_objects if project.n_objects else 0.0,
            n_sampled=sampled.get(str(label_class.value), 0),
        )
        for label_class in label_classes
    ]
    sessions = label_set.sessions.aggregate(seconds=Sum("active_seconds"), timed=Sum("timed_labels"))
    seconds = sessions["seconds"] or 0.0
    embedding = latest_embedding(project)
    predictions = current_prediction_set(project)
    active = {job.kind: job for job in jobs_of(project).filter(state__in=ACTIVE_STATES)}
    importing, iteration = active.get("import"), active.get("iteration")
    exports = jobs_of(project).filter(kind="export", state=Job.State.FINISHED)
    last_export = exports.first()
    # What the page exports; one of a single label set is for whoever may see that set.
    last_of_all = exports.filter(params__label_set=None).first()
    return Overview(
        n_images=Image.objects.filter(project=project).count(),
        n_objects=project.n_objects,
        n_labeled=n_labeled,
        classes=classes,
        label_set=label_set,
        seconds=seconds,
        labels_per_second=rate_of(sessions["timed"] or 0, seconds),
        embedding=embedding,
        predictions=predictions,
        importing=importing,
        iteration=iteration,
        last_export=last_export,
        last_archive=last_of_all if last_of_all and export_archive(last_of_all).exists() else None,
        steps=_steps(project, n_labeled, classes, embedding, importing, iteration, last_export),
    )


def _steps(
    project: Project,
    n_labeled: int,
    classes: list[ClassProgress],
    embedding: Embedding | None,
    importing: Job | None,
    iteration: Job | None,
    last_export: Job | None,
) -> list[Step]:
    """What to do, in order; the first that is not done is the current one."""
    is_trained = trains_a_network(project)
    n_used = sum(entry.n > 0 for entry in classes)
    enough = min(ENOUGH_TO_TRAIN, project.n_objects // 2)
    done = {
        "images": project.n_objects > 0,
        "train": embedding is not None,
        "label": n_used >= 2 and n_labeled >= enough,
        # A version has a measured quality once it was trained with labels of at least two classes.
        "retrain": embedding is not None and bool(embedding.model_version.quality),
        "export": last_export is not None,
    }
    reading = " They are being read now." if importing else ""
    first_busy = " It is being made now." if iteration and embedding is None else ""
    so_far = f" {n_labeled:,} of some {enough} so far." if embedding is not None and n_labeled < enough else ""
    next_busy = " The next map is being made now." if iteration and embedding is not None else ""
    texts: dict[str, tuple[str, str]] = {
        "images": (
            "Add images",
            f"Regions of interest, with masks or points that say where the objects are.{reading}",
        ),
        "train": (
            "Make the first map",
            f"The model learns what the objects look like and lays them out by likeness.{first_busy}"
            if is_trained
            else f"What is known of the objects without a training lays them out by likeness.{first_busy}",
        ),
        "label": (
            "Label a few of at least two classes",
            "In the workspace, G brings up what tells the model most, typical objects first: a class's key labels one and goes on. "
            f"Or lasso a region of the map and label its patches together.{so_far}",
        ),
        "retrain": (
            "Train with your labels",
            f"Predictions follow your labels at once. Training shows them to the network too, and draws the map anew.{next_busy}",
        )
        if is_trained
        else (
            "Make the map anew",
            f"Predictions follow your labels at once. With the next map, how good they are is measured and kept.{next_busy}",
        ),
        "export": (
            "Export",
            "Masks with classes, and a table of who labeled what and when."
            if n_labeled
            else "Once objects are labeled: masks with classes, and a table of who labeled what and when.",
        ),
    }
    steps: list[Step] = []
    current_is_ahead = True
    for key, (title, text) in texts.items():
        state: StepState = "done" if done[key] else "current" if current_is_ahead else "later"
        current_is_ahead = current_is_ahead and done[key]
        steps.append(Step(key, title, text, state))  # type: ignore[arg-type]  # the keys above are the literals
    return steps
