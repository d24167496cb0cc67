"""What is known of the classes of objects that a head learns from: labels, and which class somebody has ruled out.

Who confirms a page leaves out what is not of its class. Labels alone would then be of what the model had right: an object that
looks the same and was left out is not among them, and the model would become surer of what it gets wrong. What was left out
has one class less that it may be of; how likely that is, is learned from as the likelihood of labels is (partial labels: Jin and
Ghahramani, NIPS 15, 2002).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Array = npt.NDArray[np.floating[Any]]
NOBODY: Rows = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Denied:
    """Objects without a label that were found not to be of some classes."""

    rows: Rows  # (r,) ascending
    is_denied: Flags  # (r, classes)

    @classmethod
    def among(cls, denied: Mapping[int, Rows], labels: npt.NDArray[np.uint8], values: npt.NDArray[np.uint8]) -> Denied:
        """From the rows that are denied each class, by its value. Not among them are those that have a label (n,), classes that are not
        among `values` (k,), and who is denied all of these: nothing is known of what it is."""
        by_class = [_unlabeled(denied.get(int(value), NOBODY), labels) for value in values]
        rows = np.unique(np.concatenate([NOBODY, *by_class]))
        is_denied = np.zeros((len(rows), len(values)), np.bool_)
        for column, of_class in enumerate(by_class):
            is_denied[np.searchsorted(rows, of_class), column] = True
        some = np.flatnonzero(~is_denied.all(axis=1))
        return cls(rows[some], is_denied[some])

    def of(self, some: Rows) -> Denied:
        """Some of them, by their places here."""
        return Denied(self.rows[some], self.is_denied[some])


def _unlabeled(rows: Rows, labels: npt.NDArray[np.uint8]) -> Rows:
    rows = rows[rows < len(labels)]
    return rows[labels[rows] == 0]


def with_a_choice(denied: Mapping[int, Rows], labels: npt.NDArray[np.uint8]) -> dict[int, Rows]:
    """Those that may still be of two classes or more that have labels (n,). For while some class has no label: who is left with one of
    the others may be of that, and would be taken for a label of the only one that is known."""
    known = Denied.among(denied, labels, np.unique(labels[labels > 0]))
    settled = known.rows[(~known.is_denied).sum(axis=1) < 2]
    return {value: rows[~np.isin(rows, settled)] for value, rows in denied.items()}


def contradicted(denied: Mapping[int, Rows], classes: npt.NDArray[np.uint8]) -> Flags:
    """Which objects were found not to be of the class (n,) that they are taken for, (n,). `denied`: rows by class value."""
    found = np.zeros(len(classes), np.bool_)
    for value, rows in denied.items():
        here = rows[rows < len(classes)]
        found[here[classes[here] == value]] = True
    return found


@dataclass(frozen=True)
class Evidence:
    """Of n objects, first the m with a label, then those that may only be of some classes."""

    targets: Rows  # (m,) the labels' columns
    possible: Flags  # (n - m, classes)

    @classmethod
    def of_labels(cls, targets: Rows, n_classes: int) -> Evidence:
        """Labels (m,) alone."""
        return cls(targets, np.zeros((0, n_classes), np.bool_))

    def __len__(self) -> int:
        return len(self.targets) + len(self.possible)

    def of(self, rows: Flags) -> Evidence:
        """What is known of some, (n,)."""
        m = len(self.targets)
        return Evidence(self.targets[rows[:m]], self.possible[rows[m:]])

    def shares(self) -> npt.NDArray[np.float32]:
        """What each counts, (n,), so that every class that has a label counts alike. Who has none is expected to be of the possible
        classes as often as labels are; but labels count half of their class at least, as those alone tell it from the other possible ones."""
        n_labels = np.bincount(self.targets, minlength=self.possible.shape[1])
        by_object = among_possible(n_labels.astype(np.float64)[None], self.possible)
        expected = by_object.sum(axis=0)
        present = n_labels > 0
        of_label = present / (present.sum() * np.maximum(n_labels + np.minimum(expected, n_labels), 1))
        of_other = present / (present.sum() * np.maximum(n_labels + expected, 1))
        return np.concatenate([of_label[self.targets], by_object @ of_other]).astype(np.float32)

    def surprise(self, log_probability: Array) -> Array:
        """The negative logarithm of how likely what is known is, (n,), by the logarithm of each class's probability (n, classes)."""
        m = len(self.targets)
        of_labels = -log_probability[self._labeled, self.targets]
        if not len(self.possible):
            return of_labels
        of_possible = (np.exp(log_probability[m:]) * self.possible).sum(axis=1)
        return np.concatenate([of_labels, -np.log(_above_zero(of_possible))])

    def excess(self, probability: Array) -> Array:
        """By how much each `probability` (..., n, classes) is too high, given what is known: all of it where another class is the label or this
        one is ruled out; and what was ruled out is missing from the possible ones, in proportion."""
        m = len(self.targets)
        too_high = probability.copy(order="K")
        too_high[..., self._labeled, self.targets] -= 1
        if len(self.possible):
            too_high[..., m:, :] -= among_possible(probability[..., m:, :], self.possible)
        return too_high

    @cached_property
    def _labeled(self) -> Rows:
        return np.arange(len(self.targets))


def among_possible(probability: Array, possible: Flags) -> Array:
    """How likely each class is (..., n, classes) where only those are `possible` (n, classes)."""
    left = probability * possible
    shares: Array = left / _above_zero(left.sum(axis=-1, keepdims=True))
    return shares


def _above_zero(values: Array) -> Array:
    return np.maximum(values, np.finfo(values.dtype).tiny)
