"""The first map follows the first import by itself, unless whoever imported did not want that."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.images.models import Upload
from apps.images.review import path_of
from apps.images.services import receive_file, start_upload
from apps.objects.tasks import import_images
from apps.projects.jobs import cancel_job
from apps.projects.models import Job, Project
from apps.projects.permissions import Permission
from apps.projects.services import update_project_member
from apps.workspace.housekeeping import keep_house
from tests.conftest import World
from tests.factories import blobs, picture, png

pytestmark = pytest.mark.django_db(transaction=True)


def upload_of(world: World, seed: int = 0) -> Upload:
    upload = start_upload(project=world.project, created_by=world.manager)
    files = {f"i{seed}.png": png(picture(seed=seed)), f"i{seed}_mask.png": png(blobs())}
    for name, content in files.items():
        receive_file(upload=upload, name=name, content=ContentFile(content, name), received_by=world.manager)
    return upload


@pytest.fixture
def import_on_page(world: World, signed_in: Any) -> Any:
    """Presses Import on the review page, with what is checked there; returns the import's job, not yet run."""

    def press(upload: Upload, user: User | None = None, **form: str) -> Job:
        url = reverse("upload_import", args=[world.project.pk, upload.pk])
        response = signed_in(user or world.lead).post(url, {"mask_kind": "indexed", **form})
        assert response.status_code == 302, response.content.decode()
        return Job.objects.filter(kind="import").latest("pk")

    return press


def what_the_page_says(job: Job, client: Client) -> str:
    """The part of an import's page that changes."""
    page = client.get(reverse("import_detail", args=[job.project_id, job.pk]), headers={"HX-Request": "true"})
    return page.content.decode()


def iterations(world: World) -> list[Job]:
    return list(world.project.jobs.filter(kind="iteration"))


def test_the_first_map_follows_the_first_import_in_the_name_of_who_imported(world, import_on_page):
    job = import_on_page(upload_of(world), first_map="on")
    assert not iterations(world), "there is nothing to draw yet"
    import_images(job.pk)
    (iteration,) = iterations(world)
    assert (iteration.state, iteration.requested_by) == (Job.State.QUEUED, world.lead)
    import_images(import_on_page(upload_of(world, seed=1), first_map="on").pk)
    assert iterations(world) == [iteration], "it will see the second image too"


def test_the_import_s_page_leads_to_where_the_map_will_be(world, import_on_page, signed_in):
    job = import_on_page(upload_of(world), first_map="on")
    import_images(job.pk)
    told = what_the_page_says(job, signed_in(world.lead))
    assert "come onto the map by themselves" in told and reverse("workspace", args=[world.project.pk]) in told


def test_no_map_is_made_that_nobody_wanted(world, import_on_page, signed_in):
    job = import_on_page(upload_of(world))
    import_images(job.pk)
    keep_house()
    assert not iterations(world), "the box was taken out"
    told = what_the_page_says(job, signed_in(world.lead))
    assert "onto the map" not in told and reverse("project_overview", args=[world.project.pk]) in told


def test_no_map_follows_an_import_that_brought_no_objects(world, import_on_page):
    upload = upload_of(world)
    job = import_on_page(upload, first_map="on")
    path_of(upload.files.get(role="mask")).write_bytes(b"damaged meanwhile")
    import_images(job.pk)
    assert world.project.images.count() == 0
    assert not iterations(world)


def test_a_first_map_that_was_cancelled_does_not_come_again(world, import_on_page):
    import_images(import_on_page(upload_of(world), first_map="on").pk)
    (iteration,) = iterations(world)
    cancel_job(job=iteration, cancelled_by=world.manager)
    import_images(import_on_page(upload_of(world, seed=1), first_map="on").pk)
    keep_house()
    assert iterations(world) == [iteration]


def test_a_first_map_that_a_dead_process_owed_is_made_by_housekeeping(world, import_on_page):
    job = import_on_page(upload_of(world), first_map="on")
    import_images(job.pk)
    world.project.jobs.filter(kind="iteration").delete()  # it died before it could ask for it
    keep_house()
    keep_house()
    (iteration,) = iterations(world)
    assert iteration.requested_by == world.lead


def test_only_the_first_import_offers_a_map_and_only_to_those_who_may_train(world, signed_in, import_on_page):
    upload = upload_of(world)
    page = reverse("upload_detail", args=[world.project.pk, upload.pk])
    offer = 'name="first_map" checked'
    assert "and go on with a training" in signed_in(world.lead).get(page).content.decode()
    Project.objects.filter(pk=world.project.pk).update(approach="instant")
    told = signed_in(world.lead).get(page).content.decode()
    assert offer in told and "and go on with a training" not in told
    rater = world.project.members.get(user=world.rater)
    update_project_member(member=rater, role="rater", grants=[Permission.UPLOAD], updated_by=world.manager)
    assert offer not in signed_in(world.rater).get(page).content.decode()
    import_images(import_on_page(upload, user=world.rater, first_map="on").pk)
    assert not iterations(world), "what the page does not offer can not be sent either"
    later = reverse("upload_detail", args=[world.project.pk, upload_of(world, seed=1).pk])
    assert offer not in signed_in(world.lead).get(later).content.decode()
