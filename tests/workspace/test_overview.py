from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.labels.models import LabelSet
from apps.labels.selectors import shared_label_set
from apps.labels.services import get_or_create_label_set
from apps.models.models import Embedding, ModelVersion, PredictionSet
from apps.projects.models import Job
from apps.workspace.overview import Overview, project_overview
from tests.factories import make_image

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


def states(overview: Overview) -> dict[str, str]:
    return {step.key: step.state for step in overview.steps}


def embed(world: World, number: int, *, with_labels: bool) -> None:
    quality = {"accuracy": 0.9} if with_labels else {}
    version = ModelVersion.objects.create(project=world.project, number=number, approach="simclr", quality=quality)
    Embedding.objects.create(
        project=world.project, number=number, model_version=version, n=world.project.n_objects, dimension=8
    )


def test_the_next_step_moves_on_as_the_project_does(world: World) -> None:
    order = ["images", "train", "label", "retrain", "export"]

    def expect(n_done: int) -> None:
        expected = ["done"] * n_done + ["current"] * (n_done < 5) + ["later"] * (4 - n_done)
        assert states(project_overview(world.project, world.rater)) == dict(zip(order, expected, strict=True))

    expect(0)
    make_image(world.project)
    expect(1)
    embed(world, 1, with_labels=False)
    expect(2)
    world.label(1, list(range(9)))
    expect(2)
    world.label(2, [9])
    expect(3)
    embed(world, 2, with_labels=True)
    expect(4)
    Job.objects.create(project=world.project, kind="export", task="none", queue="cpu", state="finished")
    expect(5)


def test_a_handful_of_labels_is_not_enough_to_train_with(world: World) -> None:
    for _ in range(6):
        make_image(world.project)
    embed(world, 1, with_labels=False)
    world.label(1, list(range(45)))
    world.label(2, [45, 46])
    overview = project_overview(world.project, world.rater)
    assert states(overview)["label"] == "current"
    assert next(step.text for step in overview.steps if step.key == "label").endswith("47 of some 50 so far.")
    world.label(2, [47, 48, 49])
    assert states(project_overview(world.project, world.rater))["retrain"] == "current"


def test_while_the_first_images_are_read_the_page_says_so_and_asks_for_no_others(
    world: World, signed_in: SignIn
) -> None:
    url = reverse("project_overview", args=[world.project.pk])
    assert "They are being read now" not in signed_in(world.lead).get(url).content.decode()
    Job.objects.create(project=world.project, kind="import", task="none", queue="cpu", state="running")
    page = signed_in(world.lead).get(url).content.decode()
    assert "They are being read now" in page
    assert 'data-island="job-progress"' in page
    assert "Upload images" not in page
    make_image(world.project)  # the page that is open asks for what has changed
    renewed = signed_in(world.lead).get(url, headers={"HX-Request": "true"}).content.decode()
    actions = renewed[renewed.index('id="page-actions" hx-swap-oob="true"') :]
    assert "Upload images" in actions and "Open workspace" in actions
    assert 'data-island="job-progress"' not in signed_in(world.viewer).get(url).content.decode()


def test_objects_are_counted_by_class_and_removed_labels_are_not(world: World) -> None:
    make_image(world.project)
    world.label(1, [0, 1, 2])
    world.label(2, [2, 3])
    world.label(None, [3])
    overview = project_overview(world.project, world.viewer)
    assert [(entry.name, entry.n) for entry in overview.classes] == [("lymphocyte", 2), ("epithelial", 1)]
    assert (overview.n_labeled, overview.n_unlabeled) == (3, 17)


def test_imported_labels_count_where_nobody_said_else(world: World) -> None:
    make_image(world.project)
    imported = get_or_create_label_set(project=world.project, name="from the mask", kind=LabelSet.Kind.IMPORTED)
    world.label(1, [0, 1, 2, 3], imported)
    world.label(2, [3])
    overview = project_overview(world.project, world.viewer)
    assert [entry.n for entry in overview.classes] == [3, 1]


def test_the_page_costs_the_same_number_of_queries_whatever_the_project_holds(
    world: World, signed_in: SignIn, django_assert_max_num_queries: Any
) -> None:
    client, url = signed_in(world.manager), reverse("project_overview", args=[world.project.pk])
    for _ in range(3):
        make_image(world.project)
    world.label(1, list(range(20)))
    world.label(2, list(range(20, 40)))
    embed(world, 1, with_labels=True)
    client.get(url)
    with django_assert_max_num_queries(20):
        assert client.get(url).status_code == 200


