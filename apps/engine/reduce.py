"""Features to plot coordinates: a map that starts from and is aligned to the one before, whatever reducer draws it."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.arrays import read_only
from apps.engine.descent import descend
from apps.engine.errors import EngineError
from apps.engine.fuzzy import Graph, memberships
from apps.engine.layout import align_to, small_layout
from apps.engine.neighbors import nearest_among
from apps.engine.plugins import Callers
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop
from apps.engine.reducers import N_NEIGHBORS, Layout, rows_of, scale_to_forces
from apps.engine.registry import REDUCERS, Reducer

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.floating[Any]]

# A layout of fewer is noise; they are placed by principal components.
FEWEST_FOR_REDUCER = 12
# Of more objects, this many landmarks are laid out and the rest is placed among them.
MOST_LAID_OUT = 1_000_000
N_LANDMARKS = 250_000
# Objects placed among others settle in a few small steps.
PLACING_EPOCHS = 10
PLACING_ALPHA = 0.3
# A preview takes time to align, write and send; it may take this share of the layout's.
PREVIEW_SECONDS = 1.5
PREVIEW_SHARE = 0.1
# Steps on the bar, where a whole layout has 100.
LANDMARK_STEPS, SETTLING_STEPS = 30, 20
# As stored, in float16; beyond, squares of differences leave float32.
LARGEST_FEATURE = np.float32(65504)
CHECKED_ROWS = 65_536


def reduce_to_plot(
    features: Vectors,
    *,
    reducer: str = "umap",
    previous: Floats | None = None,
    class_values: npt.NDArray[np.uint8] | None = None,
    seed: int = 0,
    most_laid_out: int = MOST_LAID_OUT,
    n_landmarks: int = N_LANDMARKS,
    on_points: Callable[[Floats], None] | None = None,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Floats:
    """Plot coordinates (n, 2) float32 of `features` (n, d); finite, and the same for the same input and seed.

    `previous` (n, 2) holds the earlier coordinates, NaN in the rows of objects that had none: those start among their
    nearest neighbors. The result is turned, mirrored, scaled and moved onto the earlier map.

    `class_values` (n,), 0 = none, make the layout supervised: known classes are drawn apart, so the map then shows the
    labels themselves (where `heeds_classes`). Of more than `most_laid_out` objects a random `n_landmarks` are laid out, the others placed.

    `on_points` gets all coordinates as they are, aligned, every second or two while the layout runs. Reports the stage
    "drawing the map"; raises `Stopped`, and `EngineError` where an array is not of n rows, there is no such reducer, or it fails.
    """
    n = len(features)
    callers = Callers()
    on_progress, should_stop = callers.watched(on_progress), callers.watched(should_stop)
    on_points = None if on_points is None else callers.watched(on_points)
    lay_out = _checked(REDUCERS.get(reducer), callers)
    if previous is not None and previous.shape != (n, 2):
        raise EngineError(f"There are {n} objects, but earlier coordinates of shape {previous.shape}")
    if class_values is not None and class_values.shape != (n,):
        raise EngineError(f"There are {n} objects, but classes of shape {class_values.shape}")
    start = _known_places(previous, n)
    vectors = _usable(features)
    if _is_plain(vectors):
        on_progress("drawing the map", 1.0, "")
        return align_to(small_layout(vectors.astype(np.float32)), start)
    preview = _Preview(start, on_points)
    if n > most_laid_out:
        progress = Progress("drawing the map", LANDMARK_STEPS + 100 + SETTLING_STEPS, on_progress, should_stop)
        points = _by_landmarks(vectors, start, class_values, lay_out, seed, n_landmarks, progress, preview)
    else:
        progress = Progress("drawing the map", 100, on_progress, should_stop)
        points = lay_out(Layout(vectors, start, class_values, seed, progress, preview.show))
    return align_to(points, start)


def heeds_classes(features: Vectors, reducer: str) -> bool:
    """Whether a map of `features` (n, d) would show known classes apart: neither does one of so few objects, or of objects so
    alike, that all reducers' would be the same, nor one of a reducer that takes no account of them."""
    return REDUCERS.get(reducer).heeds_classes and not _is_plain(_usable(features))


