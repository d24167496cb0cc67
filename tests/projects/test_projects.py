from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from skimage.color import deltaE_ciede2000, rgb2lab

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.audit.services import verify_audit
from apps.labels.models import LabelSet
from apps.projects.access import permissions_of
from apps.projects.models import Job, LabelClass, Project, ProjectMember
from apps.projects.permissions import Permission
from apps.projects.services import (
    add_label_class,
    add_project_member,
    create_project,
    get_or_create_label_classes,
    remove_project_member,
    update_label_class,
    update_project,
    update_project_member,
)
from tests.factories import make_image, make_project

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]

NEW = {
    "name": "Glomeruli",
    "classes": "Healthy\nSclerotic\n",
    "patch_size_px": "256",
    "encoder_size_px": "128",
    "approach": "simclr",
}


def post_new(client: Client, world: World, **changes: str) -> Any:
    return client.post(reverse("project_create", args=[world.organization.pk]), NEW | changes)


def test_an_owner_makes_a_project_and_is_its_manager(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.owner)
    response = post_new(client, world)
    project = Project.objects.get(name="Glomeruli")
    assert response["Location"] == reverse("project_overview", args=[project.pk])
    assert [(c.value, c.name, c.key) for c in project.label_classes.all()] == [
        (1, "Healthy", "1"),
        (2, "Sclerotic", "2"),
    ]
    assert project.patch_size_px == 256
    assert ProjectMember.objects.get(project=project).role == "manager"
    assert LabelSet.objects.get(project=project).kind == LabelSet.Kind.SHARED
    assert Permission.LABEL in permissions_of(world.owner, project)
    page = client.get(response["Location"]).content.decode()
    assert "Upload images" in page


def test_a_new_project_learns_by_the_approach_that_was_chosen_for_it(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.owner)
    page = client.get(reverse("project_create", args=[world.organization.pk])).content.decode()
    assert '<option value="simclr" selected>' in page
    post_new(client, world, approach="instant")
    assert Project.objects.get(name="Glomeruli").approach == "instant"
    refused = post_new(client, world, name="Tubules", approach="oracle")
    assert refused.status_code == 422
    assert not Project.objects.filter(name="Tubules").exists()


def test_a_plain_member_makes_no_project(world: World, signed_in: SignIn) -> None:
    url = reverse("project_create", args=[world.organization.pk])
    assert signed_in(world.manager).get(url).status_code == 403
    assert post_new(signed_in(world.manager), world).status_code == 403
    assert signed_in(world.stranger).get(url).status_code == 404


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, "This field is required."),
        ({"name": "Nuclei"}, "already exists"),
        ({"classes": " \n , "}, "Name at least one class."),
        ({"classes": "B\nA\na"}, "There are two classes A: upper and lower case do not tell them apart."),
        ({"patch_size_px": "65"}, "valid"),
        ({"patch_size_px": "14"}, "greater than or equal to 16"),
        ({"patch_size_px": "514"}, "less than or equal to 512"),
        ({"encoder_size_px": "x"}, "whole number"),
    ],
)
def test_a_faulty_form_says_what_is_wrong_and_keeps_what_was_typed(
    world: World, signed_in: SignIn, changes: dict[str, str], message: str
) -> None:
    before = Project.objects.count()
    response = post_new(signed_in(world.owner), world, description="typed with care", **changes)
    assert response.status_code == 422
    assert message in response.content.decode()
    assert "typed with care" in response.content.decode()
    assert Project.objects.count() == before


def test_two_organizations_may_use_one_name_for_their_projects(world: World) -> None:
    make_project(world.their_organization, name="Nuclei")
    with pytest.raises(ValidationError):
        make_project(world.organization, name="Nuclei")


def test_the_list_shows_ones_own_projects_only(world: World, signed_in: SignIn) -> None:
    assert "Nuclei" in signed_in(world.viewer).get("/").content.decode()
    assert "Nuclei" in signed_in(world.owner).get("/").content.decode()
    assert "No project is shared with you yet" in signed_in(world.colleague).get("/").content.decode()
    theirs = signed_in(world.stranger).get("/").content.decode()
    assert "Their tubules" in theirs
    assert "Nuclei" not in theirs
    assert "Pathology Bern" not in theirs


