"""What the labeling page proposes next, from the first object to the last."""

from __future__ import annotations

import gzip
import struct
from typing import Any

import numpy as np
import pytest
from django.test import Client

from apps.engine.suggest import like_beside_like
from apps.labels.selectors import shared_label_set
from apps.models.models import Embedding
from apps.models.selectors import vectors
from apps.projects.models import Project
from apps.workspace import suggestions as answer
from tests.conftest import World
from tests.factories import blobs, make_embedding, make_image, predict
from tests.labels.test_sampled_acceptance import Page as LabelingPage
from tests.workspace.test_api import act, binary

pytestmark = pytest.mark.django_db
N = 40


@pytest.fixture
def rater(world: World, signed_in: Any) -> Client:
    client: Client = signed_in(world.rater)
    return client


@pytest.fixture
def embedding(world: World) -> Embedding:
    """Two images with 20 objects each, all alike within an image."""
    make_image(world.project, "a.png")
    make_image(world.project, "b.png")
    rng = np.random.default_rng(0)
    features = np.repeat([[1.0, 0, 0, 0], [0, 1, 0, 0]], 20, axis=0) + 0.1 * rng.normal(size=(N, 4))
    return make_embedding(world.project, features, features[:, :2])


def proposals(client: Client, world: World) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = suggestions(client, world)["proposals"]
    return listed


def suggestions(client: Client, world: World) -> dict[str, Any]:
    response = client.get(f"/api/v1/projects/{world.project.pk}/suggestions")
    assert response.status_code == 200, response.content
    told: dict[str, Any] = response.json()
    return told


def page(client: Client, world: World, proposal: dict[str, Any], **more: Any) -> list[int]:
    data = {name: proposal[name] for name in ("kind", "class_value", "group") if proposal.get(name) is not None}
    response = client.post(f"/api/v1/projects/{world.project.pk}/suggestions/page", {**data, **more})
    assert response.status_code == 200, response.content
    return np.frombuffer(response.content, "<u4").tolist()


def test_without_a_map_there_is_nothing_to_suggest_yet(world, rater):
    assert suggestions(rater, world)["message"] == "There are no objects yet"
    make_image(world.project)
    told = suggestions(rater, world)
    assert told["proposals"] == [] and told["message"] == "Suggestions come with the first map"
    assert page(rater, world, {"kind": "typical"}) == []


def test_it_begins_with_typical_objects_one_per_group(world, rater, embedding):
    first = proposals(rater, world)[0]
    assert (first["kind"], first["n"]) == ("typical", N)
    assert first["title"] == "40 typical objects, one per group"
    shown = page(rater, world, first)
    assert sorted(shown) == list(range(N))


def test_what_came_with_a_new_map_while_one_asked_is_proposed_too(world, embedding):
    asked_of = [Project.objects.get(pk=world.project.pk) for _ in range(2)]
    make_image(world.project, "c.png")
    make_embedding(world.project, np.random.default_rng(0).normal(size=(N + 20, 4)))
    told = answer.suggestions(asked_of[0])
    assert (told.n_objects, told.proposals[0].kind) == (N + 20, "typical")
    assert sorted(answer.suggested_page(asked_of[1], "typical")) == list(range(N + 20))


def test_what_was_labeled_is_not_proposed_again(world, rater, embedding):
    shown = page(rater, world, {"kind": "typical"})
    act(rater, shared_label_set(world.project).pk, shown[:30])
    first = proposals(rater, world)[0]
    assert (first["kind"], first["n"]) == ("typical", 10)
    assert not set(page(rater, world, first)) & set(shown[:30])


def test_what_was_left_out_of_a_page_comes_with_those_of_another_class_and_not_with_its_own_again(world, rater):
    make_image(world.project, mask=blobs(10, 10))
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(100, 4)))
    classes = np.repeat([1, 2], 50).astype(np.uint8)
    predict(embedding, classes, np.full(100, 240, np.uint8))
    world.label(1, range(20), left_out=[20, 21])
    of_1 = {"kind": "review", "class_value": 1}
    assert sorted(page(rater, world, of_1)) == list(range(22, 50))
    told = next(p for p in proposals(rater, world) if p["kind"] == "review" and p["class_value"] == 1)
    assert told["n"] == 28
    classes[20] = 2  # as the model says once it has heard of it
    predict(embedding, classes, np.full(100, 240, np.uint8))
    assert sorted(page(rater, world, {"kind": "review", "class_value": 2})) == [20, *range(50, 100)]
    world.label(2, range(50, 100), left_out=[20])
    assert page(rater, world, {"kind": "review", "class_value": 2}) == [], "of no class that anybody has named"
    told = next(p for p in proposals(rater, world) if p["kind"] == "left_out")
    assert (told["n"], told["title"]) == (2, "2 that look like none of the classes")
    assert sorted(page(rater, world, told)) == [20, 21], "21 is still taken for the class that it was left out of"


