from __future__ import annotations

from django.db import models

from apps.projects.models import Job, Project


class ModelVersion(models.Model):
    """Weights with their parent, approach, settings and measured quality."""

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
    """One model version's vectors, plot coordinates and predictions for the objects 0..n-1, in files by ordinal."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="embeddings")
    number = models.PositiveIntegerField()
    model_version = models.ForeignKey(ModelVersion, models.PROTECT, related_name="embeddings")
    job = models.OneToOneField(Job, models.SET_NULL, null=True, related_name="embedding")
    n = models.PositiveIntegerField()
    dimension = models.PositiveIntegerField()
    has_predictions = models.BooleanField(default=False)
    quality = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="embedding_number_unique")]

    def __str__(self) -> str:
        return f"map {self.number}"
