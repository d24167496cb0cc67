"""The API as the labeling page and scripts use it: binary buffers out, gestures in, nobody else's data."""

from __future__ import annotations

import gzip
import io
import json
import struct
import uuid
from typing import Any

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse, StreamingHttpResponse
from django.test import Client
from PIL import Image as PillowImage

from apps.labels.chain import verify_labels
from apps.labels.selectors import shared_label_set
from apps.models.models import Embedding
from apps.models.selectors import current_predictions, embedding_folder
from apps.models.services import FILES_KEPT
from apps.projects.files import export_archive, folder
from tests.conftest import World
from tests.factories import make_embedding, make_image, predict

pytestmark = pytest.mark.django_db


@pytest.fixture
def objects(world: World) -> int:
    """Two images with 20 objects each."""
    make_image(world.project, "a.png")
    make_image(world.project, "b.png")
    return world.project.n_objects


@pytest.fixture
def rater(world: World, signed_in: Any) -> Client:
    client: Client = signed_in(world.rater)
    return client


@pytest.fixture
def embedding(world: World, objects: int) -> Embedding:
    """A map of the first 30 objects, as an iteration publishes it."""
    rng = np.random.default_rng(0)
    points, features = rng.normal(size=(30, 2)), rng.normal(size=(30, 8))
    embedding = make_embedding(world.project, features, points)
    predict(embedding, rng.integers(1, 3, 30).astype(np.uint8), rng.integers(0, 256, 30).astype(np.uint8))
    return embedding


def binary(ordinals: Any) -> SimpleUploadedFile:
    return SimpleUploadedFile("ordinals", np.asarray(ordinals, "<u4").tobytes())


def act(client: Client, label_set_id: int, ordinals: Any, **action: Any) -> HttpResponse:
    stated = {"kind": "label", "class_value": 1, "provenance": "bulk", **action}
    data = {"action": json.dumps(stated), "ordinals": binary(ordinals)}
    return client.post(f"/api/v1/label-sets/{label_set_id}/actions", data)


def state_of(client: Client, world: World) -> dict[str, Any]:
    return dict(client.get(f"/api/v1/projects/{world.project.pk}/state").json())


def content(response: HttpResponse) -> bytes:
    assert response.status_code == 200, response.content
    return gzip.decompress(response.content)


def test_the_state_tells_all_that_is_small(world, rater, objects):
    state = state_of(rater, world)
    assert state["project"]["n_objects"] == objects == 40
    assert [(c["value"], c["name"], c["key"]) for c in state["classes"]] == [
        (1, "lymphocyte", "1"),
        (2, "epithelial", "2"),
    ]
    assert state["counts"] == {"0": 40}
    assert "label.write" in state["permissions"] and "train.start" not in state["permissions"]
    assert state["embedding"] is None and state["undo"] is None


def test_labeling_undoing_and_reading_the_labels(world, rater, objects):
    label_set = shared_label_set(world.project)
    answer = act(rater, label_set.pk, [3, 4, 39], class_value=2).json()
    assert (answer["n"], answer["n_changed"]) == (3, 3)
    assert state_of(rater, world)["counts"] == {"0": 37, "2": 3}
    assert answer["undo"]["text"] == "3 objects → epithelial"

    buffer = content(rater.get(f"/api/v1/label-sets/{label_set.pk}/classes"))
    magic, n, revision = struct.unpack("<4sII", buffer[:12])
    assert (magic, n, revision) == (b"PSL2", 40, answer["revision"])
    assert np.flatnonzero(np.frombuffer(buffer[12:52], np.uint8)).tolist() == [3, 4, 39]

    undone = rater.post(f"/api/v1/label-sets/{label_set.pk}/undo").json()
    assert state_of(rater, world)["counts"] == {"0": 40}
    assert undone["redo"] == {**answer["undo"], "action_id": undone["action_id"]}, (
        "what was undone, and when it was made"
    )
    changes = content(rater.get(f"/api/v1/label-sets/{label_set.pk}/changes?since={revision}"))
    magic, k, _ = struct.unpack("<4sII", changes[:12])
    assert (magic, k) == (b"PSC2", 3)
    assert np.frombuffer(changes[12:24], "<u4").tolist() == [3, 4, 39]
    assert changes[24:] == bytes(3 + 1)
    assert rater.post(f"/api/v1/label-sets/{label_set.pk}/undo").status_code == 409


