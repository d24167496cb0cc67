"""Programs that `manage.py run` starts, on the benchmark's installation."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from apps.workspace.management.commands.run import _answers, _programs

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
    program = next(program for program in _programs() if program.name == name)
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
