"""The nearest neighbors of vectors, by matrix products over small groups that random projection trees put together.

A tree halves the objects along random directions (Dasgupta and Freund 2008) until a group is small; all pairs of a group
are compared at once. One tree misses what lies across its borders, so trees are added until the neighbors of a sample
are found. Beside pynndescent: as fast, and nothing to compile where that takes tens of seconds in every new process.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from apps.engine.cores import usable_cores
from apps.engine.jit import kernel

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]
Vectors = npt.NDArray[np.floating[Any]]

# Up to so many pairs all are compared: as fast as trees, and exact.
MOST_PAIRS = 10_000**2
GROUP = 512
BLOCK_ROWS = 256
BLOCK_COLUMNS = 16_384
# Trees are added until so many of a sample's neighbors are found. More does not show in the map.
WANTED_RECALL = 0.9
RECALL_SAMPLE = 256
MOST_TREES = 24
# Trees split along the directions in which the vectors differ most, found from a sample: so a tree costs the same in
# any dimension.
TREE_DIMENSIONS = 32
TREE_SAMPLE = 10_000


def go_on() -> None:
    """The `check` of a caller who does not want to stop."""


def nearest_neighbors(
    vectors: Vectors, k: int, *, seed: int, check: Callable[[], None] = go_on
) -> tuple[Indices, Floats]:
    """For each of n vectors (n, d) the k nearest, itself first, and their distances: (n, k) int32, (n, k) float32.

    Exact for few objects; for many, 0.9 of a sample's are right, unless `MOST_TREES` trees do not do. The same for the
    same input and seed, however many threads there are. `vectors` may be memory-mapped and float16. `check` is called
    often and may raise to stop.
    """
    return _search(None, vectors, k, seed, check).result()


def nearest_among(
    queries: Vectors, references: Vectors, k: int, *, seed: int, check: Callable[[], None] = go_on
) -> tuple[Indices, Floats]:
    """For each of m `queries` (m, d) its k nearest `references` (n, d), nearest first: (m, k) int32 and float32.

    Exact or not as in `nearest_neighbors`. k is at most n.
    """
    return _search(queries, references, k, seed, check).result()


class _Found:
    """The best neighbors so far, to be improved by comparing rows with candidates."""

    def __init__(self, queries: Vectors | None, references: Vectors, k: int) -> None:
        self.of_each_other = queries is None
        self.queries: Vectors = references if queries is None else queries
        self.references = references
        self.neighbors = np.full((len(self.queries), k), -1, np.int32)
        self.squared = np.full((len(self.queries), k), np.inf, np.float32)
        if self.of_each_other:
            self.neighbors[:, 0] = np.arange(len(references))
            self.squared[:, 0] = -1.0  # before equal ones

    def compare(self, rows: Indices, candidates: Indices) -> None:
        """Take up what is nearer among the `candidates` for each of the `rows`. Threads may share this, not rows."""
        others = self.references[candidates].astype(np.float32)
        center = others.mean(axis=0)  # smaller numbers, less lost in the subtraction of squares
        others -= center
        if self.of_each_other and rows is candidates:
            these = others
        else:
            these = self.queries[rows].astype(np.float32) - center
        squares = np.einsum("nd,nd->n", others, others)
        row_squares = np.einsum("nd,nd->n", these, these)
        products = these @ others.T  # (rows, candidates)
        _take_nearer(products, row_squares, squares, rows, candidates, self.neighbors, self.squared, self.of_each_other)

    def recall(self, sample: Indices, exact: "_Found") -> float:
        """The share of the sampled rows' neighbors that are no farther than the farthest true one."""
        farthest = exact.squared[:, -1:]
        return float((self.squared[sample] <= farthest * 1.001 + 1e-6).mean())

    def result(self) -> tuple[Indices, Floats]:
        return self.neighbors, np.sqrt(np.maximum(self.squared, 0))