def test_a_script_may_send_plain_json(world, rater, objects):
    body = {"kind": "label", "class_value": 1, "provenance": "single", "ordinals": [7]}
    url = f"/api/v1/label-sets/{shared_label_set(world.project).pk}/actions"
    assert rater.post(url, body, content_type="application/json").json()["n_changed"] == 1


def test_the_same_gesture_sent_again_labels_once(world, rater, objects):
    label_set = shared_label_set(world.project)
    key = str(uuid.uuid4())
    answers = [act(rater, label_set.pk, [1, 2], client_key=key).json() for _ in range(2)]
    assert answers[0]["action_id"] == answers[1]["action_id"]
    assert state_of(rater, world)["counts"]["1"] == 2


def test_a_gesture_on_a_page_of_somebody_else_is_not_recorded_under_the_new_name(world, rater, signed_in, objects):
    label_set = shared_label_set(world.project)
    url, body = f"/api/v1/label-sets/{label_set.pk}/undo", {}
    act(rater, label_set.pk, [1])
    for_rater = {"X-PatchSorter-User": str(world.rater.pk)}
    refused = signed_in(world.lead).post(url, body, content_type="application/json", headers=for_rater)
    assert (refused.status_code, refused.json()["detail"]) == (403, "Somebody else has signed in.")
    assert signed_in(world.lead).get(f"/api/v1/projects/{world.project.pk}/state", headers=for_rater).status_code == 403
    assert rater.post(url, body, content_type="application/json", headers=for_rater).status_code == 201


def test_a_repetition_is_answered_with_its_own_revision_so_that_what_came_after_it_is_fetched(
    world, rater, signed_in, objects
):
    label_set = shared_label_set(world.project)
    key = str(uuid.uuid4())
    first = act(rater, label_set.pk, [1, 2], client_key=key).json()
    other = act(signed_in(world.lead), label_set.pk, [1], class_value=2).json()
    assert act(rater, label_set.pk, [1, 2], client_key=key).json()["revision"] == first["revision"] < other["revision"]


def test_labels_are_fetched_again_only_when_they_changed(world, rater, objects):
    label_set = shared_label_set(world.project)
    url = f"/api/v1/label-sets/{label_set.pk}/classes"
    etag = rater.get(url)["ETag"]
    assert rater.get(url, headers={"If-None-Match": etag}).status_code == 304
    act(rater, label_set.pk, [1])
    assert rater.get(url, headers={"If-None-Match": etag}).status_code == 200


@pytest.mark.parametrize(
    ("ordinals", "action", "said"),
    [
        ([40], {}, "object 40 is not in this project"),
        ([], {}, "ordinals"),
        ([1], {"class_value": 9}, "no class 9"),
        ([1], {"class_value": None}, "no class None"),
        ([1], {"provenance": "sampled"}, "provenance"),
        ([1], {"kind": "import"}, "kind"),
        ([1], {"selection": {"polygon": [[1e300, 0]]}}, "out of range"),
        ([1], {"selection": {"polygon": [[0.125, 0.125]] * 80_000}}, "fewer corners"),
        ([1], {"selection": []}, "selection"),
        ([1], {"selection": {"a": "\u0000"}}, "can not be kept"),
        ([1], {"selection": {"a": "\ud800"}}, "can not be kept"),
        ([1], {"selection": {"\u0000": 1}}, "can not be kept"),
        ([1], {"selection": {"a": [[[[[[[[[[1]]]]]]]]]]}}, "too deeply"),
        ([1], {"selection": {"a": 2**80}}, "out of range"),
    ],
)
def test_a_gesture_that_makes_no_sense_is_refused(world, rater, objects, ordinals, action, said):
    response = act(rater, shared_label_set(world.project).pk, ordinals, **action)
    assert response.status_code == 400
    assert said in response.content.decode()


