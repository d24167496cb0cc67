"""The project's map: what is said of it, how it streams while it is drawn, and new objects that come onto it."""

from __future__ import annotations

import json
import shutil
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.apps import apps as django_apps
from django.db import connection
from django.utils import timezone

from apps.common.wire import encode_plot, gzipped
from apps.engine import reduce
from apps.engine.approaches.simclr import SimCLRSettings
from apps.engine.descriptors import DESCRIPTORS_VERSION, N_DESCRIPTORS, OF_THE_OBJECT_ALONE, columns_of
from apps.engine.embedding import embed_objects
from apps.engine.masks import LabelValues, MaskKind
from apps.engine.nn import pretrained
from apps.engine.nn.pretrained import N_FEATURES, see_objects
from apps.engine.predict import draw_held_out
from apps.engine.surroundings import N_COLUMNS
from apps.labels.selectors import class_values, shared_label_set
from apps.models import tasks
from apps.models.models import Embedding, PredictionSet
from apps.models.pipelines import iteration, planning
from apps.models.pipelines.iteration import Previews
from apps.models.refit import Refitter
from apps.models.selectors import (
    coordinates,
    current_prediction_set,
    current_predictions,
    has_vectors,
    latest_embedding,
    model_folder,
    prediction_state,
    predictors,
    preview_file,
    surroundings,
    vectors,
)
from apps.models.services import start_iteration, start_placing
from apps.objects.pipelines import ImageSource, SourceFile, import_sources
from apps.objects.selectors import patch_reader
from apps.objects.signals import import_finished
from apps.projects.events import group_of
from apps.projects.files import folder, read_array
from apps.projects.jobs import MOST_DEATHS, Report, cancel_job, requeue_lost_jobs
from apps.projects.models import Job, Project
from apps.workspace.housekeeping import keep_house
from tests.conftest import World
from tests.engine.fake_weights import publish
from tests.factories import blobs, make_embedding, make_image, picture, png

# The lease of a running job is renewed on a connection of its own, which sees what is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def project(world: World) -> Project:
    """Forty objects, and an approach that trains nothing."""
    world.project.approach = "frozen"
    world.project.save(update_fields=["approach"])
    make_image(world.project)
    make_image(world.project)
    return world.project


def iterate(project: Project) -> Embedding:
    job = start_iteration(project=project, requested_by=None)
    tasks.run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error
    return newest(project)


def iterate_once_from_measurements_alone(project: Project) -> None:
    """As the command `run_iteration` does with an approach that is not the project's."""
    job = start_iteration(project=project, requested_by=None)
    job.params |= {"approach": "instant", "approach_settings": {}}
    job.save(update_fields=["params"])
    tasks.run_iteration(job.pk)
    assert newest(project).dimension == N_DESCRIPTORS


def newest(project: Project) -> Embedding:
    embedding = latest_embedding(project)
    assert embedding is not None
    return embedding


def test_a_map_says_how_far_it_can_be_trusted_and_how_far_it_moved(world, project, signed_in):
    second = iterate(project)  # the first map came before the model's own
    first = project.embeddings.get(number=1)
    assert first.reducer == "umap" and not first.shows_labels
    assert first.trustworthiness is not None and 0.5 < first.trustworthiness <= 1
    assert first.displacement is None, "there was no map to move from"
    assert second.displacement is not None and second.displacement < 0.5
    state = signed_in(world.rater).get(f"/api/v1/projects/{project.pk}/state").json()
    assert state["embedding"]["trustworthiness"] == second.trustworthiness
    assert state["embedding"]["displacement"] == second.displacement
    assert "trustworthiness 0." in signed_in(world.rater).get(f"/projects/{project.pk}/").content.decode()


def test_a_supervised_map_is_marked_once_labels_shaped_it(world, project, signed_in):
    project.map_shows_labels = True
    project.save(update_fields=["map_shows_labels"])
    assert not iterate(project).shows_labels, "without a label it is as any other"
    world.label(1, range(0, 20))
    world.label(2, range(20, 40))
    assert iterate(project).shows_labels
    assert signed_in(world.rater).get(f"/api/v1/projects/{project.pk}/state").json()["embedding"]["shows_labels"]


