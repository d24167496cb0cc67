"""The curve of labels per second over time, as the paper's figure 2: a picture (SVG) and a table (CSV)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from tests.benchmarks.simulation.annotator import UseCase
from tests.benchmarks.simulation.measures import bins_of
from tests.benchmarks.simulation.session import Session

# Okabe and Ito's, told apart without color vision too.
COLORS = ("#0072B2", "#D55E00", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#000000", "#F0E442")
WIDTH, HEIGHT = 520, 260
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 42
LEGEND_ROW = 18


@dataclass(frozen=True)
class Panel:
    """One world: strategies by name, and the use case, whose rate of quick review is a dashed line."""

    title: str
    sessions: dict[str, Session]
    use_case: UseCase


def write_curves(panels: Sequence[Panel], folder: Path) -> tuple[Path, Path]:
    """Write `labeling.csv` and `labeling.svg` into the folder, which is made; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    table, picture = folder / "labeling.csv", folder / "labeling.svg"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["world", "strategy", "minute", "labels_per_second"])
        for panel in panels:
            for name, session in panel.sessions.items():
                for minute, rate in zip(*bins_of(session), strict=True):
                    writer.writerow([panel.title, name, f"{minute:g}", f"{rate:.4f}"])
    picture.write_text(_picture(panels))
    return table, picture


def _picture(panels: Sequence[Panel]) -> str:
    names = list(dict.fromkeys(name for panel in panels for name in panel.sessions))
    colors = {name: COLORS[number] for number, name in enumerate(names)}
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    legend_top = rows * HEIGHT + 8
    width, height = columns * WIDTH, legend_top + LEGEND_ROW * (len(names) + 1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="11" fill="#222">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * WIDTH, number // columns * HEIGHT
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel, colors), "</g>"]
    for number, name in enumerate([*names, "quick review, one patch after the other"]):
        y = legend_top + LEGEND_ROW * number + 8
        line = f'stroke="{colors[name]}" stroke-width="2"' if name in colors else 'stroke="#666" stroke-dasharray="4 3"'
        parts.append(f'<path d="M{LEFT} {y}h26" {line}/><text x="{LEFT + 34}" y="{y + 4}">{escape(name)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(panel: Panel, colors: dict[str, str]) -> list[str]:
    longest = max(session.human_s for session in panel.sessions.values()) / 60
    curves = {name: bins_of(session) for name, session in panel.sessions.items()}
    slow, fast = panel.use_case.quick_review_per_s, max(float(rates.max()) for _, rates in curves.values())
    low, high = np.log10(slow / 1.5), np.log10(fast * 1.2)  # logarithmic: what is accepted by sample comes in a burst

    def x(minute: float) -> float:
        return round(LEFT + minute / longest * (WIDTH - LEFT - RIGHT), 1)

    def y(rate: float) -> float:
        share = (np.log10(max(rate, 10**low)) - low) / (high - low)
        return round(float(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)), 1)

    bottom, right = HEIGHT - BOTTOM, x(longest)
    parts = [f'<text x="{LEFT}" y="{TOP - 12}" font-size="13" font-weight="bold">{escape(panel.title)}</text>']
    for rate in (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500):
        if low <= np.log10(rate) <= high:
            parts.append(f'<path d="M{LEFT} {y(rate)}H{right}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 6}" y="{y(rate) + 4}" text-anchor="end">{rate:g}</text>')
    for minute in np.arange(0, longest, _step(longest)):
        parts.append(f'<text x="{x(minute)}" y="{bottom + 15}" text-anchor="middle">{minute:g}</text>')
    parts.append(
        f'<text x="{(LEFT + right) / 2}" y="{bottom + 31}" text-anchor="middle">human time, minutes</text>'
        f'<text transform="translate(14 {(TOP + bottom) / 2}) rotate(-90)" text-anchor="middle">labels per second</text>'
    )
    for name, (minutes, rates) in curves.items():
        ends = [*minutes[1:], panel.sessions[name].human_s / 60]
        steps = " ".join(f"L{x(a)} {y(r)}L{x(b)} {y(r)}" for a, b, r in zip(minutes, ends, rates, strict=True))
        parts.append(
            f'<path d="M{x(0)} {bottom} {steps} V{bottom}" fill="none" stroke="{colors[name]}" stroke-width="2"/>'
        )
    return [*parts, f'<path d="M{LEFT} {y(slow)}H{right}" stroke="#666" stroke-dasharray="4 3"/>']


def _step(highest: float) -> float:
    """A round distance between some five ticks up to `highest`."""
    rough = highest / 5
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough))
