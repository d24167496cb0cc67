"""Keeps one embedded PostgreSQL running for as long as some process holds it.

Run as a script by `embedded_postgres.attach`, outside any Django; standard library only, so that it starts in a moment
and stays small. It is PostgreSQL's parent. Every user of the server has a shared lock on `holders.lock`, which the
kernel takes back however that process ends; when the keeper can have the lock for itself alone, nobody is left and it
stops the server. If the keeper itself is killed, the kernel tells PostgreSQL to shut down (Linux).

The folder: cluster/ (PostgreSQL's data), holders.lock, start.lock, keeper.lock (held while a keeper lives, and its
state as JSON), server.log, and the socket, unless the folder's path is too long for one.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

SYSTEM_USER: Final = "pgserver"
SOCKET_NAME: Final = ".s.PGSQL.5432"
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero byte included.
MAX_SOCKET_PATH_BYTES: Final = 103
LOG_KEPT_BYTES: Final = 10 * 1024 * 1024

_PR_SET_PDEATHSIG, _PR_SET_SECUREBITS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 1, 28, 47, 2
_SECBIT_NO_SETUID_FIXUP: Final = 4
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2
_CAPABILITY_VERSION_3: Final = 0x20080522


class KeeperError(Exception):
    """Why the server cannot run, in one line for the person at the console."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Who PostgreSQL runs as when we are root, and the capability it needs where the folder lies in a closed home."""

    uid: int
    gid: int
    capability: int | None = None


@dataclass(frozen=True, kw_only=True)
class State:
    """What the keeper tells its holders, in keeper.lock."""

    pid: int
    socket_folder: str


# -- locks ---------------------------------------------------------------------------------------------------------


def open_private(path: Path, flags: int) -> int:
    """Open or make a file for this user and the folder's owner alone; never through a link someone else planted."""
    descriptor = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    if os.geteuid() == 0:
        # A root session must not leave files that the folder's ordinary owner cannot open tomorrow.
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def open_lock(path: Path) -> int:
    """A descriptor to lock; closing it, in this process and its forked copies, gives the lock back."""
    return open_private(path, os.O_RDWR)


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Take the lock if it is free; a second call changes shared to exclusive and back."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Give the lock back, also for forked copies of this descriptor."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def read_state(folder: Path) -> State | None:
    """The state the keeper wrote when the server was ready for connections; None before that."""
    try:
        text = (folder / "keeper.lock").read_text()
        return State(**json.loads(text)) if text else None
    except FileNotFoundError:
        return None


# -- becoming another user -----------------------------------------------------------------------------------------


