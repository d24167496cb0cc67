"""What the labeling page proposes to look at next, and why, in one line."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from apps.engine import suggest
from apps.engine.evidence import contradicted
from apps.engine.strata import Stratum, strata_to_sample
from apps.engine.suggest import Groups, Review
from apps.engine.unlabeled_images import UnlabeledImages, find_unlabeled_images
from apps.labels.models import LabelSet
from apps.labels.selectors import (
    attempts_at,
    denied_ordinals,
    kept_class_values,
    kept_though_different,
    shared_label_set,
)
from apps.models.models import Embedding
from apps.models.selectors import Predictions, current_predictions, latest_embedding, object_groups, vectors
from apps.objects.selectors import image_id_by_ordinal
from apps.projects.models import LabelClass, Project

Kind = Literal[
    "typical",
    "other_images",
    "sample",
    "doubtful",
    "review",
    "group",
    "uncertain",
    "left_out",
    "different",
    "discordant",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
MOST_DISCORDANT = 40
ONE_BY_ONE = 1 / suggest.GestureSeconds().single


@dataclass(frozen=True)
class Proposal:
    """One page to look at. `kind`, `class_value` and `group` ask for it; the rest is for a person."""

    kind: Kind
    n: int
    title: str
    why: str
    class_value: int | None = None
    group: int | None = None
    labels_per_second: float | None = None
    """Expected by the model of a person in apps/engine/suggest.py: it ranks pages, and is no promise."""
    expected_right: float | None = None
    """The share of the page, 0 to 1, that the model expects to be of the class."""
    n_sample: int | None = None
    """How many of a stratum a sample would show."""


@dataclass(frozen=True)
class Suggestions:
    """`proposals`: the recommended one first. `message`: what is so where nothing is left to propose."""

    proposals: list[Proposal]
    message: str
    n_labeled: int
    n_objects: int


@dataclass(frozen=True)
class _Known:
    """What proposals are made from: of the objects that have a vector, by ordinal."""

    embedding: Embedding
    label_set: LabelSet
    labels: NDArray[np.uint8]
    predictions: Predictions
    classes: dict[int, LabelClass]

    @property
    def unlabeled(self) -> NDArray[np.bool_]:
        return self.labels == 0

    @cached_property
    def contradicted(self) -> NDArray[np.bool_]:
        """Those that somebody has found not to be what they are taken for: of a page of that class they would be left out again."""
        return contradicted(denied_ordinals(self.label_set), self.predictions.classes)

    @property
    def labels_to_look_at_again(self) -> NDArray[np.uint8]:
        """The labels, 0 where somebody has looked at one because the model says otherwise, and kept it or gave it then."""
        labels = self.labels.copy()
        kept = kept_though_different(self.label_set)
        labels[kept[kept < len(labels)]] = 0
        return labels

    @property
    def groups(self) -> Groups:
        return object_groups(self.embedding)

    @cached_property
    def other_images(self) -> UnlabeledImages | None:
        """Those with few labels or none, where labels lie in few."""
        return find_unlabeled_images(image_id_by_ordinal(self.label_set.project)[: len(self.labels)], self.labels)

    def name_of(self, class_value: int) -> str:
        label_class = self.classes.get(class_value)
        return label_class.name if label_class else f"class {class_value}"


def _known(project: Project, label_set: LabelSet) -> _Known | None:
    embedding = latest_embedding(project)
    if embedding is None or not embedding.n:
        return None
    project.refresh_from_db(fields=["n_objects"])  # since it was read, more may have come, and a map with them
    labels = kept_class_values(label_set, project.n_objects)
    classes, confidence, revision = current_predictions(project)
    n = embedding.n
    return _Known(
        embedding,
        label_set,
        labels[:n],
        Predictions(classes[:n], confidence[:n], revision),
        {label_class.value: label_class for label_class in project.label_classes.all()},
    )


def _strata(project: Project, known: _Known, unlabeled: NDArray[np.bool_]) -> list[Stratum]:
    """What could be accepted by sample; nothing where the project's manager has not switched that on."""
    if not project.allows_sampled:
        return []
    predicted, eligible = known.predictions, unlabeled & ~known.contradicted
    counts = np.bincount(predicted.classes[eligible], minlength=256)
    sizes = {int(value): int(counts[value]) for value in np.flatnonzero(counts) if value}
    earlier = attempts_at(known.label_set, sizes)
    n_labels = int(np.count_nonzero(known.labels))
    return strata_to_sample(predicted, eligible, project.max_sampled_error, n_labels=n_labels, earlier=earlier)


