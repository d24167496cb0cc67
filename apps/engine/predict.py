"""Predictions from cached features: a head that is fitted in tenths of a second and knows how sure it is.

This is the fast loop's half of learning: it needs no network, no GPU and no torch, so that predictions follow the
labels while the network still trains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize, minimize_scalar
from scipy.special import log_softmax, softmax
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from apps.engine.cores import usable_cores
from apps.engine.correction import Correction, Likeness, n_landmarks
from apps.engine.errors import EngineError
from apps.engine.evidence import Denied, Evidence, among_possible
from apps.engine.halves import to_float32

Floats = npt.NDArray[np.float32]
ClassValues = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Strength of the fit against the shrinkage of its weights, on standardized features.
REGULARIZATION_C = 0.01
# From the weights of the head before, some ten steps do; from none, some forty.
MOST_STEPS = 100
SMALLEST_GRADIENT = 1e-3
TEMPERATURE_WITHIN = 1e-3  # of itself
N_FOLDS = 5
# From here on fits take their time, and a part of the labels says as much: the four fifths that are not held out for the quality
# are then left out by halves.
MANY_LABELS, N_FOLDS_OF_MANY = 2000, 3
# More labels than this change the head little and its fit would take seconds; rare classes are kept whole. Of what was ruled out
# there is less than of labels, and a fit with as many of both would take twice as long.
MOST_LABELS = 10_000
MOST_RULED_OUT = 2_500
# A guess need not be the best fit: it is asked what lies around, not what an object is. The first columns are an object's own
# principal components, of a thousand objects or more. Of CoNSeP's 160, the first 128 (without the means of what lies around) let as many be predicted rightly to 0.0006,
# and 64 to 0.0013.
MOST_LABELS_TO_GUESS, COLUMNS_TO_GUESS, STEPS_TO_GUESS = 1_000, 128, 15
# With fewer labels there are not enough held out to tell whether a correction serves.
FEWEST_TO_CORRECT = 100
# What held-out balanced accuracy may fall by where a correction makes more of all labels likely; a rare class's few labels
# may make it look worse by one standard error.
TOLERATED_FALL = 0.02
# How much less held-out labels have to surprise with a correction: by less, it may be chance.
WORTH_CORRECTING = 0.01
# A class with fewer labels has none left to learn from when one is held out.
FEWEST_TO_HOLD_OUT = 2
SCALE_ROWS = 4096
PREDICT_ROWS = 1024
N_CONFIDENCE_BINS = 10


@dataclass(frozen=True)
class ReliabilityBin:
    """Held-out labels, and what was held out of what was ruled out, whose predictions are about equally sure: one point of a
    reliability diagram."""

    confidence: float  # their mean, 0 to 1
    right: float  # share that is predicted rightly; what was ruled out is right as often as the head says, or wrong
    n: int


@dataclass(frozen=True)
class Quality:
    """What a head gets right on labels that it was not fitted on: about a fifth, see `draw_held_out`.

    The three measures are None where no class has the two labels that holding one out takes. `..._between`: where the true
    one lies with 95 % confidence, if the labels are like the rest; those that a model proposed may be easier.
    """

    accuracy: float | None
    accuracy_between: tuple[float, float] | None
    balanced_accuracy: float | None  # mean over the held-out classes of the share that is right
    balanced_between: tuple[float, float] | None
    ece: float | None  # expected calibration error: mean |confidence - accuracy| over ten bins of confidence
    n_train: int
    n_held_out: int
    classes: list[int]  # class values, the order of the matrix
    confusion: list[list[int]]  # row: the label; column: the prediction
    reliability: list[ReliabilityBin]  # the bins that have labels, by confidence

    def to_json(self) -> dict[str, Any]:
        """The measures as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class _Fit:
    """Weights (d, classes) and bias (classes,), float64."""

    weights: npt.NDArray[np.float64]
    bias: npt.NDArray[np.float64]

    def logits(self, x: Floats) -> npt.NDArray[np.float64]:
        """Of features x (n, d), (n, classes)."""
        logits: npt.NDArray[np.float64] = x @ self.weights.astype(np.float32) + self.bias
        return logits

    def of_standardized(self, center: Floats, scale: Floats) -> _Fit:
        """The same over features from which `center` (d,) was taken and that were divided by `scale` (d,)."""
        return _Fit(scale[:, None] * self.weights, self.bias + center @ self.weights)

    def of_raw(self, center: Floats, scale: Floats) -> _Fit:
        """The same over features as they are, for one that was made for features standardized so."""
        weights = self.weights / scale[:, None]
        return _Fit(weights, self.bias - center @ weights)


