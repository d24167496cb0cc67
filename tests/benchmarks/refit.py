"""From a label action's answer to the renewed predictions of 100,000 objects, against a plain fit of scikit-learn's."""

from __future__ import annotations

import gzip
import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from apps.engine.correction import n_landmarks
from apps.engine.features import N_COMPONENTS
from apps.engine.surroundings import N_AROUND, Surroundings
from apps.labels.models import LabelSet
from apps.labels.selectors import class_values, shared_label_set
from apps.models.selectors import current_prediction_set, predictors
from tests.benchmarks.browser import Browser, multipart
from tests.benchmarks.objects import add_objects
from tests.benchmarks.report import Options, Result, significant, spread
from tests.benchmarks.server import Events, running, web_server
from tests.benchmarks.training_beside import training_beside
from tests.factories import make_embedding, make_member, make_organization, make_project

N_OBJECTS, MORE_COLUMNS = 100_000, 512
SHARES = (0.4, 0.3, 0.15, 0.1, 0.04, 0.01)  # of the classes: two are rare
N_LABELS = 1_000
N_PER_GESTURE = 20
N_BURST = 10
MANY_LABELS, N_GESTURES_OF_MANY = 10_000, 5  # as many as a head is ever fitted to
PATIENCE_S = 60.0
HEADER_BYTES = 16


@dataclass(frozen=True)
class Measured:
    """Seconds; `right` and `peer_right` are shares of all objects."""

    waits: list[float]
    waits_from_the_request: list[float]
    waits_of_many: list[float]
    waits_beside_a_training: list[float]
    peer: list[float]
    burst: float
    n_renewals: int
    right: float
    peer_right: float
    held_out_balanced_accuracy: float
    n_labels: int

    @property
    def p95(self) -> float:
        return float(np.quantile(self.waits, 0.95))

    def to_json(self) -> dict[str, Any]:
        return {
            "wait_s": spread(self.waits),
            "wait_s_p95": significant(self.p95),
            "wait_s_from_the_request": spread(self.waits_from_the_request),
            f"wait_s_with_{MANY_LABELS}_labels": spread(self.waits_of_many),
            f"longest_wait_s_with_{MANY_LABELS}_labels": significant(max(self.waits_of_many)),
            "wait_s_beside_a_training": spread(self.waits_beside_a_training),
            "wait_s_p95_beside_a_training": significant(float(np.quantile(self.waits_beside_a_training, 0.95))),
            "peer_s": spread(self.peer),
            "burst_s": significant(self.burst),
            "burst": f"{N_BURST} gestures without waiting: {self.n_renewals} renewals",
            "share_right": significant(self.right),
            "peer_share_right": significant(self.peer_right),
            "held_out_balanced_accuracy": significant(self.held_out_balanced_accuracy),
            "labels_at_the_end": self.n_labels,
        }


def run(options: Options) -> Result:
    """With as many columns as a project's features have, and with `--full` with more, as a package of others may bring."""
    measured = measure(N_COMPONENTS, options)
    more = {f"with_{MORE_COLUMNS}_columns": measure(MORE_COLUMNS, options).to_json()} if options.full else {}
    peer_s = statistics.median(measured.peer)
    return Result(
        name="refit",
        value=measured.p95,
        unit="s (p95)",
        peer="scikit-learn: Nystroem with as many landmarks and LogisticRegression, fitted to the labeled vectors, and "
        "predict_proba of all, as float32 arrays in memory; no held-out labels, no calibration, nothing stored or sent; "
        "`ratio` is that of the medians",
        peer_value=peer_s,
        ratio=peer_s / statistics.median(measured.waits),
        goal=1.0,
        bound=1.0,
        # With as many labels as a head is ever fitted to: "within a second or two".
        bounds={f"longest_wait_s_with_{MANY_LABELS}_labels": 2.0},
        figures={
            **measured.to_json(),
            **more,
            "labels_per_gesture": N_PER_GESTURE,
            "objects": N_OBJECTS,
            "dimension": N_COMPONENTS,
            "way": "from the answer of POST actions to the last byte of GET predictions, asked for when the event comes; web "
            "server, follow_labels and PostgreSQL as `manage.py run` starts them, on the same cores",
            "original": "predictions change with its next training only, which takes minutes; not measured here",
        },
    )


