"""A script does the whole job: organization, project, files, import, and on to labels, by a token alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.accounts.services import create_token
from apps.images.models import Upload
from apps.labels.selectors import shared_label_set
from apps.objects.tasks import import_images
from apps.projects.models import Job, Project
from tests.factories import blobs, picture, png

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]
pytestmark = pytest.mark.django_db


class Script:
    """Bears a person's token; every answer is its status and what it says."""

    def __init__(self, user: User) -> None:
        self._client = Client(enforce_csrf_checks=True)
        self._headers = {"Authorization": f"Bearer {create_token(user=user, name='A script', days=7).secret}"}

    def get(self, address: str, /, *of: int, **query: str) -> tuple[int, Any]:
        return self._answer(self._client.get(reverse(address, args=of), query, headers=self._headers))

    def post(self, address: str, /, *of: int, **sent: Any) -> tuple[int, Any]:
        url = reverse(address, args=of)
        return self._answer(self._client.post(url, sent, content_type="application/json", headers=self._headers))

    def delete(self, address: str, /, *of: int) -> int:
        return int(self._client.delete(reverse(address, args=of), headers=self._headers).status_code)

    def send(self, project: int, upload: int, name: str, content: bytes, **said: str) -> tuple[int, Any]:
        parts = {"file": SimpleUploadedFile("file", content), "name": name, **said}
        return self._answer(
            self._client.post(reverse("upload_file", args=[project, upload]), parts, headers=self._headers)
        )

    def _answer(self, response: Any) -> tuple[int, Any]:
        return response.status_code, json.loads(response.content) if response.content else None


@pytest.mark.django_db(transaction=True)  # a job's heartbeat has a connection of its own, and has to see the job
def test_a_script_makes_a_project_and_fills_it(world: World) -> None:
    script = Script(world.owner)
    _, answer = script.get("api_organizations")
    (organization,) = answer["organizations"]
    assert organization["may_create_projects"]
    status, made = script.post(
        "api_new_project", organization["id"], name="By script", classes=["a", "b"], patch_size_px=32
    )
    assert status == 201
    assert [(c["value"], c["name"]) for c in made["classes"]] == [(1, "a"), (2, "b")]
    project = made["id"]
    assert project in [one["id"] for one in script.get("api_projects")[1]["projects"]]

    _, upload = script.post("api_uploads", project)
    assert script.send(project, upload["id"], "images/a.png", png(picture()))[0] == 201
    assert script.send(project, upload["id"], "masks/a.png", png(blobs()))[1]["role"] == "mask"
    assert script.get("api_uploads", project)[1] == {"uploads": [{"id": upload["id"], "n_files": 2}]}
    _, review = script.get("api_upload", project, upload["id"], mask_kind="indexed")
    assert [(one["name"], one["mask"], one["problem"]) for one in review["images"]] == [("a.png", "a.png", "")]

    status, job = script.post("api_import", project, upload["id"], mask_kind="indexed", first_map=False)
    assert (status, job["kind"]) == (201, "import")
    import_images(job["id"])
    assert script.get("api_job", job["id"])[1]["state"] == "finished"
    assert script.get("api_project", project)[1]["n_objects"] > 0
    assert script.post("api_import", project, upload["id"], mask_kind="indexed")[0] == 409
    assert script.get("api_upload", project, upload["id"])[0] == 409


def test_a_script_is_asked_what_it_did_not_say(world: World) -> None:
    script, project = Script(world.lead), world.project.pk
    _, upload = script.post("api_uploads", project)
    labeled = blobs().astype("uint8").clip(0, 1) * 7
    script.send(project, upload["id"], "a.png", png(picture()))
    script.send(project, upload["id"], "a_mask.png", png(labeled))
    status, answer = script.post("api_import", project, upload["id"], mask_kind="labeled")
    assert (status, answer["detail"]) == (400, "Name the class of every value.")
    assert answer["review"]["values"] == [{"value": 7, "class_name": "", "in_masks": 1}]
    status, _ = script.post("api_import", project, upload["id"], mask_kind="labeled", classes={"7": "mitosis"})
    assert status == 201
    params = Job.objects.get(kind="import").params
    assert params["label_values"] == [{"value": 7, "class_name": "mitosis"}]


def test_what_a_script_sends_wrongly_is_named(world: World) -> None:
    script, project = Script(world.lead), world.project.pk
    _, upload = script.post("api_uploads", project)
    status, answer = script.send(project, upload["id"], "a.png", b"no picture")
    assert (status, answer["file"]) == (400, "a.png") and answer["detail"]
    assert script.send(project, upload["id"], "a.png", png(picture()), rolle="mask")[0] == 400
    (refused,) = script.get("api_upload", project, upload["id"])[1]["refused"]
    assert refused["name"] == "a.png" and refused["cause"] == answer["detail"]
    assert script.post("api_import", project, upload["id"])[1]["detail"] == "There is nothing to import yet."
    assert script.delete("api_uploaded_file", project, upload["id"], refused["id"]) == 204
    assert script.get("api_upload", project, upload["id"])[1]["refused"] == []
    assert script.delete("api_upload", project, upload["id"]) == 204
    assert not Upload.objects.exists()


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"name": "Nuclei", "classes": ["a"]}, "__all__"),
        ({"name": "x", "classes": []}, "classes"),
        ({"name": "x", "classes": ["=a"]}, "name"),
        ({"name": "x", "classes": ["a"], "approach": "none"}, "detail"),
        ({"name": "x", "classes": ["a"], "patch_size_px": 33}, "patch_size_px"),
        ({"name": "x", "classes": ["a"], "patch_px": 32}, "patch_px"),
        ({"name": "x", "classes": ["a"], "approach_settings": {"temperature": 10**400}}, "detail"),
    ],
)
def test_a_project_that_can_not_be_is_refused_by_field(world: World, sent: Any, field: str) -> None:
    before = Project.objects.count()
    status, answer = Script(world.owner).post("api_new_project", world.organization.pk, **sent)
    assert status == 400
    assert field in answer, answer
    assert Project.objects.count() == before


def test_a_script_adds_a_class(world: World) -> None:
    script, project = Script(world.manager), world.project.pk
    status, made = script.post("api_new_class", project, name="mitosis", is_uncertain=True)
    assert (status, made["name"], made["is_uncertain"]) == (201, "mitosis", True)
    assert script.post("api_new_class", project, name="Mitosis")[0] == 400
    assert made in script.get("api_project", project)[1]["classes"]


def test_a_script_may_do_no_more_than_its_person(world: World) -> None:
    rater, project = Script(world.rater), world.project.pk
    assert rater.post("api_new_project", world.organization.pk, name="x", classes=["a"])[0] == 403
    assert rater.post("api_new_class", project, name="x")[0] == 403
    assert rater.post("api_uploads", project)[0] == 403
    assert "label.write" in rater.get("api_project", project)[1]["permissions"]
    assert [one["id"] for one in rater.get("api_projects")[1]["projects"]] == [project]
    theirs = Upload.objects.create(project=world.their_project, created_by=world.stranger)
    for who in (Script(world.manager), Script(world.owner)):
        assert who.get("api_upload", project, theirs.pk)[0] == 404
        assert who.get("api_upload", world.their_project.pk, theirs.pk)[0] == 404
    assert shared_label_set(world.project).counts == {}