def test_the_list_costs_the_same_number_of_queries_whatever_its_length(
    world: World, signed_in: SignIn, django_assert_num_queries: Any
) -> None:
    client = signed_in(world.owner)
    client.get("/")
    with django_assert_num_queries(5):
        client.get("/")
    for number in range(5):
        make_project(world.organization, name=f"More {number}")
    with django_assert_num_queries(5):
        client.get("/")


def test_a_class_gets_the_next_value_and_a_color_and_values_are_never_reused(world: World) -> None:
    third = add_label_class(project=world.project, name=" plasma   cell ", added_by=world.manager)
    assert (third.value, third.name, third.color) == (3, "plasma cell", "#009e73")
    colors = list(LabelClass.objects.filter(project=world.project).values_list("color", flat=True))
    assert len(set(colors)) == 3
    with pytest.raises(ValidationError, match="already"):
        add_label_class(project=world.project, name="Plasma Cell", added_by=world.manager)


# What is left of linear red, green and blue without one kind of cones (Machado, Oliveira and Fernandes 2009, table 1).
WITHOUT_GREEN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]]
WITHOUT_RED = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]


@pytest.mark.parametrize(("seen_by", "apart"), [(np.eye(3), 12), (WITHOUT_GREEN, 8), (WITHOUT_RED, 8)])
def test_the_colors_of_the_first_twenty_classes_can_be_told_apart(world: World, seen_by: Any, apart: float) -> None:
    for number in range(3, 21):
        add_label_class(project=world.project, name=f"class {number}", added_by=world.manager)
    colors = list(LabelClass.objects.filter(project=world.project).values_list("color", flat=True))
    of_no_label = re.findall(
        r"--plot-unknown: (#\w+);", (settings.BASE_DIR / "frontend/src/styles/tokens.css").read_text()
    )
    assert (len(colors), len(of_no_label)) == (20, 2)
    rgb = np.array([[int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)] for color in [*colors, *of_no_label]])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ np.array(seen_by).T
    seen = 1.055 * np.clip(linear, 0, 1) ** (1 / 2.4) - 0.055
    lab = rgb2lab(np.clip(seen, 0, 1)[None])[0]
    differences = deltaE_ciede2000(lab[:20, None], lab[None])
    assert differences[:, :20][~np.eye(20, dtype=bool)].min() > apart
    # To those without one kind of cones the seventh is near gray, as its makers know.
    assert np.delete(differences[:, 20:], 6, axis=0).min() > apart


def test_the_255th_class_is_refused(world: World) -> None:
    for value in range(3, 255):
        LabelClass.objects.create(project=world.project, value=value, name=f"c{value}", color="#000000")
    with pytest.raises(ValidationError, match="at most 254"):
        add_label_class(project=world.project, name="one more", added_by=world.manager)
    with pytest.raises(ValueError, match="at most 254"):
        get_or_create_label_classes(project=world.project, names=["one more"], added_by=None)


def test_classes_are_found_by_name_whatever_its_capitals_and_made_once(world: World) -> None:
    found = get_or_create_label_classes(
        project=world.project, names=["Lymphocyte", "mitosis", "Mitosis "], added_by=None
    )
    assert found["Lymphocyte"].value == 1
    assert found["mitosis"] == found["Mitosis "]
    assert LabelClass.objects.filter(project=world.project).count() == 3


def test_a_renamed_class_keeps_its_value(world: World, signed_in: SignIn) -> None:
    url = reverse("label_class_edit", args=[world.project.pk, 1])
    client = signed_in(world.manager)
    assert client.post(url, {"name": "T cell", "color": "#123456"}).status_code == 302
    label_class = LabelClass.objects.get(project=world.project, value=1)
    assert (label_class.name, label_class.color) == ("T cell", "#123456")
    assert client.post(url, {"name": "Epithelial", "color": "#123456"}).status_code == 422
    assert client.post(url, {"name": "x", "color": "red"}).status_code == 422
    event = AuditEvent.objects.get(action="class.update")
    assert event.detail["changes"]["name"] == ["lymphocyte", "T cell"]


