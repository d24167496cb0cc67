"""Predictions follow the labels: renewed when something was stated, none where nothing can be learned, never broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from django.test import Client

from apps.engine import classes_around, classify, suggest
from apps.engine.errors import EngineError
from apps.engine.plugins import Registry
from apps.engine.predict import Quality, fit_head
from apps.engine.registry import CLASSIFIERS, Classifier
from apps.engine.surroundings import N_AROUND, Surroundings
from apps.labels import acceptance
from apps.labels.models import LabelSet
from apps.labels.selectors import class_values, shared_label_set
from apps.labels.services import get_or_create_label_set, import_label_values, undo
from apps.models.models import Embedding, PredictionSet
from apps.models.refit import Refitter
from apps.models.selectors import (
    SURROUNDINGS_NAME,
    VECTORS_NAME,
    current_prediction_set,
    current_predictions,
    embedding_folder,
    prediction_state,
    projects_behind_their_labels,
)
from apps.projects.services import add_label_class, allow_sampled_acceptance
from tests.conftest import World
from tests.factories import make_embedding, make_image

pytestmark = pytest.mark.django_db

N = 40
TRUTH = np.where(np.arange(N) % 2, 2, 1).astype(np.uint8)


def features(*, alike: bool = False) -> npt.NDArray[np.float64]:
    """Two clusters, of the even and of the odd objects; or every object the same."""
    if alike:
        return np.ones((N, 6))
    noise = np.random.default_rng(0).normal(scale=0.02, size=(N, 6))
    return np.asarray(np.eye(6)[TRUTH] + noise)


@pytest.fixture
def embedding(world: World) -> Embedding:
    make_image(world.project)
    make_image(world.project)
    assert world.project.n_objects == N
    return make_embedding(world.project, features())


def test_what_was_accepted_by_sample_is_neither_learned_from_nor_measured_on(world, embedding):
    world.label(1, [0, 2, 4])
    world.label(2, [1, 3, 5])
    allow_sampled_acceptance(project=world.project, allowed=True, max_error=0.1, changed_by=world.manager)
    sample = acceptance.draw_sample(
        label_set=shared_label_set(world.project),
        label_class=world.project.label_classes.get(value=2),
        ordinals=np.arange(6, N, dtype=np.uint32),
        drawn_by=world.rater,
        embedding=embedding.number,
        selection={},
    )
    accepted = acceptance.accept_sample(sample=sample, size=N - 6, seen=sample.n, embedding=embedding.number)
    assert accepted.state == "accepted" and sample.n < N - 6
    Refitter().renew(world.project.pk)
    predicted = current_prediction_set(world.project)
    assert predicted is not None and predicted.n_labels == 6 + sample.n
    assert prediction_state(predicted)["expected_right"] is None, "everything has a label, seen or not: nothing is left"


def test_what_was_left_out_of_a_page_is_predicted_otherwise_until_that_is_undone(world, embedding):
    world.label(1, [0, 2, 4])
    world.label(2, [1, 3, 5])
    Refitter().renew(world.project.pk)
    assert current_predictions(world.project).classes[10] == 1
    world.label(1, [6, 8], left_out=[10])
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert predicted.classes[10] == 2
    assert predicted.classes[12] == 1, "those like it are not what one of them is not"
    undo(label_set=shared_label_set(world.project), actor=world.rater)
    Refitter().renew(world.project.pk)
    assert current_predictions(world.project).classes[10] == 1


def test_what_was_marked_in_a_sample_is_predicted_otherwise_whatever_came_of_the_sample(world, embedding):
    world.label(1, [0, 2, 4])
    world.label(2, [1, 3, 5])
    allow_sampled_acceptance(project=world.project, allowed=True, max_error=0.1, changed_by=world.manager)
    even = np.arange(6, N, 2, dtype=np.uint32)
    sample = acceptance.draw_sample(
        label_set=shared_label_set(world.project),
        label_class=world.project.label_classes.get(value=1),
        ordinals=even,
        drawn_by=world.rater,
        embedding=embedding.number,
        selection={},
    )
    marked = sample.drawn[0]
    acceptance.mark_sampled(sample=sample, wrong=[marked])
    acceptance.end_sample(sample=sample)
    world.label(2, [7])
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert predicted.classes[marked] == 2
    others = even[even != marked]
    assert (predicted.classes[others] == 1).all(), "it teaches nothing of those like it: the sample was not accepted"


def test_what_was_left_out_of_a_page_teaches_of_those_like_it(world):
    for _ in range(20):
        make_image(world.project)
    ordinals = np.arange(400)
    place = ordinals % 20 / 20  # in each image the same twenty, from one end to the other
    make_embedding(world.project, np.stack([np.cos(place), np.sin(place)], axis=1))
    world.label(1, ordinals[(place < 0.2) & (ordinals < 200)])
    world.label(2, ordinals[(place > 0.8) & (ordinals < 200)])
    Refitter().renew(world.project.pk)
    doubtful = (place > 0.3) & (place < 0.45)
    (taken_for,) = np.unique(current_predictions(world.project).classes[doubtful])
    more = (place < 0.2 if taken_for == 1 else place > 0.8) & (ordinals >= 200)
    world.label(taken_for, ordinals[more], left_out=ordinals[doubtful & (ordinals < 200)].tolist())
    Refitter().renew(world.project.pk)
    others = doubtful & (ordinals >= 200)
    assert (current_predictions(world.project).classes[others] != taken_for).all(), "nobody has looked at these"


def test_while_a_class_has_no_label_what_was_left_out_of_the_others_is_of_none(world, embedding):
    add_label_class(project=world.project, name="macrophage", added_by=world.manager)
    world.label(1, [0, 2, 4, 6], left_out=[10])
    world.label(2, [1, 3, 5])
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert (predicted.classes[10], predicted.confidence[10]) == (1, 0)
    assert (predicted.classes[12], predicted.confidence[12] > 0) == (1, True)


def test_of_what_is_none_of_the_classes_nothing_is_expected_to_be_right(world):
    current, _ = renewed_with_labels(world, lambda ordinals: ordinals < 390)
    assert prediction_state(current)["expected_right"] > 0.9
    for value in (1, 2):
        world.label(value, [value - 1, value + 1], left_out=range(390, 395))
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert not predicted.confidence[390:395].any() and predicted.classes[390:395].all()
    assert predicted.confidence[395:].all()
    told = prediction_state(current_prediction_set(world.project))["expected_right"]
    assert told == pytest.approx(prediction_state(current)["expected_right"] / 2, abs=0.05)


def test_a_label_does_not_speak_for_itself(world):
    for _ in range(8):
        make_image(world.project)
    # Features that say nothing of the labels, which a model can only know by heart.
    make_embedding(world.project, np.random.default_rng(0).normal(size=(8 * 20, 400)))
    world.label(1, range(0, 160, 2))
    world.label(2, range(1, 160, 2))
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert predicted is not None
    labels = class_values(shared_label_set(world.project), 160)
    assert 40 < len(suggest.discordant(predicted, labels)) < 120, "by chance"


def test_what_is_expected_of_the_rest_is_told_as_labels_may_be_the_easy_ones(world):
    current, labeled = renewed_with_labels(world, lambda ordinals: ordinals % 5 < 3)
    told = prediction_state(current)["expected_right"]
    assert told == pytest.approx(current_predictions(world.project).confidence[~labeled].mean() / 255, abs=0.01)
    current, _ = renewed_with_labels(world, lambda ordinals: ordinals % 5 >= 3)
    assert prediction_state(current)["expected_right"] is None, "nothing is left"


def test_nothing_is_expected_of_images_that_no_label_tells_of(world):
    current, _ = renewed_with_labels(world, lambda ordinals: ordinals < 240)
    state = prediction_state(current)
    assert state["expected_right"] is None and current.quality_to_tell["expected_right"] is None
    assert state["few_images"] == {"n_labeled": 12, "n": 20}
    current, _ = renewed_with_labels(world, lambda ordinals: (ordinals >= 240) & (ordinals % 20 < 2))
    state = prediction_state(current)
    assert state["few_images"] is None and state["expected_right"] is not None


def renewed_with_labels(
    world: World, chosen: Callable[[npt.NDArray[np.int64]], npt.NDArray[np.bool_]]
) -> tuple[PredictionSet, npt.NDArray[np.bool_]]:
    """The predictions of 400 objects in 20 images that can be told apart, after those chosen were labeled; and which these are."""
    truth = np.where(np.arange(400) % 2, 2, 1)
    if not world.project.embeddings.exists():
        for _ in range(20):
            make_image(world.project)
        make_embedding(world.project, np.eye(6)[truth] + np.random.default_rng(0).normal(scale=0.02, size=(400, 6)))
    labeled = chosen(np.arange(400))
    for value in (1, 2):
        world.label(value, np.flatnonzero(labeled & (truth == value)))
    Refitter().renew(world.project.pk)
    current = current_prediction_set(world.project)
    assert current is not None
    return current, labeled


def test_nothing_is_expected_of_the_rest_before_enough_labels_were_held_out(world, embedding):
    world.label(1, range(0, 12, 2))
    world.label(2, range(1, 12, 2))
    Refitter().renew(world.project.pk)
    current = current_prediction_set(world.project)
    assert current is not None and 0 < current.quality["n_held_out"] < 10
    assert prediction_state(current)["expected_right"] is None


def test_a_few_labels_of_two_classes_predict_everything(world, embedding):
    world.label(1, [0, 2, 4])
    world.label(2, [1, 3, 5])
    assert projects_behind_their_labels() == [world.project.pk]
    assert Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    np.testing.assert_array_equal(predicted.classes, TRUTH)
    assert (predicted.confidence > 127).all()
    current = current_prediction_set(world.project)
    assert current is not None and (current.n_labels, current.has_predictions) == (6, True)
    assert projects_behind_their_labels() == []


def test_nothing_is_renewed_where_nothing_was_stated(world, embedding):
    refitter = Refitter()
    world.label(1, [0])
    world.label(2, [1])
    refitter.renew(world.project.pk)
    before = current_predictions(world.project).revision
    mine = get_or_create_label_set(project=world.project, name="Rafa, alone", kind=LabelSet.Kind.RATER)
    world.label(2, [0, 2], mine)
    refitter.renew(world.project.pk)
    assert current_predictions(world.project).revision == before


def test_imported_labels_are_followed_as_well(world, embedding):
    imported = get_or_create_label_set(project=world.project, name="from a table", kind=LabelSet.Kind.IMPORTED)
    import_label_values(
        label_set=imported, ordinals=np.arange(10, dtype=np.uint32), values=TRUTH[:10], actor=None, reason="table"
    )
    assert projects_behind_their_labels() == [world.project.pk]
    Refitter().renew(world.project.pk)
    np.testing.assert_array_equal(current_predictions(world.project).classes, TRUTH)


def test_undone_to_one_class_nothing_is_predicted_any_more(world, embedding):
    refitter = Refitter()
    world.label(1, [0, 2])
    world.label(2, [1, 3])
    refitter.renew(world.project.pk)
    assert current_predictions(world.project).classes.all()
    undo(label_set=shared_label_set(world.project), actor=world.rater)
    refitter.renew(world.project.pk)
    assert not current_predictions(world.project).classes.any()
    current = current_prediction_set(world.project)
    assert current is not None and (current.n_labels, current.has_predictions, current.quality) == (2, False, {})


@pytest.mark.parametrize("alike", [False, True])
@pytest.mark.parametrize("n_labeled", [0, 1, 2, 3, N])
def test_whatever_is_labeled_nothing_breaks(world, signed_in, n_labeled, alike):
    make_image(world.project)
    make_image(world.project)
    make_embedding(world.project, features(alike=alike))
    for value in (1, 2):
        ordinals = np.flatnonzero(TRUTH[:n_labeled] == value)
        if len(ordinals):
            world.label(value, ordinals)
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert predicted.classes.all() == (n_labeled >= 2)
    client: Client = signed_in(world.viewer)
    answer = client.get(f"/api/v1/projects/{world.project.pk}/predictions/quality")
    assert answer.status_code == 200 and b"NaN" not in answer.content
    assert answer.json()["n_labels"] == n_labeled and len(answer.json()["classes"]) == 2
    assert client.get(f"/api/v1/projects/{world.project.pk}/state").status_code == 200
    assert client.get(f"/projects/{world.project.pk}/").status_code == 200


def test_objects_that_came_after_the_map_may_be_labeled_and_are_not_predicted(world, embedding):
    world.label(1, [0])
    world.label(2, [1])
    make_image(world.project)
    world.label(2, [N, N + 1])
    Refitter().renew(world.project.pk)
    predicted = current_predictions(world.project)
    assert predicted.classes[:N].all() and not predicted.classes[N:].any()


def test_a_new_map_is_behind_until_its_predictions_know_the_labels(world, embedding, signed_in):
    world.label(1, [0])
    world.label(2, [1])
    refitter = Refitter()
    refitter.renew(world.project.pk)
    make_embedding(world.project, features()[:, ::-1])
    client: Client = signed_in(world.viewer)
    of_map = f"/api/v1/projects/{world.project.pk}/embeddings/%d/quality"
    assert [client.get(of_map % number).json()["n_labels"] for number in (1, 2)] == [2, 0], "each map keeps its own"
    assert client.get(of_map % 3).status_code == 404
    assert not current_predictions(world.project).classes.any()
    assert projects_behind_their_labels() == [world.project.pk]
    refitter.renew(world.project.pk)
    np.testing.assert_array_equal(current_predictions(world.project).classes, TRUTH)


def test_what_the_objects_around_one_are_called_predicts_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of objects that look all alike; what tells them apart is what the others of the image are called."""
    monkeypatch.setattr(classes_around, "FEWEST_LABELS", 24)
    for _ in range(2):
        make_image(world.project)
    image = np.arange(N) // 20
    table = np.full((N, 1 + N_AROUND), -1, np.int32)
    table[:, 0] = image
    table[:, 1] = image * 20 + (np.arange(N) + 1) % 12  # beside each lies one of those that will have a label
    looks = np.random.default_rng(0).normal(size=(N, 6))
    make_embedding(world.project, looks, surroundings=Surroundings(table))
    refitter = Refitter()
    refitter.warm_up()

    def are_right(first: int, second: int) -> bool:
        world.label(first, range(0, 12))
        world.label(second, range(20, 32))
        assert refitter.renew(world.project.pk)
        classes = current_predictions(world.project).classes
        return bool((classes[12:20] == first).all() and (classes[32:] == second).all())

    assert are_right(1, 2)
    assert are_right(2, 1), "they follow the labels"
    monkeypatch.setattr(classes_around, "FEWEST_LABELS", 25)
    assert not are_right(1, 2), "looks alone do not tell"