@pytest.mark.parametrize(("reducer", "n_objects"), [("pca", 20), ("umap", 6)])
def test_a_map_that_labels_cannot_shape_is_not_marked_as_if_they_had(world, reducer, n_objects):
    project = world.project
    make_image(project, mask=blobs(1, n_objects))
    project.approach, project.map_shows_labels, project.reducer = "frozen", True, reducer
    project.save(update_fields=["approach", "map_shows_labels", "reducer"])
    world.label(1, range(0, 3))
    world.label(2, range(3, 6))
    assert not iterate(project).shows_labels


def test_a_supervised_map_draws_apart_what_is_labeled_differently_and_no_other_does(world, project):
    is_first = np.random.default_rng(0).permutation(40) < 20  # a truth that no feature knows
    world.label(1, np.flatnonzero(is_first))
    world.label(2, np.flatnonzero(~is_first))

    def share_of_nearest_with_the_same_label() -> float:
        points = coordinates(iterate(project))
        distances = np.linalg.norm(points[:, None] - points, axis=2)
        nearest = np.argsort(distances, axis=1)[:, 1:6]
        return float((is_first[nearest] == is_first[:, None]).mean())

    assert share_of_nearest_with_the_same_label() < 0.65
    project.map_shows_labels = True
    project.save(update_fields=["map_shows_labels"])
    assert share_of_nearest_with_the_same_label() > 0.85


def test_maps_without_a_training_do_not_make_the_first_training_a_later_one(world, project, monkeypatch):
    monkeypatch.setattr(planning, "epochs_for", lambda n_objects, device_type, *, first: 2 if first else 1)
    epochs = []
    for approach in ("instant", "simclr", "simclr"):
        project.approach = approach
        project.save(update_fields=["approach"])
        iterate(project)
        epochs.append(Job.objects.filter(kind="iteration").latest("pk").result["epochs"])
    assert epochs == [0, 2, 1]


