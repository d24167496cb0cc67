"""What is suggested next: typical objects, pages to confirm, doubtful, discordant and different ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from apps.engine.suggest import (
    Groups,
    Review,
    Reviews,
    discordant,
    group_objects,
    like_beside_like,
    most_different,
    most_uncertain,
    order_reviews,
    rank_reviews,
    review_page,
    typical_objects,
)


@dataclass
class Predicted:
    classes: npt.NDArray[np.uint8]
    confidence: npt.NDArray[np.uint8]


def predicted(classes: list[int], confidence: list[int]) -> Predicted:
    return Predicted(np.array(classes, np.uint8), np.array(confidence, np.uint8))


def clusters(sizes: tuple[int, ...], dimension: int = 16) -> tuple[npt.NDArray[np.float16], npt.NDArray[np.int64]]:
    """Unit vectors around as many far-apart centers as there are sizes, shuffled, and which center each is of."""
    rng = np.random.default_rng(1)
    centers = 4 * np.linalg.qr(rng.normal(size=(dimension, dimension)))[0][: len(sizes)]
    member = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    drawn = centers[member] + 0.3 * rng.normal(size=(len(member), dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16), member


NONE_LABELED = np.ones(600, bool)


def test_groups_are_the_clusters_the_largest_first():
    vectors, member = clusters((300, 200, 60, 40))
    groups = group_objects(vectors, n_groups=4)
    assert [int((groups.group == number).sum()) for number in range(4)] == [300, 200, 60, 40]
    for number in range(4):
        assert len(set(member[groups.group == number])) == 1
        assert len(groups.candidates[number]) == min(200, (groups.group == number).sum())


def test_the_same_vectors_give_the_same_groups():
    vectors, _ = clusters((300, 200, 60, 40))
    first, again = group_objects(vectors), group_objects(vectors)
    assert np.array_equal(first.group, again.group)
    assert all(np.array_equal(a, b) for a, b in zip(first.candidates, again.candidates, strict=True))


def test_typical_objects_lie_in_the_middle_of_their_group():
    vectors, member = clusters((300, 200, 60, 40))
    groups = group_objects(vectors, n_groups=4)
    typical = typical_objects(groups, NONE_LABELED)
    assert sorted(member[typical]) == [0, 1, 2, 3]
    for ordinal in typical:
        own = vectors[member == member[ordinal]].astype(float)
        to_middle = np.linalg.norm(own - own.mean(axis=0), axis=1)
        assert np.linalg.norm(vectors[ordinal] - own.mean(axis=0)) < np.quantile(to_middle, 0.25)


def test_whole_objects_stand_for_their_group_before_those_at_a_border_but_not_odd_ones():
    vectors, _ = clusters((300, 200, 60, 40))
    plain = group_objects(vectors, n_groups=4)
    at_border = np.arange(600) % 3 == 0
    at_border[plain.candidates[3][:-1]] = True  # of one group, the least typical alone is whole
    groups = group_objects(vectors, n_groups=4, whole=~at_border)
    assert np.array_equal(groups.group, plain.group)
    for candidates, typical in zip(groups.candidates, plain.candidates, strict=True):
        half = len(typical) // 2
        first = typical[:half]
        assert candidates[:half].tolist() == [*first[~at_border[first]], *first[at_border[first]]]
        assert candidates[half:].tolist() == typical[half:].tolist()
    assert at_border[typical_objects(groups, NONE_LABELED)].tolist() == [False, False, False, True]


def test_a_labeled_group_gives_none_until_every_group_has_one():
    vectors, _ = clusters((300, 200, 60, 40))
    groups = group_objects(vectors, n_groups=4)
    first = typical_objects(groups, NONE_LABELED)
    unlabeled = NONE_LABELED.copy()
    unlabeled[first[:2]] = False
    assert typical_objects(groups, unlabeled).tolist() == first[2:].tolist()
    unlabeled[first] = False
    again = typical_objects(groups, unlabeled)
    assert len(again) == 4 and not set(again) & set(first)
    assert len(typical_objects(groups, np.zeros(600, bool))) == 0


def test_of_some_images_typical_objects_are_given_whatever_is_labeled_in_the_others():
    vectors, member = clusters((300, 200, 60, 40))
    groups = group_objects(vectors, n_groups=4)
    among, unlabeled = np.arange(600) % 2 == 0, np.arange(600) % 2 == 0
    typical = typical_objects(groups, unlabeled, among=among)
    assert sorted(member[typical]) == [0, 1, 2, 3] and among[typical].all()
    unlabeled[typical[:2]] = False
    assert typical_objects(groups, unlabeled, among=among).tolist() == typical[2:].tolist()
    assert len(typical_objects(groups, NONE_LABELED, among=np.zeros(600, bool))) == 0


@pytest.mark.parametrize("n", [1, 2, 10])
def test_a_small_project_has_as_many_groups_as_objects(n):
    vectors, _ = clusters((n,))
    assert sorted(typical_objects(group_objects(vectors), np.ones(n, bool))) == list(range(n))


def test_equal_broken_and_no_objects_make_no_trouble():
    same = np.tile(clusters((1,))[0], (300, 1))
    assert len(typical_objects(group_objects(same), np.ones(300, bool))) == 1
    broken = np.full((5, 4), np.nan, np.float16)
    assert len(group_objects(broken)) == 0 and group_objects(broken).group.tolist() == [-1] * 5
    assert len(group_objects(np.zeros((0, 4), np.float16))) == 0


def test_a_review_page_is_surest_first_and_ends_at_the_boundary():
    confidence = np.arange(200).astype(np.uint8)
    model = Predicted(np.ones(200, np.uint8), confidence)
    page = review_page(model, np.ones(200, bool), 1, size=80)
    assert page[:70].tolist() == list(range(199, 129, -1))
    assert page[70:].tolist() == list(range(9, -1, -1))  # one in eight


def test_a_review_page_holds_unlabeled_objects_of_its_class_only():
    model = predicted([1, 1, 2, 1, 0], [10, 30, 99, 20, 0])
    unlabeled = np.array([True, True, True, False, True])
    assert review_page(model, unlabeled, 1).tolist() == [1, 0]
    assert review_page(model, unlabeled, 3).tolist() == []


def test_the_least_sure_come_first():
    model = predicted([1, 2, 1, 0, 2], [200, 90, 130, 0, 90])
    assert most_uncertain(model, np.ones(5, bool), size=3).tolist() == [1, 4, 2]


def test_discordant_are_labels_that_the_model_surely_disagrees_with():
    model = predicted([1, 2, 2, 0, 1], [200, 90, 130, 0, 90])
    assert discordant(model, np.array([1, 1, 1, 1, 0], np.uint8)).tolist() == [2, 1]


def test_the_most_different_are_far_from_the_labeled_and_from_each_other():
    vectors, member = clusters((200, 200, 150, 50))
    unlabeled = member != 0
    chosen = most_different(vectors, unlabeled, size=3)
    assert sorted(member[chosen]) == [1, 2, 3]
    assert len(most_different(vectors, np.zeros(600, bool))) == 0
    everything = most_different(vectors[:7], np.ones(7, bool), size=100)
    assert sorted(everything) == list(range(7))


def test_pages_are_ranked_by_the_labels_they_give_in_a_second():
    sure, unsure = np.full(300, 250), np.full(300, 120)
    model = predicted([1] * 300 + [2] * 300, [*sure, *unsure])
    reviews = rank_reviews(model, NONE_LABELED)
    assert [review.class_value for review in reviews.by_class] == [1, 2]
    best, second = reviews.by_class
    assert best.n == second.n == 300
    assert best.expected_right == pytest.approx(300 * 250 / 255)
    # 1.78 s for the page, 0.08 s a patch, 1.3 s for each of the 5.9 that are expected to be wrong
    assert best.labels_per_second == pytest.approx(best.expected_right / (1.78 + 24 + 1.3 * (300 - 300 * 250 / 255)))
    assert second.labels_per_second < best.labels_per_second / 3


def test_a_large_pure_group_comes_before_a_small_and_before_a_mixed_one():
    group = np.repeat([0, 1, 2], [300, 290, 10]).astype(np.int16)
    groups = Groups(group, [np.flatnonzero(group == number) for number in range(3)])
    model = predicted([1] * 300 + [2, 1] * 145 + [2] * 10, [250] * 300 + [140] * 290 + [250] * 10)
    reviews = rank_reviews(model, NONE_LABELED, groups).by_group
    assert [review.group for review in reviews] == [0, 2, 1]
    assert [review.n for review in reviews] == [300, 10, 145]


def test_nothing_is_left_to_review_when_everything_is_labeled():
    model = predicted([1] * 600, [250] * 600)
    reviews = rank_reviews(model, ~NONE_LABELED)
    assert reviews.by_class == [] and reviews.by_group == []


def test_alike_objects_lie_beside_each_other():
    vectors, member = clusters((200, 60, 40))
    shuffled = np.random.default_rng(3).permutation(300)
    tour = like_beside_like(vectors, shuffled)
    assert sorted(tour) == list(range(300))
    assert np.count_nonzero(np.diff(member[tour])) == 2, "each of the three clusters is one stretch"
    steps = np.linalg.norm(np.diff(vectors[tour].astype(np.float32), axis=0), axis=1)
    before = np.linalg.norm(np.diff(vectors[shuffled].astype(np.float32), axis=0), axis=1)
    assert steps.mean() < 0.7 * before.mean()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_few_objects_equal_ones_and_broken_vectors_are_put_beside_each_other_too(n):
    ordinals = np.arange(n)[::-1].copy()
    assert sorted(like_beside_like(np.ones((5, 4), np.float16), ordinals)) == list(range(n))
    broken = np.array([[np.nan, 1], [np.inf, 0], [1, 1], [0, 1], [2, 0]], np.float16)
    assert sorted(like_beside_like(broken, ordinals)) == list(range(n))


def test_of_pages_that_give_nearly_as_many_labels_one_of_the_class_with_the_fewest_comes_first():
    def page(class_value: int, per_second: float, group: int | None = None) -> Review:
        return Review(class_value, group, 100, 90.0, per_second)

    reviews = Reviews([page(1, 8.0), page(2, 7.5), page(3, 5.0)], [page(1, 9.0, 4), page(1, 6.0, 5)])
    labels = np.repeat([0, 1, 2], [500, 200, 20]).astype(np.uint8)
    ordered = order_reviews(reviews, labels)
    assert [(each.class_value, each.labels_per_second) for each in ordered] == [
        (2, 7.5),
        (1, 9.0),
        (1, 8.0),
        (1, 6.0),
        (3, 5.0),
    ]
    many = np.repeat([0, 1, 2], [500, 200, 300]).astype(np.uint8)
    assert order_reviews(reviews, many)[0].labels_per_second == 9.0
    assert [each.group for each in order_reviews(reviews, labels, most_groups=1)] == [None, 4, None, None]
    assert order_reviews(Reviews(), labels) == []
