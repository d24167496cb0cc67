"""The commands as a script on a server calls them: processes of their own, on a folder that nobody prepared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from apps.engine.demonstration import NAME, demonstration_image, segment_nuclei
from tests.factories import png

ROOT = Path(__file__).resolve().parents[2]


def manage(data: Path | str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "DJANGO_", "PATCHS"))
    }
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**kept, "PATCHSORTER_DATA": str(data), **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fresh") / "data"


@pytest.fixture(scope="module")
def with_colon(data: Path) -> Path:
    """The same with a project, whoever made it."""
    manage(data, "create_project", "colon", "--organization", "Lab", "--classes", "a")
    return data


def test_from_an_empty_folder_to_an_export(data, tmp_path):
    (tmp_path / "nuclei").mkdir()
    image = demonstration_image()[:256, :256]
    (tmp_path / "nuclei" / NAME).write_bytes(png(image))
    (tmp_path / "nuclei" / NAME.replace(".png", "_mask.png")).write_bytes(png(segment_nuclei(image)))
    for arguments in (
        ["create_project", "colon", "--organization", "Lab", "--classes", "a,b", "--patch-size", "32"],
        ["import_images", "Lab/colon", str(tmp_path / "nuclei"), "--mask-kind", "indexed"],
        ["export_labels", "colon", str(tmp_path / "out")],
        ["add_member", "first@lab.example", "--organization", "Lab", "--role", "owner"],
    ):
        done = manage(data, *arguments)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        assert json.loads(done.stdout)
        assert done.stderr == ""
    assert (tmp_path / "out" / "class_masks" / NAME).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run_iteration", "nothing"], "there is no project 'nothing' in /"),
        (["create_project", "x", "--organization", "L", "--classes", "a", "--patch-size", "abc"], "invalid int value"),
        (["import_images"], "the following arguments are required: project, folder"),
        (["export_labels", "colon", "/proc/not-here"], "/proc/not-here"),
    ],
)
def test_what_goes_wrong_is_one_line_on_stderr(with_colon, arguments, said):
    done = manage(with_colon, *arguments)
    assert done.returncode != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


@pytest.mark.parametrize(
    ("folder", "environment", "said"),
    [
        ("/proc/not-here", {}, "/proc/not-here"),
        ("", {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}, "the database"),
    ],
)
def test_no_place_and_no_database_are_one_line_too(tmp_path, folder, environment, said):
    done = manage(folder or tmp_path / "d", "run_iteration", "x", **environment)
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert said in done.stderr


def test_a_project_that_could_not_be_made_leaves_no_organization(data):
    refused = manage(data, "create_project", "g", "--organization", "Ghost", "--classes", "a", "--patch-size", "13")
    assert refused.returncode != 0
    listed = manage(data, "shell", "-c", "from apps.accounts.models import *; print(list(Organization.objects.all()))")
    assert "Ghost" not in listed.stdout
