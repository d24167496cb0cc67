"""What the objects around one are called says what it is, too: the labels of those that have one, a guess of the others.

A plain linear head guesses first, of each object by itself; then each object's own predictors get, beside them, the mean of
what is known and guessed of those around it, near and far. The head that counts learns from both (auto-context: Tu and Bai,
IEEE PAMI 32:1744, 2010, in two steps and without their filters; labels take the place of guesses as in iterative
classification: Neville and Jensen, AAAI workshop on statistical relational learning, 2000).

An object's own label is not in what lies around it: it would predict itself. There is no third step, because the second's
guesses of the neighbors know the object's label; and none at all for so few labels that the first one knows them by heart, and
repeats an object's label of those beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from apps.engine.errors import EngineError
from apps.engine.evidence import Denied, among_possible
from apps.engine.jit import sum_kernel
from apps.engine.predict import ClassValues, Rows, guess_classes, in_blocks, total_variance
from apps.engine.surroundings import Surroundings, check_same_objects

# With fewer, the columns tell of held-out labels (by 0.05 of 60) and predict nothing better (0.002 at most, of 100 and 200 too).
FEWEST_LABELS = 300
# Near, around, and in the whole image. Of CoNSeP's nuclei also 2 to 64 neighbors were compared: within half a hundredth.
N_NEAR = 4
N_DISTANCES = 3
# Those with the most labels: of 254 classes, columns and the first head would take longer than all the rest.
MOST_CLASSES = 16
# What all columns together would vary, were each a single label, over what all predictors vary. Little, so that they disturb nothing
# where they say nothing: four times as much, or guesses made surer, costs 0.005 of Chula's predictions, which float about. Not made from
# what they do vary: the labels of one image would be blown up where all others have none.
PART_OF_VARIANCE = 0.05


def with_classes_around(
    predictors: npt.NDArray[np.float16],
    class_values: ClassValues,
    surroundings: Surroundings,
    *,
    seed: int,
    denied: Mapping[int, Rows] | None = None,
) -> npt.NDArray[np.float16]:
    """`predictors` (n, d), and beside them which classes lie around, (n, d + 3 k) float16, of the k classes with the most labels.

    `class_values` (n,) uint8 are the labels, 0 for none. With fewer than two classes or `FEWEST_LABELS`, `predictors` as they are.
    Objects that are alone in their image have 0 there, the mean of all. Takes 0.5 kB an object at its peak where `predictors` have 160
    numbers, with four classes 0.4. Raises EngineError where labels or `surroundings` are other objects'.
    """
    n, dimension = predictors.shape
    check_same_objects(n, surroundings)
    if len(class_values) != n:
        raise EngineError(f"There are features of {n} objects, but class values for {len(class_values)}")
    if np.count_nonzero(class_values) < FEWEST_LABELS:
        return predictors
    guessed = guess_classes(predictors, _most_frequent(class_values, MOST_CLASSES), seed=seed)
    if guessed is None:
        return predictors
    values, share = guessed
    # The label of a class that is not among the k says that it is none of these.
    share[class_values > 0] = class_values[class_values > 0][:, None] == values
    known = Denied.among(denied or {}, class_values, values)
    share[known.rows] = among_possible(share[known.rows], ~known.is_denied)
    mean = share.mean(axis=0, dtype=np.float64).astype(np.float32)
    image, nearest = surroundings.image, surroundings.nearest
    sums = np.stack([np.bincount(image, column) for column in share.T], axis=1)
    counts = np.bincount(image)
    n_columns = N_DISTANCES * len(values)
    of_labels = N_DISTANCES * float((mean * (1 - mean)).sum())
    scale = np.float32(np.sqrt(PART_OF_VARIANCE * total_variance(predictors) / of_labels))
    both = np.empty((n, dimension + n_columns), np.float16)

    def fill_block(rows: slice) -> None:
        around = np.empty((len(image[rows]), n_columns), np.float32)
        _mean_classes(share, mean, nearest[rows], image[rows], sums, counts, rows.start, around)
        both[rows, :dimension] = predictors[rows]
        both[rows, dimension:] = around * scale

    in_blocks(n, fill_block)
    return both


def _most_frequent(class_values: ClassValues, most: int) -> ClassValues:
    """The labels (n,) of so many classes only; the others' are 0."""
    counts = np.bincount(class_values, minlength=256)
    counts[0] = 0
    kept = np.argsort(-counts, kind="stable")[:most]
    return np.where(np.isin(class_values, kept), class_values, 0).astype(np.uint8)


@sum_kernel
def _mean_classes(
    share: Any, mean: Any, nearest: Any, image: Any, sums: Any, counts: Any, first: int, around: Any
) -> None:
    """`around` (m, 3 k) of the objects from `first` on: the mean of `share` (n, k) over the nearest few, over all nearest, and over
    the others of the image, from the mean of all (k,). `sums` (images, k) and `counts` (images,) are the images', `nearest` (m, 16)
    and `image` (m,) the objects'."""
    k = share.shape[1]
    for i in range(len(around)):
        around[i] = 0
        n_around = 0
        for j in nearest[i]:
            if j < 0:
                break
            n_around += 1
            for c in range(k):
                around[i, k + c] += share[j, c]
            if n_around == N_NEAR:
                for c in range(k):
                    around[i, c] = around[i, k + c]
        if n_around == 0:
            continue
        n_near = min(n_around, N_NEAR)
        for c in range(k):
            near = around[i, c] if n_around >= N_NEAR else around[i, k + c]
            around[i, c] = near / n_near - mean[c]
            around[i, k + c] = around[i, k + c] / n_around - mean[c]
            around[i, 2 * k + c] = (sums[image[i], c] - share[first + i, c]) / (counts[image[i]] - 1) - mean[c]
