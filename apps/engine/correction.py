"""Beside a linear head: labeled objects correct what it says of those like them, where no plane tells classes apart.

A kernel logistic regression on top of the linear head's logits. The kernel is Gaussian, of the width of the whole cloud of
features; it is approximated from some labeled objects, the landmarks (Nyström: Williams and Seeger 2001), so that a fit is
a few products of matrices. In numpy and not in torch, for the process that renews predictions: one fit has to take tenths
of a second, and the libraries to be there in a moment.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import softmax

from apps.engine.evidence import Evidence
from apps.engine.jit import sum_kernel

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Array = npt.NDArray[np.floating[Any]]

# On the features of CoNSeP's nuclei and of Chula's red blood cells all of 0.01 to 0.3, and widths from half to twice the
# cloud's, are within a hundredth of accuracy.
SHRINKAGE = 0.03
# More labels make more landmarks worth their time: with 8,000 of CoNSeP's, 0.885 are right with 512 and 0.896 with 1,024.
MOST_LANDMARKS, FEWEST_LANDMARKS = 1024, 256
# Multiplications. Of a few classes, all fits to 1,000 labels then take a sixth of a second on a core, and those to 10,000 half
# of one; predicting 100,000 objects takes less than half on one.
MOST_TO_FIT, MOST_TO_PREDICT = 2.5e9, 1.1e10
# What the rest of one likeness takes, in multiplications: 1.4 ns, and 146 of those 4.8 (on a Zen 3).
LIKE_MULTIPLICATIONS = 40
# Of the bound's steps; after 8 as after 40, accuracy is within half a hundredth.
STEPS = 15
# Rows at once: fewer of many classes, as all fits' probabilities of a block should stay near the processor.
MOST_BLOCK_ROWS, BLOCK_PROBABILITIES = 512, 262_144
# On the kernel's diagonal: landmarks that are the same object twice must not stop the fit.
JITTER = 1e-3
# Of the sum of a matrix' eigenvalues, what float32 may have rounded off any of them.
ROUNDED = 2e-6


@dataclass(frozen=True)
class Correction:
    """Adds to the logits of features x (n, d) their likeness to each landmark, times what that says of the classes."""

    origin: Floats  # (d,) in the midst of the landmarks: squares of what lies far off would lose their difference
    width: float  # the kernel is exp(-|x - landmark|^2 / (2 width^2))
    landmarks: Floats  # (d + 2, m) from there, see `_as_landmarks`
    outward: Floats  # (m, classes)

    def logits(self, x: Floats) -> Floats:
        """What is added, (n, classes)."""
        added: Floats = np.matmul(_kernel((x - self.origin) / self.width, self.landmarks), self.outward)
        return added

    def scaled(self, factor: float) -> Correction:
        """So many times as strong."""
        return replace(self, outward=np.float32(factor) * self.outward)


class Likeness:
    """Labeled objects as their likeness to the landmarks says they are: what corrections are fitted to."""

    def __init__(
        self, x: Floats, evidence: Evidence, landmarks: Rows, *, folds: Rows, variance: float, pool: Executor
    ) -> None:
        """`x` (n, d) are features as they are, `evidence` what is known of these n; `landmarks` (m,) are rows of x. `folds` (n,): which
        are left out together, -1 for never. `variance` is that of all objects, over all dimensions together. The work is done by the
        threads of `pool`, block by block."""
        self._origin = np.median(x[landmarks], axis=0)
        self._width = float(np.float32((variance / 2) ** 0.5)) if variance > np.finfo(np.float32).tiny else 1.0
        exact = ((x[landmarks] - self._origin) / self._width).astype(np.float64)
        among = _kernel(exact, _as_landmarks(exact))
        self._lower = np.linalg.cholesky(among + JITTER * np.eye(len(among))).astype(np.float32)
        self._landmarks = _as_landmarks(exact).astype(np.float32)
        self._pool = pool
        self._evidence = evidence
        shares = evidence.shares()
        self._weights = shares / shares.mean()
        self._features = np.empty((len(x), len(landmarks)), np.float32)  # their products are the kernel

        self._folds = {int(fold): np.flatnonzero(folds == fold) for fold in np.unique(folds)}

        def fill_rows(rows: Rows) -> Floats:
            """Their features, and what is returned: the products of these with each other, weighted."""
            likeness = _kernel((x[rows] - self._origin) / self._width, self._landmarks)
            features = self._features[rows] = self._solve(likeness.T).T
            return np.asarray((features * self._weights[rows, None]).T @ features)

        self._products: dict[int, Floats] = {}
        parts = [(fold, part) for fold, rows in self._folds.items() for part in _parts_of(rows)]
        for (fold, _), products in zip(parts, pool.map(fill_rows, [rows for _, rows in parts]), strict=True):
            self._products[fold] = self._products.get(fold, np.float32(0)) + products

    def fit(self, logits: Mapping[int, Array]) -> dict[int, Correction]:
        """For each fold, what makes all evidence but the fold's more likely than a linear head's `logits` (n, classes) do; for -1, what
        makes all of it.

        By Böhning's bound on the curvature (Ann. Inst. Stat. Math. 44:197, 1992): no step makes it less likely, and all steps of
        a fit share one factorization. All fits take a step together: what is in the processor's cache serves all of them.
        """
        weights = np.tile(self._weights, (len(logits), 1))
        for of_fit, fold in zip(weights, logits, strict=True):
            if fold >= 0:
                of_fit[self._folds[fold]] = 0
        # Classes before objects: what is added up and compared of an object then lies in long rows, and not in short ones.
        linear = np.stack([of_fit.T for of_fit in logits.values()]).astype(np.float32)
        n_fits, n_classes, n = linear.shape
        n_rows = min(MOST_BLOCK_ROWS, max(1, BLOCK_PROBABILITIES // (n_fits * n_classes)))
        blocks = [slice(first, first + n_rows) for first in range(0, n, n_rows)]
        evidence = [self._evidence.of(_flags(block, n)) for block in blocks]

        def slopes_of_block(block: slice, known: Evidence, outward: Floats) -> Floats:
            """By how much too likely the classes are, times the features, (fits * classes, m)."""
            x = self._features[block]
            added = (outward @ x.T).reshape(n_fits, n_classes, -1)
            likely = softmax(linear[:, :, block] + added, axis=1).swapaxes(1, 2)
            excess = known.excess(likely) * weights[:, block, None]
            return np.asarray(excess.swapaxes(1, 2).reshape(n_fits * n_classes, -1) @ x)

        def step(factor: Any, slope: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
            return np.asarray(cho_solve(factor, slope.T.astype(np.float32), check_finite=False)).T

        factors = list(self._pool.map(self._factor_without, logits))
        outward = np.zeros((n_fits * n_classes, self._features.shape[1]))
        for _ in range(STEPS):
            so_far = repeat(outward.astype(np.float32))
            slopes = sum(self._pool.map(slopes_of_block, blocks, evidence, so_far), SHRINKAGE * outward)
            outward -= np.concatenate(list(self._pool.map(step, factors, np.split(slopes, n_fits))))
        from_kernel = self._solve(outward.T.astype(np.float32), transposed=True)
        return {
            fold: Correction(self._origin, self._width, self._landmarks, np.ascontiguousarray(of_fit))
            for fold, of_fit in zip(logits, np.split(from_kernel, n_fits, axis=1), strict=True)
        }

    def left_out(self, corrections: Mapping[int, Correction]) -> Floats:
        """What each fold's correction adds for the labeled objects that it did not know, (n, classes); 0 for those that are never left
        out."""
        n_classes = next(iter(corrections.values())).outward.shape[1]
        added = np.zeros((len(self._features), n_classes), np.float32)
        for fold, rows in self._folds.items():
            if fold >= 0:
                added[rows] = self._features[rows] @ (self._lower.T @ corrections[fold].outward)
        return added

    def _factor_without(self, fold: int) -> Any:
        """Of the bound without this fold, -1: of all. Exact enough for steps in float32, which takes half as long."""
        curvature: npt.NDArray[np.float64] = np.zeros(self._lower.shape)
        for of_fold, products in self._products.items():
            if fold == -1 or of_fold != fold:
                curvature += products / 2
        curvature[np.diag_indices_from(curvature)] += SHRINKAGE + ROUNDED * np.trace(curvature)
        triangle, is_lower = cho_factor(curvature, overwrite_a=True)
        return triangle.astype(np.float32), is_lower

    def _solve(self, right: Floats, *, transposed: bool = False) -> Floats:
        solved = solve_triangular(self._lower, right, lower=True, trans=1 if transposed else 0, check_finite=False)
        return np.asarray(solved, np.float32)


def _parts_of(rows: Rows) -> list[Rows]:
    return np.array_split(rows, math.ceil(len(rows) / MOST_BLOCK_ROWS))


def _flags(rows: slice, n: int) -> Flags:
    flags = np.zeros(n, np.bool_)
    flags[rows] = True
    return flags


def n_landmarks(n_known: int, n_objects: int, dimension: int) -> int:
    """As many as a gesture has time for."""
    for_each = n_objects * (dimension + LIKE_MULTIPLICATIONS)
    has_time_for = min((MOST_TO_FIT / n_known) ** 0.5, MOST_TO_PREDICT / for_each)
    return min(n_known, int(np.clip(has_time_for, FEWEST_LANDMARKS, MOST_LANDMARKS)))


def _as_landmarks(x: Array) -> Array:
    """Objects (m, d), in units of the kernel's width, as `_kernel` takes them: (d + 2, m)."""
    squares = (x * x).sum(axis=1)[:, None]
    return np.ascontiguousarray(np.concatenate([x, -squares / 2, np.ones_like(squares)], axis=1).T)


