"""Predictions from cached features: a linear head that is fitted in under a second and knows how sure it is.

This is the fast loop's half of learning: it needs no network, no GPU and no torch, so that predictions follow the
labels while the network still trains.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from apps.engine.errors import EngineError

Floats = npt.NDArray[np.float32]
ClassValues = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]

# Strength of the fit against the shrinkage of its weights, on standardized features.
REGULARIZATION_C = 0.01
N_FOLDS = 5
# From here on two folds give enough held-out labels for one number, the temperature; below, all five are fitted.
MANY_LABELS = 1000
# More labels than this change the head little and its fit would take seconds; rare classes are kept whole.
MOST_LABELS = 10_000
# A class with fewer labels has none left to learn from when one is held out.
FEWEST_TO_HOLD_OUT = 2
PREDICT_ROWS = 16_384
N_CONFIDENCE_BINS = 10


@dataclass(frozen=True)
class Quality:
    """What a head gets right on labels that it was not fitted on: about a fifth of each class, drawn by seed.

    The three measures are None where no class has the two labels that holding one out takes.
    """

    accuracy: float | None
    balanced_accuracy: float | None  # mean over the held-out classes of the share that is right
    ece: float | None  # expected calibration error: mean |confidence - accuracy| over ten bins of confidence
    n_train: int
    n_held_out: int
    classes: list[int]  # class values, the order of the matrix
    confusion: list[list[int]]  # row: the label; column: the prediction

    def to_json(self) -> dict[str, Any]:
        """The measures as plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Head:
    """A linear classifier over features; the standardization is in its weights."""

    weights: Floats  # (d, classes)
    bias: Floats  # (classes,)
    class_values: ClassValues  # (classes,)
    temperature: float  # logits are divided by it
    quality: Quality

    def predict(self, features: npt.NDArray[np.floating[Any]]) -> tuple[ClassValues, Floats]:
        """For features (n, d): class value (n,) uint8, and its calibrated probability (n,) float32, 0 to 1."""
        n = len(features)
        class_value = np.empty(n, np.uint8)
        confidence = np.empty(n, np.float32)
        for first in range(0, n, PREDICT_ROWS):  # in blocks, which stay in the processor's cache
            rows = slice(first, first + PREDICT_ROWS)
            logits = _finite(features[rows]) @ self.weights + self.bias
            best = logits.argmax(axis=1)
            # The largest probability only, not the whole softmax: 1 / sum of exp(logit - largest logit).
            below = (logits - logits[np.arange(len(best)), best][:, None]) / np.float32(self.temperature)
            class_value[rows] = self.class_values[best]
            confidence[rows] = 1 / np.exp(below).sum(axis=1)
        return class_value, confidence


def draw_held_out(class_values: ClassValues, *, seed: int) -> npt.NDArray[np.bool_]:
    """Which labels, (n,) bool, to measure quality on: a fifth of each class, the same for the same labels and seed.

    What is trained on labels before `fit_head` must not see these, or the quality is flattered.
    """
    held_out = np.zeros(len(class_values), np.bool_)
    labeled = np.flatnonzero(class_values)
    _, targets = np.unique(class_values[labeled], return_inverse=True)
    held_out[labeled] = _stratified_folds(targets, np.random.default_rng(seed)) == 0
    return held_out


def fit_head(
    features: npt.NDArray[np.floating[Any]],
    class_values: ClassValues,
    *,
    seed: int,
    held_out: npt.NDArray[np.bool_] | None = None,
) -> Head | None:
    """A head fitted to the labeled rows of `features` (n, d); None when fewer than two classes have labels.

    `class_values` (n,) uint8 are the labels, 0 for none. Classes count alike whatever their number of labels.
    Quality is measured on `held_out` (see `draw_held_out`, which is the default) by a head fitted without it; the head
    returned is fitted to all labels.
    Its temperature (Guo et al. 2017) comes from predictions of labels that were held out, and never from the fifth
    that the calibration error is measured on.
    """
    if len(features) != len(class_values):
        raise EngineError(f"There are features of {len(features)} objects, but class values for {len(class_values)}")
    labeled = np.flatnonzero(class_values)
    values, targets = np.unique(class_values[labeled], return_inverse=True)
    if len(values) < 2:
        return None
    rng = np.random.default_rng(seed)
    chosen = _stratified_sample(targets, MOST_LABELS, rng)
    x, targets = _finite(features[labeled[chosen]]), targets[chosen]
    center = x.mean(axis=0)
    spread = x.std(axis=0)
    # A feature that is the same everywhere would be divided by nothing, or by rounding.
    scale = np.where(spread > 1e-6 * max(1e-30, float(spread.max())), spread, np.inf).astype(np.float32)
    x = (x - center) / scale

    if held_out is None:
        held_out = draw_held_out(class_values, seed=seed)
    folds = _stratified_folds(targets, rng, first=held_out[labeled[chosen]])
    n_fitted_folds = N_FOLDS if len(targets) < MANY_LABELS else 2
    held_out_logits = np.full((len(targets), len(values)), np.nan)
    for fold in range(n_fitted_folds):
        in_fold = folds == fold
        if in_fold.any():
            weights, bias = _fit(x[~in_fold], targets[~in_fold], len(values))
            held_out_logits[in_fold] = x[in_fold] @ weights + bias
    predicted = np.isfinite(held_out_logits).all(axis=1)
    first_fold = folds == 0
    quality = _measure(
        held_out_logits[first_fold] / _fit_temperature(held_out_logits, targets, predicted & ~first_fold),
        targets[first_fold],
        values,
        n_train=int((~first_fold).sum()),
    )
    temperature = _fit_temperature(held_out_logits, targets, predicted)
    weights, bias = _fit(x, targets, len(values))
    weights = weights / scale[:, None]
    return Head(
        weights=weights.astype(np.float32),
        bias=(bias - center @ weights).astype(np.float32),
        class_values=values.astype(np.uint8),
        temperature=temperature,
        quality=quality,
    )


