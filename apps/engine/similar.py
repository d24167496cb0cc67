"""The objects most similar to a given one (content-based retrieval), exactly and without an index.

Every search reads a byte for each number of all vectors, and then the vectors of those that can be among the best. An
approximate index in the database answers up to twice as fast, but would have to be filled and built anew for every map
(tests/benchmarks/similar.py measures pgvector's beside it). Filters come for nothing: what is filtered out is not read.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.cores import usable_cores
from apps.engine.errors import EngineError
from apps.engine.jit import half_to_float, kernel, sum_kernel

Ordinals = npt.NDArray[np.int64]

# In a block, which is a thread's. Few large ones: a core reads the codes nearly as fast as memory gives them.
BLOCK_NUMBERS = 1 << 24
# Whole numbers from -STEPS to STEPS, which a byte holds.
STEPS = 127
_POOL = ThreadPoolExecutor(usable_cores(), thread_name_prefix="similar")


@dataclass(frozen=True)
class Neighbors:
    """Ordinals (k,) int64 by falling cosine similarity (k,) float64, -1 to 1; equally similar ones by ordinal."""

    ordinals: Ordinals
    similarities: npt.NDArray[np.float64]


class SimilarObjects:
    """Search over the vectors (n, d) float16 of one embedding, row by ordinal; they may be memory-mapped.

    Holds n x d bytes: the vectors' directions in 255 steps between the least and the greatest of each dimension.
    A vector that is zero or not finite has no direction: such an object is never found.
    """

    def __init__(self, vectors: npt.NDArray[np.float16]) -> None:
        self._vectors = vectors
        self._bits: npt.NDArray[np.uint16] = np.asarray(vectors).view(np.uint16)
        n, dimension = vectors.shape
        self._inverse_norms = np.zeros(n, np.float32)
        inverse_norms, blocks = self._inverse_norms, list(_blocks(n, dimension))
        ranges = list(_POOL.map(lambda rows: _measure(self._rows(rows), inverse_norms[rows]), blocks))
        least = np.min([low for low, _ in ranges], axis=0, initial=1.0)
        greatest = np.max([high for _, high in ranges], axis=0, initial=-1.0)
        # Where no vector has a direction, or all have the same number, one step does for all.
        self._step = np.maximum((greatest - least) / (2 * STEPS), np.finfo(np.float32).tiny).astype(np.float32)
        middle = ((least + greatest) / 2).astype(np.float32)
        self._codes = np.empty((n, dimension), np.int8)
        codes, step = self._codes, self._step
        squares_off = _POOL.map(
            lambda rows: _encode(self._rows(rows), inverse_norms[rows], middle, step, codes[rows]), blocks
        )
        # Adding d products in float32 is wrong by at most d times half a last bit of the sum of their sizes, which for
        # two unit vectors is at most 1 (Higham 2002, section 3.1); once for the product, once for the length.
        self._rounding = (2 * dimension + 8) * 2.0**-24
        # How far a direction is from what its steps say: no two unit vectors' product is farther off than that. Lengths and
        # distances are rounded as well.
        self._off_by = float(np.sqrt(max(squares_off, default=0.0))) + self._rounding

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

        `allowed` (n,) bool: only these. The first pass adds whole numbers, the second float32; whatever the steps, and
        then the rounding, could have kept from the best k is compared again, at last in float64. Raises EngineError for a
        direction of another length, or none.
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
        candidates = self._possible(wanted, query, k)
        scores = np.empty(len(candidates), np.float32)
        in_float32 = query.astype(np.float32)

        def score(part: slice) -> None:
            some = candidates[part]
            _scan(self._rows(some), self._inverse_norms[some], in_float32, scores[part])

        _in_blocks(score, len(candidates), len(query))
        candidates = candidates[scores >= _kth(scores, k) - 2 * self._rounding]
        similarities = np.empty(len(candidates))

        def compare(part: slice) -> None:
            _cosines(self._rows(candidates[part]), query, similarities[part])

        _in_blocks(compare, len(candidates), len(query))
        best = np.lexsort((candidates, -similarities))[:k]
        return Neighbors(candidates[best], similarities[best])

    def _possible(self, wanted: Ordinals, query: npt.NDArray[np.float64], k: int) -> Ordinals:
        """Those of `wanted` that can be among the k nearest to a direction of length 1, by their steps."""
        dimension = len(query)
        weights = query * self._step  # of a step in each dimension
        largest = float(np.abs(weights).max())
        # As fine as whole numbers allow, so that no sum leaves 32 bits.
        unit = max(largest, np.finfo(np.float64).tiny) / min(32_767, (2**31 - 1) // (STEPS * dimension))
        whole = np.rint(weights / unit).astype(np.int16)
        sums = np.empty(len(wanted), np.int32)
        _in_blocks(lambda part: _add_steps(self._codes, wanted[part], whole, sums[part]), len(wanted), dimension)
        of_weights = float(np.linalg.norm(weights - whole * unit)) * STEPS * dimension**0.5
        window = 2 * (self._off_by + of_weights) / unit
        return wanted[sums >= _kth(sums, k) - window]

    def _rows(self, which: slice | Ordinals) -> npt.NDArray[np.uint16]:
        """As they lie one after the other, whatever lies between them in the file."""
        return np.ascontiguousarray(self._bits[which])


def _kth(scores: npt.NDArray[Any], k: int) -> float:
    """The k-th largest."""
    return float(np.partition(scores, len(scores) - k)[len(scores) - k])


def _in_blocks(work: Callable[[slice], Any], n: int, dimension: int) -> None:
    blocks = list(_blocks(n, dimension))
    if len(blocks) == 1:
        work(blocks[0])
    else:
        list(_POOL.map(work, blocks))


def _blocks(n: int, dimension: int) -> Iterator[slice]:
    n_rows = max(1, BLOCK_NUMBERS // dimension)
    return (slice(first, min(n, first + n_rows)) for first in range(0, n, n_rows))


@kernel
def _add_steps(codes: Any, ordinals: Any, weights: Any, sums: Any) -> Any:
    for position in range(len(ordinals)):
        i = ordinals[position]
        total = np.int32(0)
        for j in range(codes.shape[1]):
            total += np.int32(codes[i, j]) * np.int32(weights[j])
        sums[position] = total


@sum_kernel
def _scan(bits: Any, inverse_norms: Any, query: Any, scores: Any) -> Any:
    for i in range(len(bits)):
        total = np.float32(0)
        for j in range(bits.shape[1]):
            total += half_to_float(bits[i, j]) * query[j]
        scores[i] = total * inverse_norms[i]


@sum_kernel
def _measure(bits: Any, inverse_norms: Any) -> Any:
    """One over each vector's length, 0 for those without a direction; and the least and the greatest number of the directions in
    each dimension."""
    n, dimension = bits.shape
    least, greatest = np.ones(dimension, np.float32), -np.ones(dimension, np.float32)
    for i in range(n):
        total = np.float32(0)
        broken = False
        for j in range(dimension):
            broken |= (bits[i, j] & 0x7C00) == 0x7C00  # infinite, or no number
            value = half_to_float(bits[i, j])
            total += value * value
        if broken or total == 0:
            inverse_norms[i] = np.float32(0)
            continue
        inverse_norm = np.float32(1 / np.sqrt(total))
        inverse_norms[i] = inverse_norm
        for j in range(dimension):
            value = half_to_float(bits[i, j]) * inverse_norm
            least[j] = min(least[j], value)
            greatest[j] = max(greatest[j], value)
    return least, greatest


@sum_kernel
def _encode(bits: Any, inverse_norms: Any, middle: Any, step: Any, codes: Any) -> Any:
    """The directions' steps from the middle of each dimension; returns the largest squared distance of what they say from the
    directions."""
    n, dimension = codes.shape
    most_off = np.float32(0)
    for i in range(n):
        off = np.float32(0)
        for j in range(dimension):
            if inverse_norms[i] > 0:
                value = half_to_float(bits[i, j]) * inverse_norms[i] - middle[j]
                code = min(max(np.rint(value / step[j]), np.float32(-STEPS)), np.float32(STEPS))
                codes[i, j] = np.int8(code)
                off += (value - code * step[j]) ** 2
            else:
                codes[i, j] = 0
        most_off = max(most_off, off)
    return most_off


@sum_kernel
def _cosines(bits: Any, query: Any, similarities: Any) -> Any:
    for i in range(len(bits)):
        product = length = np.float64(0)
        for j in range(bits.shape[1]):
            value = np.float64(half_to_float(bits[i, j]))
            product += value * query[j]
            length += value * value
        similarities[i] = product / np.sqrt(length)