@dataclass(frozen=True)
class HeldOut:
    """What labeled objects are taken for by fits that did not know their labels."""

    ordinals: Rows  # (m,) ascending; without those that are the only one of their class with a label
    class_values: ClassValues  # (m,)
    confidence: Floats  # (m,) 0 to 1


@dataclass(frozen=True)
class Head:
    """A linear classifier over features, perhaps with a correction; the standardization is in their weights."""

    weights: Floats  # (d, classes)
    bias: Floats  # (classes,)
    class_values: ClassValues  # (classes,)
    temperature: float  # logits are divided by it
    quality: Quality
    held_out: HeldOut
    correction: Correction | None = None
    # By the fold left out, -1: none; over features as they are; to start from.
    fits: dict[int, _Fit] = field(default_factory=dict, repr=False)

    def predict(
        self, features: npt.NDArray[np.floating[Any]], *, possible: Flags | None = None
    ) -> tuple[ClassValues, Floats]:
        """For features (n, d): class value (n,) uint8, and its calibrated probability (n,) float32, 0 to 1. `possible` (n, classes):
        only of these, at least one of each object."""
        n = len(features)
        class_value = np.empty(n, np.uint8)
        confidence = np.empty(n, np.float32)

        def predict_block(rows: slice) -> None:
            x = to_float32(features[rows])
            logits = x @ self.weights + self.bias
            if self.correction is not None:
                logits += self.correction.logits(x)
            if possible is not None:
                logits[~possible[rows]] = -np.inf
            best = logits.argmax(axis=1)
            # The largest probability only, not the whole softmax: 1 / sum of exp(logit - largest logit).
            below = (logits - logits[np.arange(len(best)), best][:, None]) / np.float32(self.temperature)
            class_value[rows] = self.class_values[best]
            confidence[rows] = 1 / np.exp(below).sum(axis=1)

        in_blocks(n, predict_block)
        return class_value, confidence


def draw_held_out(class_values: ClassValues, *, seed: int) -> Flags:
    """Which labels, (n,) bool, to measure quality on: about a fifth, and of every class with two labels at least one.

    It depends on the object's number and the seed, not on what else is labeled: an object that was held out stays so
    as labels come in. What is trained on labels before `fit_head` must not see these, or the quality is flattered;
    what was trained with fewer labels did not see them either.
    """
    labeled = np.flatnonzero(class_values)
    of_labels = _drawn_folds(labeled, seed=seed, n_folds=N_FOLDS) == 0
    drawn = _scrambled(labeled, seed)
    for value in np.unique(class_values[labeled]):
        of_class = np.flatnonzero(class_values[labeled] == value)
        of_class = of_class[np.argsort(drawn[of_class])]
        if len(of_class) < FEWEST_TO_HOLD_OUT:
            of_labels[of_class] = False
        elif not of_labels[of_class].any():
            of_labels[of_class[0]] = True
        elif of_labels[of_class].all():
            of_labels[of_class[1:]] = False
    held_out = np.zeros(len(class_values), np.bool_)
    held_out[labeled] = of_labels
    return held_out


