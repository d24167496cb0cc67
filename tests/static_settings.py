"""Settings for tools that read them and never connect: mypy's Django plugin."""

import os
import tempfile

os.environ.setdefault("DATABASE_URL", "postgresql:///static_checks_never_connect")
# A secret key is made in the data folder where there is none.
os.environ.setdefault("PATCHSORTER_SECRET_KEY", "static checks sign nothing")
os.environ.setdefault("PATCHSORTER_DATA", tempfile.gettempdir())

from patchsorter_site.settings import *  # noqa: F403
