"""Searching for similar objects: by objects, by a picture, among some only."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client

from apps.engine.embedding import embed_objects
from apps.engine.nn.config import TrainConfig
from apps.engine.nn.train import train_model
from apps.images.models import Image
from apps.labels.selectors import kept_class_values, shared_label_set
from apps.models.models import Embedding
from apps.models.selectors import embedding_folder, model_folder
from apps.models.tasks import embed_picture
from apps.objects.selectors import patch_reader
from apps.projects.files import project_folder
from apps.projects.models import Job
from tests.conftest import World
from tests.factories import make_embedding, make_image, picture, png, predict
from tests.workspace.test_api import act, binary

pytestmark = pytest.mark.django_db


@pytest.fixture
def rater(world: World, signed_in: Any) -> Client:
    client: Client = signed_in(world.rater)
    return client


@pytest.fixture
def images(world: World) -> list[Image]:
    """Two images with 20 objects each."""
    return [make_image(world.project, "a.png"), make_image(world.project, "b.png")]


@pytest.fixture
def embedding(world: World, images: list[Image]) -> Embedding:
    """The first 30 objects on a circle, one every six degrees: each is most like its neighbors."""
    angle = np.radians(6) * np.arange(30)
    features = np.column_stack([np.cos(angle), np.sin(angle)])
    return make_embedding(world.project, features, features)


def search(client: Client, world: World, ordinals: Any = None, **asked: Any) -> HttpResponse:
    data = {**asked, **({} if ordinals is None else {"ordinals": binary(ordinals)})}
    return client.post(f"/api/v1/projects/{world.project.pk}/objects/similar", data)


def found(response: HttpResponse) -> tuple[list[int], npt.NDArray[np.float32]]:
    assert response.status_code == 200, response.content
    magic, k, _ = struct.unpack("<4sII", response.content[:12])
    assert magic == b"PSS1" and len(response.content) == 12 + 8 * k
    ordinals = np.frombuffer(response.content[12 : 12 + 4 * k], "<u4").tolist()
    return ordinals, np.frombuffer(response.content[12 + 4 * k :], "<f4")


def test_the_most_similar_come_first_and_the_object_itself_does_not(world, rater, embedding):
    ordinals, similarities = found(search(rater, world, [10], k=4))
    assert sorted(ordinals[:2]) == [9, 11] and sorted(ordinals[2:]) == [8, 12]
    assert similarities == pytest.approx([np.cos(np.radians(6))] * 2 + [np.cos(np.radians(12))] * 2, abs=1e-3)


def test_the_object_itself_is_found_when_asked_for(world, rater, embedding):
    assert found(search(rater, world, [10], k=1, with_themselves=True))[0] == [10]


def test_several_objects_are_searched_by_their_mean(world, rater, embedding):
    ordinals, _ = found(search(rater, world, [8, 12], k=3))
    assert ordinals[0] == 10 and sorted(ordinals[1:]) == [9, 11]


def test_a_script_may_send_plain_json(world, rater, embedding):
    url = f"/api/v1/projects/{world.project.pk}/objects/similar"
    response = rater.post(url, {"ordinals": [10], "k": 2, "unlabeled": True}, content_type="application/json")
    assert sorted(found(response)[0]) == [9, 11]


def test_only_unlabeled_ones_as_labels_come_and_go(world, rater, embedding):
    label_set = shared_label_set(world.project)
    everything = set(range(30)) - {10}
    assert set(found(search(rater, world, [10], unlabeled=True))[0]) == everything
    act(rater, label_set.pk, [9, 11, 39])
    assert set(found(search(rater, world, [10], unlabeled=True))[0]) == everything - {9, 11}
    rater.post(f"/api/v1/label-sets/{label_set.pk}/undo")
    assert set(found(search(rater, world, [10], unlabeled=True))[0]) == everything


def test_labels_that_are_kept_are_those_that_hold(world, rater, embedding):
    label_set = shared_label_set(world.project)
    for ordinals, value in (([1, 2], 1), ([2, 3], 2), ([1], None)):
        act(rater, label_set.pk, ordinals, class_value=value, kind="label" if value else "remove")
        kept_class_values(label_set, 40)
    assert np.flatnonzero(kept_class_values(label_set, 40)).tolist() == [2, 3]
    make_image(world.project, "c.png")
    act(rater, label_set.pk, [59])
    assert np.flatnonzero(kept_class_values(label_set, 60)).tolist() == [2, 3, 59]


def test_only_one_class_by_label_or_else_by_prediction(world, rater, embedding):
    predict(embedding, np.repeat([1, 2], 15).astype(np.uint8), np.full(30, 200, np.uint8))
    act(rater, shared_label_set(world.project).pk, [20, 21], class_value=1)
    assert set(found(search(rater, world, [3], class_value=1))[0]) == {*range(15), 20, 21} - {3}


def test_only_on_one_image(world, rater, images, embedding):
    assert set(found(search(rater, world, [3], image=images[1].pk))[0]) == set(range(20, 30))
    assert search(rater, world, [3], image=10**6).status_code == 404


def test_what_is_not_on_the_map_can_not_be_compared(world, rater, embedding):
    response = search(rater, world, [35])
    assert response.status_code == 400 and "not on the map yet" in response.json()["detail"]
    assert found(search(rater, world, [10, 35], k=1))[0][0] in (9, 11)


def test_without_a_map_there_is_nothing_to_compare(world, rater, images):
    assert "not on the map yet" in search(rater, world, [3]).json()["detail"]


@pytest.mark.parametrize(
    ("ordinals", "asked", "said"),
    [([40], {}, "the project has 40 objects"), (None, {}, "ordinals"), ([1], {"k": 5001}, "k"), ([1], {"k": 0}, "k")],
)
def test_a_search_that_makes_no_sense_is_refused(world, rater, embedding, ordinals, asked, said):
    response = search(rater, world, ordinals, **asked)
    assert response.status_code == 400 and said in str(response.json())


# -- pictures ----------------------------------------------------------------------------------------------------


@pytest.fixture
def trained(world: World, images: list[Image]) -> Embedding:
    """A map whose vectors a network made."""
    patches = patch_reader(world.project)
    embedding = make_embedding(world.project, np.zeros((40, 512)), np.zeros((40, 2)))
    checkpoint = model_folder(embedding.model_version)
    config = TrainConfig(encoder_size_px=world.project.encoder_size_px, epochs=1)
    train_model(config, patches, class_values=np.zeros(40, np.uint8), checkpoint=checkpoint)
    embedding.model_version.settings = config.to_json()
    embedding.model_version.save()
    vectors = embed_objects("simclr", config.settings, checkpoint, patches)
    np.save(project_folder(world.project) / "embeddings" / "1" / "vectors.npy", vectors)
    embedding.dimension = vectors.shape[1]
    embedding.save()
    return embedding


def send_picture(client: Client, world: World, content: bytes, name: str = "cell.png") -> HttpResponse:
    url = f"/api/v1/projects/{world.project.pk}/objects/similar/picture"
    return client.post(url, {"picture": SimpleUploadedFile(name, content)})


@pytest.mark.django_db(transaction=True)  # as a worker does it, with no transaction around everything
def test_a_picture_of_an_object_finds_that_object(world, rater, trained):
    patch = patch_reader(world.project).read(np.array([23]))[0]
    response = send_picture(rater, world, png(patch))
    assert response.status_code == 201, response.content
    job_id = response.json()["id"]
    early = search(rater, world, picture_job=job_id)
    assert early.status_code == 400 and "queued" in early.json()["detail"]

    embed_picture(job_id)
    ordinals, similarities = found(search(rater, world, picture_job=job_id, k=5))
    assert ordinals[0] == 23 and similarities[0] > 0.5, "a picture does not say how the object lies in its surroundings"
    assert not list((project_folder(world.project) / "work").glob("picture-*")), "the picture itself is not kept"

    (embedding_folder(trained) / "vectors.npy").unlink()  # as of a former map
    late = search(rater, world, picture_job=job_id)
    assert late.status_code == 400 and "search with the picture once more" in late.json()["detail"]


@pytest.mark.django_db(transaction=True)  # a job's heartbeat has a connection of its own, and has to see the job
def test_a_large_picture_is_searched_by_its_middle(world, rater, trained):
    patch = patch_reader(world.project).read(np.array([7]))[0]
    wide = np.zeros((128, 300, 3), np.uint8)
    wide[:, 86:214] = np.kron(patch, np.ones((2, 2, 1), np.uint8))
    job = send_picture(rater, world, png(wide)).json()
    embed_picture(job["id"])
    assert found(search(rater, world, picture_job=job["id"]))[0][0] == 7
    assert job["shrunk_from_px"] is None, "twice a patch is how one object looks on a fine screen"

    whole_tile = np.zeros((world.project.patch_size_px * 5, world.project.patch_size_px * 6, 3), np.uint8)
    assert send_picture(rater, world, png(whole_tile)).json()["shrunk_from_px"] == world.project.patch_size_px * 5


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"not a picture", "cell.png"),
        (b"", "empty"),
        (png(np.zeros((4, 40, 3), np.uint8)), "at least 8 x 8"),
        (png(np.zeros((100, 100, 3), np.uint8))[:80], "cell.png"),
        (png(np.zeros((4097, 4097), np.uint8)), "cell.png"),
    ],
)
def test_what_is_no_picture_is_refused_with_its_name(world, rater, embedding, content, said):
    response = send_picture(rater, world, content)
    assert response.status_code == 400 and said in str(response.json())
    assert not Job.objects.exists()


def test_a_picture_needs_a_map_and_the_right_to_label(world, rater, signed_in, images):
    picture = png(np.zeros((64, 64, 3), np.uint8))
    assert "no map yet" in str(send_picture(rater, world, picture).json())
    assert send_picture(signed_in(world.viewer), world, picture).status_code == 403


def test_nobody_has_more_than_three_picture_searches_under_way(world, rater, embedding):
    statuses = [send_picture(rater, world, png(picture())).status_code for _ in range(4)]
    assert statuses == [201, 201, 201, 429]
    assert len(list((project_folder(world.project) / "work").glob("picture-*"))) == 3


def test_a_picture_of_another_project_is_not_there(world, rater, signed_in, trained, make_job):
    theirs = make_job(project=world.their_project, kind="picture", state=Job.State.FINISHED, result={"embedding": 1})
    assert search(rater, world, picture_job=theirs.pk).status_code == 404
