"""A PatchSorter of the benchmark's own: an empty data folder, the embedded PostgreSQL as it is shipped, Django on it.

Unlike the tests' database this one waits for the disk, as a user's does.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from apps.common.embedded_postgres import provide_database

SHARED_DATA = "PATCHSORTER_SHARED_DATA"


@contextmanager
def installation() -> Iterator[None]:
    """Django set up and migrated on a new database; once per process. All of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="patchsorter-benchmark-") as temporary:
        outer = Path(temporary)
        outer.chmod(0o711)  # under root PostgreSQL runs as another user, who has to pass
        data = outer / "data"
        for name in [name for name in os.environ if name.startswith("PATCHSORTER_") and name != SHARED_DATA]:
            del os.environ[name]
        os.environ.pop("REDIS_URL", None)
        os.environ["PATCHSORTER_DATA"] = str(data)
        os.environ["PATCHSORTER_PORT"] = str(_free_port())
        os.environ["DJANGO_SETTINGS_MODULE"] = "patchsorter_site.settings"
        with provide_database(data):
            django.setup()
            logging.disable(logging.WARNING)
            call_command("migrate", database="owner", verbosity=0, interactive=False)
            yield


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