def measure(dimension: int, options: Options) -> Measured:
    """Gestures one after another, each as soon as the page has the predictions of the one before."""
    member = make_member(make_organization(), f"Rater {dimension}")
    classes = [f"class {k + 1}" for k in range(len(SHARES))]
    project = make_project(member.organization, member.user, classes=classes)
    add_objects(project, N_OBJECTS)
    features, truth = synthetic_features(N_OBJECTS, dimension, seed=0)
    # Random ones: they take the time that true ones would, and say nothing.
    nearest = np.random.default_rng(2).integers(0, N_OBJECTS, (N_OBJECTS, N_AROUND)).astype(np.int32)
    image = np.arange(N_OBJECTS, dtype=np.int32) // 500
    surroundings = Surroundings(np.concatenate([image[:, None], nearest], axis=1))
    embedding = make_embedding(project, features, surroundings=surroundings)
    label_set = shared_label_set(project)
    order = np.random.default_rng(1).permutation(N_OBJECTS)  # objects in the order in which they are labeled
    n_gestures = 60 if options.full else 25

    with web_server() as address, running("follow-labels", lambda log: "following" in log.read_text()):
        page = Page(Browser(address, member.user), label_set)
        start = order[:N_LABELS]
        for value in range(1, len(SHARES) + 1):
            page.label(start[truth[start] == value], value)
        page.wait_for(N_LABELS)
        waits, whole, peer = [], [], []
        n_labels = N_LABELS
        for gesture in range(n_gestures):
            if gesture % 5 == 0:  # in between, as other work on the machine comes and goes
                peer.append(_plain_fit(predictors(embedding), class_values(label_set, N_OBJECTS)))
                page.connect_again()  # which no gesture should wait for
            sent = time.perf_counter()
            _label_next(page, order, truth, n_labels)
            answered = time.perf_counter()
            n_labels += N_PER_GESTURE
            page.wait_for(n_labels)
            waits.append(time.perf_counter() - answered)
            whole.append(time.perf_counter() - sent)
        beside_a_training = []
        with training_beside():
            for _ in range(n_gestures // 2):
                _label_next(page, order, truth, n_labels)
                answered = time.perf_counter()
                n_labels += N_PER_GESTURE
                page.wait_for(n_labels)
                beside_a_training.append(time.perf_counter() - answered)
        before = page.revision
        for _ in range(N_BURST):  # no waiting in between
            _label_next(page, order, truth, n_labels)
            n_labels += N_PER_GESTURE
        answered = time.perf_counter()
        page.wait_for(n_labels)
        burst_s = time.perf_counter() - answered
        n_renewals = page.revision - before
        rest = order[n_labels:MANY_LABELS]
        for value in np.unique(truth[rest]):
            page.label(rest[truth[rest] == value], int(value))
        n_labels = MANY_LABELS
        page.wait_for(n_labels)
        waits_of_many = []
        for _ in range(N_GESTURES_OF_MANY):
            _label_next(page, order, truth, n_labels)
            n_labels += N_PER_GESTURE
            answered = time.perf_counter()
            page.wait_for(n_labels)
            waits_of_many.append(time.perf_counter() - answered)
        right = float((page.classes == truth).mean())
        page.close()

    quality = current_prediction_set(project)
    assert quality is not None
    return Measured(
        waits=waits,
        waits_from_the_request=whole,
        waits_of_many=waits_of_many,
        waits_beside_a_training=beside_a_training,
        peer=[seconds for seconds, _ in peer],
        burst=burst_s,
        n_renewals=n_renewals,
        right=right,
        peer_right=float((peer[-1][1] == truth).mean()),
        held_out_balanced_accuracy=quality.quality["balanced_accuracy"],
        n_labels=n_labels,
    )


class Page:
    """An open page: labels, hears of new predictions, fetches them."""

    def __init__(self, browser: Browser, label_set: LabelSet) -> None:
        self._browser = browser
        self._label_set = label_set
        self._events = Events()
        self.classes: npt.NDArray[np.uint8] = np.zeros(0, np.uint8)
        self.revision = 0

    def label(self, ordinals: npt.NDArray[np.integer[Any]], value: int) -> None:
        action = {"kind": "label", "class_value": value, "provenance": "bulk", "selection": {}}
        body, content_type = multipart({"action": action}, ordinals)
        self._browser.post(f"/api/v1/label-sets/{self._label_set.pk}/actions", body, content_type)

    def wait_for(self, n_labels: int) -> None:
        """Until predictions that know of so many labels are here."""
        while True:
            event = self._events.wait_for("predictions.ready", PATIENCE_S)
            self._fetch()
            if event["n_labels"] >= n_labels:
                return

    def _fetch(self) -> None:
        path = f"/api/v1/projects/{self._label_set.project_id}/predictions"
        buffer = gzip.decompress(self._browser.get(path)[2])
        n, self.revision, _ = np.frombuffer(buffer, "<u4", 3, 4).tolist()
        self.classes = np.frombuffer(buffer, np.uint8, n, HEADER_BYTES)

    def connect_again(self) -> None:
        self._browser.get(f"/api/v1/projects/{self._label_set.project_id}/state")

    def close(self) -> None:
        self._events.close()
        self._browser.close()


def synthetic_features(n: int, dimension: int, *, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Vectors (n, d) around two opposite centers per class, which no plane tells from the others', so that the head's
    correction is at work; and the class values (n,) from 1."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(len(SHARES), n, p=SHARES)
    centers = rng.normal(scale=4 / np.sqrt(dimension), size=(len(SHARES), dimension)).astype(np.float32)
    side = rng.choice((-1, 1), (n, 1)).astype(np.float32)
    spread_by_column = (1 / np.sqrt(1 + np.arange(dimension) / 8)).astype(np.float32)
    noise = spread_by_column * rng.standard_normal((n, dimension), np.float32)
    return side * centers[truth] + noise, (truth + 1).astype(np.uint8)


def _label_next(page: Page, order: npt.NDArray[np.int64], truth: npt.NDArray[np.uint8], n_labels: int) -> None:
    """One gesture: the next unlabeled objects of a class, which move to the front of the order."""
    ahead = order[n_labels:]
    value = 1 + (n_labels // N_PER_GESTURE) % 3
    chosen = ahead[truth[ahead] == value][:N_PER_GESTURE]
    order[n_labels:] = np.concatenate([chosen, ahead[~np.isin(ahead, chosen)]])
    page.label(chosen, value)


def _plain_fit(features: npt.NDArray[np.float16], labels: npt.NDArray[np.uint8]) -> tuple[float, npt.NDArray[np.uint8]]:
    """Seconds, and the predicted class values (n,)."""
    everything = features.astype(np.float32)
    labeled = labels > 0
    started = time.perf_counter()
    landmarks = n_landmarks(int(labeled.sum()), len(everything), everything.shape[1])
    kernel = Nystroem(gamma=1 / everything.var(axis=0).sum(), n_components=landmarks, random_state=0)
    model = make_pipeline(kernel, LogisticRegression(C=10, max_iter=200))
    model.fit(everything[labeled], labels[labeled])
    probability = model.predict_proba(everything)
    return time.perf_counter() - started, model.classes_[probability.argmax(axis=1)]
