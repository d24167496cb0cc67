"""How the API describes itself (OpenAPI)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema


class Description(AutoSchema):
    """What each request takes, under the name of its view: the classes within the views are all called alike."""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Such as `LabelActionsInput`."""
        return str(type(serializer).__qualname__).replace(".", "")
