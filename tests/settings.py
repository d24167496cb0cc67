"""Settings for the tests: those of the site, on a PostgreSQL of this run's own, unless DATABASE_URL names another.

The tests' role is the superuser, so that the test database can be made and refuse what the owner refuses; tests of what
the application's role may not do connect as that role.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from apps.common.embedded_postgres import APP_ROLE, SUPERUSER, attach, prepare_database

_configured = os.environ.get("DATABASE_URL")
_folder = Path(tempfile.mkdtemp(prefix="patchsorter-tests-"))
atexit.register(shutil.rmtree, _folder, ignore_errors=True)

if not _configured:
    # Nothing here outlives the run: no waiting for a disk. Registered after rmtree, so it is stopped before it.
    _server = attach(
        _folder / "postgres", settings={"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    )
    prepare_database(_server)
    os.environ["DATABASE_URL"] = os.environ["DATABASE_OWNER_URL"] = _server.url(SUPERUSER)
os.environ["PATCHSORTER_DATA"] = str(_folder)
os.environ["PATCHSORTER_SECRET_KEY"] = "signs nothing outside the tests"
os.environ.pop("REDIS_URL", None)

from patchsorter_site.settings import *  # noqa: E402, F403
from patchsorter_site.settings import DATABASES, Q_CLUSTER  # noqa: E402

if not _configured:
    # A program that a test starts, the whole site for one, must make its own database as it would for a user.
    del os.environ["DATABASE_URL"], os.environ["DATABASE_OWNER_URL"]
del os.environ["PATCHSORTER_DATA"], os.environ["PATCHSORTER_SECRET_KEY"]

DATABASES["owner"] = {**DATABASES["default"], "TEST": {"MIRROR": "default"}}
# The role that the site runs as, for tests of what it may not do.
TEST_APP_ROLE = APP_ROLE

for _name in ("media", "static"):
    (_folder / _name).mkdir()
CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# Jobs wait in the queue: a test runs the task that it is about.
Q_CLUSTER = {**Q_CLUSTER, "sync": False}
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
