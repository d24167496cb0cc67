from __future__ import annotations

from typing import Literal, TypedDict


class EmbeddingReady(TypedDict):
    type: Literal["embedding.ready"]
    number: int
    n: int
