"""The objects most similar to a given one (content-based retrieval), exactly and without an index.

Every search reads all vectors, where they lie in their memory-mapped file. On two cores the best 200 take 4 ms of
100,000 x 512 and 21 ms of 1,000,000 x 128: about twice what an approximate index in the database takes, which would have to
be filled and built anew for every map (tests/benchmarks/similar.py measures pgvector's beside it). Filters come for
nothing: what is filtered out is not read.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.cores import usable_cores
from apps.engine.errors import EngineError
from apps.engine.jit import half_to_float, sum_kernel

Ordinals = npt.NDArray[np.int64]

# Small enough that a core which is busy otherwise holds up only one of many; below one block, no thread is worth it.
BLOCK_ROWS = 16_384
_POOL = ThreadPoolExecutor(usable_cores(), thread_name_prefix="similar")


@dataclass(frozen=True)
class Neighbors:
    """Ordinals (k,) int64 by falling cosine similarity (k,) float64, -1 to 1; equally similar ones by ordinal."""

    ordinals: Ordinals
    similarities: npt.NDArray[np.float64]


class SimilarObjects:
    """Search over the vectors (n, d) float16 of one embedding, row by ordinal; they may be memory-mapped.

    A vector that is zero or not finite has no direction: such an object is never found.
    """

    def __init__(self, vectors: npt.NDArray[np.float16]) -> None:
        self._vectors = vectors
        self._bits: npt.NDArray[np.uint16] = np.asarray(vectors).view(np.uint16)
        n, dimension = vectors.shape
        self._inverse_norms = np.zeros(n, np.float32)
        list(_POOL.map(lambda rows: _invert_norms(self._bits[rows], self._inverse_norms[rows]), _blocks(n)))
        # Adding d products in float32 is wrong by at most d times half a last bit of the sum of their sizes, which for
        # two unit vectors is at most 1 (Higham 2002, section 3.1); once for the product, once for the length.
        self._rounding = (2 * dimension + 8) * 2.0**-24

    def __len__(self) -> int:
        return len(self._bits)

    def direction(self, ordinals: Ordinals) -> npt.NDArray[np.float64]:
        """What to search with for these objects, (d,): their vectors' mean.

        The mean, rather than the nearest to any of them: one search whatever the number, and a stray object among the chosen
        does not bring its own neighborhood along. On CoNSeP's nuclei, 96 % of the 50 found by 10 of one class are of that
        class (nearest to any: 92 %), and 94 % where one of the 10 is of another (80 %).
        """
        known = ordinals[self._inverse_norms[ordinals] > 0]
        units = np.asarray(self._vectors[known], np.float64) * self._inverse_norms[known, None]
        total: npt.NDArray[np.float64] = units.sum(axis=0)
        return total / max(len(known), 1)

    def nearest(
        self, direction: npt.NDArray[np.floating[Any]], k: int, *, allowed: npt.NDArray[np.bool_] | None = None
    ) -> Neighbors:
        """The `k` objects, or all if there are fewer, whose vectors point most nearly into `direction` (d,).

        `allowed` (n,) bool: only these. The first pass adds in float32; everything that its rounding could have kept
        from the best k is compared again in float64. Raises EngineError for a direction of another length, or none.
        """
        query = np.asarray(direction, np.float64)
        if query.shape != (self._bits.shape[1],):
            raise EngineError(f"These vectors have {self._bits.shape[1]} numbers, the one to compare with {query.size}")
        length = float(np.linalg.norm(query))
        if not np.isfinite(length) or length < 1e-12:
            raise EngineError("There is nothing to compare with: these objects' vectors point nowhere")
        query = query / length
        wanted = np.flatnonzero(self._inverse_norms if allowed is None else allowed & (self._inverse_norms > 0))
        k = min(k, len(wanted))
        if k < 1:
            return Neighbors(np.zeros(0, np.int64), np.zeros(0))
        scores = self._scores(wanted, query.astype(np.float32))
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = wanted[scores >= kth - 2 * self._rounding]
        similarities = np.empty(len(candidates))
        _cosines(self._bits, candidates, query, similarities)
        best = np.lexsort((candidates, -similarities))[:k]
        return Neighbors(candidates[best], similarities[best])

    def _scores(self, ordinals: Ordinals, query: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        n = len(ordinals)
        scores = np.empty(n, np.float32)

        def scan(part: slice) -> None:
            _scan(self._bits, self._inverse_norms, ordinals[part], query, scores[part])

        if n <= BLOCK_ROWS:
            scan(slice(0, n))
        else:
            list(_POOL.map(scan, _blocks(n)))
        return scores


def _blocks(n: int) -> Iterator[slice]:
    return (slice(first, min(n, first + BLOCK_ROWS)) for first in range(0, n, BLOCK_ROWS))


@sum_kernel
def _scan(bits: Any, inverse_norms: Any, ordinals: Any, query: Any, scores: Any) -> Any:
    # Four vectors at a time, each from another quarter: more reads from memory are under way at once, a third of the time.
    dimension = bits.shape[1]
    quarter = len(ordinals) // 4
    for p in range(quarter):
        a, b, c, d = ordinals[p], ordinals[p + quarter], ordinals[p + 2 * quarter], ordinals[p + 3 * quarter]
        total_a = total_b = total_c = total_d = np.float32(0)
        for j in range(dimension):
            total_a += half_to_float(bits[a, j]) * query[j]
            total_b += half_to_float(bits[b, j]) * query[j]
            total_c += half_to_float(bits[c, j]) * query[j]
            total_d += half_to_float(bits[d, j]) * query[j]
        scores[p] = total_a * inverse_norms[a]
        scores[p + quarter] = total_b * inverse_norms[b]
        scores[p + 2 * quarter] = total_c * inverse_norms[c]
        scores[p + 3 * quarter] = total_d * inverse_norms[d]
    for p in range(4 * quarter, len(ordinals)):
        total = np.float32(0)
        for j in range(dimension):
            total += half_to_float(bits[ordinals[p], j]) * query[j]
        scores[p] = total * inverse_norms[ordinals[p]]


@sum_kernel
def _invert_norms(bits: Any, inverse_norms: Any) -> Any:
    n, dimension = bits.shape
    for i in range(n):
        total = np.float32(0)
        broken = False
        for j in range(dimension):
            broken |= (bits[i, j] & 0x7C00) == 0x7C00  # infinite, or no number
            value = half_to_float(bits[i, j])
            total += value * value
        inverse_norms[i] = np.float32(0) if broken or total == 0 else np.float32(1 / np.sqrt(total))


@sum_kernel
def _cosines(bits: Any, ordinals: Any, query: Any, similarities: Any) -> Any:
    dimension = bits.shape[1]
    for position in range(len(ordinals)):
        i = ordinals[position]
        product = length = np.float64(0)
        for j in range(dimension):
            value = np.float64(half_to_float(bits[i, j]))
            product += value * query[j]
            length += value * value
        similarities[position] = product / np.sqrt(length)