def _checked(reducer: Reducer, callers: Callers) -> Callable[[Layout], Floats]:
    """The reducer, which gets what it cannot change, and is blamed for what it raises and for what no map can be."""
    lay_out = reducer.load()

    def laid_out(layout: Layout) -> Floats:
        n = len(layout.vectors)
        classes = None if layout.class_values is None else read_only(layout.class_values)
        given = replace(layout, vectors=read_only(layout.vectors), start=read_only(layout.start), class_values=classes)
        with reducer.blamed(callers):
            points = np.asarray(lay_out(given))
        if points.shape != (n, 2):
            raise EngineError(f"the reducer {reducer.name} gave coordinates of shape {points.shape} for {n} objects")
        if points.dtype.kind not in "fiu":
            raise EngineError(f"the reducer {reducer.name} gave coordinates that are no numbers, but {points.dtype}")
        with np.errstate(over="ignore"):
            places: Floats = points.astype(np.float32)
        if not np.isfinite(places).all():
            raise EngineError(f"the reducer {reducer.name} gave coordinates that are not finite")
        return places

    return laid_out


def place_new(
    features: Vectors,
    coordinates: Floats,
    *,
    seed: int = 0,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Floats:
    """`coordinates` (n, 2) with a place for each object that has none, NaN in its row; the others stay exactly there.

    A new object comes to the weighted mean of its nearest neighbors that have a place, and settles there under UMAP's
    forces. Takes seconds for thousands, as nothing is laid out anew. Raises `Stopped`, and `EngineError` where the
    arrays differ in length or no object has a place.
    """
    if coordinates.shape != (len(features), 2):
        raise EngineError(f"There are {len(features)} objects, but coordinates of shape {coordinates.shape}")
    start = _known_places(coordinates, len(features))
    known = ~np.isnan(start[:, 0])
    if known.all():
        return start
    if not known.any():
        raise EngineError("no object has a place on the map yet, so none can be placed beside it")
    progress = Progress("drawing the map", LANDMARK_STEPS + SETTLING_STEPS, on_progress, should_stop)
    new, placed = np.flatnonzero(~known), np.flatnonzero(known)
    neighbors, distances = _nearest_placed(_usable(features), new, placed, seed, progress)
    start[new] = _settled(start[placed], neighbors, distances, start[new], seed, progress)
    return start


def _by_landmarks(
    vectors: Vectors,
    start: Floats,
    class_values: npt.NDArray[np.uint8] | None,
    lay_out: Callable[[Layout], Floats],
    seed: int,
    n_landmarks: int,
    progress: Progress,
    preview: "_Preview",
) -> Floats:
    """A layout of random landmarks, in which the rest is placed; from their former places, where they had one."""
    n = len(vectors)
    landmarks = np.sort(np.random.default_rng(seed).choice(n, n_landmarks, replace=False))
    is_landmark = np.zeros(n, bool)
    is_landmark[landmarks] = True
    rest = np.flatnonzero(~is_landmark)
    neighbors, distances = _nearest_placed(vectors, rest, landmarks, seed, progress)
    places = np.empty((n, 2), np.float32)

    def show(points: Floats) -> None:
        if preview.is_due:
            places[landmarks], places[rest] = points, points[neighbors[:, 0]]
            preview.show(places)

    classes = None if class_values is None else class_values[landmarks]
    points = lay_out(Layout(vectors[landmarks], start[landmarks], classes, seed, progress, show))
    # Onto the former map first: then the former places of the rest are where they start from.
    points = align_to(points, start[landmarks])
    places[landmarks] = points
    places[rest] = _settled(points, neighbors, distances, start[rest], seed, progress)
    return places


def _nearest_placed(
    vectors: Vectors, rows: npt.NDArray[np.intp], placed: npt.NDArray[np.intp], seed: int, progress: Progress
) -> tuple[Indices, Floats]:
    """The neighbors of each of the `rows` among the placed, as places in `placed`, and their distances: (m, k) each."""
    found = nearest_among(
        rows_of(vectors, rows), rows_of(vectors, placed), min(N_NEIGHBORS, len(placed)),
        seed=seed, check=progress.raise_if_stopped,
    )  # fmt: skip
    progress.advance(LANDMARK_STEPS, "neighbors found")
    return found


def _settled(
    placed: Floats, neighbors: Indices, distances: Floats, start: Floats, seed: int, progress: Progress
) -> Floats:
    """Places (m, 2) among the `placed` (n, 2), which do not move: from `start`, or, where that is NaN, from the weighted
    mean of the neighbors, a few epochs of UMAP's forces."""
    m, k = neighbors.shape
    weights = memberships(distances)
    shares = weights / weights.sum(axis=1, keepdims=True)
    points = np.einsum("mk,mkc->mc", shares, placed[neighbors])
    known = ~np.isnan(start[:, 0])
    points[known] = start[known]
    scale = scale_to_forces(placed)
    everyone = np.ascontiguousarray(np.vstack([points, placed]) * scale, dtype=np.float32)
    # Equal objects would stay on one spot.
    everyone[:m] += np.random.default_rng(seed).normal(scale=1e-3, size=points.shape).astype(np.float32)
    graph = Graph(np.arange(m + 1, dtype=np.int64) * k, (neighbors + m).astype(np.int32).ravel(), weights.ravel())
    descend(
        everyone, graph, n_epochs=PLACING_EPOCHS, alpha=PLACING_ALPHA, seed=seed,
        after_epoch=lambda done: progress.advance(SETTLING_STEPS // PLACING_EPOCHS),
    )  # fmt: skip
    settled: Floats = everyone[:m] / np.float32(scale)
    return settled


class _Preview:
    """Gives the places to whoever wants to see them, aligned to the former map, and not too often."""

    def __init__(self, start: Floats, on_points: Callable[[Floats], None] | None) -> None:
        self._start = start
        self._on_points = on_points
        self._next = time.monotonic() + PREVIEW_SECONDS

    @property
    def is_due(self) -> bool:
        return self._on_points is not None and time.monotonic() >= self._next

    def show(self, points: Floats) -> None:
        if not self.is_due or self._on_points is None:
            return
        began = time.monotonic()
        self._on_points(align_to(points, self._start))
        now = time.monotonic()
        self._next = now + max(PREVIEW_SECONDS, (now - began) / PREVIEW_SHARE)


def _known_places(places: Floats | None, n: int) -> Floats:
    """A copy (n, 2) whose rows are numbers or NaN as a whole."""
    known = np.full((n, 2), np.nan, np.float32) if places is None else places.astype(np.float32)
    known[~np.isfinite(known).all(axis=1)] = np.nan
    return known


def _usable(features: Vectors) -> Vectors:
    """The features without what arithmetic breaks at; what is fine already, as stored, is not copied."""
    for first in range(0, len(features), CHECKED_ROWS):
        block = features[first : first + CHECKED_ROWS]
        if not (np.abs(block) <= LARGEST_FEATURE).all():
            numbers = np.nan_to_num(features.astype(np.float32), nan=0.0)
            clipped: Vectors = np.clip(numbers, -LARGEST_FEATURE, LARGEST_FEATURE)
            return clipped
    return features


def _is_plain(vectors: Vectors) -> bool:
    return len(vectors) < FEWEST_FOR_REDUCER or _all_alike(vectors)


def _all_alike(vectors: Vectors) -> bool:
    blocks = range(0, len(vectors), CHECKED_ROWS)
    return not any((vectors[first : first + CHECKED_ROWS] != vectors[0]).any() for first in blocks)