def fit_head(
    features: npt.NDArray[np.floating[Any]],
    class_values: ClassValues,
    *,
    seed: int,
    denied: Mapping[int, Rows] | None = None,
    held_out: Flags | None = None,
    start_from: Head | None = None,
    may_correct: bool = False,
) -> Head | None:
    """A head fitted to the labeled rows of `features` (n, d); None when fewer than two classes have labels.

    `class_values` (n,) uint8 are the labels, 0 for none; `denied` are the rows of those that were found not to be of a class, by its
    value, which teaches something where they have no label. Classes count alike whatever their number of labels. Of a few classes
    a fit takes tenths of a second; of 254 with 10,000 labels 8 s of a core.
    Quality is measured on `held_out` (see `draw_held_out`, which is the default) by a head fitted without it; the head
    returned is fitted to all labels.
    `start_from` is a head fitted earlier to features of the same kind: the fit then takes a few steps instead of many.
    `may_correct`: labeled objects may correct the linear head, see `fit_kernel_head`.
    Labeled objects are predicted by fits without a part of the labels, theirs among it (`Head.held_out`): a head that knows
    an object's label would agree with it, right or wrong.
    The head's temperature (Guo et al. 2017) comes from predictions of labels that were held out, and never from the fifth
    that the calibration error is measured on.
    Raises `EngineError` where features and labels are of another number of objects, or all labels are held out.
    """
    if len(features) != len(class_values):
        raise EngineError(f"There are features of {len(features)} objects, but class values for {len(class_values)}")
    values = np.unique(class_values[class_values > 0])
    if len(values) < 2:
        return None
    known = _gather(features, class_values, values, denied or {}, seed=seed)
    n_labels, rows, targets = known.n_labels, known.rows[: known.n_labels], known.evidence.targets
    if held_out is None:
        held_out = draw_held_out(class_values, seed=seed)
    elif held_out[rows].all():
        raise EngineError("All labels are held out: none is left to learn from")
    n_folds = N_FOLDS if len(known.evidence) < MANY_LABELS else N_FOLDS_OF_MANY
    of_labels = _folds(rows, targets, held_out[rows], seed=seed, n_folds=n_folds)
    of_others = _drawn_folds(known.rows[n_labels:], seed=seed, n_folds=n_folds)
    folds = np.concatenate([of_labels, of_others])

    # Fits side by side, each on one thread: within so small a one, threads would wait for each other.
    with threadpool_limits(limits=1), ThreadPoolExecutor(usable_cores(), "fit") as pool:
        fits, by_fit = _fit_folds(known, folds, values, start_from, n_folds=n_folds, pool=pool)
        logits = np.full((len(folds), len(values)), np.nan)  # of each by the fit that did not know what is known of it
        for fold in by_fit.keys() - {-1}:
            logits[folds == fold] = by_fit[fold][folds == fold]
        predicted = np.isfinite(logits).all(axis=1)
        first_fold = folds == 0
        correction = None
        if may_correct and n_labels >= FEWEST_TO_CORRECT:
            was_corrected = start_from is not None and start_from.correction is not None
            correction = _correct(
                known, folds, by_fit, logits, n_objects=len(features), was_corrected=was_corrected, seed=seed, pool=pool
            )
    held_out_logits = logits[first_fold] / _fit_temperature(logits, known.evidence, predicted & ~first_fold)
    of_first = known.evidence.of(first_fold)
    quality = measure_quality(
        held_out_logits[: len(of_first.targets)],
        of_first.targets,
        values,
        n_train=int((of_labels != 0).sum()),
        ruled_out=(held_out_logits[len(of_first.targets) :], ~of_first.possible),
    )
    temperature = _fit_temperature(logits, known.evidence, predicted)
    predicted = predicted[:n_labels]
    probabilities = softmax(logits[:n_labels][predicted] / temperature, axis=1)
    return Head(
        weights=fits[-1].weights.astype(np.float32),
        bias=fits[-1].bias.astype(np.float32),
        class_values=values.astype(np.uint8),
        temperature=temperature,
        quality=quality,
        held_out=HeldOut(
            rows[predicted],
            values[probabilities.argmax(axis=1)].astype(np.uint8),
            probabilities.max(axis=1, initial=0).astype(np.float32),
        ),
        correction=correction,
        fits=fits,
    )