def test_objects_imported_after_the_map_are_placed_on_it_and_no_other_moves(world, project, tmp_path):
    world.label(1, range(0, 10))
    world.label(2, range(10, 20))
    before = iterate(project)
    (tmp_path / "more.png").write_bytes(png(picture(seed=7)))
    (tmp_path / "more_mask.png").write_bytes(png(blobs()))
    import_sources(
        project=project,
        sources=[ImageSource(*(SourceFile(tmp_path / name, name) for name in ("more.png", "more_mask.png")))],
        mask_kind=MaskKind.INDEXED,
        label_values=LabelValues(),
        imported_by=world.owner,
        on_progress=lambda *report: None,
    )
    job = Job.objects.get(project=project, kind="place")
    assert job.requested_by == world.owner
    tasks.place_new_objects(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FINISHED, job.error
    assert job.result == {"placed": 20, "objects": 60, "embedding": before.number + 1}
    after = newest(project)
    assert (after.n, after.model_version) == (60, before.model_version)
    np.testing.assert_array_equal(coordinates(after)[:40], coordinates(before))
    np.testing.assert_array_equal(predictors(after)[:40], predictors(before))
    beside = predictors(after)[:, after.dimension :]
    assert np.isfinite(beside).all() and beside[40:].any(axis=1).all(), "what lies around the new ones is known as well"
    known = surroundings(after)
    assert known is not None and np.array_equal(known.image, np.arange(3).repeat(20))
    assert np.isfinite(coordinates(after)).all()
    assert after.displacement == 0
    project.refresh_from_db()
    assert len(current_predictions(project).classes) == 60 and (current_predictions(project).classes[40:] > 0).all()


def test_predictions_know_what_lies_around_an_object_and_the_map_does_not(project: Project) -> None:
    embedding = iterate(project)
    n, dimension = vectors(embedding).shape
    assert (n, dimension) == (40, embedding.dimension)
    np.testing.assert_allclose(np.linalg.norm(vectors(embedding).astype(float), axis=1), 1, atol=0.01)
    beside = predictors(embedding)[:, dimension:].astype(float)
    # With 20 objects in each image, the 16 around an object are nearly all of its image.
    own_image = np.stack(
        [vectors(embedding)[first : first + 20, :N_COLUMNS].astype(float).mean(0) for first in (0, 20)]
    )
    own, other = (np.linalg.norm(beside - own_image[[of, 1 - of]].repeat(20, axis=0), axis=1) for of in (0, 1))
    assert (own < other).mean() > 0.8
    kept = surroundings(embedding)
    assert kept is not None
    assert np.array_equal(kept.image, [0] * 20 + [1] * 20)
    assert all(set(of) <= set(range(20)) - {i} for i, of in enumerate(kept.nearest[:20].tolist()))


def test_where_only_the_object_is_looked_at_nothing_around_it_predicts(project: Project) -> None:
    project.approach_settings = {"object_mask": "object_only"}
    project.save(update_fields=["approach_settings"])
    embedding = iterate(project)
    first = project.embeddings.get(number=1)
    for one in (first, embedding):
        assert one.model_version.settings["settings"]["object_mask"] == "object_only"
        assert predictors(one).shape == vectors(one).shape
        assert surroundings(one) is None
    n_of_the_object = int(columns_of(OF_THE_OBJECT_ALONE).sum())
    assert first.dimension == n_of_the_object, "the first map is of what can be measured of the object alone"


def test_nothing_is_queued_where_nothing_is_to_be_placed(world, project):
    assert start_placing(project=project, requested_by=None) is None, "there is no map yet"
    make_embedding(project, np.eye(40))
    assert start_placing(project=project, requested_by=None) is None, "all have a place"
    make_image(project)
    assert start_placing(project=project, requested_by=None) is not None
    assert start_placing(project=project, requested_by=None) is None, "it is under way"


def test_an_import_while_an_iteration_waits_needs_no_placing_of_its_own(world, project):
    job = start_iteration(project=project, requested_by=world.owner)
    tasks.run_iteration(job.pk)
    assert not project.jobs.filter(kind="place").exists()
    job = start_iteration(project=project, requested_by=world.owner)
    make_image(project)
    import_finished.send(sender=Project, project=project, imported_by=world.owner)
    assert not project.jobs.filter(kind="place").exists(), "the iteration that waits will see them"
    Project.objects.filter(pk=project.pk).update(n_objects=60)
    tasks.run_iteration(job.pk)
    assert newest(project).n == 60


def test_a_placing_that_failed_on_an_earlier_map_does_not_keep_later_objects_off_the_next(project: Project) -> None:
    iterate(project)
    make_image(project)
    keep_house()
    project.jobs.filter(kind="place").update(state=Job.State.FAILED)
    iterate(project)
    assert newest(project).n == 60
    make_image(project)  # and nobody was told
    keep_house()
    assert project.jobs.filter(kind="place", state=Job.State.QUEUED).exists()


def test_of_former_maps_all_but_the_vectors_is_kept(project: Project) -> None:
    for _ in range(2):
        iterate(project)
    embeddings = list(project.embeddings.order_by("number"))  # the first one by measurements
    keep_house()
    assert [has_vectors(embedding) for embedding in embeddings] == [False, True, True]
    assert [surroundings(embedding) is not None for embedding in embeddings] == [False, True, True]
    assert all(len(coordinates(embedding)) == 40 for embedding in embeddings)
    assert newest(project) == embeddings[-1] and len(vectors(embeddings[-1])) == 40


def test_a_layout_shows_its_places_to_members_while_it_runs(world, project, make_job, signed_in):
    job = make_job(kind="iteration", state=Job.State.RUNNING, project=project)
    channel = async_to_sync(get_channel_layer().new_channel)()
    async_to_sync(get_channel_layer().group_add)(group_of(project.pk), channel)
    url = f"/api/v1/projects/{project.pk}/jobs/{job.pk}/preview"
    assert signed_in(world.rater).get(url).status_code == 404, "nothing is laid out yet"
    points = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    show = Previews(job)
    show(points)
    show(points * 2)
    told = [async_to_sync(get_channel_layer().receive)(channel)["event"] for _ in range(2)]
    assert told[1] == {"type": "embedding.preview", "job": job.pk, "step": 2, "n": 40}
    response = signed_in(world.rater).get(url)
    assert response.status_code == 200
    assert response.content == gzipped(encode_plot(points * 2), level=1)
    assert signed_in(world.stranger).get(url).status_code == 404
    Job.objects.filter(pk=job.pk).update(state=Job.State.FINISHED)
    assert signed_in(world.rater).get(url).status_code == 404, "the map is what counts now"
    preview_file(job).unlink()


def test_an_iteration_streams_its_map(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(reduce, "PREVIEW_SHARE", 1e9)
    channel = async_to_sync(get_channel_layer().new_channel)()
    async_to_sync(get_channel_layer().group_add)(group_of(project.pk), channel)
    iterate(project)
    told = [async_to_sync(get_channel_layer().receive)(channel)["event"] for _ in range(20)]
    previews = [event for event in told if event["type"] == "embedding.preview"]
    assert previews and all(event["n"] == 40 for event in previews)


def test_open_pages_hear_of_new_predictions_all_that_a_reload_would_tell(world: World, project: Project) -> None:
    make_embedding(project, np.random.default_rng(0).normal(size=(40, 6)))
    world.label(1, range(0, 20, 2))
    world.label(2, range(1, 20, 2))
    channel = async_to_sync(get_channel_layer().new_channel)()
    async_to_sync(get_channel_layer().group_add)(group_of(project.pk), channel)
    Refitter().renew(project.pk)
    current = current_prediction_set(project)
    assert current is not None
    event = json.loads(json.dumps(async_to_sync(get_channel_layer().receive)(channel)["event"]))
    assert event == {"type": "predictions.ready", **json.loads(json.dumps(prediction_state(current)))}
    assert event["n_labels"] == 20


def test_a_foundation_model_s_file_that_was_replaced_makes_a_new_model_version(
    project: Project, tmp_path: Path, settings: Any
) -> None:
    settings.WEIGHTS_ROOT = tmp_path
    publish(tmp_path, "uni")
    project.approach_settings = {"backbone": "weights:uni"}
    project.save(update_fields=["approach_settings"])
    first, again = iterate(project), iterate(project)
    assert again.model_version == first.model_version
    shutil.rmtree(tmp_path / "uni")
    publish(tmp_path, "uni", init_values=0.2)
    newer = iterate(project)
    assert newer.model_version.number == first.model_version.number + 1
    assert (vectors(newer) != vectors(first)).any()
    description = tmp_path / "uni" / "config.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"pooling": "middle"}))
    otherwise = iterate(project)
    assert otherwise.model_version.number == newer.model_version.number + 1
    assert (vectors(otherwise) != vectors(newer)).any()

    make_image(project)
    shutil.rmtree(tmp_path / "uni")
    publish(tmp_path, "uni")
    placing = start_placing(project=project, requested_by=None)
    assert placing is not None
    tasks.place_new_objects(placing.pk)
    placing.refresh_from_db()
    assert "put the former ones back, or make a new map" in placing.error


def test_where_the_chosen_way_to_draw_a_map_can_not_it_is_drawn_by_principal_components_and_said_so(
    world: World, project: Project, signed_in: Any
) -> None:
    project.reducer = "cuml_umap"
    project.save(update_fields=["reducer"])
    embedding = iterate(project)
    assert embedding.reducer == "pca"
    assert np.isfinite(coordinates(embedding)).all() and len(coordinates(embedding)) == 40
    job = Job.objects.filter(kind="iteration").latest("pk")
    assert (
        "by principal components instead of cuml_umap" in job.log and "install deploy/requirements-cuml.txt" in job.log
    )
    state = signed_in(world.rater).get(f"/api/v1/projects/{project.pk}/state").json()
    assert state["embedding"]["drawn_by"] == "Principal components"
    assert "Principal components" in signed_in(world.rater).get(f"/projects/{project.pk}/").content.decode()


def test_a_reducer_of_another_package_that_breaks_costs_no_training(
    world: World, project: Project, signed_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(layout: Any) -> Any:
        raise ZeroDivisionError("of somebody else's")

    monkeypatch.setattr("apps.engine.reducers.umap", broken)
    assert iterate(project).reducer == "pca"
    job = Job.objects.filter(kind="iteration").latest("pk")
    assert "instead of umap: the reducer umap failed: ZeroDivisionError: of somebody else's" in job.log
    (warning,) = job.result["warnings"]
    assert warning in job.log
    page = signed_in(world.viewer).get(f"/projects/{project.pk}/models/").content.decode().replace("&#x27;", "'")
    assert warning in page and "Drawn by Principal components" in page


def test_what_fails_around_a_reducer_is_no_fault_of_it(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while positions are written, say: the job fails and can be run again."""

    def broken(layout: Any) -> Any:
        layout.on_points(np.zeros((40, 2), np.float32))

    def full(self: Any, points: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apps.engine.reducers.umap", broken)
    monkeypatch.setattr(reduce, "PREVIEW_SECONDS", 0.0)
    monkeypatch.setattr(Previews, "__call__", full)
    job = start_iteration(project=project, requested_by=None)
    tasks.run_iteration(job.pk)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and "disk is full" in job.error


def test_the_network_never_sees_the_labels_that_its_quality_is_measured_on(
    world: World, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.approach, project.approach_settings = "simclr", {"epochs": 1}
    project.encoder_size_px = 16
    project.save(update_fields=["approach", "approach_settings", "encoder_size_px"])
    world.label(1, range(0, 40, 2))
    world.label(2, range(1, 40, 2))
    seen = []
    train = iteration.train_on_this_machine

    def train_and_tell(*arguments: Any, class_values: Any, **others: Any) -> Any:
        seen.append(class_values)
        return train(*arguments, class_values=class_values, **others)

    monkeypatch.setattr(iteration, "train_on_this_machine", train_and_tell)
    embedding = iterate(project)
    all_labels = class_values(shared_label_set(project), 40)
    held_out = draw_held_out(all_labels, seed=iteration.SEED)
    (learned,) = seen
    assert held_out.sum() == embedding.model_version.quality["n_held_out"] > 0
    assert (learned[held_out] == 0).all() and (learned[~held_out] == all_labels[~held_out]).all()
    assert embedding.model_version.training_run.n_labeled == np.count_nonzero(learned)


def test_a_manager_chooses_whether_labels_shape_the_map(world, signed_in):
    page = signed_in(world.owner).get(f"/projects/{world.project.pk}/settings/").content.decode()
    assert "Draw known classes apart on the map" in page


@pytest.mark.parametrize(("made_with", "is_placed"), [(1, False), (9, False), (40, True)])
def test_nothing_is_placed_by_a_model_that_saw_too_few_objects(
    project: Project, made_with: int, is_placed: bool
) -> None:
    embedding = iterate(project)
    embedding.model_version.settings["n_objects"] = made_with
    embedding.model_version.save()
    make_image(project)
    assert (start_placing(project=project, requested_by=None) is not None) == is_placed


def test_nothing_is_placed_after_the_size_of_patches_was_changed(project: Project) -> None:
    iterate(project)
    make_image(project)
    project.patch_size_px *= 2
    project.save(update_fields=["patch_size_px"])
    assert start_placing(project=project, requested_by=None) is None
    assert iterate(project).n == project.n_objects, "the next iteration does it, with a model of its own"


def test_objects_are_placed_after_an_iteration_was_given_up_that_would_have_seen_them(project: Project) -> None:
    iterate(project)
    job = start_iteration(project=project, requested_by=None)
    make_image(project)
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.RUNNING, deaths=MOST_DEATHS - 1, lease_expires_at=timezone.now() - timedelta(seconds=1)
    )
    requeue_lost_jobs()
    assert project.jobs.filter(kind="place", state=Job.State.QUEUED).exists()


def test_objects_are_placed_after_an_iteration_was_cancelled_that_would_have_seen_them(
    world: World, project: Project
) -> None:
    iterate(project)
    job = start_iteration(project=project, requested_by=None)
    make_image(project)
    cancel_job(job=job, cancelled_by=world.manager)
    assert project.jobs.filter(kind="place", state=Job.State.QUEUED).exists()


def test_objects_that_a_process_left_off_the_map_when_it_died_are_placed_later(project: Project) -> None:
    iterate(project)
    keep_house()
    assert not project.jobs.filter(kind="place").exists(), "all have a place"
    make_image(project)  # and nobody was told
    keep_house()
    keep_house()
    job = project.jobs.get(kind="place")
    for state in (Job.State.FAILED, Job.State.CANCELLED):
        Job.objects.filter(pk=job.pk).update(state=state)
        keep_house()
        assert project.jobs.filter(kind="place").count() == 1, "it would fail again, or be unwanted again, without end"
    Job.objects.filter(pk=job.pk).update(state=Job.State.QUEUED)
    tasks.place_new_objects(job.pk)
    assert newest(project).n == 60


def test_the_page_of_models_lists_every_map_with_the_model_behind_it_and_how_good_both_are(world, project, signed_in):
    for _ in range(10):  # 240 objects: from 200 labels on enough are held out
        make_image(project)
    world.label(1, range(0, 120))
    world.label(2, range(120, 240))
    iterate(project)
    first, second = project.embeddings.order_by("number")
    client = signed_in(world.viewer)
    of_second, of_first = client.get(f"/api/v1/projects/{project.pk}/embeddings").json()["maps"]
    assert (of_first["number"], of_second["number"]) == (first.number, second.number)
    assert of_second["approach"] == "Frozen backbone" and of_second["epochs"] == 0
    assert of_second["n_labels"] == 240 and 0 < of_second["accuracy"] <= 1
    assert 0 < of_second["feature_purity"] <= 1 and 0 < of_second["map_purity"] <= 1
    assert of_second["trustworthiness"] == second.trustworthiness
    page = client.get(f"/projects/{project.pk}/models/").content.decode()
    assert f"Map {second.number}, model v{second.model_version.number}" in page, "the newest is shown"
    assert f'href="?map={first.number}"' in page
    page = client.get(f"/projects/{project.pk}/models/?map={first.number}").content.decode()
    assert f'data-embedding="{first.number}"' in page
    assert client.get(f"/projects/{project.pk}/models/?map=99").status_code == 404


def test_a_map_that_labels_shaped_is_not_praised_for_showing_them(world, project):
    for _ in range(10):
        make_image(project)
    world.label(1, range(0, 120))
    world.label(2, range(120, 240))
    project.map_shows_labels = True
    project.save(update_fields=["map_shows_labels"])
    newest_map = iterate(project)
    assert newest_map.shows_labels and newest_map.map_purity is None
    assert newest_map.feature_purity is not None
    project.map_shows_labels = False
    project.save(update_fields=["map_shows_labels"])
    assert iterate(project).map_purity is None, "it starts from places that labels gave"
    assert iterate(project).map_purity is not None


def test_before_any_map_the_page_of_models_says_what_will_be_there(world, signed_in):
    assert "No map yet" in signed_in(world.viewer).get(f"/projects/{world.project.pk}/models/").content.decode()


def test_the_page_of_models_tells_predictions_without_held_out_labels_from_none(world, project, signed_in):
    address = f"/projects/{project.pk}/models/"
    iterate(project)
    assert "Nothing was predicted on it" in signed_in(world.viewer).get(address).content.decode()
    world.label(1, range(1))
    world.label(2, range(1, 2))
    iterate(project)
    page = signed_in(world.viewer).get(address).content.decode()
    assert "too few labels to hold some out" in page and "Nothing was predicted" not in page
    PredictionSet.objects.update(quality={"n_held_out": 40})  # as they were before they knew what had made them
    assert 'data-island="model-quality"' in signed_in(world.viewer).get(address).content.decode()


@pytest.mark.parametrize("is_beside", [True, False])
def test_new_objects_are_placed_by_all_that_the_map_s_model_knows_of_them(world: World, is_beside: bool) -> None:
    """Also by a model of before the pretrained network was there, and in a project of then."""
    project = world.project
    make_image(project)
    make_image(project)
    settings = SimCLRSettings(pretrained=is_beside)
    project.approach_settings = settings.to_json()
    project.save(update_fields=["approach_settings"])
    tasks.run_iteration(start_iteration(project=project, requested_by=world.manager, epochs=1).pk)
    before = newest(project)
    version = before.model_version
    first = project.embeddings.get(number=1).model_version
    of_first = dict(first.settings["settings"])
    if not is_beside:
        # As they were stored then.
        del version.settings["settings"]["pretrained"], project.approach_settings["pretrained"]
        version.save(update_fields=["settings"])
        project.save(update_fields=["approach_settings"])
    for migration in (
        "models.migrations.0006_models_without_the_pretrained_network",
        "projects.migrations.0009_projects_without_the_pretrained_network",
    ):
        (operation,) = import_module(f"apps.{migration}").Migration.operations
        operation.code(django_apps, connection.schema_editor())
    for migrated in (project, version, first):
        migrated.refresh_from_db()
    assert project.approach_settings == version.settings["settings"] == settings.to_json()
    assert first.settings["settings"] == of_first
    make_image(project)

    placing = start_placing(project=project, requested_by=None)
    tasks.place_new_objects(placing.pk)

    placing.refresh_from_db()
    assert placing.result == {"placed": 20, "objects": 60, "embedding": before.number + 1}, placing.error
    patches = patch_reader(project, n_objects=60)
    expected = embed_objects("simclr", settings, model_folder(version), patches, may_fit=False)
    np.testing.assert_allclose(vectors(newest(project)).astype(np.float32), expected, atol=0.01)


def test_what_is_recognized_is_kept_for_what_it_depends_on_and_until_something_else_is(world: World) -> None:
    project = world.project
    make_image(project)
    kept = folder(project, "recognized")
    seen = []
    for object_mask, patch_size_px in (("none", 32), ("channel", 32), ("object_only", 32), ("none", 40)):
        project.approach_settings = {"object_mask": object_mask}
        project.patch_size_px = project.encoder_size_px = patch_size_px
        project.save(update_fields=["approach_settings", "patch_size_px", "encoder_size_px"])
        tasks.run_iteration(start_iteration(project=project, requested_by=world.manager, epochs=1).pk)
        (of_this_model,) = kept.iterdir()
        seen.append(of_this_model.name)
        expected = see_objects(patch_reader(project, n_objects=20), object_mask=object_mask)
        np.testing.assert_array_equal(read_array(of_this_model / "0.npy"), expected)
        assert [each.name for each in folder(project, "descriptors").iterdir()] == [
            f"{DESCRIPTORS_VERSION}-{patch_size_px}px"
        ]
        iterate_once_from_measurements_alone(project)
        assert list(kept.iterdir()) == [of_this_model], "the project's own settings need it again"
    assert seen[0] == seen[1], "photographs have no fourth channel"
    assert len(set(seen)) == 3


@pytest.mark.parametrize("is_seen_at_once", [True, False])
def test_what_the_pretrained_network_sees_is_on_the_first_map_or_comes_before_the_training(
    world: World, monkeypatch: pytest.MonkeyPatch, is_seen_at_once: bool, signed_in: Any
) -> None:
    most = dict.fromkeys(("cpu", "cuda"), 20 if is_seen_at_once else 19)
    monkeypatch.setattr(pretrained, "SEEN_WITHIN_SECONDS", most)
    make_image(world.project)
    iterate(world.project)
    *early, trained = world.project.embeddings.order_by("number")
    measured = [] if is_seen_at_once else [N_DESCRIPTORS]
    assert [embedding.dimension for embedding in early] == [*measured, N_DESCRIPTORS + N_FEATURES]
    assert {embedding.model_version.approach for embedding in early} == {"instant"}
    assert trained.dimension == N_DESCRIPTORS + N_FEATURES + 512
    iterate(world.project)
    iterate_once_from_measurements_alone(world.project)
    iterate(world.project)
    assert newest(world.project).number == trained.number + 3, "early maps come before the first training"
    page = signed_in(world.manager).get(f"/projects/{world.project.pk}/models/").content.decode()
    assert page.count("Instant, with the pretrained network") == 1


def test_what_is_seen_of_dimmed_surroundings_is_seen_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "SEEN_WITHIN_SECONDS", {"cpu": 0, "cuda": 0})
    world.project.approach_settings = {"object_mask": "dimmed"}
    world.project.save(update_fields=["approach_settings"])
    make_image(world.project)
    iterate(world.project)
    assert [each.dimension for each in world.project.embeddings.order_by("number")] == [
        N_DESCRIPTORS,
        N_DESCRIPTORS + N_FEATURES + 512,
    ]


def test_what_takes_no_training_comes_within_seconds_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "SEEN_WITHIN_SECONDS", {"cpu": 0, "cuda": 0})
    project = world.project
    project.approach, project.approach_settings = "instant", {"pretrained": True}
    project.save(update_fields=["approach", "approach_settings"])
    make_image(project)
    iterate(project)
    assert [each.dimension for each in project.embeddings.order_by("number")] == [
        N_DESCRIPTORS,
        N_DESCRIPTORS + N_FEATURES,
    ]


def test_a_map_that_was_cancelled_before_the_training_comes_with_the_next_iteration(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "SEEN_WITHIN_SECONDS", {"cpu": 0, "cuda": 0})
    make_image(world.project)
    cancelled = start_iteration(project=world.project, requested_by=None, epochs=1)
    with monkeypatch.context() as patched:
        patched.setattr(Report, "should_stop", lambda report: report.job.stage == "recognizing")
        tasks.run_iteration(cancelled.pk)
    cancelled.refresh_from_db()
    assert cancelled.state == Job.State.CANCELLED
    assert newest(world.project).dimension == N_DESCRIPTORS

    iterate(world.project)

    measured, recognized, trained = (each.dimension for each in world.project.embeddings.order_by("number"))
    assert (measured, recognized) == (N_DESCRIPTORS, N_DESCRIPTORS + N_FEATURES)
    assert trained == recognized + 512
