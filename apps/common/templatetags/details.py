from __future__ import annotations

import re
from typing import Any

from django import template

register = template.Library()


@register.filter
def as_words(detail: dict[str, Any]) -> str:
    """An audit event's detail on one line: `role: rater`, and for changes `name: old → new`."""
    parts = []
    for key, value in detail.items():
        if key == "changes" and isinstance(value, dict):
            parts += [f"{_spoken(field)}: {_text(old)} → {_text(new)}" for field, (old, new) in value.items()]
        else:
            parts.append(f"{_spoken(key)}: {_text(value)}")
    return ", ".join(parts)


def _spoken(key: str) -> str:
    return key.removesuffix("_px").removeprefix("is_").replace("_", " ")


def _text(value: Any) -> str:
    if value is None or value == "" or value == []:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " + ".join(map(_text, value))
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{40,}", text) else text  # a checksum is known by its beginning
