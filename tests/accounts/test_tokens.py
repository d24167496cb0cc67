"""Tokens: a person makes one on the account page, and a script does with it what the person may do, until it expires."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from apps.accounts.models import ApiToken, OrganizationMember, User
from apps.accounts.services import (
    MOST_TOKENS,
    change_name,
    create_token,
    deactivate_member,
    reactivate_member,
    reset_password,
)
from apps.audit.models import AuditEvent
from apps.labels.acceptance import draw_sample
from apps.labels.models import LabelAction, LabelingSession
from apps.labels.selectors import shared_label_set
from apps.projects.services import allow_sampled_acceptance
from tests.factories import PASSWORD, make_image

if TYPE_CHECKING:
    from tests.conftest import World

SignIn = Callable[[User], Client]


def token_of(user: User, days: int = 30) -> str:
    return create_token(user=user, name="Nightly export", days=days).secret


def ask(secret: str, url: str, **sent: Any) -> Any:
    """A script's request: POST where something is sent."""
    client = Client(enforce_csrf_checks=True)
    headers = {"Authorization": f"Bearer {secret}"}
    if sent:
        return client.post(url, sent, content_type="application/json", headers=headers)
    return client.get(url, headers=headers)


def state(world: World) -> str:
    return reverse("state", args=[world.project.pk])


def label(world: World, secret: str, ordinals: list[int], **more: Any) -> Any:
    url = reverse("label_actions", args=[shared_label_set(world.project).pk])
    return ask(secret, url, kind="label", class_value=1, provenance="bulk", ordinals=ordinals, **more)


def test_a_token_is_shown_once_and_lets_a_script_do_what_its_person_may(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    client = signed_in(world.rater)
    made = client.post(reverse("token_create"), {"name": "Nightly export", "days": 30}).content.decode()
    (secret,) = re.findall(r"ps_[0-9a-f]{64}", made)
    assert ask(secret, state(world)).status_code == 200
    assert label(world, secret, [0, 1]).json()["n_changed"] == 2
    assert ask(secret, reverse("api_jobs", args=[world.project.pk]), kind="iteration").status_code == 403
    assert ask(secret, state(world).replace(str(world.project.pk), str(world.their_project.pk))).status_code == 404
    listed = client.get(reverse("account_home")).content.decode()
    assert "Nightly export" in listed and secret[:15] in listed and secret not in listed
    assert secret not in str(ApiToken.objects.values().get())


def test_making_and_revoking_a_token_is_noted_without_its_secret(world: World, signed_in: SignIn) -> None:
    secret = token_of(world.rater)
    client = signed_in(world.rater)
    client.post(reverse("token_revoke", args=[secret[:15]]))
    assert ask(secret, state(world)).status_code == 403
    created, revoked = AuditEvent.objects.filter(action__startswith="account.token").order_by("sequence")
    assert (created.action, revoked.action) == ("account.token.create", "account.token.revoke")
    assert created.actor == world.rater and created.organization_id == world.organization.pk
    assert created.detail["token"] == revoked.detail["token"] == secret[:15]
    assert secret not in str(created.detail)
    assert "Nightly export" not in f"{created.detail}{revoked.detail}", (
        "the person's other organizations read this, too"
    )


def test_somebody_elses_token_can_not_be_revoked(world: World, signed_in: SignIn) -> None:
    secret = token_of(world.rater)
    assert signed_in(world.owner).post(reverse("token_revoke", args=[secret[:15]])).status_code == 404
    assert ask(secret, state(world)).status_code == 200


def test_a_token_ends_by_itself(world: World) -> None:
    secret = token_of(world.rater)
    ApiToken.objects.update(expiry=timezone.now() - timedelta(seconds=1))
    assert ask(secret, state(world)).status_code == 403


def test_one_sees_when_a_token_was_last_used(world: World) -> None:
    secret = token_of(world.rater)
    assert ApiToken.objects.get().last_used_at is None
    ask(secret, state(world))
    first = ApiToken.objects.get().last_used_at
    assert first is not None
    ask(secret, state(world))
    assert ApiToken.objects.get().last_used_at == first  # not each request is a write


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ps_", "Bearer ps_" + "0" * 64, "Bearer x y", "Bearer ps_\xff\xfe", "Basic cmFmYTpwdw==", "ps_"],
)
def test_what_is_no_token_is_refused(world: World, header: str) -> None:
    assert Client().get(state(world), headers={"Authorization": header}).status_code == 403


def test_pages_take_no_token(world: World) -> None:
    secret = token_of(world.manager)
    for name in ("project_overview", "project_settings"):
        assert ask(secret, reverse(name, args=[world.project.pk])).status_code == 302
    assert ask(secret, reverse("token_create")).status_code == 302