def test_json_that_would_take_gigabytes_is_refused_before_it_is_read(world, rater, objects):
    label_set = shared_label_set(world.project)
    response = act(rater, label_set.pk, [1], selection={"a": [{}] * 2_000_000})
    assert response.status_code == 400 and "of JSON" in response.json()["detail"]
    url = f"/api/v1/projects/{world.project.pk}/patches/atlas"
    response = rater.post(url, "[" + "{}," * 2_000_000 + "{}]", content_type="application/json")
    assert response.status_code == 400 and "send ordinals as a binary part" in response.json()["detail"]


@pytest.mark.parametrize("number", [-1e-8, 0.1, 1e-7, 123456.0, 1e5, -0.0, 3, 2**53])
def test_whatever_numbers_a_page_sends_the_history_holds(world, rater, objects, number):
    assert (
        act(rater, shared_label_set(world.project).pk, [1], selection={"polygon": [[number, 0.5]]}).status_code == 201
    )
    assert list(verify_labels(world.project)) == []


@pytest.mark.parametrize(
    ("kind", "own", "status"), [("imported", False, 403), ("rater", False, 403), ("rater", True, 201)]
)
def test_gestures_go_into_the_shared_set_or_one_s_own(world, rater, objects, kind, own, status):
    label_set = world.project.label_sets.create(name="other", kind=kind, rater=world.rater if own else world.lead)
    assert act(rater, label_set.pk, [1]).status_code == status


def test_nobody_has_more_than_three_exports_under_way(world, signed_in, objects):
    manager, lead = signed_in(world.manager), signed_in(world.lead)
    url = f"/api/v1/projects/{world.project.pk}/exports"
    jobs = [manager.post(url).json()["id"] for _ in range(3)]
    refused = manager.post(url)
    assert refused.status_code == 429 and "3 of yours are under way already" in refused.json()["detail"]
    page = manager.post(f"/projects/{world.project.pk}/export/", follow=True).content.decode()
    assert "Not exported: 3 of yours are under way already" in page
    assert lead.post(url).status_code == 201, "others' exports go on"
    manager.post(f"/projects/{world.project.pk}/jobs/{jobs[0]}/cancel/")
    assert manager.post(url).status_code == 201


def test_an_export_of_a_blinded_set_is_not_there_for_others(world, signed_in, objects, make_job):
    blinded = world.project.label_sets.create(name="blind", kind="rater", rater=world.lead, is_blinded=True)
    job = make_job(kind="export", state="finished", params={"label_set": blinded.pk})
    export_archive(job).parent.mkdir(parents=True)
    export_archive(job).write_bytes(b"zip")
    url = f"/api/v1/exports/{job.pk}/download"
    assert signed_in(world.manager).get(url).status_code == 404
    response = signed_in(world.lead).get(url)
    assert async_to_sync(read)(response) == b"zip"
    assert response["Content-Length"] == "3"


def test_an_export_that_is_still_written_says_so_and_is_not_called_gone(world, signed_in, make_job):
    job = make_job(kind="export", state="running", params={"label_set": None})
    response = signed_in(world.manager).get(f"/api/v1/exports/{job.pk}/download")
    assert (response.status_code, response.json()) == (409, {"detail": "this export is still being written"})


async def read(response: StreamingHttpResponse) -> bytes:
    return b"".join([piece async for piece in response])


def test_nobody_can_label_in_another_s_name_or_at_another_time(world, rater, objects):
    label_set = shared_label_set(world.project)
    for name, value in {"actor": world.manager.pk, "at": "2001-01-01T00:00:00Z", "project": 1}.items():
        response = act(rater, label_set.pk, [1], **{name: value})
        assert (response.status_code, response.json()) == (400, {name: ["There is no such field."]})
    act(rater, label_set.pk, [1])
    action = label_set.actions.get()
    assert action.actor == world.rater and action.at.year > 2020 and action.project == world.project


@pytest.mark.parametrize(
    ("who", "status"),
    [("rater", 201), ("manager", 201), ("lead", 201), ("viewer", 403), ("owner", 403), ("stranger", 404)],
)
def test_who_may_label(world, signed_in, objects, who, status):
    assert act(signed_in(world.user(who)), shared_label_set(world.project).pk, [1]).status_code == status


def test_a_class_of_another_project_is_not_there(world, rater, objects):
    world.their_project.label_classes.create(value=77, name="theirs", color="#123456")
    assert act(rater, shared_label_set(world.project).pk, [1], class_value=77).status_code == 400


