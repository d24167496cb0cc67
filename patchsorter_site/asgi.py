"""HTTP and websocket routing. A socket is opened only from our own pages (origin check) by a signed-in user."""

import os
import re
import warnings
from importlib import import_module
from typing import cast

from asgiref.typing import ASGI3Application, HTTPScope
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.core.asgi import get_asgi_application
from django.http import parse_cookie

from apps.common.body_limit import BodyLimit
from apps.common.turns import Turns
from apps.engine.durable import has_space

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "patchsorter_site.settings")
http_application = get_asgi_application()

from apps.accounts.authentication import is_token  # noqa: E402 - needs the app registry
from apps.projects.routing import websocket_urlpatterns  # noqa: E402 - needs the app registry

# WhiteNoise hands over whole files, which are small; Django warns of that under ASGI (WhiteNoise's issue 531).
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

# Of each web process: four of them leave PostgreSQL's hundred connections room for workers.
MOST_AT_ONCE = 16
AROUND_A_FILE = 1024 * 1024  # what a form says besides its file


def body_limit(path: str) -> int:
    """Bytes: a whole image where one is uploaded, all of a lasso's ordinals elsewhere."""
    is_upload = re.fullmatch(r"/api/v1/projects/\d+/uploads/\d+/files", path)
    return (settings.UPLOAD_MAX_BYTES if is_upload else settings.DATA_UPLOAD_MAX_MEMORY_SIZE) + AROUND_A_FILE


@database_sync_to_async
def sender_is_known(scope: HTTPScope) -> bool:
    """Whether the request bears the cookie of a session that somebody is signed in by, or a token. What they may do is asked later, of
    the whole request."""
    said = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(said) == 1 and is_token(said[0]):  # of many, each would ask the database
        return True
    cookies = b"; ".join(value for name, value in scope["headers"] if name == b"cookie")
    key = parse_cookie(cookies.decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
    return key is not None and import_module(settings.SESSION_ENGINE).SessionStore(key).get(SESSION_KEY) is not None


application = ProtocolTypeRouter(
    {
        "http": BodyLimit(
            Turns(cast(ASGI3Application, http_application), most_at_once=MOST_AT_ONCE),
            limit_of=body_limit,
            is_known=sender_is_known,
            has_room=lambda n_bytes: has_space(settings.FILE_UPLOAD_TEMP_DIR, n_bytes),
            in_memory_bytes=settings.FILE_UPLOAD_MAX_MEMORY_SIZE,
        ),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
