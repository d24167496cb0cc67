from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from apps.accounts.models import Organization, User
from apps.projects.permissions import ProjectRole
from apps.projects.querysets import ProjectQuerySet

MIN_SAMPLED_ERROR, MAX_SAMPLED_ERROR = 0.005, 0.1  # shares of wrong labels
MAX_LABEL_CLASSES = 254  # a class value travels as one byte; 0 is "none"


class Project(models.Model):
    """One use case: its images, classes, members, label sets and model versions, apart from every other project's."""

    organization = models.ForeignKey(Organization, models.PROTECT, related_name="projects")
    name = models.CharField(max_length=120)
    description = models.TextField(blank=True)
    patch_size_px = models.PositiveIntegerField(default=64, validators=[MinValueValidator(16), MaxValueValidator(512)])
    encoder_size_px = models.PositiveIntegerField(
        default=64, validators=[MinValueValidator(16), MaxValueValidator(512)]
    )
    approach = models.CharField(max_length=60, default="simclr")
    # The approach's own; what is missing has its default.
    approach_settings = models.JSONField(default=dict, blank=True)
    reducer = models.CharField(max_length=60, default="umap")
    map_shows_labels = models.BooleanField(default=False)  # known classes are drawn apart, whatever the features say
    classifier = models.CharField(max_length=60, default="kernel")
    # Whether a whole selection may be labeled after a look at a random sample, and the error that the sample must exclude.
    allows_sampled = models.BooleanField(default=False)
    max_sampled_error = models.FloatField(
        default=0.02, validators=[MinValueValidator(MIN_SAMPLED_ERROR), MaxValueValidator(MAX_SAMPLED_ERROR)]
    )
    n_objects = models.PositiveIntegerField(default=0)  # ordinals are 0..n_objects-1, without gaps
    last_removed_value = models.PositiveSmallIntegerField(default=0)  # the highest of classes that were removed
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ProjectQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "name"],
                name="project_name_unique",
                violation_error_message="A project of this name already exists in the organization.",
            )
        ]

    def __str__(self) -> str:
        return self.name


class LabelClass(models.Model):
    """A class an object can have. `value` is the one number for it: in buffers, on the wire and in exported masks."""

    project = models.ForeignKey(Project, models.CASCADE, related_name="label_classes")
    value = models.PositiveSmallIntegerField(validators=[MinValueValidator(1), MaxValueValidator(MAX_LABEL_CLASSES)])
    name = models.CharField(max_length=80)
    color = models.CharField(max_length=7)  # "#rrggbb"
    is_uncertain = models.BooleanField(default=False)  # nobody can tell: said in exports
    is_non_object = models.BooleanField(default=False)  # a segmentation fault, not a thing

    class Meta:
        ordering = ["value"]
        constraints = [
            models.UniqueConstraint(fields=["project", "value"], name="label_class_value_unique"),
            models.UniqueConstraint(fields=["project", "name"], name="label_class_name_unique"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def key(self) -> str:
        """The keyboard key that labels with this class; only the first nine have one."""
        return str(self.value) if self.value <= 9 else ""


class ProjectMember(models.Model):
    project = models.ForeignKey(Project, models.CASCADE, related_name="members")
    user = models.ForeignKey(User, models.CASCADE, related_name="project_memberships")
    role = models.CharField(max_length=10, choices=ProjectRole, default=ProjectRole.RATER)
    grants = ArrayField(models.CharField(max_length=40), default=list, blank=True)
    denials = ArrayField(models.CharField(max_length=40), default=list, blank=True)  # a denial wins over a grant

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="project_member_unique")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role} of {self.project})"


JOB_TITLES = {"iteration": "Training", "place": "Placing of new objects", "picture": "Picture search"}


class Job(models.Model):
    """One background run, as the screen shows it. django-q only launches it; this row says what became of it."""

    class State(models.TextChoices):
        QUEUED = "queued"
        RUNNING = "running"
        FINISHED = "finished"
        FAILED = "failed"
        CANCELLED = "cancelled"

    project = models.ForeignKey(Project, models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=20)
    task = models.CharField(max_length=120)
    queue = models.CharField(max_length=10)
    params = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    stage = models.CharField(max_length=40, blank=True)
    progress = models.FloatField(default=0.0)
    message = models.CharField(max_length=400, blank=True)
    log = models.TextField(blank=True)
    error = models.TextField(blank=True)
    result = models.JSONField(default=dict)
    cancel_requested = models.BooleanField(default=False)
    requested_by = models.ForeignKey(User, models.PROTECT, null=True, related_name="+")
    worker = models.CharField(max_length=120, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    # So many workers died of it since one got further than all before, and how far that was, as a share of 1.
    deaths = models.PositiveSmallIntegerField(default=0, db_default=0)
    furthest = models.FloatField(default=0.0, db_default=0.0)
    lease_expires_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["project", "-id"], name="job_by_project"),
            models.Index(fields=["state", "lease_expires_at"], name="job_by_lease"),
        ]
        constraints = [
            # One iteration at a time per project: two would race for the same next map.
            models.UniqueConstraint(
                fields=["project", "kind"],
                condition=models.Q(state__in=["queued", "running"], kind="iteration"),
                name="one_active_iteration_per_project",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk} ({self.state})"

    @property
    def title(self) -> str:
        """What it is called on the screen."""
        if self.kind == "iteration" and not self.params.get("train", True):
            return "New map"
        return JOB_TITLES.get(self.kind, self.kind.capitalize())

    @property
    def is_active(self) -> bool:
        return self.state in (self.State.QUEUED, self.State.RUNNING)