def suggestions(project: Project) -> Suggestions:
    """What to look at next. Typical objects until there are as many labels as groups of similar ones, which is when the model can
    mostly say what it takes the rest for; then typical objects of images without labels, where labels lie in few; then, where that is
    allowed, what can be accepted by sample or brings a class nearer to it; then pages to confirm, those with the most
    labels per second first and of these one of a class with few labels, as long as they give more than labeling one by one."""
    label_set = shared_label_set(project)
    known = _known(project, label_set)
    n_labeled = int(np.count_nonzero(kept_class_values(label_set, project.n_objects)))
    if known is None:
        message = "Suggestions come with the first map" if project.n_objects else "There are no objects yet"
        return Suggestions([], message, n_labeled, project.n_objects)
    proposals = _proposals(known, _strata(project, known, known.unlabeled))
    message = ""
    if not known.unlabeled.any():
        unplaced = project.n_objects - known.embedding.n
        message = "Everything on the map is labeled" if unplaced else "Everything is labeled"
    return Suggestions(proposals, message, n_labeled, project.n_objects)


def _proposals(known: _Known, strata: list[Stratum]) -> list[Proposal]:
    unlabeled, predicted = known.unlabeled, known.predictions
    n_unlabeled = int(np.count_nonzero(unlabeled))
    n_discordant = len(suggest.discordant(predicted, known.labels_to_look_at_again))
    last = []
    if n_discordant:
        n = min(n_discordant, MOST_DISCORDANT)
        why = f"of {n_discordant:,}, where the model is surest: a slip is likeliest there" if n < n_discordant else (
            "where the model is sure, a slip is likely"
        )  # fmt: skip
        last.append(Proposal("discordant", n, f"{n} where label and prediction differ", why))
    if not n_unlabeled:
        return last
    reviews = suggest.rank_reviews(predicted, unlabeled & ~known.contradicted, known.groups)
    pages = [_review(review, known) for review in suggest.order_reviews(reviews, known.labels)]
    has_started = len(known.labels) - n_unlabeled >= len(known.groups)
    worth_it = [page for page in pages if has_started and (page.labels_per_second or 0) > ONE_BY_ONE]
    nearer = [_nearer_to_sample(stratum, known) for stratum in strata]
    if has_started:
        first = [*_of_other_images(known), *nearer, *worth_it, _typical(known), *pages[len(worth_it) :]]
    else:
        first = [_typical(known), *nearer, *pages]
    n = len(suggest.most_uncertain(predicted, unlabeled))
    last.append(Proposal("uncertain", n, f"{n} that the model is least sure of", "each tells it more than a sure one"))
    n = len(_left_out(known, unlabeled))
    why = "they were left out of what they look like: of another class, or of one that is missing"
    last.append(Proposal("left_out", n, f"{n} that look{'s' if n == 1 else ''} like none of the classes", why))
    n = min(n_unlabeled, suggest.PAGE)
    last.append(Proposal("different", n, f"{n} unlike anything labeled", _what_may_be_missed(known)))
    return [proposal for proposal in [*first, *last] if proposal.n]