@pytest.mark.parametrize("name", [SURROUNDINGS_NAME, VECTORS_NAME])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_file_of_a_map_is_named_and_predictions_stay_until_it_is_whole(
    world: World, name: str, share: float
) -> None:
    make_image(world.project)
    make_image(world.project)
    table = np.full((N, 1 + N_AROUND), -1, np.int32)
    path = embedding_folder(make_embedding(world.project, features(), surroundings=Surroundings(table))) / name
    world.label(1, [0])
    world.label(2, [1])
    refitter = Refitter()
    refitter.renew(world.project.pk)
    before = current_predictions(world.project)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    world.label(1, [2])
    with pytest.raises(EngineError, match=rf"embeddings/1/{name} is damaged \(.+\)"):
        refitter.renew(world.project.pk)
    assert current_predictions(world.project).revision == before.revision
    np.testing.assert_array_equal(current_predictions(world.project).classes, before.classes)
    path.write_bytes(whole)
    refitter.renew(world.project.pk)
    current = current_prediction_set(world.project)
    assert current is not None
    assert current.n_labels == 3


def other_classifier(
    features: npt.NDArray[Any],
    class_values: npt.NDArray[np.uint8],
    *,
    seed: int,
    denied: dict[int, npt.NDArray[np.int64]],
    held_out: Any = None,
) -> Any:
    """Of another package: it knows the words that its contract names, and no other."""
    return fit_head(features[:, :3], class_values, seed=seed, held_out=held_out) and OtherHead()


