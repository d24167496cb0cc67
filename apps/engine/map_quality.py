"""How good a map is: whether it shows the features' neighbors, how far objects moved from the map before, and whether what is
near is of a class."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

# Of more objects a sample is judged: what follows takes under a second at any size.
MOST_JUDGED = 5_000
MOST_ROWS = 1_000
N_NEIGHBORS = 15
# The neighbors of a class that are asked for, as in the benchmarks, among so many labels at most.
N_OF_A_CLASS = 20
MOST_LABELS = 20_000
# On fewer held-out labels the share is a matter of luck.
FEWEST_HELD_OUT = 40


def trustworthiness(
    features: npt.NDArray[np.floating[Any]],
    points: Floats,
    *,
    k: int = N_NEIGHBORS,
    most_judged: int = MOST_JUDGED,
    seed: int = 0,
) -> float | None:
    """How few of each object's k neighbors on the map (n, 2) are strangers in the features (n, d): 1 = none, 0.5 = as by
    chance (Venna and Kaski 2001, equation 1). Of more than `most_judged` objects, that of a random sample of them; such
    figures compare maps of the same objects. None where there are too few objects to say (2k + 1 are needed).
    """
    n = len(features)
    rng = np.random.default_rng(seed)
    if n > most_judged:
        judged = np.sort(rng.choice(n, most_judged, replace=False))
        features, points, n = features[judged], points[judged], most_judged
    if n < 2 * k + 1:
        return None
    rows = np.arange(n) if n <= MOST_ROWS else np.sort(rng.choice(n, MOST_ROWS, replace=False))
    vectors = np.nan_to_num(features.astype(np.float32))
    vectors -= vectors.mean(axis=0)
    penalty = 0
    for first in range(0, len(rows), 256):
        block = rows[first : first + 256]
        itself = np.arange(len(block)), block
        on_map = _squared_distances(points, block)
        on_map[itself] = np.inf
        shown = np.argpartition(on_map, k - 1, axis=1)[:, :k]  # (rows, k)
        in_features = _squared_distances(vectors, block)
        in_features[itself] = -np.inf
        for row, columns in zip(in_features, shown, strict=True):
            # The number of others at least as near, the object itself left out: 1 for the nearest.
            ranks = np.searchsorted(np.sort(row), row[columns], side="left")
            penalty += int(np.maximum(ranks - k, 0).sum())
    return 1 - 2 * penalty / (len(rows) * k * (2 * n - 3 * k - 1))


def median_displacement(points: Floats, previous: Floats) -> float | None:
    """The median way from `previous` to `points` (n, 2), as a share of the former map's width; of objects on both. None
    where there is none, or the former map has no width."""
    known = np.isfinite(previous).all(axis=1)
    if not known.any():
        return None
    width = float(np.ptp(previous[known], axis=0).max())
    if width == 0:
        return None
    return float(np.median(np.linalg.norm(points[known] - previous[known], axis=1))) / width


def label_purity(
    places: npt.NDArray[np.floating[Any]],
    class_values: npt.NDArray[np.uint8],
    held_out: npt.NDArray[np.bool_],
    *,
    k: int = N_OF_A_CLASS,
    seed: int = 0,
) -> float | None:
    """The share of the k nearest labeled objects that have an object's own class, in the mean over objects with a held-out label.

    `places` (n, d) are features or a map; `class_values` (n,), 0 = none; the neighbors are those with a label that is not held out
    (n,), so that neither a network nor a map that knew labels is praised for showing them. It grows with the number of labels. Of very
    many, that of a random sample. None where too few are held out, or fewer than k others labeled.
    """
    rng = np.random.default_rng(seed)
    judged, among = np.flatnonzero(held_out & (class_values > 0)), np.flatnonzero(~held_out & (class_values > 0))
    if len(judged) < FEWEST_HELD_OUT or len(among) < k:
        return None
    judged = np.sort(rng.choice(judged, min(len(judged), MOST_ROWS), replace=False))
    among = np.sort(rng.choice(among, min(len(among), MOST_LABELS), replace=False))
    own, others = (np.nan_to_num(places[rows].astype(np.float32)) for rows in (judged, among))
    middle = others.mean(axis=0)
    own, others = own - middle, others - middle
    half_squares = np.einsum("nd,nd->n", others, others) / 2
    n_same = 0
    for first in range(0, len(judged), 256):
        block = slice(first, first + 256)
        # Half the squared distances, without what is the same for a whole row.
        nearest = np.argpartition(half_squares - own[block] @ others.T, k - 1, axis=1)[:, :k]
        n_same += int((class_values[among[nearest]] == class_values[judged[block], None]).sum())
    return n_same / (len(judged) * k)


def _squared_distances(points: Floats, rows: npt.NDArray[np.intp]) -> Floats:
    squares = np.einsum("nd,nd->n", points, points)
    distances: Floats = squares[rows, None] + squares[None, :] - 2 * (points[rows] @ points.T)
    return distances
