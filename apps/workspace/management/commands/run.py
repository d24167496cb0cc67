"""`manage.py run`: everything PatchSorter needs on one machine, in one command."""

from __future__ import annotations

import http.client
import os
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand

from apps.common.supervisor import Program, Supervisor
from apps.engine.cores import usable_cores

# What numpy's, torch's, numba's and numexpr's thread pools read when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Command(BaseCommand):
    """Migrates, makes the demonstration the first time, and runs web server, workers and the watch over the jobs."""

    help = "Run PatchSorter on this machine: web server, workers, and the embedded database where none is configured."
    # Migrations come first: checks that look at tables would fail on a new database.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Host and port come from the environment, which the checks before the start and the settings read as well."""
        parser.add_argument("--no-demo", action="store_true", help="make no demonstration project in an empty database")

    def handle(self, *args: Any, **options: Any) -> None:
        """Returns when a signal has ended it; exits with 1 if the web server does not come up."""
        call_command("migrate", database="owner", interactive=False, verbosity=0)
        if not options["no_demo"] and not get_user_model()._default_manager.exists():
            self._say("First start: making the demonstration project ...")
            call_command("create_demo")
        data = Path(settings.DATA_DIR)
        supervisor = Supervisor(programs(), log_folder=data / "logs", say=self._say)
        address = _address()
        self._say(f"Starting on {data} ...")

        def on_ready() -> None:
            self._say(f"PatchSorter is ready: http://{address}")
            self._say(f"Logs: {data / 'logs'}. Ctrl-C stops it.")

        code = supervisor.run(is_ready=lambda: _answers(address), on_ready=on_ready)
        self._say("PatchSorter has stopped.")
        if code:
            sys.exit(code)

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def programs() -> list[Program]:
    python, manage = sys.executable, str(Path(settings.BASE_DIR) / "manage.py")
    cores = usable_cores()
    web = [python, "-m", "uvicorn", "patchsorter_site.asgi:application", "--app-dir", str(settings.BASE_DIR)]
    web += ["--host", settings.HOST, "--port", str(settings.PORT), "--no-access-log", "--no-server-header"]
    # An open page keeps its socket open: without a limit, the server would wait for it at Ctrl-C.
    web += ["--lifespan", "off", "--timeout-graceful-shutdown", "3"]
    return [
        Program(
            name="web",
            command=web,
            # Django keeps a body where Python keeps temporary files, whatever it is told of the files in the body.
            environment={"TMPDIR": str(settings.FILE_UPLOAD_TEMP_DIR), **_threads(max(1, cores // 2))},
        ),
        *(
            # Below the web server in priority: a page answers while a training uses every core.
            Program(
                name=f"worker-{queue}",
                command=[python, manage, "qcluster"],
                environment={"Q_CLUSTER_NAME": queue, **_threads(threads)},
                niceness=10,
            )
            for queue, threads in (("cpu", max(1, cores // 2)), ("gpu", cores))
        ),
        # A person waits for it: before the trainings.
        Program(
            name="follow-labels", command=[python, manage, "follow_labels"], environment=_threads(max(1, cores // 2))
        ),
        Program(name="watch-jobs", command=[python, manage, "watch_jobs"], environment=_threads(1)),
    ]


def _threads(count: int) -> dict[str, str]:
    """Thread limits for a child, unless the environment already says something else."""
    return {name: os.environ.get(name, str(count)) for name in THREAD_VARIABLES}


def _address() -> str:
    """host:port as a browser on this machine would write it."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(settings.HOST, settings.HOST)
    return f"[{host}]:{settings.PORT}" if ":" in host else f"{host}:{settings.PORT}"


def _answers(address: str) -> bool:
    """Whether the web server answers /healthz; asked directly, whatever proxy the environment names."""
    connection = http.client.HTTPConnection(address, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
