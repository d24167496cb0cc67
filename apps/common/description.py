"""How the API describes itself (OpenAPI)."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema

_ERROR = {"application/json": {"schema": {"type": "object", "properties": {"detail": {"type": "string"}}}}}
_ERRORS = {
    "400": "What was sent cannot be used: `detail`, or the name of the field, says why",
    "403": "Neither signed in nor with a token, or not allowed",
    "404": "Not there, or not for this person to see",
}


class Description(AutoSchema):
    """What each request takes, under the name of its view: the classes within the views are all called alike."""

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        """Such as `LabelActionsInput`."""
        return str(type(serializer).__qualname__).replace(".", "")

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        answers = super()._get_response_bodies(direction)
        for code, meaning in _ERRORS.items():
            answers.setdefault(code, {"description": meaning, "content": _ERROR})
        return answers
