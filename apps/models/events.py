from __future__ import annotations

from typing import Literal, TypedDict

from apps.models.models import PredictionState


class EmbeddingReady(TypedDict):
    type: Literal["embedding.ready"]
    number: int
    n: int


class EmbeddingPreview(TypedDict):
    """A layout that still runs has new places to show (see `selectors.preview_file`)."""

    type: Literal["embedding.preview"]
    job: int
    step: int
    n: int


class PredictionsReady(PredictionState):
    type: Literal["predictions.ready"]
