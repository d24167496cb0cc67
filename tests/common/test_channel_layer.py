"""Events through PostgreSQL: they reach other processes' connections, wait for the commit, and a break is told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.db import connection, transaction

from apps.common import channel_layer
from apps.common.channel_layer import RESYNC, MessageTooLarge, PostgresChannelLayer

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.asyncio,
    pytest.mark.usefixtures("no_session_left"),
]
EVENT = {"type": "project.event", "event": {"n": 3}}


@pytest_asyncio.fixture
async def layer() -> AsyncIterator[PostgresChannelLayer]:
    layer = PostgresChannelLayer(capacity=5)
    yield layer
    for listener in layer._listeners.values():
        listener._task.cancel()
        await asyncio.gather(listener._task, return_exceptions=True)


async def next_message(layer: PostgresChannelLayer, channel: str) -> dict[str, object]:
    return await asyncio.wait_for(layer.receive(channel), timeout=5)


async def test_a_group_s_channels_get_a_message_and_others_do_not(layer):
    first, second, other = [await layer.new_channel() for _ in range(3)]
    await layer.group_add("a", first)
    await layer.group_add("a", second)
    await layer.group_add("b", other)
    await layer.group_send("a", EVENT)
    assert await next_message(layer, first) == EVENT
    assert await next_message(layer, second) == EVENT
    await layer.group_send("b", {"type": "x"})
    assert await next_message(layer, other) == {"type": "x"}


async def test_a_message_is_sent_when_its_transaction_commits_and_never_if_it_does_not(layer):
    channel = await layer.new_channel()
    await layer.group_add("a", channel)

    def send(n: int, *, fail: bool) -> None:
        with transaction.atomic():
            layer._execute_notify(f'{{"group":"a","message":{{"n":{n}}}}}')
            if fail:
                raise RuntimeError

    with pytest.raises(RuntimeError):
        await sync_to_async(send)(1, fail=True)
    await sync_to_async(send)(2, fail=False)
    assert await next_message(layer, channel) == {"n": 2}


async def test_after_leaving_a_group_nothing_more_arrives(layer):
    channel, stays = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("a", channel)
    await layer.group_add("a", stays)
    await layer.group_discard("a", channel)
    await layer.group_send("a", EVENT)
    assert await next_message(layer, stays) == EVENT
    listener = layer._listeners[asyncio.get_running_loop()]
    assert channel not in listener.queues


async def test_a_lost_connection_is_told_of_and_made_again(layer, monkeypatch):
    monkeypatch.setattr(channel_layer, "RECONNECT_S", 0.05)
    channel = await layer.new_channel()
    await layer.group_add("a", channel)

    def kill_listeners() -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
            )

    await sync_to_async(kill_listeners)()
    assert await next_message(layer, channel) == RESYNC
    await layer.group_add("a", channel)  # waits until it listens again
    await layer.group_send("a", EVENT)
    assert await next_message(layer, channel) == EVENT


async def test_a_reader_that_does_not_keep_up_is_told_to_ask_for_the_state(layer):
    channel, other = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("a", channel)
    await layer.group_add("end", other)
    for _ in range(6):
        await layer.group_send("a", EVENT)
    await layer.group_send("end", {"type": "end"})
    await next_message(layer, other)
    assert await next_message(layer, channel) == RESYNC


async def test_a_message_that_does_not_fit_is_refused(layer):
    with pytest.raises(MessageTooLarge):
        await layer.group_send("a", {"type": "x", "text": "ä" * 4_000})
