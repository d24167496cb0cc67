"""What lies around an object says what it is: a nucleus among those of a gland is likely one of them.

Predictions come from an object's features and from the mean of the features of those next to it in its image. Maps, groups
and similar objects come from its own alone: with the others' they would be of places more than of objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from apps.engine.errors import EngineError
from apps.engine.jit import half_to_float, sum_kernel
from apps.engine.pixels import StoredImage, read_centroids

# From 1,000 labels on CoNSeP's nuclei, 0.878 of the others are predicted rightly with what lies around and 0.859 without it; on
# Chula's red blood cells, which float about, 0.756 and 0.764 (`predict` of tests/benchmarks). With 32 neighbors or all columns it
# is the same to half a hundredth.
N_AROUND = 16
# So many columns, the first ones: where features are principal components, those that most objects differ in.
N_COLUMNS = 32


@dataclass(frozen=True)
class Surroundings:
    """Which objects lie around each, by ordinal."""

    table: npt.NDArray[np.int32]
    """(n, 1 + N_AROUND): what number its image has, counted from 0, and then what `nearest` is."""

    def __len__(self) -> int:
        return len(self.table)

    @property
    def image(self) -> npt.NDArray[np.int32]:
        """(n,): objects of the same image have the same number."""
        return self.table[:, 0]

    @property
    def nearest(self) -> npt.NDArray[np.int32]:
        """(n, N_AROUND): the ordinals of the nearest others in the same image, the nearest first; -1 where it has no more."""
        return self.table[:, 1:]


def find_surroundings(images: Sequence[StoredImage]) -> Surroundings:
    """By the distance of centroids. Takes 4 s of a million objects. Raises EngineError for missing or damaged files."""
    table = np.full((sum(image.n_objects for image in images), 1 + N_AROUND), -1, np.int32)
    for number, image in enumerate(images):
        rows = table[image.first_ordinal : image.first_ordinal + image.n_objects]
        rows[:, 0] = number
        k = min(N_AROUND, image.n_objects - 1)
        if k < 1:
            continue
        places = read_centroids(image)
        nearest = np.asarray(KDTree(places).query(places, k=k + 1)[1], np.int32)
        # Of objects in the very same place, one may not find itself first.
        itself = nearest == np.arange(image.n_objects)[:, None]
        itself[~itself.any(axis=1), -1] = True
        rows[:, 1 : 1 + k] = nearest[~itself].reshape(image.n_objects, k) + image.first_ordinal
    return Surroundings(table)


def with_surroundings(features: npt.NDArray[np.float16], surroundings: Surroundings) -> npt.NDArray[np.float16]:
    """What predictions are made from: features (n, d), beside them the mean of their first N_COLUMNS over the nearest others.

    Float16, (n, d + N_COLUMNS), (n, 2 d) where d is less. The mean is 0 for an object without any around it, and what is not
    finite counts as 0: features have about 0 as the mean of all. Raises EngineError where `surroundings` are other objects'.
    """
    n, dimension = features.shape
    check_same_objects(n, surroundings)
    n_columns = min(N_COLUMNS, dimension)
    both = np.empty((n, dimension + n_columns), np.float16)
    both[:, :dimension] = features
    mean = np.empty((n, n_columns), np.float32)
    _mean_around(both[:, :n_columns].copy().view(np.uint16), surroundings.nearest, mean)
    both[:, dimension:] = mean
    return both


def check_same_objects(n: int, surroundings: Surroundings) -> None:
    """Raises EngineError where `surroundings` are not those of n objects: kernels would read beyond their ends."""
    if len(surroundings) != n or surroundings.table.max(initial=-1) >= n:
        raise EngineError(f"There are features of {n} objects, but it is said what lies around {len(surroundings)}")


@sum_kernel
def _mean_around(bits: Any, around: Any, mean: Any) -> Any:
    n_columns = mean.shape[1]
    for i in range(len(mean)):
        mean[i] = 0
        count = 0
        for j in around[i]:
            if j >= 0:
                count += 1
                for column in range(n_columns):
                    if (bits[j, column] & 0x7C00) != 0x7C00:  # neither infinite nor no number
                        mean[i, column] += half_to_float(bits[j, column])
        if count:
            mean[i] /= count
