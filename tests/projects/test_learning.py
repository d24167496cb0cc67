"""How a project learns: the form made of an approach's settings, who may change it, and what is kept of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.engine.approaches.barlow_twins import BarlowTwinsSettings
from apps.engine.approaches.base import Approach
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.errors import EngineError
from apps.engine.registry import APPROACHES
from apps.engine.settings import Settings, list_settings, setting
from apps.projects.forms import LearningForm
from apps.projects.selectors import chosen_approach
from apps.projects.services import Learning, update_project_learning

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]
pytestmark = pytest.mark.django_db


def posted(approach: str, **changes: str) -> dict[str, str]:
    """What the browser sends of an unchanged form, with some changes."""
    settings = APPROACHES.get(approach).settings()
    values = {one.name: settings.value_of(one.name) for one in list_settings(type(settings))}
    sent = {name: "" if value is None else str(value) for name, value in values.items() if value is not False}
    return {"approach": approach, "reducer": "umap", "classifier": "kernel", **sent, **changes}


def address(world: World) -> str:
    return reverse("project_learning", args=[world.project.pk])


def test_the_settings_page_shows_every_setting_of_the_project_s_approach(world: World, signed_in: SignIn) -> None:
    page = signed_in(world.manager).get(reverse("project_settings", args=[world.project.pk])).content.decode()
    for one in list_settings(SimCLRSettings):
        assert f'name="{one.name}"' in page
        assert one.info.title in page
    assert "Augmentation" in page
    assert 'min="2" max="8192"' in page, "bounds are the browser's too"


def test_asked_again_without_htmx_the_form_comes_with_its_whole_page(world: World, signed_in: SignIn) -> None:
    asked = {"approach": "barlow_twins"}
    page = signed_in(world.manager).get(address(world), asked).content.decode()
    assert "<html" in page and 'name="redundancy_weight"' in page
    fragment = signed_in(world.manager).get(address(world), asked, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in fragment and 'name="redundancy_weight"' in fragment


def test_the_backbones_that_are_there_are_offered(
    world: World, signed_in: SignIn, settings: Any, tmp_path: Path
) -> None:
    settings.WEIGHTS_ROOT = tmp_path
    (tmp_path / "uni").mkdir()
    (tmp_path / "uni" / "model.safetensors").touch()
    form = signed_in(world.manager).get(address(world), {"approach": "frozen"}).content.decode()
    assert 'list="backbone-suggestions"' in form
    assert '<option value="resnet34"></option>' in form
    assert '<option value="weights:uni"></option>' in form


def test_weights_that_are_not_there_are_refused_and_the_page_says_where_to_put_them(
    world: World, signed_in: SignIn, settings: Any, tmp_path: Path
) -> None:
    settings.WEIGHTS_ROOT = tmp_path
    form = signed_in(world.manager).post(address(world), posted("frozen", backbone="weights:uni")).content.decode()
    assert f"put model.safetensors into {tmp_path.name}/uni on the server" in form
    assert str(tmp_path) not in form, "where the server keeps its files is nobody's business here"
    world.project.refresh_from_db()
    assert world.project.approach == "simclr"


@pytest.mark.parametrize(
    ("backbone", "refusal"),
    [
        ("timm:nosuch", "timm has no architecture &#x27;nosuch&#x27;"),
        ("timm:vit_tiny_patch16_22", "it has vit_tiny_patch16_224"),
    ],
)
def test_a_backbone_that_nobody_has_is_refused_where_it_is_chosen(
    world: World, signed_in: SignIn, settings: Any, tmp_path: Path, backbone: str, refusal: str
) -> None:
    settings.WEIGHTS_ROOT = tmp_path
    form = signed_in(world.manager).post(address(world), posted("simclr", backbone=backbone)).content.decode()
    field = form.partition('id="learning_backbone_error"')[2].partition("</div>")[0]
    assert refusal in field
    world.project.refresh_from_db()
    assert world.project.approach_settings["backbone"] == "resnet18"


def test_when_weights_went_away_the_other_settings_can_still_be_changed(
    world: World, settings: Any, tmp_path: Path
) -> None:
    settings.WEIGHTS_ROOT = tmp_path
    (tmp_path / "uni").mkdir()
    (tmp_path / "uni" / "model.safetensors").touch()
    learning = Learning("frozen", {"backbone": "weights:uni"})
    update_project_learning(project=world.project, learning=learning, updated_by=world.manager)
    (tmp_path / "uni" / "model.safetensors").unlink()
    update_project_learning(project=world.project, learning=replace(learning, reducer="pca"), updated_by=world.manager)
    world.project.refresh_from_db()
    assert world.project.reducer == "pca"


def test_another_approach_shows_its_own_settings_and_saves_nothing(world: World, signed_in: SignIn) -> None:
    response = signed_in(world.manager).get(address(world), {"approach": "barlow_twins"})
    form = response.content.decode()
    assert 'name="redundancy_weight"' in form
    assert 'name="temperature"' not in form
    world.project.refresh_from_db()
    assert world.project.approach == "simclr"


def test_a_manager_changes_approach_and_settings_and_the_audit_says_so(world: World, signed_in: SignIn) -> None:
    sent = posted("barlow_twins", redundancy_weight="0.01", **{"augment.stain": "0.2", "epochs": "7"})
    response = signed_in(world.manager).post(address(world), sent)
    assert response["Location"] == reverse("project_settings", args=[world.project.pk])
    world.project.refresh_from_db()
    approach, settings = chosen_approach(world.project)
    assert approach.name == "barlow_twins"
    assert settings == BarlowTwinsSettings().changed({"redundancy_weight": 0.01, "augment.stain": 0.2, "epochs": 7})
    event = AuditEvent.objects.get(action="project.learning")
    assert event.actor == world.manager
    changes = event.detail["changes"]
    assert changes["approach"] == ["simclr", "barlow_twins"]
    assert (changes["redundancy_weight"], changes["temperature"]) == ([None, 0.01], [0.1, None])
    assert changes["augment.stain"] == [0.08, 0.2]
    assert "augment.blur_probability" not in changes, "it stayed as it was"
    trail = signed_in(world.manager).get(reverse("project_audit", args=[world.project.pk])).content.decode()
    assert "augment.stain: 0.08 → 0.2" in trail

    signed_in(world.manager).post(address(world), sent)
    assert AuditEvent.objects.filter(action="project.learning").count() == 1, "nothing changed, nothing recorded"


@pytest.mark.parametrize(("who", "status"), [("lead", 403), ("rater", 403), ("viewer", 403), ("stranger", 404)])
def test_who_may_not_administer_the_project_changes_nothing(
    world: World, signed_in: SignIn, who: str, status: int
) -> None:
    client = signed_in(world.user(who))
    assert client.post(address(world), posted("frozen")).status_code == status
    assert client.get(address(world)).status_code == status
    world.project.refresh_from_db()
    assert world.project.approach == "simclr"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": "0"}, "temperature is 0, but has to be a number above 0 and at most 10"),
        ({"temperature": "-1"}, "greater than or equal to 0"),
        ({"projection_dim": "1.5"}, "whole number"),
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"augment.stain": "2"}, "less than or equal to 0.9"),
        (
            {"backbone": "resnet19"},
            "has to be resnet18, resnet34, resnet50, resnet101, resnet152, timm:NAME or weights:NAME",
        ),
        ({"backbone": "weights:uni", "object_mask": "channel"}, "was trained on three channels"),
        ({"object_mask": "halo"}, "not one of the available choices"),
        ({"reducer": "origami"}, "not one of the available choices"),
        ({"reducer": "pca", "map_shows_labels": "on"}, "Principal components: this map takes no account of classes"),
    ],
)
def test_a_faulty_value_says_what_may_be_and_what_was_typed_stays(
    world: World, signed_in: SignIn, changes: dict[str, str], message: str
) -> None:
    response = signed_in(world.manager).post(address(world), posted("simclr", **changes))
    assert response.status_code == 422
    page = response.content.decode().replace("&#x27;", "'")
    assert message in page
    name, value = next(iter(changes.items()))
    assert name in ("object_mask", "reducer") or f'value="{value}"' in page
    world.project.refresh_from_db()
    assert chosen_approach(world.project)[1] == SimCLRSettings()


def test_an_unknown_approach_is_refused_in_one_line(world: World, signed_in: SignIn) -> None:
    response = signed_in(world.manager).post(address(world), posted("simclr") | {"approach": "alchemy"})
    assert response.status_code == 422
    with pytest.raises(ValidationError, match="There is no approach called 'alchemy'; there are simclr, barlow_twins"):
        update_project_learning(project=world.project, learning=Learning("alchemy"), updated_by=world.manager)
    with pytest.raises(ValidationError, match="There is no classifier called 'oracle'"):
        update_project_learning(project=world.project, learning=Learning(classifier="oracle"), updated_by=world.manager)


def test_the_page_opens_where_the_package_of_the_approach_is_gone(world: World, signed_in: SignIn) -> None:
    world.project.approach, world.project.approach_settings = "gone", {"x": 1}
    world.project.save()
    assert signed_in(world.manager).get(reverse("project_settings", args=[world.project.pk])).status_code == 200
    with pytest.raises(EngineError, match="no approach called 'gone'"):
        chosen_approach(world.project)


def test_what_was_chosen_of_a_package_that_is_gone_is_named_and_not_replaced_in_passing(
    world: World, signed_in: SignIn
) -> None:
    world.project.classifier, world.project.reducer = "forest", "isomap"
    world.project.save()
    client = signed_in(world.manager)
    page = client.get(reverse("project_settings", args=[world.project.pk])).content.decode().replace("&#x27;", "'")
    assert "This project's classifier, forest, is not installed here." in page
    assert "This project's reducer, isomap, is not installed here." in page
    assert '<option value="forest" selected>forest (not installed here)</option>' in page
    response = client.post(address(world), posted("simclr", classifier="forest", reducer="umap"))
    assert response.status_code == 422
    assert "There is no classifier called 'forest'" in response.content.decode().replace("&#x27;", "'")
    world.project.refresh_from_db()
    assert (world.project.classifier, world.project.reducer) == ("forest", "isomap")


@dataclass(frozen=True)
class EveryKind(Settings):
    switch: bool = setting(True, title="Switch", help="On or off.")
    count: int = setting(3, title="Count", help="Whole.", at_least=1)
    share: float | None = setting(None, title="Share", help="Or nothing.", at_most=1)
    kind: str = setting("a", title="Kind", help="One of two.", choices=(("a", "The first"), ("b", "The second")))
    note: str = setting("x", title="Note", help="Any text.")


def test_every_kind_of_setting_has_a_field_that_gives_it_back() -> None:
    approach = Approach(
        "every", "Every", "All kinds.", "elsewhere:measure", EveryKind, trains=False, uses_network=False
    )
    shown: dict[str, Any] = {
        "approach": approach,
        "settings": EveryKind(),
        "reducer": "umap",
        "map_shows_labels": False,
        "classifier": "linear",
    }
    unbound = LearningForm(**shown)
    assert {name: unbound[name].initial for name in EveryKind().to_json()} == EveryKind().to_json()
    sent = {"approach": "simclr", "reducer": "umap", "classifier": "linear", "count": "5", "kind": "b", "note": "y"}
    form = LearningForm(sent, **shown)  # type: ignore[arg-type]
    assert form.is_valid(), form.errors
    assert EveryKind().changed(form.learning().approach_settings) == EveryKind(False, 5, None, "b", "y")