def _finite(features: npt.NDArray[np.floating[Any]]) -> Floats:
    """As float32, with 0 for what is no number: one broken vector must not make every prediction NaN."""
    converted = features.astype(np.float32)
    if not np.isfinite(converted.sum()):
        converted = np.nan_to_num(converted, nan=0.0, posinf=0.0, neginf=0.0)
    return converted


def _stratified_sample(targets: Rows, most: int, rng: np.random.Generator) -> Rows:
    """Rows of at most about `most` labels: classes up to an equal share whole, the larger ones down to what is left."""
    if len(targets) <= most:
        return np.arange(len(targets))
    counts = np.bincount(targets)
    cap, left, open_classes = most, most, len(counts)
    for count in np.sort(counts):  # smallest first: what it leaves of its share goes to the others
        cap = left // open_classes
        left -= min(int(count), cap)
        open_classes -= 1
    rows = [rng.permutation(np.flatnonzero(targets == k))[: max(cap, most // len(counts))] for k in range(len(counts))]
    return np.sort(np.concatenate(rows))


def _stratified_folds(targets: Rows, rng: np.random.Generator, *, first: npt.NDArray[np.bool_] | None = None) -> Rows:
    """A fold (n,) per label, 0 to 4, each class spread over them evenly; -1, never held out, for a class's only one.

    `first` (n,) bool: what fold 0 is; the others are then spread over the folds 1 to 4.
    """
    folds = np.full(len(targets), -1, np.int64)
    if first is not None:
        folds[first] = 0
    for k in np.unique(targets):
        of_class = rng.permutation(np.flatnonzero(targets == k))
        if len(of_class) < FEWEST_TO_HOLD_OUT:
            folds[of_class] = -1
        elif first is None:
            folds[of_class] = np.arange(len(of_class)) % N_FOLDS
        else:
            others = of_class[~first[of_class]]
            # A class with a single label beside the held-out ones keeps it for learning.
            folds[others] = 1 + np.arange(len(others)) % (N_FOLDS - 1) if len(others) >= FEWEST_TO_HOLD_OUT else -1
    return folds


def _fit(x: Floats, targets: Rows, n_classes: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights (d, classes) and bias (classes,) of a class-balanced multinomial logistic regression."""
    counts = np.bincount(targets, minlength=n_classes)
    weights = len(targets) / (n_classes * counts[targets])
    model = LogisticRegression(C=REGULARIZATION_C, max_iter=100, tol=1e-3)
    with warnings.catch_warnings():
        # Not converged: a hundred steps are near enough, and bounded in time. Many classes with few labels: are meant.
        warnings.simplefilter("ignore", UserWarning)
        with threadpool_limits(limits=1):  # so small a fit is slower, not faster, with threads that wait for each other
            model.fit(x, targets, sample_weight=weights)
    coefficients, intercept = model.coef_.astype(np.float64), model.intercept_.astype(np.float64)
    if n_classes == 2:  # scikit-learn gives the one logit between two classes
        coefficients, intercept = np.vstack([-coefficients / 2, coefficients / 2]), np.array([-1, 1]) * intercept / 2
    return coefficients.T, intercept


def _fit_temperature(logits: npt.NDArray[np.float64], targets: Rows, rows: npt.NDArray[np.bool_]) -> float:
    """The temperature that makes the logits of held-out labels most likely; 1 where there are none.

    The targets are smoothed as Platt (1999) does: few labels, all right, do not prove certainty.
    """
    n = int(rows.sum())
    if n == 0:
        return 1.0
    logits, targets = logits[rows], targets[rows]
    n_classes = logits.shape[1]
    wanted = np.full(logits.shape, 1 / (n + n_classes))
    wanted[np.arange(n), targets] += n / (n + n_classes)

    def cost(log_temperature: float) -> float:
        return -float((wanted * log_softmax(logits / np.exp(log_temperature), axis=1)).sum()) / n

    return float(np.exp(minimize_scalar(cost, bounds=(np.log(0.02), np.log(50.0)), method="bounded").x))


def _measure(logits: npt.NDArray[np.float64], targets: Rows, values: ClassValues, *, n_train: int) -> Quality:
    n, n_classes = len(targets), len(values)
    confusion = np.zeros((n_classes, n_classes), np.int64)
    accuracy = balanced = ece = None
    if n:
        probabilities = softmax(logits, axis=1)
        predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        right = predicted == targets
        np.add.at(confusion, (targets, predicted), 1)
        per_class = confusion.sum(axis=1)
        present = per_class > 0
        accuracy = float(right.mean())
        balanced = float((np.diag(confusion)[present] / per_class[present]).mean())
        bins = np.minimum((confidence * N_CONFIDENCE_BINS).astype(np.int64), N_CONFIDENCE_BINS - 1)
        gaps = [abs(float((confidence[bins == b] - right[bins == b]).sum())) for b in np.unique(bins)]
        ece = sum(gaps) / n
    return Quality(
        accuracy=accuracy,
        balanced_accuracy=balanced,
        ece=ece,
        n_train=n_train,
        n_held_out=n,
        classes=[int(value) for value in values],
        confusion=confusion.tolist(),
    )
