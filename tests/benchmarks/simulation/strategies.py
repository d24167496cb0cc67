"""Ways of working through a project, each a thing that a person can do at the tool's screen and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from apps.engine import suggest
from apps.engine.predict import Head, fit_head
from apps.engine.sampling import draw, risk_of_attempt, sample_size
from tests.benchmarks.simulation.session import ClassValues, Rows, Session

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float16]

# The original's user draws round some 500 points: of 250, 500 and 1,000 the best for it in the synthetic worlds.
REGION = 500
# Shares of labeled objects at which it is trained anew and draws a new map.
ITERATIONS_AT = (0.1, 0.3, 0.6)
# A class is proposed for acceptance by sample when the model expects a quarter as many wrong ones as are allowed: a clean
# sample is then about as likely as not. After a refusal it has to be surer.
EXPECTED_SHARE = 0.25
AFTER_REFUSAL = 0.75


def one_by_one(session: Session) -> None:
    """Every object by itself: quick review, what theta is relative to."""
    session.one_by_one(session.unlabeled)


def original_loop(session: Session, draw_map: Callable[[Session], Floats], *, page_size: int) -> None:
    """Lasso a region of the map, label its pages of the grid, and train anew now and then.

    In the original's favor: regions are the map's own groups of points, however they are shaped, the purest one first,
    as if its user saw every patch of the map at once.
    """
    for until in (*ITERATIONS_AT, 1.0):
        points = draw_map(session)  # (n, 2)
        for region in _purest_first(points, session.unlabeled, session.truth):
            session.lasso()
            for page in _pages(region, page_size):
                session.review_page(page)
            if (session.labels > 0).mean() >= until:
                break


def _purest_first(points: Floats, unlabeled: Rows, truth: ClassValues) -> list[Rows]:
    if not len(unlabeled):
        return []
    n_regions = max(1, round(len(unlabeled) / REGION))
    groups = MiniBatchKMeans(n_regions, n_init=1, random_state=0).fit_predict(points[unlabeled])
    regions = [unlabeled[groups == group] for group in np.unique(groups)]
    return sorted(regions, key=lambda region: -np.bincount(truth[region]).max() / len(region))


def _pages(rows: Rows, size: int) -> list[Rows]:
    return [rows[first : first + size] for first in range(0, len(rows), size)]


class Learner(Protocol):
    """The machine's half of our loop: features that may improve while the person works."""

    def features(self, session: Session) -> Floats:
        """Features (n, d) as they are at the session's present time."""
        ...


@dataclass(frozen=True)
class Predictions:
    """What the head says of every object, as the product keeps it: class values and confidence in 1/255, both (n,)."""

    classes: ClassValues
    confidence: npt.NDArray[np.uint8]


class OurLoop:
    """Typical objects first, then pages that the model proposes and the person confirms but for exceptions."""

    def __init__(self, session: Session, learner: Learner, *, page_size: int) -> None:
        self._session = session
        self._learner = learner
        self._page_size = page_size
        self._seconds = suggest.GestureSeconds(glance=session.use_case.look_s)
        self._features: Floats | None = None
        self._head: Head | None = None

    def run(self) -> None:
        """Label everything by looking at it."""
        self.start()
        while self.review():
            pass

    def start(self) -> None:
        """Label a typical object of each group, and go on with the next ones until two classes are known."""
        groups = suggest.group_objects(self._learner.features(self._session))
        while len(np.unique(self._session.labels)) < 3 and len(self._session.unlabeled):
            self._session.one_by_one(suggest.typical_objects(groups, self._session.labels == 0))

    def review(self) -> bool:
        """Confirm the page that promises the most labels a second; False where nothing is left."""
        unlabeled = self._session.labels == 0
        if not unlabeled.any():
            return False
        predictions = self.predict()
        best = suggest.rank_reviews(predictions, unlabeled, seconds=self._seconds).by_class[0]
        page = suggest.review_page(predictions, unlabeled, best.class_value, size=self._page_size)
        self._session.review_page(page)
        return True

    def predict(self) -> Predictions:
        """What the head says, fitted to the labels so far but those that nobody saw: the product does so after every gesture,
        while one looks on."""
        features = self._learner.features(self._session)
        if features is not self._features:
            self._features, self._head = features, None
        self._head = fit_head(features, self._session.labels_to_learn_from, seed=0, start_from=self._head)
        assert self._head is not None
        classes, confidence = self._head.predict(features)
        return Predictions(classes, np.rint(confidence * 255).astype(np.uint8))


