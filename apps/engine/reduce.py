"""Features to plot coordinates by UMAP (McInnes, Healy and Melville 2018), started from and aligned to the map before.

umap-learn makes the graph; the layout's steps are run here, since umap-learn compiles its own anew in every process
(8 s for 500 objects, 30 s with its neighbor search), cannot be stopped, and rescales each axis of a given start.
Importing this module imports umap-learn and with it numba, which takes seconds: import it where it is used.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse
from pynndescent import NNDescent
from umap.umap_ import find_ab_params, fuzzy_simplicial_set, make_epochs_per_sample

from apps.engine.errors import EngineError
from apps.engine.jit import kernel
from apps.engine.layout import align_to, principal_components, small_layout
from apps.engine.progress import Progress, ProgressCallback, StopCallback, ignore_progress, never_stop

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]

N_NEIGHBORS = 15
MIN_DIST = 0.1
# UMAP of fewer is noise; they are placed by principal components.
FEWEST_FOR_UMAP = 12
# Up to here the neighbors are found exactly, which needs no compilation; beyond, pynndescent's search is faster.
MOST_FOR_EXACT_NEIGHBORS = 20_000
BLOCK_ROWS = 1024
# A map that starts from the one before needs less, and should not wander (performance.md: displacement 0.044 of the
# map's width against 0.65 for a fresh fit, at equal quality).
WARM_EPOCHS = 50
WARM_ALPHA = 0.3
# A new object starts at the mean of this many neighbors that have a place; at most so many are searched.
PLACING_NEIGHBORS = 5
MOST_PLACING_ANCHORS = 20_000


def reduce_to_plot(
    features: npt.NDArray[np.floating[Any]],
    *,
    previous: Floats | None = None,
    seed: int = 0,
    on_progress: ProgressCallback = ignore_progress,
    should_stop: StopCallback = never_stop,
) -> Floats:
    """Plot coordinates (n, 2) float32 of `features` (n, d); finite, and the same for the same input and seed.

    `previous` (n, 2) holds the earlier coordinates, NaN in the rows of objects that had none: those start among their
    nearest neighbors. The result is turned, mirrored, scaled and moved onto the earlier map.
    Reports the stage "map"; raises `Stopped`, and `EngineError` when `previous` is not of the same length.
    """
    vectors = np.ascontiguousarray(np.nan_to_num(features.astype(np.float32)))
    n = len(vectors)
    if previous is not None and previous.shape != (n, 2):
        raise EngineError(f"There are {n} objects, but earlier coordinates of shape {previous.shape}")
    start = np.full((n, 2), np.nan, np.float32) if previous is None else previous.astype(np.float32)
    start[~np.isfinite(start).all(axis=1)] = np.nan
    if n < FEWEST_FOR_UMAP or not (vectors != vectors[0]).any():
        on_progress("map", 1.0, "")
        return align_to(small_layout(vectors), start)
    points = _umap(vectors, start, seed, on_progress, should_stop)
    return align_to(points, start)


def _umap(
    vectors: Floats, start: Floats, seed: int, on_progress: ProgressCallback, should_stop: StopCallback
) -> Floats:
    n = len(vectors)
    rng = np.random.default_rng(seed)
    known = ~np.isnan(start[:, 0])  # a row is a number or NaN as a whole by now
    # With most objects new, the old coordinates are a start for the few, not a map to keep.
    warm = int(known.sum()) * 2 >= n
    n_epochs = WARM_EPOCHS if warm else (500 if n <= 10_000 else 200)
    neighbor_steps = max(1, n_epochs // 4)
    progress = Progress("map", neighbor_steps + n_epochs, on_progress, should_stop)
    neighbors, distances = nearest_neighbors(vectors, min(N_NEIGHBORS, n), seed=seed)
    graph = _fuzzy_graph(vectors, neighbors, distances, n_epochs, seed)
    progress.advance(neighbor_steps, "neighbors found")

    if known.any():
        points = _start_from(start, known, vectors, rng)
    else:
        points = principal_components(vectors)
        points *= 10 / np.abs(points).max()
    # Without it, equal features start, and stay, on one spot.
    points += rng.normal(scale=1e-3, size=points.shape)
    plot: Floats = np.ascontiguousarray(points, dtype=np.float32)

    a, b = find_ab_params(1.0, MIN_DIST)
    every = make_epochs_per_sample(graph.data, n_epochs).astype(np.float32)
    negative_every = every / np.float32(5.0)
    next_sample, next_negative = every.copy(), negative_every.copy()
    state = rng.integers(1, 1 << 63, 1, dtype=np.uint64)
    heads, tails = graph.row.astype(np.int32), graph.col.astype(np.int32)
    alpha = WARM_ALPHA if warm else 1.0
    for epoch in range(n_epochs):
        _layout_epoch(
            plot, heads, tails, every, negative_every, next_sample, next_negative,
            np.float32(a), np.float32(b), np.float32(alpha * (1 - epoch / n_epochs)), np.float32(epoch), state,
        )  # fmt: skip
        progress.advance(1)
    return plot


def nearest_neighbors(vectors: Floats, k: int, *, seed: int) -> tuple[Indices, Floats]:
    """For each of n vectors the k nearest, itself first, and their distances: (n, k) int32, (n, k) float32."""
    n = len(vectors)
    if n > MOST_FOR_EXACT_NEIGHBORS:
        index = NNDescent(vectors, n_neighbors=k, random_state=seed, metric="euclidean")
        neighbors, distances = index.neighbor_graph
        return neighbors.astype(np.int32), distances.astype(np.float32)
    centered = vectors - vectors.mean(axis=0)  # smaller numbers, less lost in the subtraction below
    squares = np.einsum("nd,nd->n", centered, centered)
    neighbors = np.empty((n, k), np.int32)
    distances = np.empty((n, k), np.float32)
    for first in range(0, n, BLOCK_ROWS):
        block = slice(first, min(n, first + BLOCK_ROWS))
        squared = squares[block, None] + squares[None, :] - 2 * (centered[block] @ centered.T)
        itself = np.arange(block.stop - first)
        squared[itself, first + itself] = -1.0  # before equal ones, and before what rounding makes negative
        _smallest(squared, neighbors[block], distances[block])
    np.sqrt(np.maximum(distances, 0), out=distances)
    return neighbors, distances


def _fuzzy_graph(
    vectors: Floats, neighbors: Indices, distances: Floats, n_epochs: int, seed: int
) -> scipy.sparse.coo_matrix:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap-learn's remarks are not for our users
        graph, _sigmas, _rhos = fuzzy_simplicial_set(
            vectors, neighbors.shape[1], np.random.RandomState(seed), "euclidean",
            knn_indices=neighbors, knn_dists=distances,
        )  # fmt: skip
    graph = graph.tocoo()
    graph.sum_duplicates()
    graph.data[graph.data < graph.data.max() / n_epochs] = 0.0  # edges that would not be sampled once
    graph.eliminate_zeros()
    kept: scipy.sparse.coo_matrix = graph
    return kept


def _start_from(
    start: Floats, known: npt.NDArray[np.bool_], vectors: Floats, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """The earlier coordinates, with each new object at the mean of its nearest neighbors that have a place."""
    points = start.astype(np.float64)
    anchors, new = np.flatnonzero(known), np.flatnonzero(~known)
    if len(new):
        if len(anchors) > MOST_PLACING_ANCHORS:
            anchors = rng.choice(anchors, MOST_PLACING_ANCHORS, replace=False)
        k = min(PLACING_NEIGHBORS, len(anchors))
        squares = np.einsum("nd,nd->n", vectors[anchors], vectors[anchors])
        for first in range(0, len(new), BLOCK_ROWS):
            rows = new[first : first + BLOCK_ROWS]
            closeness = squares[None, :] - 2 * (vectors[rows] @ vectors[anchors].T)
            nearest = anchors[np.argpartition(closeness, k - 1, axis=1)[:, :k]]  # (rows, k)
            points[rows] = points[nearest].mean(axis=1)
    points -= points.mean(axis=0)
    # The curve of attraction is made for maps some 10 wide; a map of another size, from few objects, is brought there.
    extent = float(np.abs(points).max())
    if extent == 0.0:
        return principal_components(vectors)
    return points if 4 <= extent <= 40 else points / extent * 10


@kernel
def _smallest(squared: Floats, columns: Indices, values: Floats) -> None:
    """The smallest entries of each row of `squared`, ascending, into `columns` and `values` (rows, k)."""
    k = columns.shape[1]
    for row in range(squared.shape[0]):
        filled = 0
        for column in range(squared.shape[1]):
            value = squared[row, column]
            if filled == k and value >= values[row, k - 1]:
                continue
            place = min(filled, k - 1)
            while place > 0 and values[row, place - 1] > value:
                values[row, place] = values[row, place - 1]
                columns[row, place] = columns[row, place - 1]
                place -= 1
            values[row, place] = value
            columns[row, place] = column
            filled = min(filled + 1, k)


@kernel
def _layout_epoch(
    points: Floats,
    heads: Indices,
    tails: Indices,
    every: Floats,
    negative_every: Floats,
    next_sample: Floats,
    next_negative: Floats,
    a: np.float32,
    b: np.float32,
    alpha: np.float32,
    epoch: np.float32,
    state: npt.NDArray[np.uint64],
) -> None:
    """One epoch of UMAP's sampled gradient descent, in place: `points` (n, 2), and the edges' next turns.

    The same as umap-learn's `optimize_layout_euclidean` with one thread; the random numbers are xorshift64's, and one
    thread takes them in order, so that the same seed gives the same map.
    """
    n = np.uint64(points.shape[0])
    one, two, limit = np.float32(1.0), np.float32(2.0), np.float32(4.0)
    random = state[0]
    for edge in range(heads.shape[0]):
        if next_sample[edge] > epoch:
            continue
        i, j = heads[edge], tails[edge]
        dx, dy = points[i, 0] - points[j, 0], points[i, 1] - points[j, 1]
        squared = dx * dx + dy * dy
        if squared > np.float32(0.0):
            power = squared**b
            pull = -two * a * b * power / squared / (a * power + one)
            step_x = alpha * min(limit, max(-limit, pull * dx))
            step_y = alpha * min(limit, max(-limit, pull * dy))
            points[i, 0] += step_x
            points[i, 1] += step_y
            points[j, 0] -= step_x
            points[j, 1] -= step_y
        next_sample[edge] += every[edge]
        n_negative = int((epoch - next_negative[edge]) / negative_every[edge])
        for _ in range(n_negative):
            random ^= random << np.uint64(13)
            random ^= random >> np.uint64(7)
            random ^= random << np.uint64(17)
            other = np.int64((random >> np.uint64(11)) % n)
            if other == i:
                continue
            dx, dy = points[i, 0] - points[other, 0], points[i, 1] - points[other, 1]
            squared = dx * dx + dy * dy
            if squared > np.float32(0.0):
                push = two * b / ((np.float32(0.001) + squared) * (a * squared**b + one))
                points[i, 0] += alpha * min(limit, max(-limit, push * dx))
                points[i, 1] += alpha * min(limit, max(-limit, push * dy))
        next_negative[edge] += np.float32(n_negative) * negative_every[edge]
    state[0] = random