def _search(queries: Vectors | None, references: Vectors, k: int, seed: int, check: Callable[[], None]) -> _Found:
    found = _Found(queries, references, k)
    n_queries, n = len(found.queries), len(references)
    if not n_queries or not n:
        return found
    with _threads() as pool:
        everyone = np.arange(n_queries, dtype=np.int32)
        if n_queries * n <= MOST_PAIRS:
            _compare_all(pool, found, everyone, check)
            return found
        rng = np.random.default_rng(seed)
        sample = rng.choice(everyone, min(RECALL_SAMPLE, n_queries), replace=False)
        # k - 1 others and itself, or k: found with itself among the references, at distance 0, it is the same.
        exact = _Found(found.queries[sample], references, k)
        _compare_all(pool, exact, np.arange(len(sample), dtype=np.int32), check)
        forest = _Forest.of(references, queries, rng)
        seeds = rng.integers(1, 1 << 63, MOST_TREES, dtype=np.uint64)
        growing = pool.submit(forest.grow, seeds[0])
        for tree in range(MOST_TREES):
            groups = growing.result()
            if tree + 1 < MOST_TREES:
                growing = pool.submit(forest.grow, seeds[tree + 1])
            for _ in pool.map(lambda group: found.compare(*group), groups):
                check()
            if found.recall(sample, exact) >= WANTED_RECALL:
                break
    return found


def _compare_all(pool: ThreadPoolExecutor, found: _Found, rows: Indices, check: Callable[[], None]) -> None:
    n = len(found.references)
    columns = [np.arange(first, min(n, first + BLOCK_COLUMNS), dtype=np.int32) for first in range(0, n, BLOCK_COLUMNS)]

    def compare(block: Indices) -> None:
        for candidates in columns:
            found.compare(block, candidates)

    blocks = [rows[first : first + BLOCK_ROWS] for first in range(0, len(rows), BLOCK_ROWS)]
    for _ in pool.map(compare, blocks):
        check()


@contextmanager
def _threads() -> Iterator[ThreadPoolExecutor]:
    """A thread per core, each with matrix products of its own: together they are faster than one product on all cores."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(usable_cores(), "neighbors") as pool:
        yield pool


@dataclass
class _Forest:
    """What trees are grown from: references (n, p) and queries (m, p) in few dimensions; no queries where the
    references' own neighbors are wanted."""

    references: Floats
    queries: Floats | None

    @classmethod
    def of(cls, references: Vectors, queries: Vectors | None, rng: np.random.Generator) -> "_Forest":
        sample = references[np.sort(rng.choice(len(references), min(TREE_SAMPLE, len(references)), replace=False))]
        center = sample.mean(axis=0, dtype=np.float32)
        sample = sample.astype(np.float32) - center
        _values, directions = np.linalg.eigh(sample.T @ sample)
        directions = directions[:, -TREE_DIMENSIONS:].astype(np.float32)

        def project(vectors: Vectors) -> Floats:
            projected = np.empty((len(vectors), directions.shape[1]), np.float32)
            for first in range(0, len(vectors), BLOCK_COLUMNS):
                block = slice(first, first + BLOCK_COLUMNS)
                projected[block] = (vectors[block].astype(np.float32) - center) @ directions
            return projected

        return cls(project(references), None if queries is None else project(queries))

    def grow(self, seed: np.uint64) -> list[tuple[Indices, Indices]]:
        """The groups of a tree: rows of the queries, and the references to compare them with."""
        queries = self.references[:0] if self.queries is None else self.queries
        order, query_order, starts, query_starts = _grow(self.references, queries, GROUP, seed)
        groups = np.split(order, starts[1:-1])
        if self.queries is None:
            return [(group, group) for group in groups]
        return [
            (rows[first : first + 4 * GROUP], group)
            for rows, group in zip(np.split(query_order, query_starts[1:-1]), groups, strict=True)
            for first in range(0, len(rows), 4 * GROUP)
        ]