def test_once_every_group_could_have_a_label_pages_to_confirm_come_first(world, rater):
    make_image(world.project, mask=blobs(10, 10))
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(100, 4)))
    predict(embedding, np.repeat([1, 2], 50).astype(np.uint8), np.repeat([240, 250], 50).astype(np.uint8))
    label_set = shared_label_set(world.project)
    act(rater, label_set.pk, range(3))
    assert proposals(rater, world)[0]["kind"] == "typical"
    act(rater, label_set.pk, range(3, 60))
    first = proposals(rater, world)[0]
    assert (first["kind"], first["class_value"], first["n"]) == ("review", 2, 40)


def test_images_without_labels_come_first_where_labels_lie_in_few(world, rater):
    for _ in range(5):
        make_image(world.project)
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(100, 4)))
    predict(embedding, np.repeat([1, 2], 50).astype(np.uint8), np.repeat([240, 250], 50).astype(np.uint8))
    label_set = shared_label_set(world.project)
    act(rater, label_set.pk, range(40))
    assert "other_images" not in {p["kind"] for p in proposals(rater, world)}, "typical ones of all images come first"
    act(rater, label_set.pk, range(40, 60))
    first = proposals(rater, world)[0]
    assert (first["kind"], first["title"]) == (
        "other_images",
        f"{first['n']} typical objects of 2 images with few or no labels",
    )
    assert "3 of 5 images" in first["why"]
    assert not any("% right" in p["why"] for p in proposals(rater, world)), "nor is that known"
    shown = page(rater, world, first)
    assert len(shown) == first["n"] and set(shown) <= set(range(60, 100))
    assert set(page(rater, world, first, ordinals=binary(shown[:3]))).isdisjoint(shown[:3])
    act(rater, label_set.pk, [60, 80])
    assert proposals(rater, world)[0]["kind"] == "other_images", "one of twenty says little"
    act(rater, label_set.pk, [*range(60, 65), *range(80, 85)])
    assert proposals(rater, world)[0]["kind"] == "review"
    assert page(rater, world, {"kind": "other_images"}) == []


def test_a_page_with_more_wrong_than_right_is_not_recommended(world, rater):
    make_image(world.project, mask=blobs(10, 10))
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(100, 4)))
    predict(embedding, np.repeat([1, 2], 50).astype(np.uint8), np.full(100, 90, np.uint8))
    act(rater, shared_label_set(world.project).pk, range(60))
    kinds = [p["kind"] for p in proposals(rater, world)]
    assert kinds[0] == "typical" and "review" in kinds


def test_a_page_to_confirm_is_surest_first(world, rater, embedding):
    confidence = np.arange(100, 100 + N).astype(np.uint8)
    predict(embedding, np.repeat([1, 2], 20).astype(np.uint8), confidence)
    act(rater, shared_label_set(world.project).pk, [19, 18])
    review = next(p for p in proposals(rater, world) if p["kind"] == "review" and p["class_value"] == 1)
    assert review["title"] == "Review 18 that look like lymphocyte, surest first"
    assert review["n"] == 18 and "% right" in review["why"]
    assert page(rater, world, review) == list(range(17, -1, -1))


def test_what_was_seen_and_left_out_is_not_shown_again(world, rater, embedding):
    predict(embedding, np.repeat([1, 2], 20).astype(np.uint8), np.arange(100, 100 + N).astype(np.uint8))
    review = {"kind": "review", "class_value": 2}
    assert page(rater, world, review, ordinals=binary([39, 37]))[:3] == [38, 36, 35]