def test_saving_without_a_change_leaves_no_trace(world: World) -> None:
    label_class = world.project.label_classes.get(value=1)
    before = AuditEvent.objects.count()
    update_label_class(
        label_class=label_class, name=label_class.name, color=label_class.color, updated_by=world.manager
    )
    update_project(
        project=world.project,
        name="Nuclei",
        description="",
        patch_size_px=64,
        encoder_size_px=64,
        updated_by=world.manager,
    )
    assert AuditEvent.objects.count() == before


@pytest.mark.parametrize("size", [16, 18, 256, 512])
def test_the_patch_size_changes_at_any_time(world: World, signed_in: SignIn, size: int) -> None:
    make_image(world.project)
    url = reverse("project_settings", args=[world.project.pk])
    data = {"name": "Nuclei", "description": "", "patch_size_px": size, "encoder_size_px": 64}
    assert signed_in(world.manager).post(url, data).status_code == 302
    world.project.refresh_from_db()
    assert (world.project.patch_size_px, world.project.n_objects) == (size, 20)


def test_whoever_saves_a_form_of_the_settings_is_led_back_to_it(world: World, signed_in: SignIn) -> None:
    url = reverse("project_settings", args=[world.project.pk])
    page = signed_in(world.manager).get(url).content.decode()
    forms = re.findall(r'<form class="form"[^>]* id="([^"]+)"[^>]* action="[^"]*#([^"]+)"', page)
    assert len(forms) == page.count('<form class="form"') == 4
    assert all(name == led_to for name, led_to in forms), (
        "a browser goes to where the form's address says, after a redirect too"
    )


@pytest.mark.parametrize("size", [0, 15, 17, 513, 514, -2])
def test_sizes_that_can_not_be_are_refused_by_the_service_too(world: World, size: int) -> None:
    with pytest.raises(ValidationError, match="even number"):
        create_project(
            organization=world.organization, name="x", classes=[], patch_size_px=size, created_by=world.owner
        )


def test_only_people_of_the_organization_become_members(world: World, signed_in: SignIn) -> None:
    with pytest.raises(ValidationError, match="does not belong to"):
        add_project_member(project=world.project, user=world.stranger, role="rater", added_by=world.manager)
    client, url = signed_in(world.manager), reverse("project_members", args=[world.project.pk])
    assert client.post(url, {"user": world.stranger.pk, "role": "rater"}).status_code == 422
    assert client.post(url, {"user": world.colleague.pk, "role": "rater"}).status_code == 302
    assert Permission.LABEL in permissions_of(world.colleague, world.project)


def test_a_removed_member_is_out_at_once(world: World, signed_in: SignIn) -> None:
    member = ProjectMember.objects.get(project=world.project, user=world.rater)
    signed_in(world.manager).post(reverse("project_member_remove", args=[world.project.pk, member.pk]))
    assert signed_in(world.rater).get(reverse("project_overview", args=[world.project.pk])).status_code == 404


def test_removing_a_member_twice_is_noted_once(world: World) -> None:
    member = ProjectMember.objects.get(project=world.project, user=world.rater)
    same = ProjectMember.objects.get(pk=member.pk)
    remove_project_member(member=member, removed_by=world.manager)
    remove_project_member(member=same, removed_by=world.manager)
    assert AuditEvent.objects.filter(action="project.member.remove").count() == 1
    with pytest.raises(ValidationError, match="no longer a member"):
        update_project_member(member=same, role="viewer", updated_by=world.manager)


@pytest.mark.parametrize("name", ["=1+1", "+", " -x", "@a", "\t=x"])
def test_a_class_name_that_a_spreadsheet_would_calculate_is_refused(world: World, signed_in: SignIn, name: str) -> None:
    with pytest.raises(ValidationError, match="spreadsheets"):
        add_label_class(project=world.project, name=name, added_by=world.manager)
    response = post_new(signed_in(world.owner), world, classes=f"Healthy\n{name}")
    assert response.status_code == 422
    assert "spreadsheets take for a formula" in response.content.decode()


