from __future__ import annotations

from datetime import datetime

from django import template

from apps.engine.progress import format_duration

register = template.Library()


@register.filter
def timesince_short(start: datetime, end: datetime) -> str:
    """How long something took: 8 s, 3 min, 2 h 5 min."""
    return format_duration((end - start).total_seconds())


@register.filter
def duration(seconds: float) -> str:
    """The same of a number of seconds."""
    return format_duration(seconds)