@dataclass(frozen=True)
class _Known:
    """What a head learns from: m objects, those with labels first, then those of which only is known what they are not."""

    rows: Rows  # (m,) in the features
    n_labels: int
    evidence: Evidence
    raw: Floats  # (m, d) their features
    center: Floats  # (d,) of all objects' features, as the next two
    scale: Floats  # (d,)
    variance: float

    @cached_property
    def standardized(self) -> Floats:
        """(m, d)"""
        return (self.raw - self.center) / self.scale


def _gather(
    features: npt.NDArray[np.floating[Any]],
    class_values: ClassValues,
    values: ClassValues,
    denied: Mapping[int, Rows],
    *,
    seed: int,
) -> _Known:
    """What is known of the objects with features (n, d), of at most `MOST_LABELS` with a label (n,) of `values` (k,) and of as large a
    part of the others."""
    labeled = np.flatnonzero(class_values)
    targets = np.searchsorted(values, class_values[labeled])
    chosen = _stratified_sample(targets, MOST_LABELS, np.random.default_rng(seed))
    rows, targets = labeled[chosen], targets[chosen]
    ruled_out = Denied.among(denied, class_values, values)
    n_some = min(MOST_RULED_OUT, math.ceil(len(ruled_out.rows) * len(rows) / len(labeled)))
    ruled_out = ruled_out.of(np.sort(np.argsort(_scrambled(ruled_out.rows, seed))[:n_some]))
    all_rows = np.concatenate([rows, ruled_out.rows])
    return _Known(
        all_rows,
        len(rows),
        Evidence(targets, ~ruled_out.is_denied),
        to_float32(features[all_rows]),
        *_center_and_scale(features),
    )


def _fit_folds(
    known: _Known, folds: Rows, values: ClassValues, start_from: Head | None, *, n_folds: int, pool: ThreadPoolExecutor
) -> tuple[dict[int, _Fit], dict[int, npt.NDArray[np.float64]]]:
    """A fit without each of the folds (m,) and, as -1, one of all that is known, over features as they are; and what each says of
    the m objects: logits (m, classes).

    A fit begins from the earlier one that did not know its fold either, but for one that was the only label of its class.
    """
    x, center, scale = known.standardized, known.center, known.scale
    earlier = {
        fold: fit.of_standardized(center, scale)
        for fold, fit in _earlier_fits(start_from, values, x.shape[1], n_folds=n_folds).items()
    }

    def fit_without(fold: int) -> _Fit:
        learned = folds != fold if fold >= 0 else np.ones(len(folds), np.bool_)
        return _fit(x[learned], known.evidence.of(learned), len(values), start=earlier.get(fold))

    at_once = [*((-1,) if -1 in earlier else ()), *(fold for fold in range(n_folds) if (folds == fold).any())]
    fits = dict(zip(at_once, pool.map(fit_without, at_once), strict=True))
    if -1 not in fits:
        fits[-1] = _fit(x, known.evidence, len(values), start=fits.get(0))
    by_fit = dict(zip(fits, pool.map(lambda fit: fit.logits(x), fits.values()), strict=True))
    return {fold: fit.of_raw(center, scale) for fold, fit in fits.items()}, by_fit


