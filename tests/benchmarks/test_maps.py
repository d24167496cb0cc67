"""The measures of the benchmark `maps`, on features whose worth is known."""

import numpy as np

from tests.benchmarks.maps import neighbor_purity, of_few_directions, probe

CLASSES = np.repeat([1, 2, 3], [200, 100, 60]).astype(np.uint8)
RNG = np.random.default_rng(0)


def test_features_that_hold_the_class_are_worth_all() -> None:
    features = np.eye(4)[CLASSES] + 0.01 * RNG.normal(size=(len(CLASSES), 4))
    assert neighbor_purity(features, CLASSES) == 1
    assert probe(features, CLASSES) == 1


def test_features_that_know_nothing_are_worth_chance() -> None:
    features = RNG.normal(size=(len(CLASSES), 4))
    chance = (np.bincount(CLASSES) / len(CLASSES) @ np.bincount(CLASSES)) / len(CLASSES)
    assert abs(neighbor_purity(features, CLASSES) - chance) < 0.06
    assert abs(probe(features, CLASSES) - 1 / 3) < 0.1


def test_few_directions_leave_a_probe_what_it_knows_and_take_it_from_the_neighbors() -> None:
    """The class is in a direction in which objects differ little; in the longest they differ by chance."""
    features = np.column_stack([5 * RNG.normal(size=len(CLASSES)), 3 * CLASSES + 0.1 * RNG.normal(size=len(CLASSES))])
    few = of_few_directions(features, 3.0)
    assert neighbor_purity(features, CLASSES) > 0.9
    assert neighbor_purity(few, CLASSES) < 0.6
    assert probe(few, CLASSES) == probe(features, CLASSES) == 1