class OtherHead:
    quality = Quality(None, None, None, None, None, 2, 0, [1, 2], [[0, 0], [0, 0]], [])

    def predict(self, features: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        return np.full(len(features), 2, np.uint8), np.full(len(features), 0.5, np.float32)


@pytest.fixture
def others(world, monkeypatch) -> None:
    entries = [
        *CLASSIFIERS.entries(),
        Classifier("other", "Other", "Says two.", f"{__name__}:other_classifier"),
        Classifier("raising", "Raising", "Fails.", f"{__name__}:raising_classifier"),
        *(Classifier(name, name, "Lies.", f"{__name__}:{name}") for name in ("unsure", "inventive", "brief")),
    ]
    monkeypatch.setattr(classify, "CLASSIFIERS", Registry(Classifier, group="none", built_in=entries))


def choose_classifier(world, name: str) -> None:
    type(world.project).objects.filter(pk=world.project.pk).update(classifier=name)


@pytest.mark.usefixtures("others")
def test_the_project_s_classifier_renews_also_where_another_package_brought_it(world, embedding):
    choose_classifier(world, "other")
    refitter = Refitter()
    for ordinal in range(3):
        world.label(int(TRUTH[ordinal]), [ordinal])
        refitter.renew(world.project.pk)
    assert (current_predictions(world.project).classes == 2).all()


def raising_classifier(*_: Any, **others: Any) -> Any:
    raise ValueError("not today")


class LyingHead(OtherHead):
    def __init__(self, values: list[int], confidence: float) -> None:
        self.said = np.array(values), confidence

    def predict(self, features: npt.NDArray[Any]) -> Any:
        values, confidence = self.said
        return values, np.full(len(values), confidence)


def unsure(features: npt.NDArray[Any], *_: Any, **others: Any) -> Any:
    return LyingHead([1] * len(features), np.nan)


def inventive(features: npt.NDArray[Any], *_: Any, **others: Any) -> Any:
    return LyingHead([9] * len(features), 0.5)


def brief(*_: Any, **others: Any) -> Any:
    return LyingHead([1], 0.5)


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize(
    ("classifier", "fault"),
    [
        ("raising", "the classifier raising failed: ValueError: not today"),
        ("unsure", "the classifier unsure gave confidences outside of 0 to 1"),
        ("inventive", "the classifier inventive predicted a class that no label has"),
        ("brief", "the classifier brief gave classes of shape (1,) and confidences of shape (1,) for"),
        ("of_a_package_that_was_removed", "There is no classifier called 'of_a_package_that_was_removed'"),
    ],
)
def test_the_standard_classifier_predicts_where_another_package_s_cannot(world, embedding, classifier, fault):
    refitter = Refitter()
    for ordinal in range(4):
        world.label(int(TRUTH[ordinal]), [ordinal])
    refitter.renew(world.project.pk)
    standard = current_predictions(world.project)
    choose_classifier(world, classifier)
    for ordinal in (4, 5):  # twice: what stood in must not be started from
        world.label(int(TRUTH[ordinal]), [ordinal])
        refitter.renew(world.project.pk)
    current = current_prediction_set(world.project)
    assert current is not None and current.n_labels == 6
    assert fault in prediction_state(current)["classifier_fault"]
    assert current_predictions(world.project).revision == standard.revision + 2
    assert (current_predictions(world.project).classes > 0).all()
    choose_classifier(world, "kernel")
    world.label(int(TRUTH[6]), [6])
    refitter.renew(world.project.pk)
    mended = current_prediction_set(world.project)
    assert mended is not None and prediction_state(mended)["classifier_fault"] is None


def test_a_project_without_a_map_or_that_is_gone_is_passed_over(world):
    label_set = shared_label_set(world.project)
    make_image(world.project)
    world.label(1, [0], label_set)
    assert projects_behind_their_labels() == []
    assert Refitter().renew(world.project.pk)
    assert Refitter().renew(2**30)
    assert current_prediction_set(world.project) is None