def _left_out(known: _Known, unlabeled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """A page of those that are on no page of what they are taken for."""
    return np.flatnonzero(unlabeled & known.contradicted)[: suggest.PAGE]


def _what_may_be_missed(known: _Known) -> str:
    """A class that nobody has labeled is in no group's page and in no prediction."""
    labeled = set(np.unique(known.labels))
    missing = [label_class.name for value, label_class in known.classes.items() if value not in labeled]
    if not missing or known.unlabeled.all():
        return "for what the groups have missed"
    return f"nothing is labeled {' or '.join(missing[:2])} yet: look for it here"


def _typical(known: _Known) -> Proposal:
    n = len(suggest.typical_objects(known.groups, known.unlabeled))
    if known.unlabeled.all():
        why = "labeled, they tell the model enough to predict the rest"
    else:
        why = "from groups of similar objects with the fewest labels"
    return Proposal("typical", n, "1 typical object" if n == 1 else f"{n} typical objects, one per group", why)


def _of_other_images(known: _Known) -> list[Proposal]:
    """Before pages are confirmed on predictions that no label of most images stands behind."""
    others = known.other_images
    if others is None:
        return []
    n = len(suggest.typical_objects(known.groups, known.unlabeled, among=others.elsewhere))
    images = "1 image" if others.n == 1 else f"{others.n:,} images"
    title = f"{n} typical object{'' if n == 1 else 's'} of {images} with few or no labels"
    why = f"labels lie in {others.n_labeled} of {others.n_images:,} images: in the others, predictions may be far worse"
    return [Proposal("other_images", n, title, why)]


def _nearer_to_sample(stratum: Stratum, known: _Known) -> Proposal:
    value, n, name = stratum.class_value, len(stratum.surest_first), known.name_of(stratum.class_value)
    if not stratum.n_doubtful:
        title = f"Accept {n:,} that look like {name} by a sample"
        why = f"{stratum.n_sample} random ones to look at, more where some are wrong"
        return Proposal("sample", n, title, why, value, n_sample=stratum.n_sample)
    n_shown = len(stratum.doubtful)
    right = 1 - stratum.expected_error_of_doubtful
    title = f"Review {n_shown} that look like {name}, the doubtful ones"
    if stratum.n_sample and stratum.n_doubtful <= n - stratum.n_doubtful:
        first = "then" if n_shown == stratum.n_doubtful else f"after {stratum.n_doubtful:,} such"
        why = f"{_share_right(right, known)}; {first} {n - stratum.n_doubtful:,} may be accepted by a sample of {stratum.n_sample}"
    else:
        why = (
            f"{_share_right(right, known)}; too many of {n:,} are doubtful for a sample, and these teach the model most"
        )
    return Proposal("doubtful", n_shown, title, why, value, expected_right=right)


def _share_right(share: float, known: _Known) -> str:
    if known.other_images is not None:
        return "how many are right is not known: few images have labels"
    return f"about {round(100 * share)}% right"


def _review(review: Review, known: _Known) -> Proposal:
    name = known.name_of(review.class_value)
    right = review.expected_right / review.n
    share = _share_right(right, known)
    kind: Kind = "review" if review.group is None else "group"
    if kind == "review":
        title = f"Review {review.n} that look like {name}, surest first"
        n_alike = np.count_nonzero(
            known.unlabeled & ~known.contradicted & (known.predictions.classes == review.class_value)
        )
        why = f"{share}; the last ones are at the boundary" if n_alike > review.n else share
    else:
        title = f"Review {review.n} alike that look like {name}"
        why = f"{share}; one group of similar objects, so an odd one stands out"
    return Proposal(kind, review.n, title, why, review.class_value, review.group, review.labels_per_second, right)


def suggested_page(
    project: Project,
    kind: Kind,
    *,
    class_value: int | None = None,
    group: int | None = None,
    passed: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The ordinals (k,) of a proposal in the order to show them; none where nothing of the kind is left.

    `passed`: objects that the person has looked at and left out, not to be shown again now.
    """
    known = _known(project, shared_label_set(project))
    if known is None:
        return np.zeros(0, np.int64)
    unlabeled = known.unlabeled
    if passed is not None:
        unlabeled[passed[passed < len(unlabeled)]] = False
    predicted = known.predictions
    match kind:
        case "typical":
            return suggest.typical_objects(known.groups, unlabeled)
        case "other_images":
            others = known.other_images
            if others is None:
                return np.zeros(0, np.int64)
            return suggest.typical_objects(known.groups, unlabeled, among=others.elsewhere)
        case "sample" | "doubtful":
            strata = _strata(project, known, unlabeled)
            stratum = next((s for s in strata if s.class_value == class_value), None)
            if stratum is None:
                return np.zeros(0, np.int64)
            if kind == "sample":
                return stratum.surest_first
            return suggest.like_beside_like(vectors(known.embedding), stratum.doubtful)
        case "review":
            return suggest.review_page(predicted, unlabeled & ~known.contradicted, class_value or 0)
        case "group":
            among = ~known.contradicted & (known.groups.group == group)
            return suggest.review_page(predicted, unlabeled, class_value or 0, among=among)
        case "uncertain":
            return suggest.like_beside_like(vectors(known.embedding), suggest.most_uncertain(predicted, unlabeled))
        case "left_out":
            return suggest.like_beside_like(vectors(known.embedding), _left_out(known, unlabeled))
        case "different":
            return suggest.most_different(vectors(known.embedding), unlabeled)
        case "discordant":
            labels = known.labels_to_look_at_again
            if passed is not None:
                labels[passed[passed < len(labels)]] = 0
            return suggest.discordant(predicted, labels, size=MOST_DISCORDANT)
