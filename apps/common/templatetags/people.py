from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def initials(user: object) -> str:
    """One or two letters for an avatar: of the first and last word of the name, or of the e-mail address."""
    words = str(user).split("@")[0].replace(".", " ").replace("_", " ").split()
    if not words:
        return "?"
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()