def _kernel(x: Array, landmarks: Array) -> Floats:
    """Gaussian, (n, m), of objects (n, d) in units of its width; its exponent is as exact as they are. That is one product: with each
    landmark's half square against a 1, and each object's against the landmark's 1."""
    squares = (x * x).sum(axis=1)[:, None]
    exponent = np.concatenate([x, np.ones_like(squares), -squares / 2], axis=1) @ landmarks
    likeness: Floats = exponent.astype(np.float32, copy=False)
    _raise_e(likeness)
    return likeness


@sum_kernel
def _raise_e(exponents: Any) -> None:
    """e to the power of `exponents` (n, m) float32, in their place; above 0 as 0, and 0 below e^-87. To 2e-7, in a fifth of
    numpy's time, which was a third of a prediction's.

    2 to the power of what is left beside the nearest whole number is a polynomial (Chebyshev's of degree 5); the whole number is added
    to the exponent's bits.
    """
    for i in range(len(exponents)):
        for j in range(exponents.shape[1]):
            power = max(min(exponents[i, j], np.float32(0)) * np.float32(1.44269504), np.float32(-127))
            whole = np.floor(power + np.float32(0.5))
            x = power - whole
            part = np.float32(0.00967603) + x * np.float32(0.00133909)
            part = np.float32(0.69314719) + x * (np.float32(0.24022107) + x * (np.float32(0.05550357) + x * part))
            part = np.float32(1) + x * part
            bits = np.int32(np.float32(part).view(np.int32) + np.int32(np.int32(whole) * np.int32(1 << 23)))
            exponents[i, j] = bits.view(np.float32) if power > np.float32(-126) else np.float32(0)
