"""Ways of working through a project, each a thing that a person can do at the tool's screen and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from sklearn.cluster import MiniBatchKMeans

from apps.engine import suggest
from apps.engine.evidence import contradicted
from apps.engine.predict import Head, fit_kernel_head, heed_denied
from apps.engine.sampling import draw, much_the_same, risk_of_attempt, sample_sizes
from apps.engine.strata import Attempt, Stratum, strata_to_sample
from tests.benchmarks.simulation.session import ClassValues, Rows, Session

Floats = npt.NDArray[np.float32] | npt.NDArray[np.float16]
Flags = npt.NDArray[np.bool_]

# The original's user draws round some 500 points: of 250, 500 and 1,000 the best for it in the synthetic worlds.
REGION = 500
# Shares of labeled objects at which it is trained anew and draws a new map.
ITERATIONS_AT = (0.1, 0.3, 0.6)


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

    def predictors(self, features: Floats) -> Floats:
        """What predictions are made from before labels are known: the features, and what else is measured (n, w)."""
        ...

    def with_classes_around(self, predictors: Floats, labels: ClassValues, denied: Mapping[int, Rows]) -> Floats:
        """What they are made from after the labels (n,), 0 for none, and what was found not to be of a class, by its value (n, v)."""
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
        self._predictors: Floats | None = None
        self._groups: suggest.Groups | None = None
        self._head: Head | None = None
        self._denied: dict[int, Rows] = {}

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
        """Look at what the product recommends; False where nothing is left."""
        if self._session.labels.all():
            return False
        self.take_best(self.predict())
        return True

    def take_best(self, predictions: Predictions) -> None:
        """Confirm the page that is proposed first."""
        unlabeled = self._session.labels == 0
        best = self._best_review(predictions, unlabeled)
        assert best is not None
        self._session.review_page(self._page_of(best, predictions, unlabeled))

    def _best_review(self, predictions: Predictions, eligible: Flags) -> suggest.Review | None:
        """What the product recommends of objects (n,); None where there is nothing to confirm."""
        reviews = suggest.rank_reviews(predictions, eligible, self._groups, seconds=self._seconds)
        return next(iter(suggest.order_reviews(reviews, self._session.labels)), None)

    def _page_of(self, review: suggest.Review, predictions: Predictions, eligible: Flags) -> Rows:
        assert self._groups is not None
        among = None if review.group is None else self._groups.group == review.group
        return suggest.review_page(predictions, eligible, review.class_value, among=among, size=self._page_size)

    def predict(self) -> Predictions:
        """What the head says, fitted to the labels so far but those that nobody saw: the product does so after every gesture,
        while one looks on."""
        features = self._learner.features(self._session)
        if features is not self._features:
            self._features, self._groups, self._head = features, suggest.group_objects(features), None
            self._predictors = self._learner.predictors(features)
        assert self._predictors is not None
        labels = self._session.labels_to_learn_from
        predictors = self._learner.with_classes_around(self._predictors, labels, self._denied)
        self._head = fit_kernel_head(predictors, labels, seed=0, denied=self._denied, start_from=self._head)
        assert self._head is not None
        classes, confidence = self._head.predict(predictors)
        heed_denied(self._head, predictors, labels, self._denied, (classes, confidence))
        confidence[(labels == 0) & contradicted(self._denied, classes)] = 0
        return Predictions(classes, np.rint(confidence * 255).astype(np.uint8))


class LeavingOutLoop(OurLoop):
    """What is wrong on a page is only taken out of it, and not given its class: it comes again with what it is taken for then."""

    expected_right = right = 0.0
    """Of those without a label, when half had one: the share that the head expected to be right about, and was."""

    def take_best(self, predictions: Predictions) -> None:
        """Confirm the page that is proposed first, as long as one gives more than labeling one by one."""
        session = self._session
        unlabeled = session.labels == 0
        if 2 * np.count_nonzero(unlabeled) >= len(unlabeled):
            self.expected_right = float(predictions.confidence[unlabeled].mean()) / 255
            self.right = float((predictions.classes == session.truth)[unlabeled].mean())
        eligible = unlabeled & ~contradicted(self._denied, predictions.classes)
        best = self._best_review(predictions, eligible)
        if best is None or best.labels_per_second * session.use_case.decide_s < 1:
            session.one_by_one(session.unlabeled)
            return
        taken_out = session.confirm_page(self._page_of(best, predictions, eligible), best.class_value)
        before = self._denied.get(best.class_value, np.zeros(0, np.int64))
        self._denied[best.class_value] = np.union1d(before, taken_out)


class SampledLoop(OurLoop):
    """What the model doubts is looked at; the rest of a class is accepted once a random sample of it shows few enough wrong ones.
    Where no class promises to spare enough, a page is confirmed as in a project without samples."""

    def __init__(self, session: Session, learner: Learner, *, page_size: int, max_error: float) -> None:
        super().__init__(session, learner, page_size=page_size)
        self._max_error = max_error
        self._attempts: dict[int, list[Attempt]] = {}

    def take_best(self, predictions: Predictions) -> None:
        """What brings a class nearer to a sample, or the page where no class is worth one."""
        unlabeled = self._session.labels == 0
        n_labels = int(np.count_nonzero(~unlabeled))
        strata = strata_to_sample(predictions, unlabeled, self._max_error, n_labels=n_labels, earlier=self._attempts)
        if strata:
            self._look_at(strata[0])
        else:
            super().take_best(predictions)

    def _look_at(self, stratum: Stratum) -> None:
        """Its doubtful ones, or a random sample, after which the rest is accepted. While wrong ones ask for that, it goes on."""
        session = self._session
        if stratum.n_doubtful:
            assert self._features is not None
            session.review_page(suggest.like_beside_like(self._features, stratum.doubtful))
            return
        rows = stratum.surest_first
        earlier = self._attempts.setdefault(stratum.class_value, [])
        attempt = 1 + sum(much_the_same(rows, other.stratum) for other in earlier)
        sizes = sample_sizes(len(rows), self._max_error, risk_of_attempt(attempt))
        drawn = rows[draw(len(rows), sizes[-1], seed=int(session.rng.integers(1 << 32)))]
        n_seen = n_wrong = 0
        while n_wrong < len(sizes) and n_seen < sizes[n_wrong]:
            session.press(keys=2)  # G and Enter draw the sample, Shift Enter more of it
            page = drawn[n_seen : sizes[n_wrong]]
            n_seen += len(page)
            n_wrong += session.review_page(page, own=stratum.class_value)
        if n_wrong < len(sizes):
            session.accept_unseen(np.setdiff1d(rows, drawn[:n_seen]), stratum.class_value)
        else:
            session.reach_for(keys=0, places=1)  # ends the sample; what was looked at is labeled
            earlier.append(Attempt(rows, was_refused=True))