class SampledLoop(OurLoop):
    """What the model doubts is looked at; the rest of a class is accepted once a random sample of it is clean."""

    def __init__(self, session: Session, learner: Learner, *, page_size: int, max_error: float) -> None:
        super().__init__(session, learner, page_size=page_size)
        self._max_error = max_error
        # By class value: the share of wrong ones that may be expected in what is proposed, and what was refused.
        self._tolerated = np.full(int(session.truth.max()) + 1, EXPECTED_SHARE * max_error)
        self._refused: dict[int, list[Rows]] = {}

    def run(self) -> None:
        """Label everything, some of it unseen."""
        self.start()
        while len(self._session.unlabeled):
            proposals = self._proposals()
            if not any(self._accept(proposal) for proposal in proposals):
                self._review_doubtful(max(proposals, key=lambda proposal: proposal.expected_error))

    def _proposals(self) -> list[Proposal]:
        """All that is left, by the class that the model proposes."""
        unlabeled, predictions = self._session.unlabeled, self.predict()
        proposed, doubt = predictions.classes[unlabeled], 1 - predictions.confidence[unlabeled] / 255
        proposals = []
        for value in np.unique(proposed):
            surest_first = unlabeled[proposed == value][np.argsort(doubt[proposed == value], kind="stable")]
            proposals.append(Proposal(int(value), surest_first, float(doubt[proposed == value].mean())))
        return proposals

    def _review_doubtful(self, proposal: Proposal) -> None:
        """Look at what the model is least sure of: Shift and the class show all that is left of it, picked; Escape drops the
        picks, End goes to the last patches, which are picked from the first to the last of them."""
        self._session.reach_for(keys=4, places=2)
        self._session.review_page(proposal.rows[-self._page_size :])

    def _accept(self, proposal: Proposal) -> bool:
        """Look at a random sample, and accept the rest if that is clean. False where it is not worth trying."""
        refused = self._refused.setdefault(proposal.class_value, [])
        risk = risk_of_attempt(1 + sum(_much_the_same(proposal.rows, other) for other in refused))
        size = len(proposal.rows)
        n = sample_size(size, self._max_error, risk)
        if proposal.expected_error > self._tolerated[proposal.class_value] or 2 * n >= size:
            return False
        # Shift and the class show all that is left of it; a button asks for the sample, Enter draws it.
        self._session.reach_for(keys=3, places=1)
        drawn = draw(size, n, seed=int(self._session.rng.integers(1 << 32)))
        if self._session.review_page(proposal.rows[drawn]) == 0:
            self._session.accept_unseen(np.delete(proposal.rows, drawn), proposal.class_value)
        else:
            self._session.reach_for(keys=0, places=1)  # ends the sample; what was looked at is labeled
            refused.append(proposal.rows)
            self._tolerated[proposal.class_value] *= AFTER_REFUSAL
        return True


@dataclass(frozen=True)
class Proposal:
    """Unlabeled objects (m,) that the model calls one class, the surest first, and how many of 1 it expects to be wrong."""

    class_value: int
    rows: Rows
    expected_error: float


def _much_the_same(rows: Rows, other: Rows) -> bool:
    """More than half of the larger of both is in both: what the product counts as another attempt."""
    return 2 * len(np.intersect1d(rows, other, assume_unique=True)) > max(len(rows), len(other))
