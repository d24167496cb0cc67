"""UMAP's layout: sampled gradient descent on the neighbor graph (McInnes, Healy and Melville 2018, section 4.2).

Written for two cores and memory that is slow at random: objects stand in an order in which neighbors follow each other,
and are cut into fixed parts that are worked on side by side. A part moves only its own objects and sees the others as
they were before the epoch, so the result does not depend on the number of threads. Objects to be pushed away from are
read in sequence from a shuffled copy.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.optimize import curve_fit

from apps.engine.cores import usable_cores
from apps.engine.fuzzy import Graph
from apps.engine.jit import kernel

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int32]

MIN_DIST = 0.1
NEGATIVES = 5
# Fewer objects are one part. The number of parts depends on the data alone, as the map must not depend on the machine.
PART = 4096
MOST_PARTS = 16
# The force depends on the squared distance: tabulated for 64 steps per doubling, as its power takes most of the time.
SMALLEST_EXPONENT, LARGEST_EXPONENT, STEPS = -24, 16, 64


@cache
def curve() -> tuple[float, float]:
    """a and b of 1 / (1 + a d^2b), fitted to 1 up to `MIN_DIST` and exp(-(d - MIN_DIST)) beyond."""
    distance = np.linspace(0, 3, 300)
    wanted = np.where(distance < MIN_DIST, 1.0, np.exp(-(distance - MIN_DIST)))
    (a, b), _covariance = curve_fit(lambda d, a, b: 1 / (1 + a * d ** (2 * b)), distance, wanted)
    return float(a), float(b)


@cache
def _forces() -> tuple[Floats, Floats]:
    """Pull and push by squared distance, each times the difference of the two places."""
    a, b = curve()
    index = np.arange((LARGEST_EXPONENT - SMALLEST_EXPONENT) * STEPS)
    squared = 2.0 ** (SMALLEST_EXPONENT + index // STEPS) * (1 + (index % STEPS + 0.5) / STEPS)
    pull = -2 * a * b * squared ** (b - 1) / (a * squared**b + 1)
    push = 2 * b / ((0.001 + squared) * (a * squared**b + 1))
    return pull.astype(np.float32), push.astype(np.float32)


def descend(
    points: Floats, graph: Graph, *, n_epochs: int, alpha: float, seed: int, after_epoch: Callable[[int], None]
) -> None:
    """Move `points` (n, 2), in place, for `n_epochs` with a step that falls from `alpha` to 0; the first rows belong to
    the graph's objects, rows beyond it stay where they are. `after_epoch` is called with the number of epochs done.

    An edge of the greatest weight is used in every epoch, others in proportion; each use pulls both ends together and
    pushes its head away from `NEGATIVES` random objects.
    """
    n, n_points = graph.n, len(points)
    if not len(graph.weights):
        return
    rng = np.random.default_rng(seed)
    shuffle = rng.permutation(n_points).astype(np.int32)
    frequency = graph.weights / graph.weights.max()
    pull, push = _forces()
    bounds = np.linspace(0, n, min(MOST_PARTS, max(1, n // PART)) + 1).astype(np.int64)
    with ThreadPoolExecutor(min(usable_cores(), len(bounds) - 1), "layout") as pool:
        for epoch in range(n_epochs):
            before, strangers = points.copy(), points[shuffle]
            first_strangers = rng.integers(0, n_points, len(bounds) - 1)
            step = np.float32(alpha * (1 - epoch / n_epochs))
            moves = [
                pool.submit(
                    _move_part, points, before, graph.starts, graph.tails, frequency, low, high, shuffle, strangers,
                    first, pull, push, step, epoch,
                )
                for (low, high), first in zip(pairwise(bounds), first_strangers, strict=True)
            ]  # fmt: skip
            for move in moves:
                move.result()
            after_epoch(epoch + 1)


@kernel
def _move_part(
    points: Floats,
    before: Floats,
    starts: npt.NDArray[np.int64],
    tails: Indices,
    frequency: Floats,
    low: int,
    high: int,
    shuffle: Indices,
    strangers: Floats,
    first_stranger: int,
    pulls: Floats,
    pushes: Floats,
    step: np.float32,
    epoch: int,
) -> None:
    """One epoch of the objects `low` to `high`, in place. Tails of other parts are taken from `before`."""
    limit = np.float32(4.0)
    stranger = first_stranger
    n_points = strangers.shape[0]
    for i in range(low, high):
        x, y = points[i, 0], points[i, 1]
        for edge in range(starts[i], starts[i + 1]):
            # Its turns come evenly, and not those of all weak edges at the end: the phase is a golden ratio sequence.
            phase = np.float32((edge * 40503 & 65535) / 65536.0)
            if int(frequency[edge] * (epoch + 1) + phase) == int(frequency[edge] * epoch + phase):
                continue
            j = tails[edge]
            ours = low <= j < high
            dx, dy = (x - points[j, 0], y - points[j, 1]) if ours else (x - before[j, 0], y - before[j, 1])
            squared = dx * dx + dy * dy
            if squared > np.float32(0.0):
                pull = pulls[_step_of(squared)]
                step_x = step * min(limit, max(-limit, pull * dx))
                step_y = step * min(limit, max(-limit, pull * dy))
                if ours:
                    x += step_x
                    y += step_y
                    points[j, 0] -= step_x
                    points[j, 1] -= step_y
                else:  # the other part moves the other end, at its own turn: both halves of ours are here
                    x += np.float32(2.0) * step_x
                    y += np.float32(2.0) * step_y
            for _ in range(NEGATIVES):
                other = stranger
                stranger += 1
                if stranger == n_points:
                    stranger = 0
                if shuffle[other] == i:
                    continue
                dx, dy = x - strangers[other, 0], y - strangers[other, 1]
                squared = dx * dx + dy * dy
                if squared > np.float32(0.0):
                    push = pushes[_step_of(squared)]
                    x += step * min(limit, max(-limit, push * dx))
                    y += step * min(limit, max(-limit, push * dy))
        points[i, 0], points[i, 1] = x, y


@kernel
def _step_of(squared: np.float32) -> int:
    """The place in the tables of forces: the exponent and the highest six bits of the mantissa."""
    place = int(np.float32(squared).view(np.int32) >> 17) - (127 + SMALLEST_EXPONENT) * STEPS
    return min(max(place, 0), (LARGEST_EXPONENT - SMALLEST_EXPONENT) * STEPS - 1)
