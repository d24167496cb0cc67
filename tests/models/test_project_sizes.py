"""A project of any size, by every approach: from objects to maps, predictions, what to look at next, and what is similar."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from django.test import Client

from apps.models.refit import Refitter
from apps.models.selectors import coordinates, current_predictions
from apps.projects.models import Project
from apps.projects.services import Learning, allow_sampled_acceptance, update_project, update_project_learning
from tests.conftest import World
from tests.factories import blobs, make_image
from tests.models.test_maps import iterate
from tests.workspace.test_api import binary

# The lease of a running job is renewed on a connection of its own, which sees what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


def draw_map(project: Project) -> None:
    points = coordinates(iterate(project))
    assert points.shape == (project.n_objects, 2) and np.isfinite(points).all()


def look_at_every_page(client: Client, api: str) -> set[str]:
    """Ask what to look at next and for each page of it; returns their kinds."""
    proposals = client.get(f"{api}/suggestions").json()["proposals"]
    for proposal in proposals:
        asked = {name: proposal[name] for name in ("kind", "class_value", "group") if proposal.get(name) is not None}
        page = client.post(f"{api}/suggestions/page", asked)
        assert page.status_code == 200 and len(page.content) == 4 * proposal["n"], proposal["title"]
    return {proposal["kind"] for proposal in proposals}


ALWAYS = ("simclr", "instant")
LARGE = (100, 100)
# What is told of ten thousand objects is told of their number, not of the network: a small one, on patches of half the size. With what
# a project begins with always, with the others by `make slow`.
LARGE_ENCODER_PX = 32
SMALL_NETWORK = "timm:test_resnet"
CASES = [
    pytest.param(
        approach,
        shape,
        marks=[pytest.mark.slow] if shape == LARGE and approach not in ALWAYS else [],
        id=f"{approach}-{shape[0] * shape[1]}",
    )
    for approach in ("simclr", "barlow_twins", "autoencoder", "frozen", "instant")
    for shape in ((1, 1), (1, 2), (2, 5), LARGE)
]


@pytest.mark.parametrize(("approach", "shape"), CASES)
def test_a_project_of_any_size_goes_round_the_loop(
    world: World, signed_in: Any, approach: str, shape: tuple[int, int]
) -> None:
    project, client = world.project, signed_in(world.rater)
    settings: dict[str, Any] = {} if approach in {"frozen", "instant"} else {"epochs": 1}
    if shape == LARGE and approach != "instant":
        settings["backbone"] = SMALL_NETWORK
    update_project_learning(
        project=project, learning=Learning(approach=approach, approach_settings=settings), updated_by=world.manager
    )
    if shape == LARGE:
        update_project(
            project=project,
            name=project.name,
            description="",
            patch_size_px=project.patch_size_px,
            encoder_size_px=LARGE_ENCODER_PX,
            updated_by=world.manager,
        )
        project.refresh_from_db()
    make_image(project, mask=blobs(*shape))
    n = project.n_objects
    assert n == shape[0] * shape[1]

    api = f"/api/v1/projects/{project.pk}"
    draw_map(project)
    assert not current_predictions(project).classes.any(), "nothing is known yet"
    assert look_at_every_page(client, api) == {"typical", "different"}

    allow_sampled_acceptance(project=project, allowed=True, max_error=0.1, changed_by=world.manager)
    half = n // 2
    if half:
        world.label(1, range(0, half, 2))
    if half > 1:
        world.label(2, range(1, half, 2))
    Refitter().renew(project.pk)
    predicted = current_predictions(project)
    assert set(predicted.classes[half:]) <= ({1, 2} if half > 1 else {0}), "nothing is told apart by one class"
    kinds = look_at_every_page(client, api)
    assert kinds >= ({"typical", "uncertain", "different"} if half > 1 else {"typical", "different"})
    assert not half > 1 or kinds & {"review", "group", "sample", "doubtful"}, "something to confirm"

    world.label(1, range(half, n))
    if half:
        world.label(2, range(half))
    draw_map(project)
    project.refresh_from_db()
    predicted = current_predictions(project)
    assert len(predicted.classes) == n
    assert set(predicted.classes) <= ({1, 2} if half else {0}), "nothing is told apart by one class"

    assert client.get(f"{api}/state").status_code == 200
    left = client.get(f"{api}/suggestions").json()["proposals"]
    assert {proposal["kind"] for proposal in left} <= {"discordant"}, "all are labeled"
    assert client.get(f"/projects/{project.pk}/").status_code == 200
    similar = client.post(f"{api}/objects/similar", {"ordinals": binary([0])})
    if n == 1:
        assert "There is nothing to compare with" in similar.json()["detail"]
    else:
        assert similar.status_code == 200, similar.content