def test_the_doubtful_the_discordant_and_the_different_are_offered_too(world, rater, embedding):
    confidence = np.arange(100, 100 + N).astype(np.uint8)
    predict(embedding, np.repeat([1, 2], 20).astype(np.uint8), confidence)
    act(rater, shared_label_set(world.project).pk, [3, 30], class_value=2)
    kinds = {p["kind"]: p for p in proposals(rater, world)}
    assert kinds["discordant"]["title"] == "1 where label and prediction differ"
    assert page(rater, world, kinds["discordant"]) == [3]
    assert page(rater, world, kinds["discordant"], ordinals=binary([3])) == [], "it was passed over"
    on_its_page = {"source": "suggested", "suggestion": {"kind": "discordant", "title": "", "group": None}}
    assert (
        act(rater, shared_label_set(world.project).pk, [3], class_value=2, selection=on_its_page).json()["n_changed"]
        == 1
    )
    assert "discordant" not in {p["kind"] for p in proposals(rater, world)}, "it was looked at, and kept"
    uncertain = page(rater, world, kinds["uncertain"])
    assert sorted(uncertain) == [ordinal for ordinal in range(N) if ordinal not in (3, 30)]
    assert uncertain == like_beside_like(vectors(embedding), np.sort(uncertain)).tolist()
    different = page(rater, world, kinds["different"])
    assert sorted(different) == [ordinal for ordinal in range(N) if ordinal not in (3, 30)]


def test_a_class_without_a_label_is_looked_for_where_nothing_is_labeled_yet(world, rater, embedding):
    def why() -> str:
        return next(p["why"] for p in proposals(rater, world) if p["kind"] == "different")

    assert why() == "for what the groups have missed"
    act(rater, shared_label_set(world.project).pk, [3], class_value=2)
    assert why() == "nothing is labeled lymphocyte yet: look for it here"
    act(rater, shared_label_set(world.project).pk, [4], class_value=1)
    assert why() == "for what the groups have missed"


def test_a_group_is_confirmed_as_what_most_of_it_looks_like(world, rater, embedding):
    predict(embedding, np.repeat([1, 2], 20).astype(np.uint8), np.full(N, 250, np.uint8))
    group = next(p for p in proposals(rater, world) if p["kind"] == "group")
    assert "alike that look like" in group["title"]
    assert len(page(rater, world, group)) == group["n"]


def test_the_map_can_be_colored_by_the_groups(world, rater, embedding):
    url = f"/api/v1/projects/{world.project.pk}/objects/groups"
    answer = rater.get(url)
    magic, n, number = struct.unpack_from("<4sII", body := gzip.decompress(answer.content))
    assert (magic, n, number) == (b"PSG1", N, embedding.number)
    assert sorted(body[12:]) == list(range(1, N + 1)), "each of so few different objects is a group"
    assert rater.get(url, headers={"If-None-Match": answer["ETag"]}).status_code == 304


def test_without_a_map_there_are_no_groups(world, rater):
    assert rater.get(f"/api/v1/projects/{world.project.pk}/objects/groups").status_code == 404


def test_in_the_end_everything_is_labeled(world, rater, embedding):
    act(rater, shared_label_set(world.project).pk, range(N))
    told = suggestions(rater, world)
    assert told == {"proposals": [], "message": "Everything is labeled", "n_labeled": N, "n_objects": N}
    make_image(world.project)
    assert suggestions(rater, world)["message"] == "Everything on the map is labeled"


@pytest.fixture
def many(world: World) -> Embedding:
    """200 objects whose groups all could have a label; of the unlabeled, 100 are surely a lymphocyte and 40 perhaps."""
    make_image(world.project, mask=blobs(10, 20))
    embedding = make_embedding(world.project, np.random.default_rng(0).normal(size=(200, 4)))
    predict(embedding, np.ones(200, np.uint8), np.repeat([255, 130, 255], [100, 40, 60]).astype(np.uint8))
    world.project.allows_sampled, world.project.max_sampled_error = True, 0.1
    world.project.save(update_fields=["allows_sampled", "max_sampled_error"])
    return embedding


