from __future__ import annotations

import re
from typing import Any

from django import template

from apps.common.templatetags.numbers import file_size

register = template.Library()

MOST_LISTED = 8


@register.filter
def as_words(detail: dict[str, Any]) -> str:
    """An audit event's detail on one line: `role: rater`, and for changes `name: old → new`. What is empty is left out."""
    parts = []
    for key, value in detail.items():
        if key == "changes" and isinstance(value, dict):
            parts += [f"{_spoken(field)}: {_text(old)} → {_text(new)}" for field, (old, new) in value.items()]
        elif key == "bytes" and isinstance(value, int):
            parts.append(f"size: {file_size(value)}")
        elif not _is_empty(value):
            parts.append(f"{_spoken(key)}: {_text(value)}")
    return ", ".join(parts)


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    return mapping.get(key)


def _spoken(key: str) -> str:
    return key.removesuffix("_px").removeprefix("is_").replace("_", " ")


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _text(value: Any) -> str:
    if _is_empty(value):
        return "empty"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "; ".join(f"{_spoken(key)} {_text(part)}" for key, part in value.items() if not _is_empty(part))
    if isinstance(value, list):
        if any(isinstance(part, dict | list) for part in value):
            return str(len(value))  # a record each, as the pairs of an import: the event says how many
        more = len(value) - MOST_LISTED
        return " + ".join(map(_text, value[:MOST_LISTED])) + (f" and {more} more" if more > 0 else "")
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text  # a checksum is known by its beginning