def test_a_blinded_set_of_another_rater_does_not_exist(world, rater, objects):
    blinded = world.project.label_sets.create(name="Lea, blind", kind="rater", rater=world.lead, is_blinded=True)
    assert rater.get(f"/api/v1/label-sets/{blinded.pk}/classes").status_code == 404
    state = rater.get(f"/api/v1/projects/{world.project.pk}/state").json()
    assert [label_set["name"] for label_set in state["label_sets"]] == ["shared"]


def test_the_plot_is_one_small_buffer(world, rater, embedding):
    url = f"/api/v1/projects/{world.project.pk}/embeddings/1/plot"
    response = rater.get(url)
    assert "immutable" in response["Cache-Control"] and "private" in response["Cache-Control"]
    buffer = content(response)
    magic, n, x0, y0, width, height = struct.unpack("<4sI4f", buffer[:24])
    assert (magic, n, len(buffer)) == (b"PSE1", 30, 24 + 4 * 30)
    planes = np.frombuffer(buffer[24:], np.uint8).reshape(4, 30).astype(float)
    points = np.load(folder(world.project, "embeddings", 1) / "coordinates.npy")
    assert np.abs(x0 + width * (planes[0] * 256 + planes[1]) / 65535 - points[:, 0]).max() < width / 65535
    assert np.abs(y0 + height * (planes[2] * 256 + planes[3]) / 65535 - points[:, 1]).max() < height / 65535
    assert rater.get(url, headers={"If-None-Match": response["ETag"]}).status_code == 304
    assert rater.get(f"/api/v1/projects/{world.project.pk}/embeddings/2/plot").status_code == 404


def test_the_predictions_are_one_small_buffer_that_is_fetched_again_only_when_they_changed(world, rater, embedding):
    url = f"/api/v1/projects/{world.project.pk}/predictions"
    response = rater.get(url)
    buffer = content(response)
    assert struct.unpack("<4sIII", buffer[:16]) == (b"PSP1", 30, 2, 1)
    classes, confidence = np.frombuffer(buffer[16:], np.uint8).reshape(2, 30)
    current = current_predictions(world.project)
    np.testing.assert_array_equal(classes, current.classes[:30])
    assert np.abs(confidence.astype(int) - current.confidence[:30]).max() <= 8, "in sixteen steps"
    assert not current.classes[30:].any(), "nothing is said of objects that came after the map"
    assert rater.get(url, headers={"If-None-Match": response["ETag"]}).status_code == 304
    predict(embedding, np.ones(30, np.uint8), np.full(30, 200, np.uint8))
    changed = rater.get(url, headers={"If-None-Match": response["ETag"]})
    assert changed.status_code == 200 and content(changed)[16:] == bytes([1] * 30 + [192] * 30)


def test_the_predictions_are_not_there_for_strangers_nor_before_a_map(world, rater, signed_in, objects):
    url = f"/api/v1/projects/{world.project.pk}/predictions"
    assert rater.get(url).status_code == 404
    make_embedding(world.project, np.eye(40))
    assert rater.get(url).status_code == 200
    assert signed_in(world.stranger).get(url).status_code == 404
    assert signed_in(world.stranger).get(f"{url}/quality").status_code == 404


def test_files_of_old_predictions_go_and_their_quality_stays(
    world, rater, embedding, django_capture_on_commit_callbacks
):
    last = current_predictions(world.project).revision + FILES_KEPT + 3
    with django_capture_on_commit_callbacks(execute=True):
        for _ in range(FILES_KEPT + 3):
            predict(embedding, np.ones(30, np.uint8), np.ones(30, np.uint8))
    revisions = sorted(int(path.stem) for path in (embedding_folder(embedding) / "predictions").iterdir())
    assert revisions == list(range(last - FILES_KEPT + 1, last + 1))
    history = rater.get(f"/api/v1/projects/{world.project.pk}/predictions/quality").json()["history"]
    assert [entry["revision"] for entry in history] == list(range(2, last + 1))


