"""What to look at next: which objects, of all that have no label yet, a person's next seconds are best spent on.

At first typical objects, one of each group of similar ones, so that a head can be fitted after a few minutes (typical
ones first and doubtful ones later is best at small and at large budgets: Hacohen, Dekel and Weinshall 2022, TypiClust;
Doucet et al. 2024, TCM). Then whole pages that a glance and a key confirm, chosen by the labels they are expected to give
per second. Everything here is arithmetic on vectors, predictions and labels by ordinal, and gives the same for the same.
"""

import warnings
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from apps.engine.layout import principal_components

Ordinals = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Bytes = npt.NDArray[np.uint8]

N_GROUPS = 60
# Groups are made from a sample: more objects move their centers by less than a person would see.
MOST_TO_GROUP = 10_000
TYPICAL_NEIGHBORS = 20  # K of TypiClust
MOST_CANDIDATES = 200  # per group, compared with each other to find the typical ones
# Patches to confirm at once, some three screens of nuclei. In the simulated labeling (tests/benchmarks/labeling.py), pages of 300
# label CoNSeP 6 % sooner than pages of 120, and as rightly.
PAGE = 300
# Of groups of similar objects, so many pages are proposed beside those of the classes.
MOST_GROUPS = 3
# Of two pages that give about as many labels a second, the one that tells the model more comes first.
NEARLY_AS_MANY = 0.8
BOUNDARY_SHARE = 8  # one in so many objects of a review page is where the model doubts its class
MOST_TO_TRAVERSE = 8000
MOST_ANCHORS = 500
ASSIGN_ROWS = 16_384


@dataclass(frozen=True)
class Groups:
    """Similar objects beside each other: the k-means clusters of one embedding's vectors, largest first."""

    group: npt.NDArray[np.int16]
    """(n,) by ordinal; -1 where a vector is not finite."""
    candidates: list[Ordinals]
    """By group: its objects that stand for it, the most typical first; at most MOST_CANDIDATES."""

    def __len__(self) -> int:
        return len(self.candidates)


