"""UMAP's weighted neighbor graph (McInnes, Healy and Melville 2018, section 3.1), without umap-learn.

umap-learn compiles its own in every new process, and imports for seconds. These kernels are compiled once per machine,
and give the same weights.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.jit import kernel

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Starts = npt.NDArray[np.int64]

# As umap-learn's `discrete_metric_simplicial_set_intersection` with its target weight of 0.5: an edge between two classes keeps
# exp(-5) of its weight, one with an end that has no class exp(-1).
BETWEEN_CLASSES = np.float32(np.exp(-5.0))
UNKNOWN_CLASS = np.float32(np.exp(-1.0))


@dataclass(frozen=True)
class Graph:
    """A symmetric weighted graph of n objects in compressed rows: the neighbors of i are
    `tails[starts[i] : starts[i + 1]]`, ascending, with `weights` of 0 to 1."""

    starts: Starts  # (n + 1,)
    tails: Indices
    weights: Floats

    @property
    def n(self) -> int:
        return len(self.starts) - 1


def fuzzy_graph(neighbors: Indices, distances: Floats) -> Graph:
    """The fuzzy union of every object's own view of its neighbors: (n, k), the object itself first."""
    n, k = neighbors.shape
    weights = memberships(distances[:, 1:])
    starts = np.arange(n + 1, dtype=np.int64) * (k - 1)
    return _union(starts, np.ascontiguousarray(neighbors[:, 1:]).ravel(), weights.ravel())


def memberships(distances: Floats) -> Floats:
    """How much each object's k neighbors, without itself, belong to it: distances (n, k) to weights (n, k) of 0 to 1."""
    weights = np.empty(distances.shape, np.float32)
    _membership(np.ascontiguousarray(distances), weights)
    return weights


def separated_by_class(graph: Graph, class_values: npt.NDArray[np.uint8]) -> Graph:
    """The graph with its edges between objects of different classes weakened; `class_values` (n,), 0 = not known.

    The map of such a graph shows the labels themselves, besides what the features say.
    """
    weights = graph.weights.copy()
    _weaken_between_classes(graph.starts, graph.tails, weights, class_values, BETWEEN_CLASSES, UNKNOWN_CLASS)
    return _union(graph.starts, graph.tails, weights)


def reordered(neighbors: Indices, order: Indices) -> Indices:
    """Neighbor lists (n, k) of the objects in the given order, their entries as places in that order."""
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    moved: Indices = place[neighbors[order]]
    return moved


def _union(starts: Starts, tails: Indices, weights: Floats) -> Graph:
    """The probabilistic union a + b - ab of a directed graph (compressed rows in any order) with its reverse."""
    out_starts = np.empty_like(starts)
    out_tails = np.empty(2 * len(tails), np.int32)
    out_weights = np.empty(2 * len(tails), np.float32)
    n_edges = _unite(starts, tails, weights, out_starts, out_tails, out_weights)
    return Graph(out_starts, out_tails[:n_edges].copy(), out_weights[:n_edges].copy())


@kernel
def _membership(distances: Floats, weights: Floats) -> None:
    """Each object's weights of its k others (n, k): exp(-(d - rho) / sigma), rho the distance to the nearest that is not
    on the same spot, sigma such that they sum to log2(k + 1) (equation 1 of the paper; the object itself counts among
    the k + 1)."""
    n, k = distances.shape
    target = np.log2(np.float64(k + 1))
    mean_of_all = 0.0
    for i in range(n):
        for place in range(k):
            mean_of_all += distances[i, place]
    mean_of_all /= n * (k + 1)
    for i in range(n):
        rho, mean = 0.0, 0.0
        for place in range(k):
            mean += distances[i, place]
            if rho == 0.0 and distances[i, place] > 0.0:
                rho = np.float64(distances[i, place])
        mean /= k + 1
        low, high, sigma = 0.0, np.inf, 1.0
        for _ in range(64):
            total = 0.0
            for place in range(k):
                beyond = distances[i, place] - rho
                total += np.exp(-beyond / sigma) if beyond > 0.0 else 1.0
            if abs(total - target) < 1e-5:
                break
            if total > target:
                high = sigma
                sigma = (low + high) / 2.0
            else:
                low = sigma
                sigma = sigma * 2.0 if high == np.inf else (low + high) / 2.0
        sigma = max(sigma, 1e-3 * (mean if rho > 0.0 else mean_of_all), 1e-12)
        for place in range(k):
            beyond = distances[i, place] - rho
            weights[i, place] = np.exp(-beyond / sigma) if beyond > 0.0 else 1.0


@kernel
def _unite(
    starts: Starts, tails: Indices, weights: Floats, out_starts: Starts, out_tails: Indices, out_weights: Floats
) -> int:
    n = starts.shape[0] - 1
    # The reverse graph; filled in the order of the heads, its rows are ascending.
    back_starts = np.zeros(n + 1, np.int64)
    for edge in range(tails.shape[0]):
        back_starts[tails[edge] + 1] += 1
    for i in range(n):
        back_starts[i + 1] += back_starts[i]
    filled = back_starts[:-1].copy()
    back_tails, back_weights = np.empty(tails.shape[0], np.int32), np.empty(tails.shape[0], np.float32)
    for i in range(n):
        for edge in range(starts[i], starts[i + 1]):
            slot = filled[tails[edge]]
            back_tails[slot], back_weights[slot] = i, weights[edge]
            filled[tails[edge]] = slot + 1
    n_edges = 0
    for i in range(n):
        out_starts[i] = n_edges
        order = np.argsort(tails[starts[i] : starts[i + 1]])
        ahead, back = 0, back_starts[i]
        while ahead < order.shape[0] or back < back_starts[i + 1]:
            edge = starts[i] + order[ahead] if ahead < order.shape[0] else -1
            forth_tail = tails[edge] if edge >= 0 else n
            back_tail = back_tails[back] if back < back_starts[i + 1] else n
            tail = min(forth_tail, back_tail)
            forth_weight = back_weight = np.float32(0.0)
            if forth_tail == tail:
                forth_weight = weights[edge]
                ahead += 1
            if back_tail == tail:
                back_weight = back_weights[back]
                back += 1
            weight = forth_weight + back_weight - forth_weight * back_weight
            if tail != i and weight > np.float32(0.0):
                out_tails[n_edges], out_weights[n_edges] = tail, weight
                n_edges += 1
    out_starts[n] = n_edges
    return n_edges


@kernel
def _weaken_between_classes(
    starts: Starts,
    tails: Indices,
    weights: Floats,
    class_values: npt.NDArray[Any],
    between: np.float32,
    unknown: np.float32,
) -> None:
    """In place; then each row is scaled so that its largest weight is 1 again, as every object is near to something."""
    for i in range(starts.shape[0] - 1):
        largest = np.float32(0.0)
        for edge in range(starts[i], starts[i + 1]):
            one, other = class_values[i], class_values[tails[edge]]
            if one == 0 or other == 0:
                weights[edge] *= unknown
            elif one != other:
                weights[edge] *= between
            largest = max(largest, weights[edge])
        if largest > np.float32(0.0):
            for edge in range(starts[i], starts[i + 1]):
                weights[edge] /= largest
