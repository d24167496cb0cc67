"""The real thing: `manage.py run` with its own database, server and workers, and Chromium in front of it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
START_PATIENCE_S = 180
# What a page shows in the end is asked here, not how soon: other work may have both cores.
expect.set_options(timeout=30_000)
# Without these, a browser in a closed network tries to reach its maker's hosts; WebGL is drawn in software.
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Site:
    """A running PatchSorter and what it said when it started."""

    url: str
    folder: Path
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    ready_after_s: float = 0.0
    ready_at: float = 0.0

    def password(self, email: str) -> str:
        found = re.search(rf"{re.escape(email)}\s+password (\S+)", "".join(self.said))
        assert found, "the start printed no password for " + email
        return found[1]

    def logs(self) -> str:
        return "\n".join(f"== {path.name}\n{path.read_text()[-3000:]}" for path in (self.folder / "logs").glob("*.log"))


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """A first start on an empty folder, as a new user makes it."""
    folder = Path(tempfile.mkdtemp(prefix="patchsorter-e2e-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "DJANGO_"))}
    environment |= {"PATCHSORTER_DATA": str(folder), "PATCHSORTER_PORT": str(port)}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    site = Site(f"http://127.0.0.1:{port}", folder, process)
    ready = threading.Event()

    def listen() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            site.said.append(line)
            if "is ready" in line:
                site.ready_at = time.monotonic()
                site.ready_after_s = site.ready_at - started
                ready.set()
        ready.set()

    threading.Thread(target=listen, daemon=True).start()
    try:
        assert ready.wait(START_PATIENCE_S) and site.ready_at, "".join(site.said) + site.logs()
        yield site
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = os.environ.get("PATCHSORTER_CHROMIUM") or shutil.which("chromium")
    assert executable, "browser tests need chromium: `make test` installs it, or set PATCHSORTER_CHROMIUM"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()


@dataclass
class Faults:
    """What went wrong in a page that nobody asserted on: script errors, and answers of the server that are its fault."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.found.append(f"script error: {error}"))
        page.on(
            "response",
            lambda response: self.found.append(f"{response.status} {response.url}") if response.status >= 500 else None,
        )


@pytest.fixture
def faults() -> Iterator[Faults]:
    faults = Faults()
    yield faults
    assert not faults.found, "\n".join(faults.found)


def new_window(browser: Browser, *, dark: bool = False, width: int = 1280, height: int = 800) -> BrowserContext:
    return browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", accept_downloads=True
    )


def sign_in(page: Page, site: Site, email: str) -> None:
    page.goto(f"{site.url}/accounts/login/")
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(site.password(email))
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.url}/")


class Pictures:
    """Screenshots for the README, in the folder PATCHSORTER_SCREENSHOTS; none where it is not set."""

    def __init__(self) -> None:
        configured = os.environ.get("PATCHSORTER_SCREENSHOTS")
        self.folder = Path(configured) if configured else None

    def take(self, page: Page, name: str) -> None:
        if self.folder:
            self.folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=self.folder / f"{name}.png")


@pytest.fixture(scope="session")
def pictures() -> Pictures:
    return Pictures()
