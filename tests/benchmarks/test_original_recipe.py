"""The rebuilt recipe learns: it is a peer and no straw man."""

from __future__ import annotations

import math

import numpy as np

from tests.benchmarks.original_recipe import FIRST_EPOCHS, LATER_EPOCHS, LEAST_EPOCHS, OriginalRecipe, train_original
from tests.engine.fake_patches import make_patches


def test_features_are_of_length_one_for_every_object() -> None:
    patches, _ = make_patches(40, size_px=32)
    features = train_original(patches, seconds=0.0, seed=0)
    assert features.shape == (40, 32)
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_with_labels_the_kinds_part_in_its_features() -> None:
    patches, kinds = make_patches(64, size_px=32)
    labels = np.where(np.arange(64) < 32, kinds, 0).astype(np.uint8)
    recipe = OriginalRecipe(patches, seed=0)
    recipe.train(math.inf, labels, most_steps=12)
    features = recipe.embed()
    unlabeled = features[32:]
    nearest = (unlabeled @ features[:32].T).argmax(axis=1)
    assert (kinds[:32][nearest] == kinds[32:]).mean() > 0.9


def test_a_single_labeled_class_does_not_make_the_features_nan() -> None:
    patches, kinds = make_patches(40, size_px=32)
    recipe = OriginalRecipe(patches, seed=0)
    recipe.train(math.inf, np.where(kinds == 1, kinds, 0).astype(np.uint8), most_steps=2)
    assert np.isfinite(recipe.embed()).all()


def test_by_its_own_schedule_it_trains_up_to_a_hundred_epochs_at_first_and_five_later() -> None:
    patches, kinds = make_patches(6, size_px=32)
    recipe = OriginalRecipe(patches, seed=0)
    assert LEAST_EPOCHS < recipe.train_by_its_schedule() <= FIRST_EPOCHS
    assert recipe.train_by_its_schedule(kinds.astype(np.uint8)) == LATER_EPOCHS
