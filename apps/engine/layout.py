"""Geometry of plot coordinates without UMAP: alignment to an earlier map, principal components, small fixed layouts."""

from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

# Objects that moved more than this quantile of all do not steer the alignment: labels may have pulled them elsewhere.
STEADY_SHARE = 0.7
# Random small groups that propose an alignment, and the most objects that judge each: together some 20 ms.
ALIGNMENT_TRIALS = 200
MOST_JUDGES = 1000
# Principal directions of more objects are those of an even sample of them.
MOST_FOR_COMPONENTS = 20_000
# A stripe across the map in which nothing lies is at most this part of what is filled of the map's longer side.
WIDEST_GAP = 0.05
# Fewer objects have gaps by chance.
FEWEST_FOR_GAPS = 100
GOLDEN_ANGLE = np.pi * (3 - np.sqrt(5))


def align_to(points: Floats, previous: Floats) -> Floats:
    """`points` (n, 2) rotated, mirrored, scaled and moved as one to lie as well as they can on `previous` (n, 2).

    Rows of `previous` with NaN have no earlier place and follow the others. The fit is orthogonal Procrustes
    (Schoenemann 1966) on the objects that moved least, found by the least median of squares (Rousseeuw 1984): clusters
    that labels pulled elsewhere do not turn or shrink the rest of the map. Those that moved least keep the width that they had.
    """
    known = np.isfinite(previous).all(axis=1)
    if not known.any():
        return points
    source, target = points[known].astype(np.float64), previous[known].astype(np.float64)
    matrix, shift = _steadiest_fit(source, target)
    for _ in range(3):
        residuals = np.linalg.norm(source @ matrix + shift - target, axis=1)
        steady = residuals <= np.quantile(residuals, STEADY_SHARE)
        matrix, shift = _similarity(source[steady], target[steady])
    return (points @ matrix + shift).astype(np.float32)


def _steadiest_fit(source: Points, target: Points) -> tuple[Points, Points]:
    """Of fits to all objects and to random few, the one with the smallest median distance; the draws are fixed."""
    rng = np.random.default_rng(0)
    judges = rng.permutation(len(source))[:MOST_JUDGES]
    best = _similarity(source, target)
    least = _median_distance(source[judges], target[judges], best)
    for trial in range(ALIGNMENT_TRIALS):
        few = rng.integers(0, len(source), 3 + trial % 6)
        candidate = _similarity(source[few], target[few])
        distance = _median_distance(source[judges], target[judges], candidate)
        if distance < least:
            best, least = candidate, distance
    return best


def _median_distance(source: Points, target: Points, fit: tuple[Points, Points]) -> float:
    """In widths halfway between the two maps': by the target's, a fit that makes the map smaller would seem nearer, and each new
    map would be smaller than the one before."""
    distance = float(np.median(np.linalg.norm(source @ fit[0] + fit[1] - target, axis=1)))
    return distance / abs(float(np.linalg.det(fit[0]))) ** 0.25


def _similarity(source: Points, target: Points) -> tuple[Points, Points]:
    """The 2 x 2 matrix and the shift of the `source @ matrix + shift` that is turned as in least squares and as wide as `target`.

    The scale of least squares is that times the correlation of the two: each new map would be smaller than the one before.
    """
    source_center, target_center = source.mean(axis=0), target.mean(axis=0)
    source, target = source - source_center, target - target_center
    spread, wanted = float((source**2).sum()), float((target**2).sum())
    if min(spread, wanted) <= 1e-12:  # one place: nothing says how to turn or to scale
        return np.eye(2), target_center - source_center
    left, _values, right = np.linalg.svd(source.T @ target)
    matrix = (left @ right) * np.sqrt(wanted / spread)
    return matrix, target_center - source_center @ matrix


def without_wide_gaps(points: Floats) -> Floats:
    """`points` (n, 2) with the empty stripes across the map, from top to bottom or from side to side, narrowed to `WIDEST_GAP`.

    How far islands lie apart says little (Coenen and Pearce, Understanding UMAP, 2019), and takes the room in which a person looks at them:
    two stains' nuclei had a fifth of the screen. Within what lies together nothing changes; done twice, it is done once. For the
    screen alone: layouts go on from their own places.
    """
    if len(points) < FEWEST_FOR_GAPS:
        return points
    order = np.argsort(points, axis=0, kind="stable")
    along = np.take_along_axis(points, order, axis=0).astype(np.float64)
    gaps = np.diff(along, axis=0)
    ascending = np.sort(gaps, axis=0)
    up_to = np.concatenate([np.zeros((1, 2)), np.cumsum(ascending, axis=0)])
    widest = float(ascending[-1].max())
    least = widest / 1000  # islands that are points are not laid upon each other
    while widest > least:  # fewer gaps are as narrow then, and what is left of the map is shorter
        filled = max(up_to[np.searchsorted(ascending[:, axis], widest, "right"), axis] for axis in (0, 1))
        narrower = max(least, WIDEST_GAP * float(filled))
        if narrower >= widest * (1 - 1e-6):
            break
        widest = narrower
    taken = np.maximum(gaps - widest, 0)
    if not taken.any():
        return points
    along[1:] -= np.cumsum(taken, axis=0)
    narrowed = np.empty_like(points)
    np.put_along_axis(narrowed, order, along.astype(points.dtype), axis=0)
    return narrowed


def principal_components(features: npt.NDArray[np.floating[Any]]) -> Points:
    """Coordinates (n, 2) along the two directions in which `features` (n, d) differ most; zeros where they do not."""
    points = np.zeros((len(features), 2))
    if len(features) < 2 or features.shape[1] == 0:
        return points
    sample = features[:: -(-len(features) // MOST_FOR_COMPONENTS)].astype(np.float64)
    center = sample.mean(axis=0)
    centered = sample - center
    if len(features) <= features.shape[1]:
        values, vectors = np.linalg.eigh(centered @ centered.T)  # (n, n): cheaper, and the same components
        components = vectors * np.sqrt(np.maximum(values, 0))
    else:
        _values, vectors = np.linalg.eigh(centered.T @ centered)
        blocks = np.split(features, range(MOST_FOR_COMPONENTS, len(features), MOST_FOR_COMPONENTS))
        components = np.concatenate([(block - center) @ vectors[:, -2:] for block in blocks])
    for column in range(min(2, components.shape[1])):
        component = components[:, -1 - column]
        # A component's sign is arbitrary; the largest entry decides it, so that it is the same everywhere.
        points[:, column] = component * np.sign(component[np.argmax(np.abs(component))] or 1.0)
    return points


def spiral(n: int) -> Points:
    """n distinct places (n, 2) in a disk of radius 1, evenly spread (a sunflower's)."""
    index = np.arange(n)
    radius = np.sqrt((index + 0.5) / max(1, n))
    return np.column_stack([radius * np.cos(index * GOLDEN_ANGLE), radius * np.sin(index * GOLDEN_ANGLE)])


def small_layout(features: Floats) -> Floats:
    """Places (n, 2) for few objects, or for objects all alike: by principal components, none exactly on another."""
    points = principal_components(features)
    largest = float(np.abs(points).max(initial=0.0))
    # What is left of objects all alike is rounding, and no direction to show.
    if largest > 1e-6 * max(1.0, float(np.abs(features).max(initial=0.0))):
        points = points / largest * 10
    else:
        points = np.zeros_like(points)
    spread = 0.1 if points.any() else 1.0
    return (points + spread * spiral(len(points))).astype(np.float32)
