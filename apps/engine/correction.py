"""Beside a linear head: labeled objects correct what it says of those like them, where no plane tells classes apart.

A kernel logistic regression on top of the linear head's logits. The kernel is Gaussian, of the width of the whole cloud of
features; it is approximated from some labeled objects, the landmarks (Nyström: Williams and Seeger 2001), so that a fit is
a few products of matrices. In numpy and not in torch, for the process that renews predictions: one fit has to take tenths
of a second, and the libraries to be there in a moment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import softmax

from apps.engine.evidence import Evidence

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# On the features of CoNSeP's nuclei and of Chula's red blood cells all of 0.01 to 0.3, and widths from half to twice the
# cloud's, are within a hundredth of accuracy.
SHRINKAGE = 0.03
# More labels make more landmarks worth their time: with 8,000 of CoNSeP's, 0.885 are right with 512 and 0.896 with 1,024.
MOST_LANDMARKS, FEWEST_LANDMARKS = 1024, 256
# Multiplications. Of a few classes, all fits to 1,000 labels then take a third of a second on a core, and those to 10,000 half
# of one (of 254 classes two: the steps are then most of it); predicting 100,000 objects takes less than half on two.
MOST_TO_FIT, MOST_TO_PREDICT = 2.5e9, 1.7e10
# What the rest of one likeness takes, its exponential above all, in multiplications: 5.6 ns, and 160 of those 5.9 (on a Zen 3).
LIKE_MULTIPLICATIONS = 150
# Of the bound's steps; after 8 as after 40, accuracy is within half a hundredth.
STEPS = 15
# On the kernel's diagonal: landmarks that are the same object twice must not stop the fit.
JITTER = 1e-3
# Of the sum of a matrix' eigenvalues, what float32 may have rounded off any of them.
ROUNDED = 2e-6


@dataclass(frozen=True)
class Correction:
    """Adds to the logits of features x (n, d) their likeness to each landmark, times what that says of the classes."""

    origin: Floats  # (d,) in the midst of the landmarks: squares of what lies far off would lose their difference
    landmarks: Floats  # (m, d) from there
    nearness: float  # the kernel is exp(-nearness * squared distance)
    outward: Floats  # (m, classes)

    def logits(self, x: Floats) -> Floats:
        """What is added, (n, classes)."""
        added: Floats = np.matmul(_kernel(x - self.origin, self.landmarks, self.nearness), self.outward)
        return added

    def scaled(self, factor: float) -> Correction:
        """So many times as strong."""
        return replace(self, outward=np.float32(factor) * self.outward)


class Likeness:
    """Labeled objects as their likeness to the landmarks says they are: what corrections are fitted to."""

    def __init__(self, x: Floats, evidence: Evidence, landmarks: Rows, *, variance: float) -> None:
        """`x` (n, d) are features as they are, `evidence` what is known of these n; `landmarks` (m,) are rows of x. `variance`
        is that of all objects, over all dimensions together."""
        self._origin = np.median(x[landmarks], axis=0)
        self._landmarks = x[landmarks] - self._origin
        self._nearness = 1 / variance if variance > np.finfo(np.float32).tiny else 1.0
        exact = self._landmarks.astype(np.float64)
        among = _kernel(exact, exact, self._nearness)
        self._lower = np.linalg.cholesky(among + JITTER * np.eye(len(among))).astype(np.float32)
        likeness = _kernel(x - self._origin, self._landmarks, self._nearness)
        self._features = np.ascontiguousarray(self._solve(likeness.T).T)  # (n, m): their products are the kernel
        self._evidence = evidence
        shares = evidence.shares()
        self._weights = (shares / shares.mean())[:, None]
        self._products = self._products_of(slice(None))

    def fit(self, logits: npt.NDArray[Any], *, without: npt.NDArray[np.bool_] | None = None) -> Correction:
        """What makes the evidence more likely than a linear head's `logits` (n, classes) do; `without` (n,) are not known.

        By Böhning's bound on the curvature (Ann. Inst. Stat. Math. 44:197, 1992): no step makes it less likely, and all steps share
        one factorization.
        """
        known: Flags = np.ones(len(self._evidence), np.bool_) if without is None else ~without
        curvature = (self._products if without is None else self._products - self._products_of(without)) / 2
        curvature[np.diag_indices_from(curvature)] += SHRINKAGE + ROUNDED * np.trace(curvature)
        factor = cho_factor(curvature.astype(np.float64), overwrite_a=True)
        x, weights, logits = self._features[known], self._weights[known], logits[known].astype(np.float32)
        evidence = self._evidence.of(known)
        outward = np.zeros((x.shape[1], logits.shape[1]))
        for _ in range(STEPS):
            probability = softmax(logits + x @ outward.astype(np.float32), axis=1)
            excess = weights * evidence.excess(probability)
            slope = np.asarray(excess.T @ x).T + SHRINKAGE * outward
            outward -= cho_solve(factor, slope)
        from_kernel = self._solve(outward.astype(np.float32), transposed=True)
        return Correction(self._origin, self._landmarks, self._nearness, from_kernel)

    def logits(self, rows: npt.NDArray[np.bool_], correction: Correction) -> Floats:
        """What a correction of these landmarks adds for the labeled objects `rows` (n,), (k, classes)."""
        added: Floats = self._features[rows] @ (self._lower.T @ correction.outward)
        return added

    def _products_of(self, rows: slice | npt.NDArray[np.bool_]) -> Floats:
        x = self._features[rows]
        products: Floats = (x * self._weights[rows]).T @ x
        return products

    def _solve(self, right: Floats, *, transposed: bool = False) -> Floats:
        solved = solve_triangular(self._lower, right, lower=True, trans=1 if transposed else 0, check_finite=False)
        return np.asarray(solved, np.float32)


def n_landmarks(n_known: int, n_objects: int, dimension: int) -> int:
    """As many as a gesture has time for."""
    for_each = n_objects * (dimension + LIKE_MULTIPLICATIONS)
    has_time_for = min((MOST_TO_FIT / n_known) ** 0.5, MOST_TO_PREDICT / for_each)
    return min(n_known, int(np.clip(has_time_for, FEWEST_LANDMARKS, MOST_LANDMARKS)))


def _kernel(x: npt.NDArray[Any], landmarks: npt.NDArray[Any], nearness: float) -> npt.NDArray[Any]:
    """Gaussian, (n, m), as exact as what it is given."""
    likeness: npt.NDArray[Any] = x @ (2 * landmarks.T)
    likeness -= (x * x).sum(axis=1)[:, None]
    likeness -= (landmarks * landmarks).sum(axis=1)
    np.minimum(likeness, 0, out=likeness)
    likeness *= nearness
    np.exp(likeness, out=likeness)
    return likeness
