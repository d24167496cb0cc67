"""What is made once is kept for whoever asks next, and nobody waits for what somebody else has asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from apps.common.kept import Kept

TIMEOUT_S = 30


def test_those_who_ask_for_the_same_wait_for_one_and_others_do_not():
    kept: Kept[str, object] = Kept(4)
    begun, may_end = Event(), Event()
    made = []

    def make() -> object:
        begun.set()
        assert may_end.wait(TIMEOUT_S)
        made.append(object())
        return made[-1]

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(kept.get, "slow", make)
        assert begun.wait(TIMEOUT_S)
        second = pool.submit(kept.get, "slow", make)
        assert kept.get("quick", lambda: "there at once") == "there at once"
        assert not first.done() and not second.done()
        may_end.set()
        assert first.result(TIMEOUT_S) is second.result(TIMEOUT_S) is made[0]
    assert len(made) == 1


def test_the_last_used_are_kept():
    kept: Kept[int, list[int]] = Kept(2)
    first = kept.get(1, lambda: [1])
    second = kept.get(2, lambda: [2])
    assert kept.get(1, lambda: [0]) is first
    kept.get(3, lambda: [3])
    assert kept.get(1, lambda: [0]) is first
    assert kept.get(2, lambda: [0]) is not second


def test_what_could_not_be_made_is_tried_again():
    kept: Kept[int, int] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get(1, lambda: 1 // 0)
    assert kept.get(1, lambda: 7) == 7
