"""Who gets what from each page: the table is the specification."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse

from apps.accounts.models import OrganizationMember, User
from apps.images.models import Upload
from apps.projects.models import Job, ProjectMember
from apps.projects.services import add_project_member, update_project_member
from tests.factories import make_image, make_member

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]
MakeJob = Callable[..., Job]

PEOPLE = ("owner", "manager", "lead", "rater", "viewer", "auditor", "colleague", "stranger")
# One sign for each of PEOPLE: 2 is 200, 3 is 302 (done), 4 is 404, F is 403, U is 422 (allowed, but the form is empty).
TABLE = """
                            o m l r v a c s
GET  project_overview       2 2 2 2 2 2 4 4
GET  workspace              2 2 2 2 2 2 4 4
GET  image_list             2 2 2 2 2 2 4 4
GET  image_detail           2 2 2 2 2 2 4 4
GET  image_thumbnail        2 2 2 2 2 2 4 4
GET  model_list             2 2 2 2 2 2 4 4
GET  session_list           2 2 2 2 2 2 4 4
GET  quick_review           F 2 2 2 F F 4 4
GET  session_table          2 2 2 2 2 2 4 4
GET  job_list               2 2 2 2 2 2 4 4
GET  job_detail             2 2 2 2 2 2 4 4
GET  project_members        2 2 2 2 2 2 4 4
GET  project_settings       2 2 F F F F 4 4
GET  label_class_edit       2 2 F F F F 4 4
GET  project_member_edit    2 2 F F F F 4 4
GET  project_audit          2 2 F F F 2 4 4
GET  label_history          2 2 F F F 2 4 4
GET  project_audit_table    2 2 F F F 2 4 4
GET  label_history_table    2 2 F F F 2 4 4
GET  upload_detail          2 2 2 F F F 4 4
GET  upload_review          2 2 2 F F F 4 4
POST project_settings       U U F F F F 4 4
POST project_sampled        U U F F F F 4 4
POST label_class_add        U U F F F F 4 4
POST label_class_remove     3 3 F F F F 4 4
POST project_members        U U F F F F 4 4
POST project_member_edit    U U F F F F 4 4
POST project_member_remove  3 3 F F F F 4 4
POST job_cancel             3 3 3 F F F 4 4
POST upload_start           3 3 3 F F F 4 4
POST upload_file_remove     3 3 3 F F F 4 4
POST upload_file_is_mask    3 3 3 F F F 4 4
POST upload_discard         3 3 3 F F F 4 4
POST upload_import          U U U F F F 4 4
POST project_train          3 3 3 F F F 4 4
POST project_export         3 3 3 F F F 4 4
"""
STATUS = {"2": 200, "3": 302, "4": 404, "F": 403, "U": 422}
CASES = [
    (f"{method} {name}", person, STATUS[status])
    for method, name, *statuses in map(str.split, TABLE.strip().splitlines()[1:])
    for person, status in zip(PEOPLE, statuses, strict=True)
]


@pytest.mark.parametrize(("action", "person", "expected"), CASES, ids=[f"{p}: {a}" for a, p, _ in CASES])
def test_each_role_gets_what_the_table_says(
    world: World, signed_in: SignIn, make_job: MakeJob, action: str, person: str, expected: int
) -> None:
    method, name = action.split()
    project = world.project
    upload = Upload.objects.create(project=project, created_by=world.manager)
    of = {
        "image": lambda: make_image(project).pk,
        "job": lambda: make_job(requested_by=world.manager).pk,
        "label_class": lambda: 1,
        "member": lambda: ProjectMember.objects.get(project=project, user=world.rater).pk,
        "upload": lambda: upload.pk,
    }
    ids = {
        "image_detail": ["image"],
        "image_thumbnail": ["image"],
        "job_detail": ["job"],
        "job_cancel": ["job"],
        "label_class_edit": ["label_class"],
        "label_class_remove": ["label_class"],
        "project_member_edit": ["member"],
        "project_member_remove": ["member"],
        **{key: ["upload"] for key in ("upload_detail", "upload_review", "upload_discard", "upload_import")},
    }
    arguments = [of[what]() for what in ids.get(name, [])]
    if name in ("upload_file_remove", "upload_file_is_mask"):
        error = "broken" if name == "upload_file_remove" else ""
        file = upload.files.create(name="a.png", role="mask", path="", size=0, checksum="", error=error)
        arguments = [upload.pk, file.pk]
    if person == "auditor":
        user = make_member(world.organization, "Auditor", OrganizationMember.Role.AUDITOR).user
    else:
        user = world.user(person)
    client = signed_in(user)
    url = reverse(name, args=[project.pk, *arguments])
    assert getattr(client, method.lower())(url).status_code == expected


def test_who_may_not_do_a_thing_is_not_offered_it(world: World, signed_in: SignIn) -> None:
    def offered(user: User, page: str) -> set[str]:
        text = signed_in(user).get(reverse(page, args=[world.project.pk])).content.decode()
        links = {
            name: reverse(name, args=[world.project.pk])
            for name in ("project_settings", "project_audit", "upload_start", "project_train")
        }
        return {name for name, url in links.items() if f'"{url}"' in text}

    assert offered(world.manager, "project_overview") == {"project_settings", "project_audit", "upload_start"}
    assert offered(world.lead, "project_overview") == {"upload_start"}
    assert offered(world.viewer, "project_overview") == set()
    make_image(world.project)
    assert "project_train" in offered(world.lead, "project_overview")
    assert "project_train" not in offered(world.rater, "project_overview")


@pytest.mark.parametrize("name", ["image_detail", "image_thumbnail"])
def test_an_image_of_another_project_in_ones_own_address_is_not_found(
    world: World, signed_in: SignIn, name: str
) -> None:
    theirs = make_image(world.their_project)
    url = reverse(name, args=[world.project.pk, theirs.pk])
    assert signed_in(world.manager).get(url).status_code == 404


@pytest.mark.parametrize("method", ["upload_detail", "upload_review", "upload_file", "upload_discard", "upload_import"])
def test_an_upload_of_another_project_in_ones_own_address_is_not_found(
    world: World, signed_in: SignIn, method: str
) -> None:
    theirs = Upload.objects.create(project=world.their_project, created_by=world.stranger)
    url = reverse(method, args=[world.project.pk, theirs.pk])
    client = signed_in(world.manager)
    assert {client.get(url).status_code, client.post(url).status_code} <= {404, 405}
    assert Upload.objects.filter(pk=theirs.pk).exists()


@pytest.mark.parametrize("name", ["job_detail", "job_cancel", "import_detail"])
def test_a_job_of_another_project_in_ones_own_address_is_not_found(
    world: World, signed_in: SignIn, make_job: MakeJob, name: str
) -> None:
    theirs = make_job(project=world.their_project)
    client = signed_in(world.manager)
    url = reverse(name, args=[world.project.pk, theirs.pk])
    assert {client.get(url).status_code, client.post(url).status_code} <= {404, 405}
    theirs.refresh_from_db()
    assert not theirs.cancel_requested


def test_a_member_of_another_project_in_ones_own_address_is_not_found(world: World, signed_in: SignIn) -> None:
    theirs = ProjectMember.objects.get(project=world.their_project)
    for name in ("project_member_edit", "project_member_remove"):
        url = reverse(name, args=[world.project.pk, theirs.pk])
        assert signed_in(world.manager).post(url, {"role": "viewer"}).status_code == 404
    assert ProjectMember.objects.filter(pk=theirs.pk, role="manager").exists()


def test_a_grant_opens_a_page_and_a_denial_closes_it(world: World, signed_in: SignIn) -> None:
    member = ProjectMember.objects.get(project=world.project, user=world.viewer)
    page = reverse("project_audit", args=[world.project.pk])
    change = reverse("project_member_edit", args=[world.project.pk, member.pk])
    manager, viewer = signed_in(world.manager), signed_in(world.viewer)
    manager.post(change, {"role": "viewer", "audit.view": "grant"})
    assert viewer.get(page).status_code == 200
    manager.post(change, {"role": "manager", "audit.view": "deny"})
    refused = viewer.get(page)
    assert refused.status_code == 403
    assert f'href="{reverse("project_overview", args=[world.project.pk])}"' in refused.content.decode(), "the way back"
    manager.post(change, {"role": "manager", "project.view": "deny"})
    assert viewer.get(reverse("project_overview", args=[world.project.pk])).status_code == 404


def test_one_may_cancel_a_job_of_ones_own(world: World, signed_in: SignIn, make_job: MakeJob) -> None:
    job = make_job(kind="export", requested_by=world.viewer)
    url = reverse("job_cancel", args=[world.project.pk, job.pk])
    assert signed_in(world.viewer).post(url).status_code == 302
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED


def test_who_is_no_longer_in_the_organization_may_do_nothing_whatever_the_project_says(
    world: World, signed_in: SignIn
) -> None:
    OrganizationMember.objects.filter(user=world.manager).delete()  # not through the service, which ends both
    assert ProjectMember.objects.filter(user=world.manager).exists()
    client = signed_in(world.manager)
    assert client.get(reverse("project_overview", args=[world.project.pk])).status_code == 404
    assert "Nuclei" not in client.get("/").content.decode()


def test_a_project_that_somebody_is_denied_is_not_in_their_list(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.viewer)
    assert "Nuclei" in client.get("/").content.decode()
    member = ProjectMember.objects.get(project=world.project, user=world.viewer)
    update_project_member(member=member, role="viewer", denials=["project.view"], updated_by=world.manager)
    assert "Nuclei" not in client.get("/").content.decode()


@pytest.mark.parametrize("role", ["owner", "auditor"])
def test_a_project_s_manager_shuts_nobody_out_who_looks_after_it(world: World, signed_in: SignIn, role: str) -> None:
    user = make_member(world.organization, "Overseer", role).user
    client = signed_in(user)
    member = add_project_member(project=world.project, user=user, role="viewer", added_by=world.manager)
    denied = ["project.view", "audit.view"]
    update_project_member(member=member, role="viewer", denials=denied, updated_by=world.manager)
    assert "Nuclei" in client.get("/").content.decode()
    assert client.get(reverse("project_overview", args=[world.project.pk])).status_code == 200
    trail = client.get(reverse("organization_audit", args=[world.organization.pk])).content.decode()
    assert "project.member.update" in trail


def test_nobody_gives_what_they_may_not_do_themselves(world: World, signed_in: SignIn) -> None:
    lead, rater, viewer = (
        ProjectMember.objects.get(project=world.project, user=user) for user in (world.lead, world.rater, world.viewer)
    )
    update_project_member(member=lead, role="lead", grants=["members.manage"], updated_by=world.manager)
    client = signed_in(world.lead)

    def change(member: ProjectMember, **data: str) -> int:
        url = reverse("project_member_edit", args=[world.project.pk, member.pk])
        return client.post(url, {"role": member.role} | data).status_code

    assert change(lead, role="manager", **{"members.manage": "grant"}) == 422
    assert change(rater, role="manager") == 422
    assert change(rater, **{"project.edit": "grant"}) == 422
    assert change(rater, role="lead") == 302
    assert change(viewer, **{"members.manage": "grant"}) == 302
    members = reverse("project_members", args=[world.project.pk])
    refused = client.post(members, {"user": world.colleague.pk, "role": "manager"})
    assert refused.status_code == 422
    assert "audit.view, project.edit" in refused.content.decode()
    assert client.post(members, {"user": world.colleague.pk, "role": "rater"}).status_code == 302


def test_taking_a_denial_back_is_giving_too(world: World) -> None:
    lead = ProjectMember.objects.get(project=world.project, user=world.lead)
    update_project_member(
        member=lead, role="lead", grants=["members.manage"], denials=["train.start"], updated_by=world.manager
    )
    with pytest.raises(ValidationError, match="not do yourself: train"):
        update_project_member(member=lead, role="lead", grants=["members.manage"], updated_by=world.lead)


def test_who_runs_the_organization_gives_everything(world: World) -> None:
    rater = ProjectMember.objects.get(project=world.project, user=world.rater)
    assert update_project_member(member=rater, role="manager", updated_by=world.owner).role == "manager"


def test_what_a_member_has_already_stays_when_somebody_with_less_changes_them(world: World) -> None:
    lead, manager = (
        ProjectMember.objects.get(project=world.project, user=user) for user in (world.lead, world.manager)
    )
    update_project_member(member=lead, role="lead", grants=["members.manage"], updated_by=world.manager)
    changed = update_project_member(member=manager, role="manager", denials=["export.labels"], updated_by=world.lead)
    assert changed.role == "manager"
