from __future__ import annotations

from django import template

register = template.Library()


@register.filter
def thousands(value: int | None) -> str:
    """1204 as 1,204, and a dash for nothing known."""
    return "–" if value is None else f"{value:,}"


@register.filter
def percent(fraction: float | str | None, decimals: int = 0) -> str:
    """0.938 as 94%, what is there but rounds to nothing as <1%; a dash for None and for "", which is what a template makes of a
    key that is not there."""
    if not isinstance(fraction, float | int):
        return "–"
    smallest: float = 10**-decimals
    if 0 < 100 * fraction <= smallest / 2:
        return f"<{smallest:.{decimals}f}%"
    return f"{100 * fraction:.{decimals}f}%"


@register.filter
def file_size(size: int) -> str:
    """Bytes as a person reads them: 812 B, 34 kB, 1.2 GB (powers of 1,000, as file managers show)."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000 or unit == "GB":
            return f"{amount:.0f} {unit}" if unit in ("B", "kB") else f"{amount:.1f} {unit}"
        amount /= 1000
    raise AssertionError("unreachable")