def test_the_page_names_the_model_s_approach_as_people_know_it(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    embed(world, 1, with_labels=False)
    page = signed_in(world.viewer).get(reverse("project_overview", args=[world.project.pk])).content.decode()
    assert "<dd>SimCLR</dd>" in page
    ModelVersion.objects.update(approach="of a package that was removed")
    page = signed_in(world.viewer).get(reverse("project_overview", args=[world.project.pk])).content.decode()
    assert "<dd>of a package that was removed</dd>" in page


def test_few_labels_say_nothing_of_the_rest(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    embed(world, 1, with_labels=False)
    url = reverse("project_overview", args=[world.project.pk])

    def page(n_labels: int = 50, **quality: float | None) -> str:
        PredictionSet.objects.update_or_create(
            project=world.project,
            revision=1,
            defaults={
                "embedding": Embedding.objects.get(),
                "label_revision": 1,
                "n_labels": n_labels,
                "has_predictions": True,
                "quality": quality,
            },
        )
        return signed_in(world.viewer).get(url).content.decode()

    few = page(n_held_out=10, accuracy=0.6, expected_right=0.73)
    assert "from some 200 labels on" in few and "73%" not in few
    assert "from some 200 labels on" in page(n_held_out=0, accuracy=None, expected_right=0.73)
    assert "with a few more labels" in page(n_labels=210, n_held_out=38, accuracy=0.6, expected_right=0.73)
    enough = page(n_held_out=40, accuracy=0.6, expected_right=0.73)
    assert "73%" in enough and "from some 200 labels on" not in enough
    assert "from some 200 labels on" not in page(n_held_out=400, accuracy=0.6, expected_right=None), "all have one"
    few = page(n_held_out=400, accuracy=0.6, expected_right=0.73, few_images={"n_labeled": 3, "n": 27})
    assert "once more images have labels" in few and "73%" not in few
    both = page(n_held_out=10, accuracy=0.6, expected_right=0.73, few_images={"n_labeled": 3, "n": 27})
    assert "from some 200 labels on" in both


def test_training_starts_from_the_page_once_at_a_time(world: World, signed_in: SignIn) -> None:
    client, url = signed_in(world.lead), reverse("project_train", args=[world.project.pk])
    assert "no objects yet" in client.post(url, follow=True).content.decode()
    make_image(world.project)
    client.post(url)
    assert "already under way" in client.post(url, follow=True).content.decode()
    assert Job.objects.filter(project=world.project, kind="iteration").count() == 1


def test_the_labeling_screen_knows_where_it_is(world: World, signed_in: SignIn) -> None:
    client = signed_in(world.rater)
    response = client.get(reverse("workspace", args=[world.project.pk]))
    page = response.content.decode()
    assert f'data-project-id="{world.project.pk}"' in page
    assert f'data-label-set-id="{shared_label_set(world.project).pk}"' in page
    assert 'data-project-name="Nuclei"' in page
    assert "csrftoken" in response.cookies


def test_the_labeling_screen_begins_with_the_objects_of_an_image_where_it_is_told_to(
    world: World, signed_in: SignIn
) -> None:
    client, image = signed_in(world.rater), make_image(world.project)
    url = reverse("workspace", args=[world.project.pk])
    assert f'data-image-id="{image.pk}"' in client.get(url, {"image": image.pk}).content.decode()
    for other in ("", "x", "987654", "9" * 30):
        assert client.get(url, {"image": other}).status_code == 404, "an old link does not show something else"
    assert "data-image-id" not in client.get(url).content.decode()


def test_a_fragment_asked_for_after_the_session_ended_leads_to_the_sign_in_page(world: World, client: Client) -> None:
    url = reverse("project_overview", args=[world.project.pk])
    response = client.get(url, headers={"HX-Request": "true"}, follow=True)
    assert response.status_code == 204
    assert response["HX-Redirect"].startswith(reverse("account_login"))


def test_what_somebody_may_not_do_is_said_to_be_others_to_do(world: World, signed_in: SignIn) -> None:
    url = reverse("project_overview", args=[world.project.pk])
    make_image(world.project)
    said = "Others of the project do this."
    assert signed_in(world.rater).get(url).content.decode().count(said) == 3
    assert said not in signed_in(world.lead).get(url).content.decode()


def test_nothing_is_said_of_a_training_where_the_approach_has_none(world: World) -> None:
    make_image(world.project)

    def told() -> str:
        return " ".join(f"{step.title} {step.text}" for step in project_overview(world.project, world.lead).steps)

    assert "Train with your labels" in told()
    world.project.approach = "instant"
    assert "rain with" not in told() and "Training" not in told() and "Make the map anew" in told()
