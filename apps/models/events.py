from __future__ import annotations

from typing import Literal, TypedDict


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


class PredictionState(TypedDict):
    """The numbers of a prediction set that pages show at once."""

    revision: int
    embedding: int
    n_labels: int
    balanced_accuracy: float | None
    balanced_between: tuple[float, float] | None
    n_held_out: int
    expected_right: float | None


class PredictionsReady(PredictionState):
    type: Literal["predictions.ready"]
