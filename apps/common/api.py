"""What the API's views share: ordinals and buffers in, buffers out."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from django.core.exceptions import ValidationError as DjangoValidationError
from django.http import HttpResponse
from drf_spectacular.utils import extend_schema_field
from numpy.typing import NDArray
from rest_framework import serializers, status
from rest_framework.exceptions import APIException, ParseError, ValidationError
from rest_framework.parsers import JSONParser

from apps.common.requests import ApiRequest

MAX_ORDINALS = 16_000_000
# Python's objects take twenty times what they were written with.
MAX_JSON_BYTES = 4_000_000
TOO_MUCH_JSON = f"more than {MAX_JSON_BYTES:,} bytes of JSON; send ordinals as a binary part"


class Conflict(APIException):
    """It was done otherwise meanwhile, or is being done."""

    status_code = status.HTTP_409_CONFLICT


def refused(error: DjangoValidationError) -> ValidationError:
    """What a service does not take, as the API says it: by field where it is about one, else as `detail`."""
    if hasattr(error, "error_dict"):
        return ValidationError(error.message_dict)
    return ValidationError({"detail": " ".join(error.messages)})


class BoundedJSONParser(JSONParser):
    """A body of JSON, up to `MAX_JSON_BYTES`."""

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        content = stream.read(MAX_JSON_BYTES + 1)
        if len(content) > MAX_JSON_BYTES:
            raise ParseError(TOO_MUCH_JSON)
        return super().parse(io.BytesIO(content), media_type, parser_context)


class Fields(serializers.Serializer[Any]):
    """What a request sends. A field that it does not know is refused: a misspelled one would be heeded by nobody."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = sorted(set(data) - set(self.fields)) if isinstance(data, Mapping) else []
        if unknown:
            raise serializers.ValidationError({name: ["There is no such field."] for name in unknown})
        return super().to_internal_value(data)


@extend_schema_field({"type": "array", "items": {"type": "integer", "minimum": 0}})
class OrdinalsField(serializers.Field[Any, Any, Any, Any]):
    """Objects by ordinal, which `read_ordinals` reads: here it is only said that they may be sent."""

    def __init__(self) -> None:
        super().__init__(
            required=False,
            help_text="Objects by their numbers",
        )

    def to_internal_value(self, data: Any) -> Any:
        return data


def with_ordinals(form: type[Fields], part: str | None = None) -> dict[str, Any]:
    """How a body with ordinals is described: as JSON, or in parts: the fields each by itself, or all in the `part` that `read_payload`
    reads."""
    parts: dict[str, Any] = {"ordinals": {"type": "string", "format": "binary", "description": "uint32, little-endian"}}
    if part is not None:
        parts[part] = {"type": "string", "description": "The same as JSON, without the ordinals"}
    else:
        others = [name for name in form().get_fields() if name != "ordinals"]
        parts |= {name: {"type": "string", "description": "As in JSON"} for name in others}
    return {"application/json": form, "multipart/form-data": {"type": "object", "properties": parts}}


def read_ordinals(request: ApiRequest, *, at_least: int = 1) -> NDArray[np.uint32]:
    """Ordinals (n,) from a multipart part `ordinals` (uint32 LE), or from a list in a JSON body."""
    part = request.FILES.get("ordinals")
    if part is not None:
        # Before it is read: the body lies on disk, and not all of it may fit into memory.
        if part.size > 4 * MAX_ORDINALS:
            raise ValidationError({"detail": f"ordinals: expected {at_least} to {MAX_ORDINALS:,} object numbers"})
        content = part.read()
        if len(content) % 4:
            raise ValidationError({"detail": "ordinals: expected 4 bytes for each object (uint32, little-endian)"})
        ordinals = np.frombuffer(content, "<u4").astype(np.uint32)
    else:
        listed = request.data.get("ordinals") if isinstance(request.data, dict) else None
        if not isinstance(listed, list) or not all(type(item) is int and 0 <= item < 2**31 for item in listed):
            raise ValidationError({"detail": "ordinals: expected a list of object numbers, or a binary part"})
        ordinals = np.array(listed, np.uint32)
    if not at_least <= len(ordinals) <= MAX_ORDINALS or ordinals.max(initial=0) >= 2**31:
        raise ValidationError({"detail": f"ordinals: expected {at_least} to {MAX_ORDINALS:,} object numbers"})
    return ordinals


def read_payload(request: ApiRequest, part: str) -> dict[str, Any]:
    """The JSON object in the multipart field `part`, or the whole body where that is JSON."""
    payload: Any = request.data
    if isinstance(payload, dict) and part in payload:
        try:
            if len(payload[part]) > MAX_JSON_BYTES:
                raise ValidationError({"detail": f"{part}: {TOO_MUCH_JSON}"})
            payload = json.loads(payload[part])
        except (TypeError, ValueError) as error:
            raise ValidationError({"detail": f"{part}: not valid JSON"}) from error
    if not isinstance(payload, dict):
        raise ValidationError({"detail": f"{part}: expected a JSON object"})
    return dict(payload)


def buffer_response(gzipped: bytes, *, etag: str, immutable: bool = False) -> HttpResponse:
    """A compressed binary buffer; private, because it belongs to one tenant."""
    response = HttpResponse(gzipped, content_type="application/octet-stream")
    response["Content-Encoding"] = "gzip"
    response["ETag"] = f'"{etag}"'
    response["Cache-Control"] = "private, max-age=31536000, immutable" if immutable else "private, no-cache"
    return response