@pytest.mark.parametrize("view", ["patch", "context"])
def test_a_screenful_of_patches_is_one_jpeg(world, rater, objects, view):
    data = {"ordinals": binary(range(40)), "tile_px": 32, "view": view}
    response = rater.post(f"/api/v1/projects/{world.project.pk}/patches/atlas", data)
    assert response["Content-Type"] == "image/jpeg"
    assert PillowImage.open(io.BytesIO(response.content)).size == (32 * 32, 2 * 32)
    data = {"ordinals": binary(range(40)), "tile_px": 32, "view": view, "outline": "1"}
    assert rater.post(f"/api/v1/projects/{world.project.pk}/patches/atlas", data).content != response.content


def test_one_patch_with_and_without_its_outline(world, rater, objects):
    url = f"/api/v1/projects/{world.project.pk}/patches/5.jpg"
    plain = rater.get(url, {"px": 128})
    assert PillowImage.open(io.BytesIO(plain.content)).size == (128, 128)
    outlined = rater.get(url, {"px": 128, "view": "context", "outline": "1"})
    assert outlined.content != plain.content
    assert rater.get(url, {"px": 128}, headers={"If-None-Match": plain["ETag"]}).status_code == 304
    assert rater.get(f"/api/v1/projects/{world.project.pk}/patches/40.jpg").status_code == 404


def test_an_object_tells_what_is_known_about_it(world, rater, embedding):
    act(rater, shared_label_set(world.project).pk, [5], class_value=2)
    detail = rater.get(f"/api/v1/projects/{world.project.pk}/objects/5").json()
    assert (detail["image"]["name"], detail["label_id"]) == ("a.png", 6)
    assert detail["label"]["class_value"] == 2 and detail["label"]["by"] == "Rafa Rater"
    assert detail["prediction"] in (1, 2)
    assert [detail["box"][0], detail["box"][1]] in detail["outline"]
    assert rater.get(f"/api/v1/projects/{world.project.pk}/objects/35").json()["prediction"] is None


@pytest.mark.parametrize("order", ["similarity", "confidence", "uncertain", "image"])
def test_every_order_gives_the_same_objects(world, rater, embedding, order):
    data = {"ordinals": binary(range(40)), "order": order}
    response = rater.post(f"/api/v1/projects/{world.project.pk}/objects/order", data)
    ordered = np.frombuffer(response.content, "<u4")
    assert sorted(ordered.tolist()) == list(range(40))
    confidence = current_predictions(world.project).confidence.astype(int)
    if order == "uncertain":
        assert (np.diff(confidence[ordered]) >= 0).all()
    if order == "confidence":
        assert (np.diff(confidence[ordered]) <= 0).all()


@pytest.mark.parametrize("most_to_tour", [30, 10])
def test_similar_objects_lie_beside_each_other(world, rater, embedding, most_to_tour, monkeypatch):
    monkeypatch.setattr("apps.workspace.selectors.MOST_TO_TOUR", most_to_tour)
    data = {"ordinals": binary(range(30)), "order": "similarity"}
    ordered = np.frombuffer(rater.post(f"/api/v1/projects/{world.project.pk}/objects/order", data).content, "<u4")
    features = np.load(folder(world.project, "embeddings", 1) / "vectors.npy").astype(float)

    def mean_similarity(order: Any) -> float:
        return float((features[order[:-1]] * features[order[1:]]).sum(axis=1).mean())

    assert sorted(ordered.tolist()) == list(range(30))
    assert mean_similarity(ordered) > mean_similarity(np.arange(30)) + 0.2


def test_which_image_each_object_is_on(world, rater, objects):
    buffer = content(rater.get(f"/api/v1/projects/{world.project.pk}/objects/images"))
    ids = np.frombuffer(buffer[8:], "<u4").tolist()
    first, second = world.project.images.order_by("first_ordinal").values_list("pk", flat=True)
    assert ids == [first] * 20 + [second] * 20
    named = rater.get(f"/api/v1/projects/{world.project.pk}/images").json()["images"]
    assert named == [{"id": first, "name": "a.png"}, {"id": second, "name": "b.png"}]