def test_where_samples_are_allowed_the_doubtful_come_first_and_then_a_sample_of_the_rest(world, rater, many):
    label_set = shared_label_set(world.project)
    act(rater, label_set.pk, range(140, 200))
    first = proposals(rater, world)[0]
    assert (first["kind"], first["class_value"]) == ("doubtful", 1)
    assert first["title"] == f"Review {first['n']} that look like lymphocyte, the doubtful ones"
    n_sure = 140 - first["n"]
    assert first["expected_right"] == pytest.approx(130 / 255, abs=0.05)
    share = round(100 * first["expected_right"])
    assert first["why"].startswith(f"about {share}% right; then {n_sure} may be accepted by a sample of 2")
    doubtful = page(rater, world, first)
    assert set(doubtful) <= set(range(100, 140)) and len(doubtful) == first["n"] > 30
    act(rater, label_set.pk, doubtful, class_value=2)
    sample = proposals(rater, world)[0]
    assert (sample["kind"], sample["class_value"], sample["n"]) == ("sample", 1, n_sure)
    assert sample["title"] == f"Accept {n_sure} that look like lymphocyte by a sample"
    stratum = page(rater, world, sample)
    assert stratum[:100] == list(range(100)), "the surest first"
    left_out = page(rater, world, sample, ordinals=binary([0, 5]))
    assert set(stratum) - set(left_out) == {0, 5}, "who was seen and left out is no part of what is accepted unseen"


@pytest.mark.parametrize(
    ("n_sure", "said"), [(100, "may be accepted by a sample of"), (60, "too many of 140 are doubtful for a sample")]
)
def test_a_sample_is_held_out_only_where_it_would_spare_more_than_is_to_be_looked_at_before(
    world, rater, many, n_sure: int, said: str
):
    predict(many, np.ones(200, np.uint8), np.repeat([255, 130, 255], [n_sure, 140 - n_sure, 60]).astype(np.uint8))
    act(rater, shared_label_set(world.project).pk, range(140, 200))
    first = proposals(rater, world)[0]
    assert first["kind"] == "doubtful" and said in first["why"]


def test_the_more_labels_there_are_the_more_doubtful_ones_come_at_once(world, rater, many):
    label_set = shared_label_set(world.project)
    predict(many, np.ones(200, np.uint8), np.repeat([130, 255], [140, 60]).astype(np.uint8))
    act(rater, label_set.pk, range(140, 200))
    for n_labels, n_at_once in ((60, 50), (110, 55)):
        first = proposals(rater, world)[0]
        assert (first["kind"], first["n"]) == ("doubtful", n_at_once), n_labels
        doubtful = page(rater, world, first)
        assert len(doubtful) == n_at_once
        act(rater, label_set.pk, doubtful)


def test_where_samples_are_not_allowed_none_is_proposed(world, rater, many):
    world.project.allows_sampled = False
    world.project.save(update_fields=["allows_sampled"])
    act(rater, shared_label_set(world.project).pk, range(140, 200))
    assert proposals(rater, world)[0]["kind"] == "review"
    assert not {"sample", "doubtful"} & {p["kind"] for p in proposals(rater, world)}
    assert page(rater, world, {"kind": "sample", "class_value": 1}) == []


def test_after_a_sample_in_vain_the_next_one_is_larger_and_without_what_was_marked(world, rater, many):
    label_set = shared_label_set(world.project)
    act(rater, label_set.pk, range(100, 200), class_value=2)
    first = proposals(rater, world)[0]
    assert (first["kind"], first["n"]) == ("sample", 100)
    labeling = LabelingPage(rater, label_set)
    sample = labeling.started(range(100))
    wrong = sample["ordinals"][0]
    labeling.post(sample, "wrong", {"wrong": [wrong]})
    assert labeling.post(sample, "end").json()["state"] == "refused"
    second = next(p for p in proposals(rater, world) if p["kind"] == "sample")
    assert second["n"] == 99 and wrong not in page(rater, world, second)
    sizes = [p["n_sample"] for p in (first, second)]
    assert sizes[1] > sizes[0] == sample["n"]
    again = labeling.started(range(100))
    assert again["size"] == 99 and again["n"] == sizes[1], "nor can it come back by a selection of one's own"


def test_who_may_look_may_ask(world, signed_in, embedding):
    assert suggestions(signed_in(world.viewer), world)["proposals"]
    response = signed_in(world.viewer).post(f"/api/v1/projects/{world.project.pk}/suggestions/page", {"kind": "best"})
    assert response.status_code == 400
