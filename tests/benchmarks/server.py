"""The web process that `manage.py run` starts, on the benchmark's installation."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.conf import settings

from apps.workspace.management.commands.run import _answers, _programs

START_PATIENCE_S = 60.0


@contextmanager
def web_server() -> Iterator[str]:
    """uvicorn with the command and the limits that users get; yields host:port once it answers."""
    web = next(program for program in _programs() if program.name == "web")
    address = f"127.0.0.1:{settings.PORT}"
    log = Path(settings.DATA_DIR) / "logs" / "web.log"
    with log.open("wb") as output:
        process = subprocess.Popen(web.command, env={**os.environ, **web.environment}, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_PATIENCE_S
        while not _answers(address):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the web server did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(20)
