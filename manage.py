#!/usr/bin/env python
"""Django's commands, with a database: the one in DATABASE_URL, or else the embedded PostgreSQL in PATCHSORTER_DATA."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent

if sys.version_info < (3, 11):  # noqa: UP036  (the person who starts this may have an older one)
    sys.exit("PatchSorter needs Python 3.11 or newer; this is " + sys.version.split()[0])
try:
    from django.core.management import execute_from_command_line
except ModuleNotFoundError:
    sys.exit(f"{sys.executable} does not have the packages: run `make setup`, then .venv/bin/python manage.py ...")

from apps.common.embedded_postgres import EmbeddedPostgresError, make_data_folder, provide_database  # noqa: E402
from apps.common.supervisor import CannotStart, check_port, only_run  # noqa: E402


def main() -> None:
    """Run one command; the embedded server is held until it ends."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "patchsorter_site.settings")
    data = Path(os.environ.get("PATCHSORTER_DATA") or REPOSITORY / "data").expanduser().resolve()
    os.environ["PATCHSORTER_DATA"] = str(data)
    # What numba compiles takes up to half a minute; kept here, it does so once and not in every process.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(data / "cache" / "numba"))
    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    asks_for_help = command in {"help", "version"} or {"-h", "--help", "--version"} & set(sys.argv)
    try:
        with ExitStack() as held:
            if asks_for_help:
                os.environ.setdefault("DATABASE_URL", "postgresql:///not_needed_for_this")
            else:
                make_data_folder(data)
            if command == "run" and not asks_for_help:
                host, port = os.environ.get("PATCHSORTER_HOST", "127.0.0.1"), os.environ.get("PATCHSORTER_PORT", "8000")
                note = f"process {os.getpid()}, http://{host}:{port}"
                held.enter_context(only_run(data / "run.lock", note))
                check_port(host, port)
            if not os.environ.get("DATABASE_URL"):
                held.enter_context(provide_database(data))
            execute_from_command_line(sys.argv)
    except (EmbeddedPostgresError, CannotStart) as error:
        sys.exit(f"patchsorter: {error}")
    except OSError as error:
        sys.exit(f"patchsorter: {error.filename or data}: {error.strerror or error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