def _correct(
    known: _Known,
    folds: Rows,
    by_fit: Mapping[int, npt.NDArray[np.float64]],
    logits: npt.NDArray[np.float64],
    *,
    n_objects: int,
    was_corrected: bool,
    seed: int,
    pool: ThreadPoolExecutor,
) -> Correction | None:
    """What labeled objects add to what a head says of those like them, where held-out labels are likelier with it; None where they are
    not. `logits` (m, classes), of each by the fit that did not know it, are corrected in place."""
    evidence = known.evidence
    # Neither what quality is measured on, nor what no fit left out.
    judged = np.isfinite(logits).all(axis=1) & (folds != 0)
    # Surer than its shrunken weights say, as what was held out shows: what the correction has to add to. A head that
    # knows nothing fits any temperature: what is then added must not be blown up by it.
    temperature = float(np.clip(_fit_temperature(logits, evidence, judged), 0.1, 1.0))
    n = n_landmarks(len(evidence), n_objects, known.raw.shape[1])
    landmarks = np.argsort(_scrambled(known.rows, seed))[:n]
    likeness = Likeness(known.raw, evidence, landmarks, folds=folds, variance=known.variance, pool=pool)
    found = likeness.fit({fold: of_fold / temperature for fold, of_fold in by_fit.items()})
    corrections = temperature * likeness.left_out(found).astype(np.float64)
    # What was corrected stays so unless that is worse: predictions must not flicker from gesture to gesture.
    strength = _choose_strength(corrections, logits, evidence, judged, gain=0.0 if was_corrected else WORTH_CORRECTING)
    if not strength:
        return None
    logits += strength * corrections
    return found[-1].scaled(strength * temperature)


def fit_kernel_head(
    features: npt.NDArray[np.floating[Any]],
    class_values: ClassValues,
    *,
    seed: int,
    denied: Mapping[int, Rows] | None = None,
    held_out: Flags | None = None,
    start_from: Head | None = None,
) -> Head | None:
    """As `fit_head`, and from `FEWEST_TO_CORRECT` labels on labeled objects correct what it says of those like them.

    Only where held-out labels are more likely with it, and their balanced accuracy hardly falls.
    """
    return fit_head(
        features, class_values, seed=seed, denied=denied, held_out=held_out, start_from=start_from, may_correct=True
    )


def heed_denied(
    head: Head,
    features: npt.NDArray[np.floating[Any]],
    class_values: ClassValues,
    denied: Mapping[int, Rows],
    predicted: tuple[ClassValues, Floats],
) -> None:
    """Change what our head has `predicted` of features (n, d), classes and confidence (n,): who has no label (n,) is not taken for a
    class that it is known not to be of, but for the likeliest of the others, where there is another."""
    classes, confidence = predicted
    others = Denied.among(denied, class_values, head.class_values)
    if not len(others.rows):
        return
    classes[others.rows], confidence[others.rows] = head.predict(features[others.rows], possible=~others.is_denied)


def guess_classes(
    features: npt.NDArray[np.floating[Any]], class_values: ClassValues, *, seed: int
) -> tuple[ClassValues, Floats] | None:
    """A quick guess for all of `features` (n, d) from their first columns and some of the labels (n,): the classes (k,) that have
    labels, and how likely each is, (n, k) float32. Nothing of it is calibrated or measured. None when fewer than two classes have
    labels."""
    features = features[:, :COLUMNS_TO_GUESS]
    labeled = np.flatnonzero(class_values)
    # The same ones whatever else is labeled, or each label would change all guesses, and every fit made from them begin anew.
    labeled = labeled[np.argsort(_scrambled(labeled, seed))[:MOST_LABELS_TO_GUESS]]
    values, targets = np.unique(class_values[labeled], return_inverse=True)
    if len(values) < 2:
        return None
    center, scale, _ = _center_and_scale(features)
    with threadpool_limits(limits=1):
        x = (to_float32(features[labeled]) - center) / scale
        labels = Evidence.of_labels(targets, len(values))
        fit = _fit(x, labels, len(values), start=None, most_steps=STEPS_TO_GUESS).of_raw(center, scale)
    weights, bias = fit.weights.astype(np.float32), fit.bias.astype(np.float32)
    likely = np.empty((len(features), len(values)), np.float32)

    def guess_block(rows: slice) -> None:
        likely[rows] = softmax(to_float32(features[rows]) @ weights + bias, axis=1)

    in_blocks(len(features), guess_block)
    return values.astype(np.uint8), likely