def test_a_manager_who_removes_themselves_lands_on_the_list(world: World, signed_in: SignIn) -> None:
    member = ProjectMember.objects.get(project=world.project, user=world.manager)
    response = signed_in(world.manager).post(reverse("project_member_remove", args=[world.project.pk, member.pk]))
    assert response["Location"] == reverse("project_list")


def test_the_audit_page_filters_and_pages(world: World, signed_in: SignIn) -> None:
    for number in range(60):
        add_label_class(project=world.project, name=f"class {number}", added_by=world.manager)
    client, url = signed_in(world.manager), reverse("project_audit", args=[world.project.pk])
    first = client.get(url).content.decode()
    assert "class 59" in first
    assert "class 5<" not in first
    assert "class 5<" in client.get(url, {"page": 2}).content.decode()
    filtered = client.get(url, {"action": "project.create"}).content.decode()
    assert "class 59" not in filtered
    assert "project Nuclei" in filtered
    assert "Nothing matches" in client.get(url, {"until": "2001-01-01"}).content.decode()
    assert client.get(url, {"page": "x", "action": "no such", "actor": "-1"}).status_code == 200
    assert list(verify_audit(world.organization.pk)) == []


def test_names_are_shown_as_typed_and_never_as_markup(world: World, signed_in: SignIn) -> None:
    nasty = "<script>alert(1)</script>"
    LabelClass.objects.filter(project=world.project, value=1).update(name=nasty)
    Project.objects.filter(pk=world.project.pk).update(name=nasty, description=nasty)
    User.objects.filter(pk=world.rater.pk).update(name=nasty)
    client = signed_in(world.manager)
    for name in ("project_overview", "project_settings", "project_members", "project_audit", "workspace"):
        page = client.get(reverse(name, args=[world.project.pk])).content.decode()
        assert nasty not in page
        assert "&lt;script&gt;" in page
    assert nasty not in client.get("/").content.decode()


def test_htmx_gets_the_table_of_jobs_alone(world: World, signed_in: SignIn, make_job: Callable[..., Job]) -> None:
    job = make_job(state="running", progress=0.4, stage="training", message="epoch 4", requested_by=world.lead)
    client = signed_in(world.viewer)
    for url in (
        reverse("job_list", args=[world.project.pk]),
        reverse("job_detail", args=[world.project.pk, job.pk]),
        reverse("project_overview", args=[world.project.pk]),
    ):
        whole, part = client.get(url), client.get(url, headers={"HX-Request": "true"})
        assert "<html" in whole.content.decode()
        assert "<html" not in part.content.decode()
        assert "HX-Request" in part["Vary"]
    assert 'value="40"' in client.get(reverse("job_list", args=[world.project.pk])).content.decode()


def test_a_failed_job_shows_its_error_and_to_who_may_train_its_log(
    world: World, signed_in: SignIn, make_job: Callable[..., Job]
) -> None:
    job = make_job(state="failed", error="the disk is full", log="12:00:01 reading <images>")
    for user, sees_log in ((world.lead, True), (world.viewer, False)):
        page = signed_in(user).get(reverse("job_detail", args=[world.project.pk, job.pk])).content.decode()
        assert "the disk is full" in page
        assert ("reading &lt;images&gt;" in page) is sees_log


def test_cancelling_is_audited_and_asked_for_first(
    world: World, signed_in: SignIn, make_job: Callable[..., Job]
) -> None:
    job = make_job(state="running")
    client = signed_in(world.manager)
    detail = reverse("job_detail", args=[world.project.pk, job.pk])
    assert 'data-dialog-open="cancel-job"' in client.get(detail).content.decode()
    client.post(reverse("job_cancel", args=[world.project.pk, job.pk]))
    job.refresh_from_db()
    assert job.cancel_requested
    assert AuditEvent.objects.filter(action="job.iteration.cancel", project_id=world.project.pk).exists()
