"""The project's socket: members hear what happens, nobody else does, and nobody changes anything through it."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser
from uvicorn.protocols.utils import ClientDisconnected

from apps.accounts.models import User
from apps.labels.selectors import shared_label_set
from apps.labels.services import Gesture, label_objects
from apps.projects import consumers
from apps.projects.consumers import ProjectConsumer
from apps.projects.events import group_of
from apps.projects.jobs import start_job
from apps.projects.models import Project, ProjectMember
from apps.projects.services import add_label_class, allow_sampled_acceptance
from tests.conftest import World

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.asyncio,
    pytest.mark.usefixtures("no_session_left"),
]


def socket(user: User | AnonymousUser, project: Project) -> WebsocketCommunicator:
    communicator = WebsocketCommunicator(ProjectConsumer.as_asgi(), f"/ws/projects/{project.pk}/")
    communicator.scope |= {"user": user, "url_route": {"kwargs": {"project_id": project.pk}}}
    return communicator


async def opened(user: User, project: Project) -> WebsocketCommunicator:
    """The socket of a page that knows who is there."""
    communicator = socket(user, project)
    connected, _ = await communicator.connect()
    assert connected
    assert user.pk in (await present(communicator))
    return communicator


async def present(communicator: WebsocketCommunicator) -> dict[int, str]:
    """Who the page is told to be there: names by id."""
    event = await communicator.receive_json_from(timeout=10)
    assert event["type"] == "presence"
    return {user["id"]: user["name"] for user in event["users"]}


def label_something(world: World) -> None:
    Project.objects.filter(pk=world.project.pk).update(n_objects=5)
    label_objects(
        label_set=shared_label_set(Project.objects.get(pk=world.project.pk)),
        label_class=world.project.label_classes.get(value=1),
        ordinals=np.array([1, 2], np.uint32),
        actor=world.rater,
        gesture=Gesture(provenance="bulk", selection={}),
    )


@pytest.mark.parametrize(
    ("who", "hears"), [("viewer", True), ("owner", True), ("colleague", False), ("stranger", False)]
)
async def test_who_may_listen(world, who, hears):
    communicator = socket(world.user(who), world.project)
    connected, code = await communicator.connect()
    assert connected is hears
    if not hears:
        assert code == 4404
    await communicator.disconnect()


async def test_somebody_who_is_not_signed_in_may_not_listen(world):
    connected, _ = await socket(AnonymousUser(), world.project).connect()
    assert not connected


async def test_one_person_has_only_so_many_pages_open_at_once(world, monkeypatch):
    monkeypatch.setattr(consumers, "MOST_PAGES", 2)
    first, second = await opened(world.viewer, world.project), await opened(world.viewer, world.project)
    connected, code = await socket(world.viewer, world.project).connect()
    assert (connected, code) == (False, 4429)
    others = await opened(world.rater, world.project)
    await first.disconnect()
    third = await opened(world.viewer, world.project)
    for page in (second, third, others):
        await page.disconnect()


async def test_a_page_that_goes_while_it_is_told_something_is_not_counted_any_more(world, monkeypatch):
    """The server's `send` then raises, and nothing tells the consumer that the page has left."""
    other, page = await opened(world.rater, world.project), await opened(world.viewer, world.project)
    assert world.viewer.pk in await present(other)

    async def gone(*_: object, **__: object) -> None:
        raise ClientDisconnected

    with monkeypatch.context() as patched:
        patched.setattr(ProjectConsumer, "send_json", gone)
        layer = get_channel_layer()
        assert layer is not None
        await layer.group_send(group_of(world.project.pk), {"type": "project.event", "event": {}})
        with pytest.raises(ClientDisconnected):
            await page.wait()
        with pytest.raises(ClientDisconnected):
            await other.wait()
    assert not +ProjectConsumer._n_open, "nobody has a page open"


async def test_labels_are_announced_once_committed_with_numbers_only(world):
    communicator = await opened(world.viewer, world.project)
    await sync_to_async(label_something)(world)
    event = await communicator.receive_json_from()
    assert (event["type"], event["n"], event["revision"], event["actor"]) == ("labels.changed", 2, 1, "Rafa Rater")
    await communicator.disconnect()


async def test_open_pages_hear_that_a_manager_has_changed_something_and_only_then(world):
    communicator = await opened(world.rater, world.project)
    for _ in range(2):
        await sync_to_async(allow_sampled_acceptance)(
            project=world.project, allowed=True, max_error=0.02, changed_by=world.manager
        )
    assert await communicator.receive_json_from() == {"type": "project.changed"}
    assert await communicator.receive_nothing()
    await sync_to_async(add_label_class)(project=world.project, name="mitosis", added_by=world.manager)
    assert await communicator.receive_json_from() == {"type": "project.changed"}
    await communicator.disconnect()


