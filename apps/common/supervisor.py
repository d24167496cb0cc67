"""Starts a few programs, keeps them running, and leaves none behind. Knows nothing of what they do.

Standard library only: this file is also run as a script, as the guard that ends the programs when the supervisor itself
is killed. Each program leads its own process group, so that Ctrl-C at the console reaches the supervisor alone and a
whole group can be ended.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO, Final

STOP_PATIENCE_S: Final = 10.0
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
# A program that ran this long was not failing at its start: its next restart is prompt again.
STEADY_S: Final = 60.0
ATTEMPTS_BEFORE_READY: Final = 3
LOGS_KEPT: Final = 3


class CannotStart(Exception):
    """Why nothing was started, in one line for the person at the console."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program to keep running; `environment` is added to the supervisor's own."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    niceness: int = 0


# -- before anything is started ------------------------------------------------------------------------------------


@contextmanager
def only_run(lock_file: Path, note: str) -> Iterator[None]:
    """Hold the lock of a data folder while PatchSorter runs on it; the kernel takes it back from a killed one.

    Raises CannotStart, with the other's note, if it is held.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            other = os.pread(descriptor, 500, 0).decode(errors="replace")
            raise CannotStart(f"PatchSorter already runs on {lock_file.parent} ({other})") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, note.encode(), 0)
        yield
    finally:
        os.close(descriptor)


def check_port(host: str, port_text: str) -> int:
    """The port as a number, if it is one and free on this host; raises CannotStart otherwise."""
    if not port_text.isdigit() or not 0 < int(port_text) < 65536:
        raise CannotStart(f"PATCHSORTER_PORT={port_text} is not a port number")
    port = int(port_text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as probe:
            # As the web server does it: a connection closed a moment ago does not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise CannotStart(
                f"port {port} on {host} is in use by another program: set PATCHSORTER_PORT to a free one"
            ) from error
        raise CannotStart(f"cannot listen on {host}, port {port}: {error.strerror or error}") from error
    return port


# -- ending process groups -----------------------------------------------------------------------------------------


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _process_lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)


def end_groups(groups: Iterable[int], *, patience_s: float, pause: Callable[[float], bool]) -> None:
    """Ask each group's leader to stop, wait, then kill what is left of the groups.

    Only the leader is asked: a job queue's helper processes die of the same signal before they have passed it on.
    `pause(seconds)` sleeps, collects ended children where they are ours, and says whether to stop waiting.
    """
    left = {group for group in groups if _group_lives(group)}
    for group in left:
        with suppress(ProcessLookupError):
            os.kill(group, signal.SIGTERM)
    deadline = time.monotonic() + patience_s
    while left and time.monotonic() < deadline:
        if pause(0.05):
            break
        for group in left:
            if not _process_lives(group):
                _kill_group(group)  # helpers had their chance while their leader lived
        left = {group for group in left if _group_lives(group)}
    for group in left:
        _kill_group(group)
    deadline = time.monotonic() + 5.0
    while any(_group_lives(group) for group in left) and time.monotonic() < deadline:
        pause(0.05)


def _guard() -> None:
    """Run as a script: learn the groups from standard input, and end those left when it closes.

    The pipe closes however the supervisor ends, SIGKILL included.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change, number = line[0], int(line[1:])
        (groups.add if change == "+" else groups.discard)(number)

    def pause(seconds: float) -> bool:
        time.sleep(seconds)
        return False

    end_groups(groups, patience_s=STOP_PATIENCE_S, pause=pause)


# -- the supervisor ------------------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Running:
    """A program and the process it is now."""

    program: Program
    log: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_again: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    failures: int = 0