def group_objects(
    vectors: npt.NDArray[np.floating[Any]], *, whole: Flags | None = None, n_groups: int = N_GROUPS, seed: int = 0
) -> Groups:
    """Groups of similar objects from vectors (n, d), as many as asked or as there are different objects.

    Within a group, objects are ordered by typicality: the inverse of the mean distance to the 20 nearest others of the
    group (TypiClust, equation 1). Among the more typical half, those that are `whole` (n,) come first: of one that is
    cut a person sees less. On CoNSeP that makes no difference to what 60 labels teach (0.776 of the others right, 0.777
    without; eight seeds, by a script).
    Takes a second or two at 100,000 x 512.
    """
    n = len(vectors)
    rng = np.random.default_rng(seed)
    group = np.full(n, -1, np.int16)
    sample = np.sort(rng.choice(n, min(n, MOST_TO_GROUP), replace=False)).astype(np.int64)
    features = np.asarray(vectors[sample], np.float32)
    finite = np.isfinite(features).all(axis=1)
    sample, features = sample[finite], features[finite]
    if not len(sample):
        return Groups(group, [])
    with threadpool_limits(limits=1), warnings.catch_warnings():
        # One thread: several add up in any order, and would make other groups each time.
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different objects than groups are no fault
        means = KMeans(min(n_groups, len(sample)), n_init=1, max_iter=20, random_state=seed).fit(features)
    centers = means.cluster_centers_.astype(np.float32)
    _assign(vectors, centers, group)
    sizes = np.bincount(group[group >= 0], minlength=len(centers))
    by_size = np.argsort(-sizes, kind="stable")
    rank = np.empty(len(centers), np.int16)
    rank[by_size] = np.arange(len(centers))
    group[group >= 0] = rank[group[group >= 0]]
    of_sample = group[sample]
    candidates = []
    for number in range(int((sizes > 0).sum())):
        members = np.flatnonzero(of_sample == number)
        if len(members) > MOST_CANDIDATES:
            members = np.sort(rng.choice(members, MOST_CANDIDATES, replace=False))
        typical = sample[members[_by_typicality(features[members])]]
        if whole is not None:
            half, rest = np.split(typical, [(len(typical) + 1) // 2])
            typical = np.concatenate([half[whole[half]], half[~whole[half]], rest])
        candidates.append(typical)
    return Groups(group, candidates)


def _assign(vectors: npt.NDArray[Any], centers: npt.NDArray[np.float32], group: npt.NDArray[np.int16]) -> None:
    half_squares = (centers * centers).sum(axis=1) / 2
    for first in range(0, len(vectors), ASSIGN_ROWS):
        rows = slice(first, first + ASSIGN_ROWS)
        # Nearest by distance: |x - c|^2 = |x|^2 - 2 (x c - |c|^2 / 2), where |x| is the same for all centers.
        closeness = np.asarray(vectors[rows], np.float32) @ centers.T - half_squares
        group[rows] = np.where(np.isfinite(closeness).all(axis=1), closeness.argmax(axis=1), -1)


def _by_typicality(features: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Rows (m,) of features (m, d), the most typical first."""
    squares = (features * features).sum(axis=1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * features @ features.T, 0))
    k = min(TYPICAL_NEIGHBORS, len(features) - 1)
    nearest = np.partition(distances, k, axis=1)[:, : k + 1]  # itself, at distance 0, and k others
    return np.argsort(nearest.sum(axis=1), kind="stable").astype(np.int64)


def typical_objects(groups: Groups, unlabeled: Flags, *, among: Flags | None = None, most: int = N_GROUPS) -> Ordinals:
    """One unlabeled object of each group, the most typical of those left; groups with the fewest labels first, among
    these the largest. A group that has a label already gives none while others have not. `among` (n,): only these are given, and
    only their labels count."""
    n = len(groups.group)
    counts = (groups.group >= 0) & ~unlabeled[:n]
    if among is not None:
        counts &= among[:n]
        unlabeled = unlabeled & among
    n_labels = np.bincount(groups.group[counts], minlength=len(groups))
    left = [candidates[unlabeled[candidates]] for candidates in groups.candidates]
    open_groups = [number for number in range(len(groups)) if len(left[number])]
    untouched = [number for number in open_groups if n_labels[number] == 0]
    wanted = sorted(untouched or open_groups, key=lambda number: n_labels[number])  # stable: they are in order of size
    return np.array([left[number][0] for number in wanted[:most]], np.int64)


class Predicted(Protocol):
    """What a model says, by ordinal: class value (n,) uint8, 0 = none, and confidence (n,) uint8 in 1/255."""

    @property
    def classes(self) -> Bytes: ...

    @property
    def confidence(self) -> Bytes: ...


def review_page(
    predicted: Predicted, unlabeled: Flags, class_value: int, *, among: Flags | None = None, size: int = PAGE
) -> Ordinals:
    """Review by exception: unlabeled objects that the model calls `class_value`, surest first.

    The last one in eight come from the other end, where the model is between this class and another, the least sure
    last: confirming only what is sure would teach it nothing. `among` (n,): only these, a group for one.
    """
    wanted = unlabeled & (predicted.classes == class_value)
    return _surest(predicted, np.flatnonzero(wanted if among is None else wanted & among), size)


def _surest(predicted: Predicted, members: Ordinals, size: int) -> Ordinals:
    surest = members[np.argsort(-predicted.confidence[members].astype(np.int16), kind="stable")]
    if len(surest) <= size:
        return surest
    n_boundary = size // BOUNDARY_SHARE
    return np.concatenate([surest[: size - n_boundary], surest[len(surest) - n_boundary :]])


def like_beside_like(vectors: npt.NDArray[np.floating[Any]], ordinals: Ordinals) -> Ordinals:
    """The same ordinals (m,), each followed by the most similar of those left, so that odd ones lie together and one drag picks them.

    From the end of the first principal component: a nearest-neighbor tour (Rosenkrantz, Stearns and Lewis 1977). Takes 3 ms of
    300 with 128 numbers, and the memory and time of all pairs. What is not finite in `vectors` (n, d) counts as 0.
    """
    if len(ordinals) < 3:
        return ordinals
    features = np.nan_to_num(np.asarray(vectors[ordinals], np.float32), posinf=0.0, neginf=0.0)
    squares = (features * features).sum(axis=1)
    distances = squares[:, None] + squares - 2 * features @ features.T
    current = int(principal_components(features)[:, 0].argmin())
    tour = [current]
    for _ in range(len(ordinals) - 1):
        distances[:, current] = np.inf
        current = int(distances[current].argmin())
        tour.append(current)
    return ordinals[tour]


def most_uncertain(predicted: Predicted, unlabeled: Flags, *, size: int = PAGE) -> Ordinals:
    """Unlabeled objects that the model is least sure of (Lewis and Gale 1994); equally unsure ones by ordinal. Without those of confidence 0:
    what they are taken for is known to be wrong, and they tell nothing of where it doubts."""
    members = np.flatnonzero(unlabeled & (predicted.classes > 0) & (predicted.confidence > 0))
    return members[np.argsort(predicted.confidence[members], kind="stable")][:size]


def discordant(predicted: Predicted, labels: Bytes, *, size: int | None = None) -> Ordinals:
    """Objects whose label is not what the model says, where it is surest first: there a slip is most likely."""
    members = np.flatnonzero((labels > 0) & (predicted.classes > 0) & (labels != predicted.classes))
    return members[np.argsort(-predicted.confidence[members].astype(np.int16), kind="stable")][:size]


def most_different(
    vectors: npt.NDArray[np.floating[Any]], unlabeled: Flags, *, size: int = PAGE, seed: int = 0
) -> Ordinals:
    """Unlabeled objects that are far from every labeled one and from each other, the farthest first.

    Farthest-first traversal, which covers the features to within twice the best possible (Gonzalez 1985; as k-center
    for learning: Sener and Savarese 2018), among a sample of the unlabeled and seen from a sample of the labeled.
    """
    rng = np.random.default_rng(seed)
    members = _sample(np.flatnonzero(unlabeled), MOST_TO_TRAVERSE, rng)
    labeled = _sample(np.flatnonzero(~unlabeled), MOST_ANCHORS, rng)
    features = np.nan_to_num(np.asarray(vectors[members], np.float32), posinf=0.0, neginf=0.0)
    anchors = np.nan_to_num(np.asarray(vectors[labeled], np.float32), posinf=0.0, neginf=0.0)
    if not len(members):
        return members
    # Without any label, from the middle of all: the first is then the one most unlike the rest.
    anchors = anchors if len(anchors) else features.mean(axis=0, keepdims=True)
    squares = (features * features).sum(axis=1)
    distances = np.full(len(features), np.inf, np.float32)
    for first in range(0, len(anchors), 64):
        some = anchors[first : first + 64]
        apart = squares[:, None] + (some * some).sum(axis=1) - 2 * features @ some.T
        np.minimum(distances, apart.min(axis=1), out=distances)
    chosen = []
    for _ in range(min(size, len(members))):
        farthest = int(np.argmax(distances))
        chosen.append(farthest)
        np.minimum(distances, squares + squares[farthest] - 2 * features @ features[farthest], out=distances)
        distances[farthest] = -np.inf
    return members[chosen]


def _sample(ordinals: Ordinals, most: int, rng: np.random.Generator) -> Ordinals:
    return np.sort(rng.choice(ordinals, most, replace=False)) if len(ordinals) > most else ordinals


@dataclass(frozen=True)
class GestureSeconds:
    """What a page costs a person: the keystroke-level model (Card, Moran and Newell 1980), and a glance per patch."""

    page: float = 1.35 + 0.28 + 0.15
    """Getting ready, one key, and the page's answer."""
    glance: float = 0.08
    """For a patch in a page of its like; nuclei, from the best windows of Walker et al. 2024. Glomeruli take ten times
    as long; with that, the simulated person labels faster by less than 0.3 %."""
    exception: float = 1.1 + 0.2
    """To point at a wrong one and click it."""
    single: float = 1 / 0.43
    """To label one by itself; nuclei, by Walker et al. 2024. A page that gives fewer labels in that time is not worth it."""


@dataclass(frozen=True)
class Review:
    """One page to confirm: what the model calls `class_value`, within one group of similar objects or all of them."""

    class_value: int
    group: int | None
    n: int
    """Objects on the page."""
    expected_right: float
    labels_per_second: float
    """Expected: those that are right, by the seconds that looking at all and clicking the wrong ones takes."""


@dataclass(frozen=True)
class Reviews:
    """Pages that can be confirmed, the most labels per second first."""

    by_class: list[Review] = field(default_factory=list)
    by_group: list[Review] = field(default_factory=list)


def rank_reviews(
    predicted: Predicted, unlabeled: Flags, groups: Groups | None = None, *, seconds: GestureSeconds | None = None
) -> Reviews:
    """One page for each predicted class, and for each group the page of its commonest predicted class."""
    cost = seconds or GestureSeconds()
    members = np.flatnonzero(unlabeled & (predicted.classes > 0))
    classes = predicted.classes[members]
    by_class = [
        _price(_surest(predicted, members[classes == value], PAGE), predicted, int(value), None, cost)
        for value in np.unique(classes)
    ]
    by_group = []
    if groups is not None:
        group = np.full(len(unlabeled), -1, np.int16)
        group[: len(groups.group)] = groups.group
        group = group[members]
        for number in np.unique(group[group >= 0]):
            own = np.flatnonzero(group == number)
            value = int(np.bincount(classes[own]).argmax())
            page = _surest(predicted, members[own[classes[own] == value]], PAGE)
            by_group.append(_price(page, predicted, value, int(number), cost))
    return Reviews(*(sorted(reviews, key=lambda review: -review.labels_per_second) for reviews in (by_class, by_group)))


def order_reviews(reviews: Reviews, labels: Bytes, *, most_groups: int = MOST_GROUPS) -> list[Review]:
    """The pages of the classes and of some groups, the most labels per second first; but before them, of those that give nearly as many,
    one of the class with the fewest `labels` (n,).

    Whoever follows takes as long for a project (five of real objects, one seed each: 67.2 and 66.9 simulated minutes), and what is left
    of nuclei is predicted better on the way (0.80 instead of 0.77 with 2,000 labels of 2,795, 0.79 instead of 0.76 of 5,011): the
    surest class alone would be labeled first, which teaches the model nothing of the others."""
    pages = sorted([*reviews.by_class, *reviews.by_group[:most_groups]], key=lambda page: -page.labels_per_second)
    if not pages:
        return []
    n_labels = np.bincount(labels, minlength=256)
    nearly = [page for page in pages if page.labels_per_second >= NEARLY_AS_MANY * pages[0].labels_per_second]
    first = min(nearly, key=lambda page: int(n_labels[page.class_value]))
    return [first, *(page for page in pages if page is not first)]


def _price(page: Ordinals, predicted: Predicted, class_value: int, group: int | None, cost: GestureSeconds) -> Review:
    right = float(predicted.confidence[page].sum()) / 255
    seconds = cost.page + cost.glance * len(page) + cost.exception * (len(page) - right)
    return Review(class_value, group, len(page), right, right / seconds)
