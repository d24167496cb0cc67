"""Whether labels say something of all images."""

import numpy as np
import pytest

from apps.engine.unlabeled_images import ENOUGH_IMAGES, find_unlabeled_images


def labels_in(n_labeled: int, n: int, *, per_image: int = 20, each: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Images (n objects,) numbered with gaps, and labels of a few objects in the first of them."""
    image = np.repeat(7 + 3 * np.arange(n), per_image).astype(np.uint32)
    labels = np.where((np.arange(len(image)) % per_image < each) & (image < 7 + 3 * n_labeled), 2, 0)
    return image, labels.astype(np.uint8)


def test_labels_in_few_images_leave_the_others_unknown():
    image, labels = labels_in(3, 27)
    others = find_unlabeled_images(image, labels)
    assert others is not None
    assert (others.n_labeled, others.n, others.n_images) == (3, 24, 27)
    np.testing.assert_array_equal(others.elsewhere, np.arange(540) >= 60)


def test_two_labels_of_hundreds_of_objects_do_not_make_an_image_known():
    image = np.repeat(np.arange(6), 840)
    labels = np.zeros(len(image), np.uint8)
    labels[:400] = 1
    by_image = labels.reshape(6, 840)
    by_image[1:5, :2] = 1
    others = find_unlabeled_images(image, labels)
    assert others is not None and (others.n_labeled, others.n) == (1, 5)
    by_image[1:5, :5] = 1
    assert find_unlabeled_images(image, labels) is None, "one of five is left"


def test_a_few_scattered_labels_are_no_labels_of_few_images():
    labels = np.zeros(6 * 840, np.uint8)
    labels[::840] = 1
    assert find_unlabeled_images(np.repeat(np.arange(6), 840), labels) is None


@pytest.mark.parametrize(
    ("n_labeled", "n"),
    [(0, 27), (27, 27), (22, 27), (ENOUGH_IMAGES, 500), (1, 1)],
    ids=["no labels", "in all images", "in nearly all", "in many of very many", "one image"],
)
def test_otherwise_there_is_nothing_to_say(n_labeled, n):
    assert find_unlabeled_images(*labels_in(n_labeled, n)) is None


def test_a_few_objects_elsewhere_are_not_worth_a_word():
    image = np.repeat([1, 2, 3], [500, 50, 40])
    labels = (np.arange(590) < 20).astype(np.uint8)
    assert find_unlabeled_images(image, labels) is None
    labels[:450] = 1
    assert find_unlabeled_images(image, labels) is not None, "of what is left to do they are the most"


def test_without_objects_there_are_no_images():
    assert find_unlabeled_images(np.zeros(0, np.uint32), np.zeros(0, np.uint8)) is None
