"""Programs that `manage.py run` starts, on the benchmark's installation, and what they tell the open pages."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings

from apps.common.channel_layer import NOTIFICATION
from apps.common.notifications import listening_parameters
from apps.workspace.management.commands.run import _answers, programs

START_PATIENCE_S = 60.0


@contextmanager
def web_server() -> Iterator[str]:
    """uvicorn with the command and the limits that users get; yields host:port once it answers."""
    address = f"127.0.0.1:{settings.PORT}"
    with running("web", lambda log: _answers(address)):
        yield address


@contextmanager
def running(name: str, is_ready: Callable[[Path], bool]) -> Iterator[None]:
    """The program of this name with the command and the limits that users get, from when it is ready (which may look at
    its log) to the end of the block."""
    program = next(program for program in programs() if program.name == name)
    log = Path(settings.DATA_DIR) / "logs" / f"{name}.log"
    environment = {**os.environ, **program.environment}
    with log.open("wb") as output:
        process = subprocess.Popen(program.command, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_PATIENCE_S
        while not is_ready(log):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{name} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


class Events:
    """What open pages are told, from when this is made on."""

    def __init__(self) -> None:
        self._connection = psycopg.connect(**listening_parameters(), autocommit=True)
        self._connection.execute(f"LISTEN {NOTIFICATION}")
        self._heard: deque[dict[str, Any]] = deque()

    def wait_for(self, kind: str, patience_s: float) -> dict[str, Any]:
        """The next event of this type; those before it are passed over. Raises RuntimeError if none comes."""
        deadline = time.monotonic() + patience_s
        while (left := deadline - time.monotonic()) > 0:
            while self._heard:
                if (event := self._heard.popleft())["type"] == kind:
                    return event
            for notification in self._connection.notifies(timeout=left, stop_after=1):
                self._heard.append(json.loads(notification.payload)["message"]["event"])
        raise RuntimeError(f"no {kind} came within {patience_s:g} s")

    def close(self) -> None:
        self._connection.close()