async def test_jobs_are_announced(world):
    communicator = await opened(world.rater, world.project)
    await sync_to_async(start_job)(
        project=world.project, kind="export", task="none", queue="cpu", requested_by=world.manager, params={}
    )
    event = await communicator.receive_json_from()
    assert (event["type"], event["job"]["state"]) == ("job.progress", "queued")
    await communicator.disconnect()


async def test_other_projects_hear_nothing(world):
    communicator = await opened(world.stranger, world.their_project)
    await sync_to_async(label_something)(world)
    assert await communicator.receive_nothing(timeout=0.3)
    await communicator.disconnect()


@pytest.mark.parametrize("how", ["taken off the project", "deactivated", "given a new password"])
async def test_somebody_who_loses_access_hears_nothing_more(world, how):
    communicator = await opened(world.rater, world.project)
    if how == "deactivated":
        await User.objects.filter(pk=world.rater.pk).aupdate(is_active=False)
    elif how == "given a new password":
        await User.objects.filter(pk=world.rater.pk).aupdate(must_change_password=True)
    else:
        await ProjectMember.objects.filter(user=world.rater, project=world.project).adelete()
    await sync_to_async(label_something)(world)
    closed = await communicator.receive_output()
    assert (closed["type"], closed["code"]) == ("websocket.close", 4404)
    assert await communicator.receive_nothing(timeout=0.2)


async def test_what_a_page_sends_is_ignored(world):
    communicator = await opened(world.manager, world.project)
    await communicator.send_to(text_data='{"type": "project.event", "event": {"type": "labels.changed"}}')
    await communicator.send_to(text_data="not even JSON")
    assert await communicator.receive_nothing(timeout=0.2)
    await communicator.disconnect()


# -- who else is there ------------------------------------------------------------------------------------------------------


async def test_pages_know_who_else_is_there_and_who_has_left(world):
    rater = await opened(world.rater, world.project)
    lead = socket(world.lead, world.project)
    await lead.connect()
    both = {world.rater.pk: "Rafa Rater", world.lead.pk: "Lea Lead"}
    assert await present(rater) == both
    while await present(lead) != both:
        pass  # first itself, then whoever answers
    await lead.disconnect()
    assert await present(rater) == {world.rater.pk: "Rafa Rater"}
    await rater.disconnect()


async def test_a_second_tab_of_one_person_changes_nothing_for_others(world):
    rater, lead = await opened(world.rater, world.project), await opened(world.lead, world.project)
    await present(rater)
    second = await opened(world.lead, world.project)
    assert await rater.receive_nothing(timeout=1)
    await second.disconnect()
    assert await rater.receive_nothing(timeout=1), "the first tab is still open"
    for page in (rater, lead):
        await page.disconnect()


async def test_a_page_whose_process_died_is_taken_for_gone(world, monkeypatch):
    monkeypatch.setattr(consumers, "PRESENCE_S", 1.0)
    rater = await opened(world.rater, world.project)
    ghost = {"type": "presence.here", "channel": "of.a.dead.process", "id": world.lead.pk, "name": "Lea Lead"}
    await get_channel_layer().group_send(group_of(world.project.pk), {**ghost, "asks": False})
    assert world.lead.pk in await present(rater)
    assert await present(rater) == {world.rater.pk: "Rafa Rater"}
    await rater.disconnect()


async def test_somebody_who_was_deactivated_is_not_there_any_more(world, monkeypatch):
    monkeypatch.setattr(consumers, "PRESENCE_S", 1.0)
    rater, lead = await opened(world.rater, world.project), await opened(world.lead, world.project)
    assert world.lead.pk in await present(rater)
    await User.objects.filter(pk=world.lead.pk).aupdate(is_active=False)
    closed = await lead.receive_output(timeout=10)
    while closed["type"] != "websocket.close":
        closed = await lead.receive_output(timeout=10)
    assert closed["code"] == 4404
    await lead.disconnect()
    assert await present(rater) == {world.rater.pk: "Rafa Rater"}
    await rater.disconnect()


async def test_a_page_that_has_just_left_is_no_fault_in_the_log(world, monkeypatch, caplog):
    async def is_gone(*_: Any) -> None:
        raise ClientDisconnected

    monkeypatch.setattr(ProjectConsumer, "send_json", is_gone)
    page = socket(world.rater, world.project)
    await page.connect()
    await asyncio.sleep(consumers.TOLD_AFTER_S + 0.5)
    await page.disconnect()
    assert not [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


async def test_who_is_in_another_project_is_not_told(world):
    rater = await opened(world.rater, world.project)
    stranger = await opened(world.stranger, world.their_project)
    assert await rater.receive_nothing(timeout=1)
    for page in (rater, stranger):
        await page.disconnect()
