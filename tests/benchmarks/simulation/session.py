"""One person at one screen: the clock, the labels so far, and what each gesture does to both."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
import numpy.typing as npt

from tests.benchmarks.simulation.annotator import Annotator, UseCase

ClassValues = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Screen:
    """What of a tool costs a person time: how long a page takes to appear, and the keys that its gestures need."""

    response_s: float
    keys_for_all: int
    """Select everything on the page and give it a class."""
    keys_for_odd: int
    """Give the picked odd ones their class."""
    patches: int = 100
    """So many are seen at once, of 64 px on a screen of 1920 x 1080 px of which the map has a part; a key brings the next."""
    patches_per_row: int = 10


# Every page waits for its patches, one request each, under one lock; a class is chosen by its key and given by Enter.
ORIGINAL_SCREEN = Screen(response_s=1.5, keys_for_all=3, keys_for_odd=2)
# One picture for all patches, fetched before it is asked for; a class's key gives it.
OUR_SCREEN = Screen(response_s=0.15, keys_for_all=2, keys_for_odd=1)


@dataclass(frozen=True)
class Span:
    """A stretch of time and how many objects got their first label in it. Seconds since the start."""

    human_start_s: float
    human_end_s: float
    total_end_s: float
    n_labeled: int


@dataclass
class Session:
    """Labels (n,) uint8 with 0 for none, and two clocks: the person's own seconds, and those spent waiting beside them."""

    truth: ClassValues
    use_case: UseCase
    screen: Screen
    rng: np.random.Generator
    annotator: Annotator = field(default_factory=Annotator)
    human_s: float = 0.0
    waited_s: float = 0.0
    n_picked: int = 0  # odd ones picked on pages
    spared_by_dragging_s: float = 0.0  # had odd ones side by side been picked by a rectangle, as both screens allow
    spans: list[Span] = field(default_factory=list)
    sampled: npt.NDArray[np.bool_] = field(init=False)  # (n,) accepted without being looked at
    labels: ClassValues = field(init=False)

    def __post_init__(self) -> None:
        self.labels = np.zeros(len(self.truth), np.uint8)
        self.sampled = np.zeros(len(self.truth), np.bool_)

    @property
    def total_s(self) -> float:
        return self.human_s + self.waited_s

    @property
    def unlabeled(self) -> Rows:
        return np.flatnonzero(self.labels == 0)

    @property
    def labels_to_learn_from(self) -> ClassValues:
        """Those that were looked at, (n,): what was accepted by sample teaches nothing."""
        return np.where(self.sampled, 0, self.labels).astype(np.uint8)

    def wait(self, seconds: float) -> None:
        """The machine keeps the person from working."""
        self.waited_s += seconds

    def lasso(self) -> None:
        """Draw round a region of the map and wait for the answer."""
        self._spend(self.annotator.lasso_s + self.screen.response_s, 0)

    def reach_for(self, *, keys: int, places: int) -> None:
        """Keys, then the mouse and places to click, to have something on the screen that the tool did not propose."""
        a = self.annotator
        self._spend(a.mental_s + keys * a.key_s + a.home_s + places * a.mark_s + self.screen.response_s, 0)

    def press(self, *, keys: int) -> None:
        """Keys that only agree to what the tool proposes."""
        a = self.annotator
        self._spend(a.mental_s + keys * a.key_s + self.screen.response_s, 0)

    def one_by_one(self, rows: Rows) -> None:
        """Decide each patch (m,) by itself. What is looked at so is labeled rightly."""
        for row in rows:
            before = self.labels[row] == 0
            self.labels[row] = self.truth[row]
            self._spend(self.use_case.decide_s, int(before))

    def review_page(self, rows: Rows, *, own: int | None = None) -> int:
        """Look over a page (m,) in the order in which it is shown, pick its odd ones, give them their classes and all others the
        page's own; returns how many odd ones were picked.

        Without `own`, the page's class is what most of it truly is: whoever sees the page sees that, whatever was proposed.
        """
        if own is None:
            values, counts = np.unique(self.truth[rows], return_counts=True)
            own = int(values[counts.argmax()])
        odd = self.truth[rows] != own
        noticed = odd & (self.rng.random(len(rows)) >= self.annotator.overlooked)
        n_noticed = int(noticed.sum())
        n_new = int((self.labels[rows] == 0).sum())
        self.labels[rows] = np.where(noticed, self.truth[rows], own)
        a, seconds = self.annotator, self._page_s(len(rows))
        self.n_picked += n_noticed
        self.spared_by_dragging_s += self._spared_by_dragging(np.where(noticed, self.truth[rows], 0))
        if n_noticed:
            n_odd_classes = len(np.unique(self.truth[rows][noticed]))
            seconds += n_noticed * a.mark_s + 2 * a.home_s * n_odd_classes
            seconds += n_odd_classes * self.screen.keys_for_odd * a.key_s
        self._spend(seconds, n_new)
        return n_noticed

    def confirm_page(self, rows: Rows, class_value: int) -> Rows:
        """Look over a page (m,) of what the tool takes for a class, take out what is not of it, and give the class to the rest; returns
        what was taken out, which has no label yet."""
        odd = self.truth[rows] != class_value
        taken_out = odd & (self.rng.random(len(rows)) >= self.annotator.overlooked)
        n_taken_out = int(taken_out.sum())
        self.labels[rows[~taken_out]] = class_value
        a, seconds = self.annotator, self._page_s(len(rows))
        if n_taken_out:
            seconds += n_taken_out * a.mark_s + 2 * a.home_s
        self.n_picked += n_taken_out
        self._spend(seconds, len(rows) - n_taken_out)
        return rows[taken_out]

    def _page_s(self, n: int) -> float:
        """Until a page of n without odd ones has its class: it appears, is looked over, and gets it by its keys."""
        n_turns = (n - 1) // self.screen.patches
        seconds = self.screen.response_s + self.annotator.mental_s
        return seconds + (n_turns + self.screen.keys_for_all) * self.annotator.key_s + n * self.use_case.look_s

    def _spared_by_dragging(self, odd: ClassValues) -> float:
        """Seconds: of the classes of a page's odd ones, (m,) with 0 for the others, those in one row and of one class together."""
        spared, a = 0.0, self.annotator
        for first in range(0, len(odd), self.screen.patches_per_row):
            for value, run in groupby(odd[first : first + self.screen.patches_per_row]):
                spared += max(0.0, len(list(run)) * a.mark_s - a.drag_s) if value else 0.0
        return spared

    def accept_unseen(self, rows: Rows, class_value: int) -> None:
        """Give a class to objects (m,) by one gesture, without looking at them."""
        self.labels[rows] = class_value
        self.sampled[rows] = True
        a = self.annotator
        self._spend(a.mental_s + a.home_s + a.mark_s + self.screen.response_s, len(rows))

    def _spend(self, seconds: float, n_labeled: int) -> None:
        started = self.human_s
        self.human_s += seconds
        self.spans.append(Span(started, self.human_s, self.total_s, n_labeled))
