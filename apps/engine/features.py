"""Features of objects: what a network makes of them and what the descriptors say, on one scale, as unit vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.durable import replacing
from apps.engine.errors import EngineError

Floats = npt.NDArray[np.float32]
Part = npt.NDArray[np.floating[Any]]

SPACE_NAME = "space.npy"
# Rows that the scale is taken from: more change nothing that can be seen.
FITTED_ROWS = 100_000
BLOCK_ROWS = 8192
# In standard deviations: one object with a torn outline must not be the measure of all distances.
FARTHEST = 4.0


@dataclass(frozen=True)
class FeatureSpace:
    """How parts, each (n, its own width), become features (n, width of all): centered, scaled, cut, joined, length 1.

    Every part has the same say: after centering its rows have a mean length of 1. Made once for a model version and
    kept with it, so that objects that come later get features that compare.
    """

    center: Floats  # (d,)
    scale: Floats  # (d,)
    limit: Floats  # (d,) of the scaled value, both ways
    widths: tuple[int, ...]

    @classmethod
    def fit(cls, parts: Sequence[Part], standardized: Sequence[bool]) -> FeatureSpace:
        """From the features of all objects. `standardized[i]`: whether each column of part i gets the same variance, as
        columns of different units need; a network's keep theirs."""
        centers, scales, limits = [], [], []
        for part, by_column in zip(parts, standardized, strict=True):
            step = max(1, len(part) // FITTED_ROWS)
            rows = _finite(part[::step])
            center = rows.mean(axis=0)
            rows -= center
            scale = np.ones(rows.shape[1], np.float32)
            if by_column:
                spread = rows.std(axis=0)
                # A column that is the same everywhere says nothing, and its rounding errors must not.
                varies = spread > 1e-6 * np.maximum(1.0, np.abs(center))
                scale = np.where(varies, 1 / np.where(varies, spread, 1), 0).astype(np.float32)
            limit = np.full(rows.shape[1], FARTHEST if by_column else np.inf, np.float32)
            length = float(np.linalg.norm(np.clip(rows * scale, -limit, limit), axis=1).mean())
            length = length if length > 0 else 1.0
            centers.append(center)
            scales.append(scale / length)
            limits.append(limit / length)
        return cls(
            np.concatenate(centers).astype(np.float32),
            np.concatenate(scales).astype(np.float32),
            np.concatenate(limits).astype(np.float32),
            tuple(part.shape[1] for part in parts),
        )

    def join(self, parts: Sequence[Part]) -> npt.NDArray[np.float16]:
        """Features (n, d) float16, rows of length 1 (0 for an object that is the mean of all in everything)."""
        if tuple(part.shape[1] for part in parts) != self.widths:
            raise EngineError(f"features of {[part.shape[1] for part in parts]} numbers do not fit {list(self.widths)}")
        n = len(parts[0])
        features = np.empty((n, len(self.center)), np.float16)
        for first in range(0, n, BLOCK_ROWS):
            rows = np.concatenate([part[first : first + BLOCK_ROWS].astype(np.float32) for part in parts], axis=1)
            # What is not known is taken to be as in the mean of all.
            rows = np.where(np.isfinite(rows), rows, self.center)
            rows = np.clip((rows - self.center) * self.scale, -self.limit, self.limit)
            length = np.linalg.norm(rows, axis=1, keepdims=True)
            features[first : first + BLOCK_ROWS] = rows / np.where(length > 0, length, 1)
        return features

    def save(self, folder: Path) -> None:
        """Into a model's folder."""
        widths = np.repeat(np.arange(len(self.widths), dtype=np.float32), self.widths)
        with replacing(folder / SPACE_NAME) as file:
            stacked = np.stack([self.center, self.scale, self.limit, widths])
            np.lib.format.write_array(file, stacked, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path) -> FeatureSpace | None:
        """From a model's folder; None where it holds none."""
        try:
            center, scale, limit, part = np.load(folder / SPACE_NAME, allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EngineError(f"{SPACE_NAME} of the model in {folder.name} cannot be read: {error}") from error
        return cls(center, scale, limit, tuple(np.bincount(part.astype(np.int64)).tolist()))


def _finite(part: Part) -> Floats:
    return np.nan_to_num(part.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
