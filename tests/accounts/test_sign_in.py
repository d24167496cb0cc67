from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from django.core.cache import caches
from django.test import Client
from django.urls import NoReverseMatch, reverse

from apps.accounts.models import User
from apps.audit.models import AuditEvent
from apps.images.selectors import thumbnail
from tests.factories import PASSWORD, make_image

if TYPE_CHECKING:
    from tests.conftest import World


def events(action: str) -> list[AuditEvent]:
    return list(AuditEvent.objects.filter(action=action))


def sign_in(client: Client, email: str, password: str) -> int:
    return client.post(reverse("account_login"), {"login": email, "password": password}).status_code


def test_signing_in_and_out_is_noted_with_the_address(world: World, client: Client) -> None:
    assert sign_in(client, world.rater.email, PASSWORD) == 302
    client.post(reverse("account_logout"))
    (came,), (went,) = events("account.sign_in"), events("account.sign_out")
    assert came.actor == went.actor == world.rater
    assert came.organization_id == world.organization.pk
    assert came.detail == {"address": "127.0.0.1"}


def test_a_wrong_password_is_noted_for_the_account_and_names_no_actor(world: World, client: Client) -> None:
    assert sign_in(client, world.rater.email, "not the password") == 200
    (event,) = events("account.sign_in.failed")
    assert event.actor is None
    assert world.rater.email in event.subject
    assert event.organization_id == world.organization.pk
    assert "not the password" not in str(event.detail)


def test_an_unknown_address_is_noted_for_the_installation(db: None, client: Client) -> None:
    sign_in(client, "nobody@lab.example", "whatever it is")
    (event,) = events("account.sign_in.failed")
    assert event.organization_id == 0


def test_a_wrong_password_and_an_unknown_address_get_the_same_answer(world: World, client: Client) -> None:
    answers = [
        client.post(reverse("account_login"), {"login": email, "password": "whatever it is"}).content.decode()
        for email in (world.rater.email, "nobody@lab.example")
    ]
    messages = [answer.split('role="alert">')[1].split("<")[0] for answer in answers]
    assert messages[0] == messages[1]
    assert "e-mail address and password do not belong together" in messages[0]


def test_guessing_is_slowed_down(world: World, client: Client) -> None:
    for _ in range(6):
        sign_in(client, world.rater.email, "not the password")
    assert sign_in(client, world.rater.email, PASSWORD) == 200
    assert client.get("/").status_code == 302


def test_thumbnails_and_reviews_do_not_make_the_lock_forgotten(world: World, client: Client) -> None:
    for _ in range(6):
        sign_in(client, world.rater.email, "not the password")
    for name in ("pictures", "reviews"):
        for number in range(1000):
            caches[name].set(f"entry-{number}", b"")
    assert sign_in(client, world.rater.email, PASSWORD) == 200
    image = make_image(world.project)
    thumbnail(image, 128)
    key = f"thumbnail:{image.store_key}:128"
    assert (key in caches["pictures"], key in caches["default"]) == (True, False)


def test_nobody_signs_up_or_resets_a_password_by_mail() -> None:
    for name in ("account_signup", "account_reset_password", "account_email"):
        with pytest.raises(NoReverseMatch):
            reverse(name)


def test_signing_out_asks_first_when_opened_as_a_page(world: World, signed_in: Callable[[User], Client]) -> None:
    client = signed_in(world.rater)
    assert client.get(reverse("account_logout")).status_code == 200
    assert client.get("/").status_code == 200


def test_one_can_type_at_once(db: None, client: Client) -> None:
    page = client.get(reverse("account_login")).content.decode()
    assert page.count("autofocus") == 1
    assert "autofocus" in page[page.index('name="login"') :].split(">")[0]
    refused = client.post(reverse("account_login"), {"login": "a@b.example", "password": "not it"}).content.decode()
    assert refused.count("autofocus") == 1
    assert "autofocus" in refused[refused.index('name="password"') :].split(">")[0]


def test_a_page_leads_to_sign_in_and_back(world: World, client: Client) -> None:
    url = reverse("project_overview", args=[world.project.pk])
    asked = client.get(url)
    assert asked.status_code == 302
    done = client.post(asked["Location"], {"login": world.rater.email, "password": PASSWORD, "next": url})
    assert done["Location"] == url


def test_a_form_without_its_token_changes_nothing(world: World) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(world.manager)
    response = client.post(reverse("label_class_add", args=[world.project.pk]), {"name": "x", "color": "#000000"})
    assert response.status_code == 403
    assert "This form was open for too long" in response.content.decode()


def test_who_had_to_choose_a_password_goes_on_to_work(world: World, client: Client) -> None:
    User.objects.filter(pk=world.rater.pk).update(must_change_password=True)
    url = reverse("account_change_password")
    another, one_more = "another battery staple", "one more battery staple"
    sign_in(client, world.rater.email, PASSWORD)
    changed = client.post(url, {"oldpassword": PASSWORD, "password1": another, "password2": another})
    assert changed["Location"] == reverse("project_list")
    changed = client.post(url, {"oldpassword": another, "password1": one_more, "password2": one_more})
    assert changed["Location"] == reverse("account_home")


def test_a_person_changes_what_they_are_called(world: World, signed_in: Callable[[User], Client]) -> None:
    client, url = signed_in(world.rater), reverse("account_name")
    for nobody in (" ", "the server", "The  Server", "import"):
        assert client.post(url, {"name": nobody}).status_code == 422
    assert client.post(url, {"name": "Rafaela Rater"}).status_code == 302
    assert client.post(url, {"name": "Rafaela Rater"}).status_code == 302
    world.rater.refresh_from_db()
    assert str(world.rater) == "Rafaela Rater"
    (event,) = events("account.name")
    assert event.detail == {"changes": {"name": ["Rafa Rater", "Rafaela Rater"]}}
