"""What the supervisor starts keeps running, and nothing of it outlives the supervisor, however that ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.common.supervisor import CannotStart, check_port, only_run

REPOSITORY = Path(__file__).resolve().parents[2]

# A supervisor over the programs named on its command line, as a process that can be killed.
SUPERVISE = """
import sys
from pathlib import Path
from apps.common.supervisor import Program, Supervisor
folder = Path(sys.argv[1])
programs = [Program(name=f"p{i}", command=[sys.executable, "-c", text]) for i, text in enumerate(sys.argv[2:])]
def ready(): return all((folder / f"p{i}.log").read_text() for i in range(len(programs)))
def say(line): print(line, flush=True)
sys.exit(Supervisor(programs, log_folder=folder, say=say).run(is_ready=ready, on_ready=lambda: say("ready")))
"""
# A line is one write: where Python does not buffer, print makes two, and two processes' lines would mix in one log.
POLITE = r"import os, time; os.write(1, b'%d\n' % os.getpid()); time.sleep(600)"
WITH_HELPER = "import os; os.fork();" + POLITE  # two processes, one group
STUBBORN = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + POLITE
FAILING = "import sys; print('no such thing', flush=True); sys.exit(7)"


def start(folder: Path, *programs: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SUPERVISE, str(folder), *programs], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    )


def line_of(supervisor: subprocess.Popen[str]) -> str:
    assert supervisor.stdout is not None
    return supervisor.stdout.readline().strip()


def pids(folder: Path) -> list[int]:
    """Every process the programs reported in their logs."""
    return [int(word) for log in folder.glob("p*.log") for word in log.read_text().split() if word.isdigit()]


def lives(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], bool], patience_s: float = 20.0) -> None:
    deadline = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_every_process(tmp_path: Path, sign: signal.Signals) -> None:
    supervisor = start(tmp_path, POLITE, WITH_HELPER)
    assert line_of(supervisor) == "ready"
    wait_until(lambda: len(pids(tmp_path)) == 3)
    supervisor.send_signal(sign)
    assert supervisor.wait(8) == 0
    assert not any(lives(pid) for pid in pids(tmp_path))


def test_a_killed_supervisor_leaves_nothing_behind(tmp_path: Path) -> None:
    supervisor = start(tmp_path, POLITE, WITH_HELPER)
    assert line_of(supervisor) == "ready"
    wait_until(lambda: len(pids(tmp_path)) == 3)
    supervisor.kill()
    supervisor.communicate()
    wait_until(lambda: not any(lives(pid) for pid in pids(tmp_path)))


def test_a_program_that_ignores_the_request_is_killed_at_a_second_signal(tmp_path: Path) -> None:
    supervisor = start(tmp_path, STUBBORN)
    assert line_of(supervisor) == "ready"
    supervisor.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert supervisor.poll() is None
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(5) == 0
    assert not any(lives(pid) for pid in pids(tmp_path))


@pytest.mark.slow
def test_a_program_that_ignores_the_request_is_killed_after_ten_seconds(tmp_path: Path) -> None:
    supervisor = start(tmp_path, STUBBORN)
    assert line_of(supervisor) == "ready"
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(15) == 0
    assert not any(lives(pid) for pid in pids(tmp_path))


def test_a_program_that_dies_is_started_again_without_its_helpers(tmp_path: Path) -> None:
    supervisor = start(tmp_path, WITH_HELPER)
    assert line_of(supervisor) == "ready"
    wait_until(lambda: len(pids(tmp_path)) == 2)
    first = pids(tmp_path)
    os.kill(os.getpgid(first[0]), signal.SIGKILL)
    assert line_of(supervisor).startswith("p0 was ended by SIGKILL; starting it again in 1 s")
    wait_until(lambda: len(pids(tmp_path)) == 4)
    assert not any(lives(pid) for pid in first)
    supervisor.terminate()
    assert supervisor.wait(8) == 0


def test_a_program_that_never_starts_ends_the_attempt_with_its_last_words(tmp_path: Path) -> None:
    silent = "import time; time.sleep(600)"  # nothing in its log: never ready
    supervisor = start(tmp_path, silent, FAILING)
    output, _ = supervisor.communicate(timeout=30)
    assert supervisor.returncode == 1
    assert "p1 ended with code 7; starting it again in 1 s" in output
    assert "no such thing" in output
    assert output.splitlines()[-1].startswith("p1 does not start; see ")


def test_logs_of_the_runs_before_are_kept(tmp_path: Path) -> None:
    for _ in range(2):
        supervisor = start(tmp_path, POLITE)
        assert line_of(supervisor) == "ready"
        supervisor.terminate()
        supervisor.wait(8)
    assert (tmp_path / "p0.log").read_text() != (tmp_path / "p0.log.1").read_text()


def test_a_second_run_on_the_same_folder_is_told_of_the_first(tmp_path: Path) -> None:
    lock = tmp_path / "run.lock"
    told = pytest.raises(CannotStart, match=r"already runs on .* \(process 12\)")
    with only_run(lock, "process 12"), told, only_run(lock, "process 13"):
        pass
    with only_run(lock, "process 14"):
        pass


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotStart, match=f"port {port} on 127.0.0.1 is in use"):
            check_port("127.0.0.1", str(port))
    assert check_port("127.0.0.1", str(port)) == port
    for wrong in ("http", "0", "70000", ""):
        with pytest.raises(CannotStart, match="is not a port number"):
            check_port("127.0.0.1", wrong)
    with pytest.raises(CannotStart, match=r"cannot listen on 203\.0\.113\.7"):
        check_port("203.0.113.7", "8000")