def test_tokens_are_gone_with_a_new_password_and_with_the_account(world: World) -> None:
    member = OrganizationMember.objects.get(user=world.rater, organization=world.organization)
    User.objects.filter(pk=world.rater.pk).update(home_organization=world.organization)
    secret = token_of(world.rater)
    reset_password(member=member, reset_by=world.owner)
    assert ask(secret, state(world)).status_code == 403
    User.objects.filter(pk=world.rater.pk).update(must_change_password=False)
    secret = token_of(world.rater)
    assert ask(secret, state(world)).status_code == 200
    User.objects.filter(pk=world.rater.pk).update(must_change_password=True)
    assert ask(secret, state(world)).status_code == 403, "until a password of one's own is chosen"
    deactivate_member(member=member, deactivated_by=world.owner)
    reactivate_member(member=member, reactivated_by=world.owner)
    assert ask(secret, state(world)).status_code == 403


def test_tokens_are_gone_when_a_person_changes_the_password(world: World, signed_in: SignIn) -> None:
    """Whoever knew the old one may have made some."""
    secret, another = token_of(world.rater), "another battery staple"
    sent = {"oldpassword": PASSWORD, "password1": another, "password2": another}
    assert signed_in(world.rater).post(reverse("account_change_password"), sent).status_code == 302
    assert ask(secret, state(world)).status_code == 403


def test_an_account_that_was_closed_meanwhile_makes_no_token(world: World) -> None:
    as_the_page_knew_it = User.objects.get(pk=world.rater.pk)
    User.objects.filter(pk=world.rater.pk).update(is_active=False)
    with pytest.raises(ValidationError, match="can not make tokens"):
        token_of(as_the_page_knew_it)
    assert not ApiToken.objects.exists()


def test_nobody_fills_the_trail_with_their_account(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.accounts.services.MOST_EVENTS_AN_HOUR", 3)
    for _ in range(3):
        token_of(world.rater)
    with pytest.raises(ValidationError, match="very often"):
        token_of(world.rater)
    with pytest.raises(ValidationError, match="very often"):
        change_name(user=world.rater, name="Another")


def test_a_script_has_no_screen(world: World) -> None:
    make_image(world.project)
    assert label(world, token_of(world.rater), [0], selection={"on_screen": {"n": 1}}).status_code == 400


def test_a_script_does_not_end_the_sample_that_its_person_looks_at(world: World) -> None:
    make_image(world.project)
    allow_sampled_acceptance(project=world.project, allowed=True, max_error=0.05, changed_by=world.manager)
    sample = draw_sample(
        label_set=shared_label_set(world.project),
        label_class=world.project.label_classes.get(value=1),
        ordinals=np.arange(10, dtype=np.uint32),
        drawn_by=world.rater,
        embedding=None,
        selection={},
    )
    assert ask(token_of(world.rater), reverse("sample_end", args=[sample.pk]), x=1).status_code == 403
    sample.refresh_from_db()
    assert sample.state == "open"


def test_a_person_has_so_many_tokens_and_no_more(world: World, signed_in: SignIn) -> None:
    for _ in range(MOST_TOKENS):
        token_of(world.rater)
    refused = signed_in(world.rater).post(reverse("token_create"), {"name": "One more", "days": 7})
    assert refused.status_code == 422
    assert "Revoke one" in refused.content.decode()
    ApiToken.objects.filter(pk=ApiToken.objects.latest("created").pk).update(expiry=timezone.now())
    assert token_of(world.rater)


@pytest.mark.parametrize("days", ["", "0", "8", "100000"])
def test_a_token_is_good_for_one_of_a_few_times(world: World, signed_in: SignIn, days: str) -> None:
    assert signed_in(world.rater).post(reverse("token_create"), {"name": "x", "days": days}).status_code == 422


def test_what_a_script_labels_is_nobodys_pace(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    secret = token_of(world.rater)
    label(world, secret, [0, 1, 2], reason="threshold 0.9")
    assert not LabelingSession.objects.exists()
    page = signed_in(world.manager).get(reverse("label_history", args=[world.project.pk])).content.decode()
    assert f"by a script with the token {secret[:15]}" in page and "threshold 0.9" in page
    # The person takes it back by hand: no labels are taken from a pace that they were no part of.
    undone = signed_in(world.rater).post(reverse("undo", args=[shared_label_set(world.project).pk]), {})
    assert undone.status_code == 201
    assert not LabelingSession.objects.exists()
    assert ask(secret, reverse("redo", args=[shared_label_set(world.project).pk]), action_id=None).status_code == 201
    kinds = LabelAction.objects.order_by("sequence").values_list("kind", "selection__token")
    assert list(kinds) == [("label", secret[:15]), ("undo", None), ("redo", secret[:15])]


def test_a_page_can_not_say_that_it_is_a_script(world: World, signed_in: SignIn) -> None:
    make_image(world.project)
    url = reverse("label_actions", args=[shared_label_set(world.project).pk])
    sent = {"kind": "remove", "provenance": "bulk", "ordinals": [0], "selection": {"token": "ps_another"}}
    assert signed_in(world.rater).post(url, sent, content_type="application/json").status_code == 400


def test_a_script_accepts_no_samples(world: World) -> None:
    make_image(world.project)
    allow_sampled_acceptance(project=world.project, allowed=True, max_error=0.05, changed_by=world.manager)
    url = reverse("samples", args=[shared_label_set(world.project).pk])
    refused = ask(token_of(world.rater), url, class_value=1, ordinals=[0])
    assert refused.status_code == 403
    assert "looked at and accepted by people" in refused.json()["detail"]