def in_blocks(n: int, work: Callable[[slice], None]) -> None:
    """In blocks, which stay in the processor's cache; a thread per core, each with matrix products of its own."""
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(usable_cores(), "predict") as pool:
        list(pool.map(work, [slice(first, first + PREDICT_ROWS) for first in range(0, n, PREDICT_ROWS)]))


def _choose_strength(
    corrections: npt.NDArray[np.float64],
    logits: npt.NDArray[np.float64],
    evidence: Evidence,
    rows: Flags,
    *,
    gain: float,
) -> float:
    """How much of the corrections (n, classes) serves what was held out of `rows` (n,): all, half, or nothing of them.
    It has to surprise less by this part, `gain`."""
    if not rows.any():
        return 0.0
    known = evidence.of(rows)
    labels = known.targets

    def judge(strength: float) -> tuple[float, Flags]:
        """Mean surprise once calibrated, and which labels are predicted rightly."""
        of = logits + strength * corrections
        log_probability = log_softmax(of[rows] / _fit_temperature(of, evidence, rows), axis=1)
        return float(known.surprise(log_probability).mean()), log_probability[: len(labels)].argmax(axis=1) == labels

    without, right_without = judge(0.0)
    for strength in (1.0, 0.5):
        surprise, right = judge(strength)
        fall, error = _mean_over_classes(right_without.astype(np.float64) - right, labels)
        if surprise < (1 - gain) * without and fall <= TOLERATED_FALL + error:
            return strength
    return 0.0


def _mean_over_classes(values: npt.NDArray[np.float64], labels: Rows) -> tuple[float, float]:
    """The mean over the classes of the mean of their values (n,), and its standard error."""
    n = np.bincount(labels)
    present = n > 0
    mean = np.bincount(labels, values)[present] / n[present]
    square = np.bincount(labels, values**2)[present] / n[present]
    return float(mean.mean()), float(np.sqrt(((square - mean**2) / n[present]).sum()) / present.sum())


def _center_and_scale(features: npt.NDArray[np.floating[Any]]) -> tuple[Floats, Floats, float]:
    """Mean (d,) and scale (d,) to standardize by, and the variance over all dimensions together: of all objects, because
    two labels would make every feature differ alike.

    The scale lies between a feature's own spread and that of all: what hardly varies is mostly noise, and is not blown
    up to the size of what does.
    """
    some = _some_rows(features)
    variance = some.var(axis=0)
    scale = np.sqrt((variance + variance.mean()) / 2)
    return some.mean(axis=0), np.where(scale > 0, scale, 1).astype(np.float32), float(variance.sum())


def total_variance(features: npt.NDArray[np.floating[Any]]) -> float:
    """The variance of features (n, d), over all dimensions together."""
    return float(_some_rows(features).var(axis=0).sum())


