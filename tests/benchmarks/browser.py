"""A signed-in user's connection to the web server, kept open between requests as a browser does."""

from __future__ import annotations

import http.client
import json
import time
import uuid
from collections.abc import Mapping
from http.client import HTTPMessage
from typing import Any
from urllib.parse import urlencode

import numpy as np
import numpy.typing as npt
from django.middleware.csrf import get_token
from django.test import Client, RequestFactory

from apps.accounts.models import User

# The server closes what was idle for five seconds.
KEPT_OPEN_S = 4.0


class Browser:
    """Standard library only, so that the client takes as little of the shared cores as it can."""

    def __init__(self, address: str, user: User) -> None:
        client = Client()
        client.force_login(user)
        csrf = get_token(RequestFactory().get("/"))
        self._headers = {
            "Cookie": f"sessionid={client.cookies['sessionid'].value}; csrftoken={csrf}",
            "X-CSRFToken": csrf,
            "Referer": f"http://{address}/",
        }
        self._connection = http.client.HTTPConnection(address, timeout=120)
        self._used_at = time.monotonic()

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, HTTPMessage, bytes]:
        """(status, headers, body as sent: not decompressed). Raises RuntimeError for what is none of 2xx, 302, 304."""
        if time.monotonic() - self._used_at > KEPT_OPEN_S:
            self._connection.close()  # and opened by the request
        self._connection.request(method, path, body, {**self._headers, **(headers or {})})
        response = self._connection.getresponse()
        content = response.read()
        self._used_at = time.monotonic()
        if not 200 <= response.status < 300 and response.status not in (302, 304):
            raise RuntimeError(f"{method} {path}: {response.status} {content[:300]!r}")
        return response.status, response.headers, content

    def get(self, path: str, **headers: str) -> tuple[int, HTTPMessage, bytes]:
        return self.request("GET", path, headers={**headers, "Accept-Encoding": "gzip"})

    def post(self, path: str, body: bytes, content_type: str) -> bytes:
        return self.request("POST", path, body, {"Content-Type": content_type})[2]

    def submit(self, path: str, form: Mapping[str, str]) -> str:
        """Send a page's form; the path that the answer leads to. Raises RuntimeError for one that does not lead on."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        status, headers, content = self.request("POST", path, urlencode(form).encode(), kind)
        if status != 302:
            raise RuntimeError(f"{path}: {status} {content[:300]!r}")
        return headers["Location"]

    def close(self) -> None:
        self._connection.close()


def multipart(fields: Mapping[str, Any], ordinals: npt.NDArray[np.integer]) -> tuple[bytes, str]:
    """(body, content type) as the pages send it: text fields, objects as JSON, and the ordinals as uint32."""
    boundary = uuid.uuid4().hex
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        f"{value if isinstance(value, str) else json.dumps(value)}\r\n"
        for name, value in fields.items()
    ]
    head = "".join(parts) + (
        f'--{boundary}\r\nContent-Disposition: form-data; name="ordinals"; filename="ordinals"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    body = head.encode() + ordinals.astype("<u4").tobytes() + f"\r\n--{boundary}--\r\n".encode()
    return body, f"multipart/form-data; boundary={boundary}"
