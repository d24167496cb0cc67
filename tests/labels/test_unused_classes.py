"""A class that nothing was ever labeled with can be taken away; any other is named by the history, and stays."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.labels import services
from apps.labels.acceptance import draw_sample
from apps.labels.models import LabelSet
from apps.labels.selectors import shared_label_set
from apps.projects.models import LabelClass
from apps.projects.services import add_label_class, allow_sampled_acceptance
from tests.factories import make_image

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


def remove(world: World, signed_in: SignIn, value: int) -> str:
    """What the page says then."""
    url = reverse("label_class_remove", args=[world.project.pk, value])
    return signed_in(world.manager).post(url, follow=True).content.decode()


def has(world: World, value: int) -> bool:
    return world.project.label_classes.filter(value=value).exists()


def test_a_gesture_with_a_class_that_was_removed_meanwhile_is_refused(world: World) -> None:
    make_image(world.project)
    label_class = world.project.label_classes.get(value=2)
    services.remove_label_class(label_class=LabelClass.objects.get(pk=label_class.pk), removed_by=world.manager)
    with pytest.raises(services.LabelError, match="was removed a moment ago"):
        services.label_objects(
            label_set=shared_label_set(world.project),
            label_class=label_class,
            ordinals=np.array([1], np.uint32),
            actor=world.rater,
            gesture=services.Gesture(provenance="single", selection={}),
        )


def test_a_class_without_a_history_is_removed(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    world.label(1, range(5))
    name = world.project.label_classes.get(value=2).name
    assert f"{name} was removed." in remove(world, signed_in, 2)
    assert not has(world, 2)
    event = AuditEvent.objects.get(action="class.remove")
    assert (event.actor, event.subject, event.detail) == (world.manager, f"class {name}", {"value": 2})


def test_its_number_is_not_given_again(world: World, signed_in: SignIn) -> None:
    """A page that is still open may send it."""
    highest = world.project.label_classes.latest("value").value
    remove(world, signed_in, highest)
    remove(world, signed_in, highest)  # a second tab
    assert AuditEvent.objects.filter(action="class.remove").count() == 1
    assert add_label_class(project=world.project, name="mitosis", added_by=world.manager).value == highest + 1


def labeled(world: World) -> None:
    world.label(2, [0])


def labeled_once(world: World) -> None:
    world.label(2, [0])
    services.undo(label_set=shared_label_set(world.project), actor=world.rater)


def imported(world: World) -> None:
    label_set = services.get_or_create_label_set(project=world.project, name="x", kind=LabelSet.Kind.IMPORTED)
    ordinals, values = np.arange(3, dtype=np.uint32), np.full(3, 2, np.uint8)
    services.import_label_values(label_set=label_set, ordinals=ordinals, values=values, actor=None, reason="")


def only_left_out_of(world: World) -> None:
    world.label(2, [], left_out=[3])


def sampled(world: World) -> None:
    allow_sampled_acceptance(project=world.project, allowed=True, max_error=0.05, changed_by=world.manager)
    draw_sample(
        label_set=shared_label_set(world.project),
        label_class=world.project.label_classes.get(value=2),
        ordinals=np.arange(10, dtype=np.uint32),
        drawn_by=world.rater,
        embedding=None,
        selection={},
    )


@pytest.mark.parametrize("use", [labeled, labeled_once, imported, only_left_out_of, sampled])
def test_a_class_that_the_history_names_stays(world: World, signed_in: SignIn, use: Callable[[World], None]) -> None:
    make_image(world.project)
    use(world)
    assert "Rename it instead." in remove(world, signed_in, 2)
    assert has(world, 2)


def test_the_last_class_stays(world: World, signed_in: SignIn) -> None:
    values = list(world.project.label_classes.values_list("value", flat=True))
    for value in values[:-1]:
        remove(world, signed_in, value)
    assert "needs a class" in remove(world, signed_in, values[-1])
    assert has(world, values[-1])
