"""HTTP and websocket routing. A socket is opened only from our own pages (origin check) by a signed-in user."""

import os
import re
import warnings
from typing import cast

from asgiref.typing import ASGI3Application
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.conf import settings
from django.core.asgi import get_asgi_application

from apps.common.body_limit import BodyLimit

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "patchsorter_site.settings")
http_application = get_asgi_application()

from apps.projects.files import has_space  # noqa: E402 - needs the app registry
from apps.projects.routing import websocket_urlpatterns  # noqa: E402 - needs the app registry

# WhiteNoise hands over whole files, which are small; Django warns of that under ASGI (WhiteNoise's issue 531).
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

AROUND_A_FILE = 1024 * 1024  # what a form says besides its file


def body_limit(path: str) -> int:
    """Bytes: a whole image where one is uploaded, all of a lasso's ordinals elsewhere."""
    is_upload = re.fullmatch(r"/projects/\d+/uploads/\d+/files/", path)
    return (settings.UPLOAD_MAX_BYTES if is_upload else settings.DATA_UPLOAD_MAX_MEMORY_SIZE) + AROUND_A_FILE


application = ProtocolTypeRouter(
    {
        "http": BodyLimit(
            cast(ASGI3Application, http_application),
            limit_of=body_limit,
            has_room=lambda n_bytes: has_space(settings.FILE_UPLOAD_TEMP_DIR, n_bytes),
            in_memory_bytes=settings.FILE_UPLOAD_MAX_MEMORY_SIZE,
        ),
        "websocket": AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
