"""Who asks the API by a token instead of a page."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.auth import TokenAuthentication as KnoxAuthentication
from rest_framework.exceptions import AuthenticationFailed

from apps.accounts.models import ApiToken, User

# How exactly it is known when a token was last used: each request would be a write otherwise.
USE_NOTED_EVERY = timedelta(minutes=1)


class TokenAuthentication(KnoxAuthentication):
    """The person whose token a request bears (`Authorization: Bearer ps_...`)."""

    def authenticate_credentials(self, token: bytes) -> tuple[User, ApiToken]:
        # Other bytes may be no text, or none that the database takes.
        if not re.fullmatch(rb"ps_[0-9a-f]{64}", token):
            raise AuthenticationFailed("This is no token.")
        user, api_token = super().authenticate_credentials(token)
        if user.must_change_password:
            raise AuthenticationFailed("Choose a password of your own first: sign in on the website.")
        now = timezone.now()
        if api_token.last_used_at is None or now - api_token.last_used_at > USE_NOTED_EVERY:
            ApiToken.objects.filter(pk=api_token.pk).update(last_used_at=now)
        return user, api_token


def is_token(authorization: bytes) -> bool:
    """Whether a header `Authorization` holds somebody's token that has not expired."""
    scheme, _, token = authorization.partition(b" ")
    if scheme.lower() != b"bearer":
        return False
    try:
        TokenAuthentication().authenticate_credentials(token.strip())
    except AuthenticationFailed:
        return False
    return True


class TokenScheme(OpenApiAuthenticationExtension):
    """For the API's description."""

    target_class = "apps.accounts.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "A token from the account page"}