def _some_rows(features: npt.NDArray[np.floating[Any]]) -> Floats:
    return to_float32(features[:: max(1, len(features) // SCALE_ROWS)])


def _earlier_fits(head: Head | None, values: ClassValues, dimension: int, *, n_folds: int) -> dict[int, _Fit]:
    """The fits of an earlier head with their columns as `values` (k,) has the classes; new classes begin at 0. Where that had more
    folds, what is in one of these now was in several, which the fits knew: only fold 0 is the same, and what knows all."""
    if head is None or len(head.weights) != dimension:
        return {}
    known = np.isin(values, head.class_values)
    columns = np.searchsorted(head.class_values, values[known])
    fits = {}
    had_more = max(head.fits) >= n_folds
    for fold, fit in head.fits.items():
        if had_more and fold > 0:
            continue
        weights, bias = np.zeros((dimension, len(values))), np.zeros(len(values))
        weights[:, known], bias[known] = fit.weights[:, columns], fit.bias[columns]
        fits[fold] = _Fit(weights, bias)
    return fits


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


def _folds(rows: Rows, targets: Rows, held_out: Flags, *, seed: int, n_folds: int) -> Rows:
    """A fold (m,) per label, from the numbers (m,) of the labeled objects: 0 for what is `held_out` (m,), 1 to n_folds - 1 for the
    others; -1, never left out, for what its class could not do without."""
    drawn = _scrambled(rows, seed)
    folds = _drawn_folds(rows, seed=seed, n_folds=n_folds)
    instead = 1 + (drawn >> np.uint64(32)).astype(np.int64) % (N_FOLDS - 1) % (n_folds - 1)
    folds = np.where(held_out, 0, np.where(folds == 0, instead, folds))
    for k in np.unique(targets):
        of_class = np.flatnonzero(targets == k)
        of_class = of_class[np.argsort(drawn[of_class])]
        if len(of_class) < FEWEST_TO_HOLD_OUT:
            folds[of_class] = -1
        others = of_class[folds[of_class] > 0]
        if len(np.unique(folds[others])) == 1:
            # Left out together, the class would be unknown to that fold's head.
            folds[others] = -1 if len(others) == 1 else 1 + np.arange(len(others)) % (n_folds - 1)
    return folds


def _drawn_folds(rows: Rows, *, seed: int, n_folds: int) -> Rows:
    """A fold (m,) for each object of these numbers, whatever else there is: a fifth is in 0, the others in 1 to n_folds - 1."""
    folds = (_scrambled(rows, seed) % np.uint64(N_FOLDS)).astype(np.int64)
    return np.where(folds > 0, 1 + (folds - 1) % (n_folds - 1), 0)


def _scrambled(numbers: Rows, seed: int) -> npt.NDArray[np.uint64]:
    """A number (m,) for each, as good as drawn by lot but always the same (SplitMix64: Steele et al. 2014)."""
    mixed = numbers.astype(np.uint64) + np.uint64((0x9E3779B97F4A7C15 * (seed + 1)) % 2**64)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _fit(x: Floats, evidence: Evidence, n_classes: int, *, start: _Fit | None, most_steps: int = MOST_STEPS) -> _Fit:
    """A multinomial logistic regression of what is known of x (n, d).

    The objective is scikit-learn's with class_weight="balanced", by the same L-BFGS; a fit of its own because this one
    starts from given weights also where a class is new, none of a class's labels may be there, and of some objects only what
    they are not is known.
    """
    n, dimension = x.shape
    shrinkage = 1 / (REGULARIZATION_C * n)
    share = evidence.shares()

    def cost(parameters: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        weights, bias = parameters[:-n_classes].reshape(dimension, n_classes), parameters[-n_classes:]
        logits = x @ weights.astype(np.float32) + bias.astype(np.float32)
        logits -= logits.max(axis=1, keepdims=True)
        probability = np.exp(logits)
        total = probability.sum(axis=1, keepdims=True)
        logits -= np.log(total)
        loss = float((share * evidence.surprise(logits)).sum(dtype=np.float64))
        pull = evidence.excess(probability / total)
        pull *= share[:, None]
        slope = np.concatenate([(x.T @ pull).ravel() + shrinkage * weights.ravel(), pull.sum(axis=0)])
        return loss + 0.5 * shrinkage * float((weights**2).sum()), slope

    begin = np.zeros((dimension + 1) * n_classes)
    if start is not None:
        begin[:-n_classes], begin[-n_classes:] = start.weights.ravel(), start.bias
    found = minimize(
        cost, begin, method="L-BFGS-B", jac=True, options={"maxiter": most_steps, "gtol": SMALLEST_GRADIENT}
    )
    return _Fit(found.x[:-n_classes].reshape(dimension, n_classes), found.x[-n_classes:])


def _fit_temperature(logits: npt.NDArray[np.float64], evidence: Evidence, rows: Flags) -> float:
    """The temperature that makes most likely what is known of `rows` (n,) and was held out of their logits; 1 where there are none.

    The targets are smoothed as Platt (1999) does: few labels, all right, do not prove certainty.
    """
    n = int(rows.sum())
    if n == 0:
        return 1.0
    logits, evidence = logits[rows], evidence.of(rows)
    n_classes = logits.shape[1]

    def cost(log_temperature: float) -> float:
        log_probability = log_softmax(logits / np.exp(log_temperature), axis=1)
        of_any = -float(log_probability.sum())
        return (n * float(evidence.surprise(log_probability).sum()) + of_any) / (n + n_classes) / n

    bounds = math.log(0.02), math.log(50.0)
    return math.exp(minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": TEMPERATURE_WITHIN}).x)


def _mean_between(right: npt.NDArray[np.int64], n: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Between what the mean of k shares lies at 95 %, of which `right` of `n` (k,) were counted each.

    The interval of a share is Wilson's (J. Am. Stat. Assoc. 22:209, 1927); those of several independent ones are put
    together as Zou and Donner do (Stat. Med. 27:1693, 2008), so that a class with two labels makes the whole uncertain.
    """
    z = 1.96
    share = right / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    below, above = (float(np.linalg.norm(way)) / len(n) for way in (share - middle + half, middle + half - share))
    mean = float(share.mean())
    return max(0.0, mean - below), min(1.0, mean + above)


def measure_quality(
    logits: npt.NDArray[np.float64],
    targets: Rows,
    values: ClassValues,
    *,
    n_train: int,
    ruled_out: tuple[npt.NDArray[np.float64], Flags] | None = None,
) -> Quality:
    """The quality from calibrated logits (n, classes) of held-out labels; `targets` (n,) are rows of `values` (classes,).

    `ruled_out`: the same logits of those that were found not to be of some classes, and of which, both (r, classes). How sure the head is
    is measured on them, too: labels that confirmed what it said would make it seem too careful. Who is taken for another class
    counts as right as often as it says.
    """
    n, n_classes = len(targets), len(values)
    confusion = np.zeros((n_classes, n_classes), np.int64)
    accuracy = balanced = ece = accuracy_between = balanced_between = None
    reliability: list[ReliabilityBin] = []
    if n:
        probabilities = softmax(logits, axis=1)
        predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
        right = predicted == targets
        np.add.at(confusion, (targets, predicted), 1)
        per_class = confusion.sum(axis=1)
        present = per_class > 0
        accuracy = float(right.mean())
        accuracy_between = _mean_between(right.sum()[None], np.array([n]))
        balanced = float((np.diag(confusion)[present] / per_class[present]).mean())
        balanced_between = _mean_between(np.diag(confusion)[present], per_class[present])
        if ruled_out is not None:
            of_others = softmax(ruled_out[0], axis=1)
            taken_for = of_others.argmax(axis=1)
            likely = among_possible(of_others, ~ruled_out[1])[np.arange(len(taken_for)), taken_for]
            confidence, right = np.append(confidence, of_others.max(axis=1)), np.append(right, likely)
        bins = np.minimum((confidence * N_CONFIDENCE_BINS).astype(np.int64), N_CONFIDENCE_BINS - 1)
        reliability = [
            ReliabilityBin(float(confidence[bins == b].mean()), float(right[bins == b].mean()), int((bins == b).sum()))
            for b in np.unique(bins)
        ]
        ece = sum(entry.n * abs(entry.confidence - entry.right) for entry in reliability) / len(bins)
    return Quality(
        accuracy=accuracy,
        accuracy_between=accuracy_between,
        balanced_accuracy=balanced,
        balanced_between=balanced_between,
        ece=ece,
        n_train=n_train,
        n_held_out=n,
        classes=[int(value) for value in values],
        confusion=confusion.tolist(),
        reliability=reliability,
    )
