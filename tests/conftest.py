"""The cast of the tests, and what a machine may lack."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import pytest_asyncio
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.cache import caches
from django.db import connections
from django.db.backends.postgresql.operations import DatabaseOperations
from django.test import Client
from django_vite.core.asset_loader import DjangoViteAssetLoader

from apps.accounts.models import Organization, OrganizationMember, User
from apps.labels.models import LabelAction, LabelSet
from apps.labels.selectors import shared_label_set
from apps.labels.services import Gesture, label_objects
from apps.projects.models import Job, Project
from apps.projects.permissions import ProjectRole
from apps.projects.services import add_project_member
from tests.factories import make_member, make_organization, make_project

pytest_plugins = ["tests.third_party"]


@pytest_asyncio.fixture
async def no_session_left() -> AsyncIterator[None]:
    """Asynchronous code uses the database in a thread of its own, whose connection nobody closes: the test database could not be
    dropped."""
    yield
    await sync_to_async(connections.close_all)()


ENTRIES = ("src/entries/site.ts", "src/entries/workspace.ts")

# Each takes a minute or more: they begin first, so that no core is idle while another works through one of them.
LONGEST_FILES = {
    "test_as_a_script.py",
    "test_by_command.py",
    "test_killed_and_several.py",
    "test_killed_iteration.py",
    "test_launch.py",
    "test_project_sizes.py",
    "test_simulation.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in LONGEST_FILES)


@dataclass(frozen=True)
class World:
    """An organization with a project, who is who in it, and somebody from elsewhere with a project of their own."""

    organization: Organization
    project: Project
    owner: User
    """Runs the organization; no member of the project."""
    manager: User
    lead: User
    rater: User
    viewer: User
    colleague: User
    """In the organization, in no project."""
    stranger: User
    """Owns another organization."""
    their_organization: Organization
    their_project: Project

    def user(self, name: str) -> User:
        found = getattr(self, name)
        assert isinstance(found, User)
        return found

    def label(
        self,
        value: int | None,
        ordinals: Iterable[int],
        label_set: LabelSet | None = None,
        *,
        left_out: Iterable[int] = (),
    ) -> LabelAction | None:
        """What the rater does: give the objects the class of this value, or take their labels away. `left_out`: seen with them on a page
        of that class, and not confirmed."""
        return label_objects(
            label_set=label_set or shared_label_set(self.project),
            label_class=None if value is None else self.project.label_classes.get(value=value),
            ordinals=np.array(list(ordinals), np.uint32),
            actor=self.rater,
            gesture=Gesture(provenance="bulk", selection={"left_out": out} if (out := list(left_out)) else {}),
        )


@pytest.fixture
def world(db: None) -> World:
    organization, their_organization = make_organization("Pathology Bern"), make_organization("Pathology Elsewhere")
    owner = make_member(organization, "Olive Owner", OrganizationMember.Role.OWNER).user
    manager, lead, rater, viewer, colleague = (
        make_member(organization, name).user
        for name in ("Mia Manager", "Lea Lead", "Rafa Rater", "Vik Viewer", "Cora Colleague")
    )
    stranger = make_member(their_organization, "Sam Stranger", OrganizationMember.Role.OWNER).user
    project = make_project(organization, manager, name="Nuclei")
    for user, role in ((lead, ProjectRole.LEAD), (rater, ProjectRole.RATER), (viewer, ProjectRole.VIEWER)):
        add_project_member(project=project, user=user, role=role, added_by=manager)
    return World(
        organization=organization,
        project=project,
        owner=owner,
        manager=manager,
        lead=lead,
        rater=rater,
        viewer=viewer,
        colleague=colleague,
        stranger=stranger,
        their_organization=their_organization,
        their_project=make_project(their_organization, stranger, name="Their tubules"),
    )


@pytest.fixture
def signed_in() -> Callable[[User], Client]:
    """A browser in which this user has signed in."""

    def sign_in(user: User) -> Client:
        client = Client()
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def make_job(world: World) -> Callable[..., Job]:
    def make(**fields: object) -> Job:
        defaults = {"project": world.project, "kind": "iteration", "task": "none", "queue": "cpu"}
        return Job.objects.create(**(defaults | fields))

    return make


@pytest.fixture(autouse=True)
def own_media(tmp_path: Path) -> Iterator[None]:
    """Every test has its own files and an empty cache."""
    before, settings.MEDIA_ROOT = settings.MEDIA_ROOT, tmp_path / "media"
    for cache in caches.all():
        cache.clear()
    yield
    settings.MEDIA_ROOT = before
    shutil.rmtree(tmp_path / "media", ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def front_end_manifest(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pages name the front end's files; where it was not built, names will do for all but the browser tests."""
    config = settings.DJANGO_VITE["default"]
    if Path(config["manifest_path"]).exists():
        return
    manifest = tmp_path_factory.mktemp("front-end") / "manifest.json"
    manifest.write_text(json.dumps({entry: {"file": "assets/none.js", "src": entry} for entry in ENTRIES}))
    config["manifest_path"] = manifest
    DjangoViteAssetLoader._instance = None  # made from the settings when it is asked for next


@pytest.fixture(scope="session", autouse=True)
def flush_append_only_tables() -> Iterator[None]:
    """Tests whose work must really be committed end by emptying all tables; the append-only ones refuse that, rightly.
    The tests' role is a superuser and may switch triggers off for its own connection."""
    original = DatabaseOperations.sql_flush

    def sql_flush(self: DatabaseOperations, *args: Any, **options: Any) -> list[str]:
        statements = original(self, *args, **options)
        return ["SET session_replication_role = replica", *statements, "SET session_replication_role = DEFAULT"]

    with patch.object(DatabaseOperations, "sql_flush", sql_flush):
        yield
