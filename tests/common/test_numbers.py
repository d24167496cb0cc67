"""Numbers as pages show them."""

from __future__ import annotations

import pytest

from apps.common.templatetags.numbers import percent


@pytest.mark.parametrize(
    ("fraction", "decimals", "shown"),
    [
        (0.938, 0, "94%"),
        (0, 0, "0%"),
        (1, 0, "100%"),
        (0.004, 0, "<1%"),
        (0.005, 0, "<1%"),
        (0.0051, 0, "1%"),
        (0.0004, 1, "<0.1%"),
        (None, 0, "–"),
        ("", 0, "–"),
    ],
)
def test_a_share_that_is_there_is_not_called_nothing(fraction: float | str | None, decimals: int, shown: str) -> None:
    assert percent(fraction, decimals) == shown
