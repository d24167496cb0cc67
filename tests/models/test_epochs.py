"""How long trainings are where nobody chose."""

from __future__ import annotations

import pytest

from apps.models.pipelines.planning import epochs_for


@pytest.mark.parametrize(
    ("n_objects", "on_cpu", "on_gpu", "later"),
    [(50, 30, 100, 30), (500, 6, 100, 4), (15_555, 2, 100, 1), (200_000, 2, 10, 1), (3_000_000, 2, 2, 1)],
)
def test_first_trainings_go_by_the_device_and_later_ones_are_short_on_any(
    n_objects: int, on_cpu: int, on_gpu: int, later: int
) -> None:
    assert epochs_for(n_objects, "cpu", first=True) == on_cpu
    assert epochs_for(n_objects, "cuda", first=True) == on_gpu
    assert {epochs_for(n_objects, device, first=False) for device in ("cpu", "cuda")} == {later}
