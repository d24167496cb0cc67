from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from apps.models.models import Embedding, ModelVersion
from apps.projects.files import project_folder
from apps.projects.models import Project


def latest_embedding(project: Project) -> Embedding | None:
    """The map that pages show: the newest one."""
    return project.embeddings.select_related("model_version").order_by("-number").first()


def latest_model_version(project: Project) -> ModelVersion | None:
    return project.model_versions.order_by("-number").first()


def model_folder(version: ModelVersion) -> Path:
    return project_folder(version.project) / "models" / str(version.number)


def embedding_folder(embedding: Embedding) -> Path:
    return project_folder(embedding.project) / "embeddings" / str(embedding.number)


@dataclass(frozen=True)
class Predictions:
    """What a model version says of every object: class value uint8 (n,), 0 = none, and confidence uint8 (n,) in 1/255."""

    classes: NDArray[np.uint8]
    confidence: NDArray[np.uint8]


def predictions(embedding: Embedding | None, n_objects: int) -> Predictions:
    """Predictions for the objects 0..n_objects-1; none for objects that came after the embedding."""
    found = Predictions(np.zeros(n_objects, np.uint8), np.zeros(n_objects, np.uint8))
    if embedding is not None:
        folder = embedding_folder(embedding)
        found.classes[: embedding.n] = np.load(folder / "classes.npy", mmap_mode="r")
        found.confidence[: embedding.n] = np.load(folder / "confidence.npy", mmap_mode="r")
    return found


def vectors(embedding: Embedding) -> NDArray[np.float16]:
    """The embedding's vectors, float16 (n, d), memory-mapped."""
    loaded: NDArray[np.float16] = np.load(embedding_folder(embedding) / "vectors.npy", mmap_mode="r")
    return loaded


def coordinates(embedding: Embedding) -> NDArray[np.float32]:
    """The embedding's plot coordinates, float32 (n, 2)."""
    loaded: NDArray[np.float32] = np.load(embedding_folder(embedding) / "coordinates.npy")
    return loaded