def _checked(result: int, doing: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), doing)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _become(account: Account | None, folder: Path, programs: Path) -> Callable[[], None]:
    """What a PostgreSQL program does between fork and exec: drop root, and ask to be stopped when the keeper dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    linux = sys.platform == "linux"
    keeper = os.getpid()

    def prepare() -> None:
        os.umask(0o077)
        if account is not None:
            if account.capability is not None:
                # So that setuid takes no capability away, and access(2), which initdb asks, counts those that are left.
                _checked(libc.prctl(_PR_SET_SECUREBITS, _SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "keep capabilities")
            os.setgroups([])
            os.setgid(account.gid)
            os.setuid(account.uid)
            if account.capability is not None:
                header = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)
                data = (_CapabilityData * 2)()
                bit = 1 << account.capability
                data[0] = _CapabilityData(bit, bit, bit)
                _checked(libc.capset(ctypes.byref(header), ctypes.byref(data)), "set capabilities")
                raised = libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, account.capability, 0, 0)
                _checked(raised, "raise a capability")
        if linux:
            # After setuid, which would clear it. SIGINT is PostgreSQL's fast shutdown.
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
            if os.getppid() != keeper:
                os._exit(1)
        os.chdir(folder)
        if not os.access(programs / "postgres", os.R_OK | os.X_OK):
            raise PermissionError

    return prepare


def _make_system_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    command = [useradd or "useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
        return pwd.getpwnam(SYSTEM_USER)
    except (OSError, subprocess.CalledProcessError, KeyError) as error:
        detail = getattr(error, "stderr", None) or error
        raise KeeperError(
            f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} could not be made "
            f"({str(detail).strip()}). Run PatchSorter as an ordinary user, or create {SYSTEM_USER} first."
        ) from error


def _choose_account(folder: Path, programs: Path) -> Account | None:
    """None for an ordinary user, who is PostgreSQL's user too; for root, the folder's owner or the system user.

    Where that user cannot walk to the folder or to the programs (a clone in root's closed home), no mode of a folder
    of the user's is changed: PostgreSQL gets one capability that lets it pass. Root's own web process has every one.
    """
    if os.geteuid() != 0:
        return None
    owner = folder.stat()
    if owner.st_uid == 0:
        entry = _make_system_user()
        uid, gid = entry.pw_uid, entry.pw_gid
        # With all that is in it: a copy of a backup is root's as well.
        for path in (*folder.rglob("*"), folder):
            os.chown(path, uid, gid, follow_symlinks=False)
    else:
        uid, gid = owner.st_uid, owner.st_gid
    capabilities = (None, _CAP_DAC_READ_SEARCH, _CAP_DAC_OVERRIDE) if sys.platform == "linux" else (None,)
    for capability in capabilities:
        account = Account(uid=uid, gid=gid, capability=capability)
        try:
            subprocess.run(
                [programs / "postgres", "--version"],
                check=True,
                capture_output=True,
                preexec_fn=_become(account, folder, programs),
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return account
    raise KeeperError(
        f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot reach {folder} or {programs}. Run "
        "PatchSorter as an ordinary user, or put the clone and PATCHSORTER_DATA where every user may enter the folders "
        "above them, for example /opt/patchsorter and /var/lib/patchsorter."
    )


# -- one run of the server -----------------------------------------------------------------------------------------


def _choose_socket_folder(folder: Path, account: Account | None) -> Path:
    """The data folder, or a closed folder with a short random name where the socket's path would be too long."""

    def fits(path: Path) -> bool:
        # libpq reads a comma in a host as the end of the first of several.
        return len(os.fsencode(path / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES and "," not in str(path)

    if fits(folder):
        return folder
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        if parent.is_dir() and fits(parent / "patchsorter-12345678"):
            made = Path(tempfile.mkdtemp(prefix="patchsorter-", dir=parent))
            if account is not None:
                os.chown(made, account.uid, account.gid)
            return made
    raise KeeperError(f"{folder}: the path is too long for a Unix socket; choose a shorter PATCHSORTER_DATA")


def _initialize(folder: Path, programs: Path, account: Account | None, *, durable: bool) -> None:
    """Make cluster/ in one step: a start that is cut short leaves nothing that looks like a database."""
    unfinished = folder / "cluster.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    command: list[str | Path] = [programs / "initdb", "-D", unfinished, "-U", "postgres", "--encoding=UTF8"]
    # Collation of the server's own, so that no index depends on the machine's C library.
    command += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Trust: who can walk to the socket is the question, and the folder's mode answers it.
    command += ["--auth-local=trust", "--auth-host=reject"]
    command += [] if durable else ["--no-sync"]
    done = subprocess.run(
        command,
        stdout=sys.stderr,
        stderr=sys.stderr,
        stdin=subprocess.DEVNULL,
        preexec_fn=_become(account, folder, programs),
    )
    if done.returncode != 0:
        raise KeeperError(f"initdb ended with code {done.returncode}; see {folder / 'server.log'}")
    unfinished.rename(folder / "cluster")


def _postmaster_file(cluster: Path) -> list[str]:
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _is_server_of(pid: int, cluster: Path) -> bool:
    """Whether this process is PostgreSQL on our folder, and not another that was given the number of a dead one."""
    if Path("/proc/self").exists():
        try:
            # Not the process's working folder: in a container, root may not look at that of another user's process.
            return os.fsencode(cluster) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
    found = subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True)
    return str(cluster) in found.stdout


def _clear_leftover(cluster: Path) -> None:
    """Deal with what a killed keeper left: a server still on its way down, or a file naming a process of long ago."""
    lines = _postmaster_file(cluster)
    pid = int(lines[0]) if lines and lines[0].strip().isdigit() else None
    for sign, patience_s in ((signal.SIGINT, 20.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0)):
        if pid is None or not _is_server_of(pid, cluster):
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, sign)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline and _is_server_of(pid, cluster):
            time.sleep(0.05)
    # PostgreSQL refuses to start while any process of its user has that number, as happens in a container.
    for stale in (cluster / "postmaster.pid", cluster.parent / f"{SOCKET_NAME}.lock", cluster.parent / SOCKET_NAME):
        stale.unlink(missing_ok=True)


class Keeper:
    """One keeper process: starts the server, waits until nobody holds it, stops it."""

    def __init__(self, *, folder: Path, programs: Path, version: str, settings: dict[str, str]) -> None:
        self.folder = folder
        self.cluster = folder / "cluster"
        self.programs = programs
        self.version = version
        self.settings = settings
        self.asked_to_stop = False
        self.wakes, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.holders = open_lock(folder / "holders.lock")
        self.own = open_lock(folder / "keeper.lock")

    def run(self) -> None:
        """Serve until the last holder is gone.

        Raises KeeperError when the server cannot be started.
        """
        if not try_lock(self.own):
            return
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        signal.signal(signal.SIGINT, self._ask_to_stop)
        account = _choose_account(self.folder, self.programs)
        if not self.cluster.exists():
            _initialize(self.folder, self.programs, account, durable=self.settings.get("fsync") != "off")
        self._check_version()
        _clear_leftover(self.cluster)
        self._clear_socket_folder()
        socket_folder = _choose_socket_folder(self.folder, account)
        try:
            self._serve(account, socket_folder)
        finally:
            self._write_state("")
            if socket_folder != self.folder:
                shutil.rmtree(socket_folder, ignore_errors=True)

    def _ask_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.asked_to_stop = True

    def _check_version(self) -> None:
        found = (self.cluster / "PG_VERSION").read_text().strip()
        if found != self.version:
            raise KeeperError(
                f"{self.cluster} was made by PostgreSQL {found}, and this installation has {self.version}: dump it "
                "with the old installation and load it with this one"
            )

    def _write_state(self, text: str) -> None:
        os.ftruncate(self.own, 0)
        os.pwrite(self.own, text.encode(), 0)

    def _clear_socket_folder(self) -> None:
        """A keeper that was killed could not remove the short-named folder it had made."""
        note = self.folder / "socket-folder"
        with contextlib.suppress(FileNotFoundError):
            left = Path(note.read_text())
            if left.name.startswith("patchsorter-") and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            note.unlink()

    def _start(self, account: Account | None, socket_folder: Path) -> subprocess.Popen[bytes]:
        quoted = str(socket_folder).replace('"', '""')
        command: list[str | Path] = [self.programs / "postgres", "-D", self.cluster]
        options = {
            "listen_addresses": "",
            "unix_socket_directories": f'"{quoted}"',
            "unix_socket_permissions": "0700",
            # A gesture on objects all over a project touches thousands of pages, each of which is written whole to the log
            # once after a checkpoint: fewer checkpoints are less to wait for. (Compressing them took longer than it saved.)
            "checkpoint_timeout": "15min",
            "max_wal_size": "2GB",
            "shared_buffers": "256MB",
            **self.settings,
        }
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            stderr=sys.stderr,
            preexec_fn=_become(account, self.folder, self.programs),
        )

    def _serve(self, account: Account | None, socket_folder: Path) -> None:
        if socket_folder != self.folder:
            (self.folder / "socket-folder").write_text(str(socket_folder))
        failures = 0
        while True:
            began = time.monotonic()
            server = self._start(account, socket_folder)
            announced = False
            while server.poll() is None:
                if not announced and self._is_ready(server.pid):
                    state = State(pid=os.getpid(), socket_folder=str(socket_folder))
                    self._write_state(json.dumps(state.__dict__))
                    announced = True
                if self.asked_to_stop or try_lock(self.holders):
                    # Kept until this process ends: whoever comes now waits for the end and starts a new server.
                    self._stop(server)
                    return
                select.select([self.wakes], [], [], 0.5 if announced else 0.02)
            # A server process of the one before may need a moment to notice that its parent is gone, and a crashed
            # server is started again for those who still hold it; one that never comes up is reported.
            self._write_state("")
            failures = 0 if time.monotonic() - began > 60 else failures + 1
            if failures > 10 or not (announced or self._waits_for_old_memory()):
                raise KeeperError(f"PostgreSQL ended with code {server.returncode}; see {self.folder / 'server.log'}")
            time.sleep(1.0)

    def _is_ready(self, pid: int) -> bool:
        lines = _postmaster_file(self.cluster)
        return len(lines) >= 8 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"

    def _waits_for_old_memory(self) -> bool:
        log = self.folder / "server.log"
        return "pre-existing shared memory block" in "\n".join(log.read_text(errors="replace").splitlines()[-4:])

    def _stop(self, server: subprocess.Popen[bytes]) -> None:
        for sign, patience_s in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            server.send_signal(sign)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(patience_s)
                return


def _log_to(path: Path) -> None:
    """Send this process's output, and PostgreSQL's, to a file; one old log is kept."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size > LOG_KEPT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    descriptor = open_private(path, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def main() -> NoReturn:
    """`postgres_keeper.py JSON`: folder, programs, version, settings. On failure exit code 3 and one last log line."""
    options = json.loads(sys.argv[1])
    folder = Path(options["folder"])
    _log_to(folder / "server.log")
    keeper = Keeper(
        folder=folder,
        programs=Path(options["programs"]),
        version=options["version"],
        settings=options["settings"],
    )
    try:
        keeper.run()
    except KeeperError as error:
        print(f"patchsorter: {error}", file=sys.stderr, flush=True)
        sys.exit(3)
    sys.exit(0)


if __name__ == "__main__":
    main()
