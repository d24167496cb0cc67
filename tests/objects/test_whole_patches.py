from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from apps.objects.selectors import has_whole_patch, patch_reader
from tests.factories import make_image

if TYPE_CHECKING:
    from tests.conftest import World

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("patch_size_px", [31, 32, 48, 49])
def test_a_patch_is_whole_where_nothing_beyond_the_image_had_to_be_made_up(world: World, patch_size_px: int) -> None:
    world.project.patch_size_px = patch_size_px
    world.project.save()
    make_image(world.project)
    make_image(world.project)
    every = np.arange(world.project.n_objects)
    reader = patch_reader(world.project)
    is_same = (reader.read(every) == reader.read(every, mirrored=False)).all(axis=(1, 2, 3))
    whole = has_whole_patch(world.project, len(every))
    assert whole.tolist() == is_same.tolist()
    assert has_whole_patch(world.project, 25).tolist() == is_same[:25].tolist()
    assert 0 < np.count_nonzero(whole) < len(every)