class Supervisor:
    """Runs programs until a signal arrives.

    Args: where their output goes (`<name>.log`, older ones numbered), and `say`, which shows one line to the person at
    the console.
    """

    def __init__(self, programs: Sequence[Program], *, log_folder: Path, say: Callable[[str], None]) -> None:
        self._running = [_Running(program=program, log=log_folder / f"{program.name}.log") for program in programs]
        self._say = say
        self._signals = 0
        self._ready = False
        self._guard_input: IO[bytes] | None = None
        # A signal writes a byte here, so that a wait ends at once.
        self._wakes, self._wake = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._wakes, False)

    def run(self, *, is_ready: Callable[[], bool], on_ready: Callable[[], None]) -> int:
        """Start everything, call `on_ready` once `is_ready` is true, restart what dies, stop everything at a signal.

        Returns an exit code: 0 after a signal, 1 if the programs did not become ready.
        """
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        before[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._on_signal)
        wakeup_before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        guard = self._start_guard()
        code = 0
        try:
            for running in self._running:
                _rotate(running.log)
                self._start(running)
            while not self._signals:
                if not self._ready and is_ready():
                    self._ready = True
                    on_ready()
                failed = self._look_after()
                if failed is not None:
                    self._say(f"{failed.program.name} does not start; see {failed.log}")
                    code = 1
                    break
                self._pause(0.2)
        finally:
            self._stop_all()
            if self._guard_input is not None:
                self._guard_input.close()
            guard.wait()
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in before.items():
                signal.signal(number, handler)
        return code

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _pause(self, seconds: float) -> None:
        select.select([self._wakes], [], [], seconds)
        with suppress(BlockingIOError):
            os.read(self._wakes, 512)

    def _start_guard(self) -> subprocess.Popen[bytes]:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__], stdin=subprocess.PIPE, cwd="/", start_new_session=True
        )
        self._guard_input = guard.stdin
        return guard

    def _tell_guard(self, line: str) -> None:
        if self._guard_input is not None:
            with suppress(BrokenPipeError):
                self._guard_input.write(f"{line}\n".encode())
                self._guard_input.flush()

    def _start(self, running: _Running) -> None:
        program = running.program
        with running.log.open("ab") as log:
            running.process = subprocess.Popen(
                list(program.command),
                env={**os.environ, **program.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._tell_guard(f"+{running.process.pid}")
        if program.niceness:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, running.process.pid, program.niceness)
        running.started = time.monotonic()

    def _look_after(self) -> _Running | None:
        """Start again what has died; returns a program that has failed too often before anything was ready."""
        now = time.monotonic()
        for running in self._running:
            if running.process is None:
                if now >= running.start_again:
                    self._start(running)
                continue
            code = running.process.poll()
            if code is None:
                continue
            self._forget(running)
            running.failures += 1
            if not self._ready and running.failures >= ATTEMPTS_BEFORE_READY:
                self._show_end(running, code, "")
                return running
            if now - running.started > STEADY_S:
                running.pause_s = FIRST_PAUSE_S
            running.start_again = now + running.pause_s
            self._show_end(running, code, f"; starting it again in {running.pause_s:.0f} s")
            running.pause_s = min(running.pause_s * 2, LONGEST_PAUSE_S)
        return None

    def _forget(self, running: _Running) -> None:
        """The leader has ended: what it started must not live on beside its successor."""
        if running.process is not None:
            _kill_group(running.process.pid)
            self._tell_guard(f"-{running.process.pid}")
        running.process = None

    def _show_end(self, running: _Running, code: int, next_step: str) -> None:
        cause = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        self._say(f"{running.program.name} {cause}{next_step}. The last lines of {running.log}:")
        for line in running.log.read_text(errors="replace").splitlines()[-5:]:
            self._say(f"    {line}")

    def _stop_all(self) -> None:
        already = self._signals
        processes = [running.process for running in self._running if running.process is not None]

        def pause(seconds: float) -> bool:
            self._pause(seconds)
            for process in processes:
                process.poll()
            return self._signals > already

        end_groups((process.pid for process in processes), patience_s=STOP_PATIENCE_S, pause=pause)
        for running in self._running:
            self._forget(running)


def _rotate(log: Path) -> None:
    """log -> log.1 -> log.2 ..."""
    for number in range(LOGS_KEPT, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        newer = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        with suppress(FileNotFoundError):
            newer.replace(older)


if __name__ == "__main__":
    _guard()
