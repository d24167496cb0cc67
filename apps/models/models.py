from __future__ import annotations

from typing import Any, TypedDict

from django.db import models

from apps.engine.map_quality import FEWEST_HELD_OUT
from apps.projects.models import Job, Project


class ModelVersion(models.Model):
    """What makes features: weights with their parent, approach, settings and measured quality; without a network, the scale."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="model_versions")
    number = models.PositiveIntegerField()
    parent = models.ForeignKey("self", models.PROTECT, null=True, related_name="children")
    approach = models.CharField(max_length=60)
    settings = models.JSONField(default=dict)
    quality = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="model_version_number_unique")]

    def __str__(self) -> str:
        return f"v{self.number}"


class TrainingRun(models.Model):
    """How a model version came about. (An attempt that failed is a job with its error.)"""

    job = models.OneToOneField(Job, models.CASCADE, related_name="training_run")
    model_version = models.OneToOneField(ModelVersion, models.CASCADE, related_name="training_run")
    settings = models.JSONField(default=dict)
    n_objects = models.PositiveIntegerField()
    n_labeled = models.PositiveIntegerField()
    losses = models.JSONField(default=list)
    seconds = models.FloatField(default=0.0)

    def __str__(self) -> str:
        return f"training run of {self.job}"


class Embedding(models.Model):
    """One model version's vectors and plot coordinates for the objects 0..n-1, in files by ordinal."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="embeddings")
    number = models.PositiveIntegerField()
    model_version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="embeddings")
    job = models.ForeignKey(Job, models.SET_NULL, null=True, related_name="embeddings")
    n = models.PositiveIntegerField()
    dimension = models.PositiveIntegerField()
    reducer = models.CharField(max_length=60, default="umap")
    shows_labels = models.BooleanField(default=False)  # known classes shaped the map, not only the features
    # How good the map is (see apps.engine.map_quality); None where there are too few objects or labels to say, no
    # map before, or where labels shaped the map that would then be judged by them.
    trustworthiness = models.FloatField(null=True)
    displacement = models.FloatField(null=True)
    feature_purity = models.FloatField(null=True)
    map_purity = models.FloatField(null=True)
    fault = models.TextField(blank=True, default="")  # why the project's own reducer did not draw it
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="embedding_number_unique")]

    def __str__(self) -> str:
        return f"map {self.number}"


# One label in five is held out. From 40 of those the share that is right is known within 0.15; before, the model's own word on it is
# worth nothing.
HELD_OUT_TO_BELIEVE = FEWEST_HELD_OUT
LABELS_TO_BELIEVE = 5 * HELD_OUT_TO_BELIEVE


class FewImages(TypedDict):
    """`n_labeled` of the `n` images whose objects are on the map have a label."""

    n_labeled: int
    n: int


class PredictionSet(models.Model):
    """What a head on an embedding's vectors says of the objects 0..n-1, in a file by ordinal, given the labels as they
    were at one moment. Every label action is followed by a new one; the highest revision is the one that holds.

    The row stays as the record of how good predictions were at so many labels; the files of old revisions go.
    """

    project = models.ForeignKey(Project, models.CASCADE, related_name="prediction_sets")
    revision = models.PositiveIntegerField()  # grows by one with every set of the project, whatever the embedding
    embedding = models.ForeignKey(Embedding, models.CASCADE, related_name="prediction_sets")
    label_revision = models.BigIntegerField()  # sequence of the last label action that the head knows of
    n_labels = models.PositiveIntegerField()  # that the head was fitted to
    has_predictions = models.BooleanField()  # False below two labeled classes: then nothing is predicted
    quality = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["revision"]
        constraints = [models.UniqueConstraint(fields=["project", "revision"], name="prediction_set_revision_unique")]

    def __str__(self) -> str:
        return f"predictions {self.revision}"

    @property
    def is_measured(self) -> bool:
        """Whether enough labels were held out to say how good the predictions are."""
        return int(self.quality.get("n_held_out", 0)) >= HELD_OUT_TO_BELIEVE

    @property
    def expected_right(self) -> float | None:
        """The share of the objects without a label that the model expects to be right about; None where all on the map have one,
        and before it can be believed."""
        return self.quality.get("expected_right") if self.is_measured and self.few_images is None else None

    @property
    def few_images(self) -> FewImages | None:
        """Where labels lie in few images: what is predicted in the others is not known to be right (apps/engine/unlabeled_images.py)."""
        return self.quality.get("few_images")

    @property
    def classifier_fault(self) -> str | None:
        """Why the standard classifier predicts in place of the project's own; None where it does not."""
        return self.quality.get("classifier_fault")

    @property
    def quality_to_tell(self) -> dict[str, Any]:
        """The measures, the expected share only where it can be believed; empty where nothing is predicted."""
        return {**self.quality, "expected_right": self.expected_right} if self.quality else {}


class MapRecord(TypedDict):
    """What is told of one of a project's maps: the model behind it, and how good both are. None for what was not measured."""

    number: int
    made_at: str
    objects: int
    model_version: int
    parent: int | None
    """The version that its training went on from."""
    approach: str
    epochs: int | None
    """None where the map is not one that came of a training: the first one, or with objects placed among others."""
    training_s: float | None
    n_labels: int
    """That the last predictions on this map were made from; the measures down to `expected_right` are theirs."""
    n_held_out: int
    accuracy: float | None
    balanced_accuracy: float | None
    expected_right: float | None
    feature_purity: float | None
    map_purity: float | None
    trustworthiness: float | None
    displacement: float | None
    drawn_by: str
    has_predictions: bool
    predicted_by: str
    """Empty where nothing is predicted, and of predictions of before 2026-11-30."""
    shows_labels: bool
    job: int | None
    warnings: list[str]
    """What stood in for what, and why."""


class PredictionState(TypedDict):
    """The numbers of a prediction set that pages show at once."""

    revision: int
    embedding: int
    label_revision: int
    n_labels: int
    balanced_accuracy: float | None
    balanced_between: tuple[float, float] | None
    n_held_out: int
    is_measured: bool
    expected_right: float | None
    few_images: FewImages | None
    classifier_fault: str | None