def test_where_the_objects_of_an_image_lie_and_what_they_are_called(world, rater, objects):
    predict(make_embedding(world.project, np.eye(40)), np.full(40, 2, np.uint8), np.full(40, 200, np.uint8))
    act(rater, shared_label_set(world.project).pk, [21, 23])
    second = world.project.images.get(name="b.png")
    url = f"/api/v1/projects/{world.project.pk}/images/{second.pk}/objects"
    buffer = content(rater.get(url))
    assert buffer[:4] == b"PSO1" and struct.unpack("<II", buffer[4:12]) == (20, 20)
    top, left, n_corners = np.frombuffer(buffer[12:252], "<u4").reshape(3, 20)
    assert (top[0], left[0], n_corners[0]) == (4, 4, 4)
    assert (top[6], left[6]) == (20, 20), "the second in the second row"
    corners = np.frombuffer(buffer[252:-60], "<u2").reshape(20, 4, 2)
    assert sorted(corners[6].tolist()) == [[0, 0], [0, 8], [8, 0], [8, 8]]
    label, predicted, confidence = np.frombuffer(buffer[-60:], np.uint8).reshape(3, 20)
    assert np.flatnonzero(label).tolist() == [1, 3] and set(label) == {0, 1}
    assert set(predicted) == {2} and set(confidence) == {200}
    first = world.project.images.get(name="a.png")
    assert not np.frombuffer(content(rater.get(url.replace(str(second.pk), str(first.pk))))[-60:-40], np.uint8).any()
    assert rater.get(url.replace(f"images/{second.pk}", "images/987654")).status_code == 404

    state = {"HTTP_IF_NONE_MATCH": rater.get(url)["ETag"]}
    assert rater.get(url, **state).status_code == 304
    act(rater, shared_label_set(world.project).pk, [30])
    changed = rater.get(url, **state)
    assert changed.status_code == 200 and np.frombuffer(content(changed)[-60:-40], np.uint8)[10] == 1
    state = {"HTTP_IF_NONE_MATCH": changed["ETag"]}
    predict(world.project.embeddings.get(), np.full(40, 1, np.uint8), np.full(40, 20, np.uint8))
    assert rater.get(url, **state).status_code == 200


def test_an_image_that_came_after_the_map_has_objects_without_predictions(world, rater):
    make_image(world.project)
    predict(make_embedding(world.project, np.eye(20)), np.full(20, 2, np.uint8), np.full(20, 200, np.uint8))
    later = make_image(world.project)
    buffer = content(rater.get(f"/api/v1/projects/{world.project.pk}/images/{later.pk}/objects"))
    assert struct.unpack("<II", buffer[4:12]) == (20, 20)
    assert not any(buffer[-60:])


def test_a_lead_starts_an_iteration_and_only_one_at_a_time(world, signed_in, objects):
    url = f"/api/v1/projects/{world.project.pk}/jobs"
    lead = signed_in(world.lead)
    started = lead.post(url, {"kind": "iteration", "params": {"epochs": 1}}, content_type="application/json")
    assert started.status_code == 201 and started.json()["state"] == "queued"
    assert started.json()["title"] == "Training"
    again = lead.post(url, {"kind": "iteration"}, content_type="application/json")
    assert again.status_code == 400 and "under way" in again.content.decode()
    job_id = started.json()["id"]
    assert signed_in(world.rater).post(f"/api/v1/jobs/{job_id}/cancel").status_code == 403
    assert signed_in(world.stranger).post(f"/api/v1/jobs/{job_id}/cancel").status_code == 404
    assert lead.post(f"/api/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    assert lead.get(f"/api/v1/jobs/{job_id}").json()["kind"] == "iteration"


def test_a_map_without_a_training_is_not_called_one(world, signed_in, objects):
    asked = {"kind": "iteration", "params": {"train": False}}
    url = f"/api/v1/projects/{world.project.pk}/jobs"
    started = signed_in(world.lead).post(url, asked, content_type="application/json")
    assert started.json()["title"] == "New map"


def test_a_project_without_objects_can_not_be_trained(world, signed_in):
    url = f"/api/v1/projects/{world.project.pk}/jobs"
    response = signed_in(world.lead).post(url, {"kind": "iteration"}, content_type="application/json")
    assert response.status_code == 400 and "no objects yet" in response.content.decode()


def test_changes_need_the_page_s_token(world, objects):
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.rater)
    assert act(client, shared_label_set(world.project).pk, [1]).status_code == 403


def test_the_schema_describes_every_endpoint(world, rater):
    schema = rater.get("/api/v1/schema").content.decode()
    assert "/api/v1/label-sets/{label_set_id}/actions" in schema