def tree_order(vectors: Vectors, *, seed: int) -> Indices:
    """An order (n,) of the vectors in which neighbors mostly follow each other."""
    rng = np.random.default_rng(seed)
    order: Indices = _grow(
        _Forest.of(vectors, None, rng).references, np.empty((0, 1), np.float32), GROUP, np.uint64(1)
    )[0]
    return order


@kernel
def _take_nearer(
    products: Floats,
    row_squares: Floats,
    squares: Floats,
    rows: Indices,
    candidates: Indices,
    neighbors: Indices,
    squared: Floats,
    of_each_other: bool,
) -> None:
    """Put nearer candidates into the sorted lists `neighbors` and `squared` of the rows; products (rows, candidates)."""
    k = neighbors.shape[1]
    for row in range(products.shape[0]):
        i = rows[row]
        farthest = squared[i, k - 1]
        for column in range(products.shape[1]):
            value = max(np.float32(0.0), row_squares[row] + squares[column] - np.float32(2.0) * products[row, column])
            if value >= farthest:
                continue
            j = candidates[column]
            known = of_each_other and j == i
            for place in range(k):
                if known or neighbors[i, place] == j:
                    known = True
                    break
            if known:
                continue
            place = k - 1
            while place > 0 and squared[i, place - 1] > value:
                squared[i, place] = squared[i, place - 1]
                neighbors[i, place] = neighbors[i, place - 1]
                place -= 1
            squared[i, place] = value
            neighbors[i, place] = j
            farthest = squared[i, k - 1]


@kernel
def _grow(
    references: Floats, queries: Floats, group: int, seed: np.uint64
) -> tuple[Indices, Indices, Indices, Indices]:
    """Halve the references at the median along the difference of a random two of them, until `group` or fewer are left;
    the queries go along. Returns both in the order of the groups, and where the groups start in each."""
    n, m, p = references.shape[0], queries.shape[0], references.shape[1]
    order, query_order = np.arange(n).astype(np.int32), np.arange(m).astype(np.int32)
    spare, values = np.empty(max(n, m), np.int32), np.empty(max(n, m), np.float32)
    starts, query_starts = [0], [0]
    stack = [(0, n, 0, m)]
    direction = np.empty(p, np.float32)
    random = seed
    while len(stack) > 0:
        low, high, query_low, query_high = stack.pop()
        if high - low <= group:
            starts.append(high)
            query_starts.append(query_high)
            continue
        random ^= random << np.uint64(13)
        random ^= random >> np.uint64(7)
        random ^= random << np.uint64(17)
        one = order[low + np.int64((random >> np.uint64(33)) % np.uint64(high - low))]
        two = order[low + np.int64((random >> np.uint64(3)) % np.uint64(high - low))]
        for axis in range(p):
            direction[axis] = references[one, axis] - references[two, axis]
        for place in range(low, high):
            total = np.float32(0.0)
            for axis in range(p):
                total += direction[axis] * references[order[place], axis]
            values[place] = total
        half = (high - low) // 2
        median = np.partition(values[low:high], half)[half]
        equal_left = half  # of those on the median so many go left that the halves are even
        for place in range(low, high):
            if values[place] < median:
                equal_left -= 1
        left, right = low, 0
        for place in range(low, high):
            goes_left = values[place] < median
            if values[place] == median and equal_left > 0:
                equal_left -= 1
                goes_left = True
            if goes_left:
                order[left] = order[place]
                left += 1
            else:
                spare[right] = order[place]
                right += 1
        order[left:high] = spare[:right]
        query_left, right = query_low, 0
        for place in range(query_low, query_high):
            total = np.float32(0.0)
            for axis in range(p):
                total += direction[axis] * queries[query_order[place], axis]
            if total < median:
                query_order[query_left] = query_order[place]
                query_left += 1
            else:
                spare[right] = query_order[place]
                right += 1
        query_order[query_left:query_high] = spare[:right]
        stack.append((left, high, query_left, query_high))
        stack.append((low, left, query_low, query_left))
    return order, query_order, np.array(starts).astype(np.int32), np.array(query_starts).astype(np.int32)
