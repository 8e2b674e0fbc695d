"""Charts as SVG for a page: in its colours, light or dark, and the same bytes for the same numbers."""

from __future__ import annotations

import html
import io
import math
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

COLOURS = 7
"""Of lines, in the page's style sheet; further lines are dashed ones of the same colours."""
WIDE = 50
"""Positive numbers whose largest is so many times the smallest get a logarithmic axis."""
INK, GRID = "#fe00fe", "#fe00fd"
_LINES = tuple(f"#fe01{number:02x}" for number in range(COLOURS))
_SETTINGS: dict[Any, Any] = {  # the keys are literals to type checkers
    "svg.fonttype": "none",  # text stays text: small, and in the page's own font
    "svg.hashsalt": "trainkit",
    "text.parse_math": False,
    "path.simplify_threshold": 0.5,
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or a cloud of points."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    kind: Literal["line", "faint", "dotted line", "points", "crosses"] = "line"


@dataclass(frozen=True, slots=True)
class Legend:
    """What a line on the chart looks like."""

    name: str
    colour: int
    style: Literal["solid", "dashed", "dotted"]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing with its words, which the page sets."""

    title: str
    svg: str
    legend: tuple[Legend, ...]
    note: str = ""


def chart(
    title: str,
    series: Sequence[Series],
    *,
    xlabel: str,
    ylabel: str = "",
    log: tuple[bool, bool] = (False, False),
    ticks: Sequence[str] = (),
    unit: bool = False,
    diagonal: bool = False,
    note: str = "",
) -> Chart:
    """Draw lines or points.

    Args:
        log: whether x and y are logarithmic.
        ticks: words for x = 0, 1, …
        unit: both axes go from 0 to 1.
        diagonal: draw where x and y are equal.
    """
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # the page's fonts have it, matplotlib's need not
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")  # no pyplot: it keeps figures and windows
        figure.patch.set_visible(False)
        axes = figure.add_subplot()
        axes.patch.set_visible(False)
        for number, one in enumerate(series):
            _draw(axes, one, _LINES[number % COLOURS], dashed=number >= COLOURS)
        for axis, is_log, set_scale in ((axes.xaxis, log[0], axes.set_xscale), (axes.yaxis, log[1], axes.set_yscale)):
            if is_log:
                set_scale("log")
            _plain_numbers(axis, is_log)
        if ticks:
            axes.xaxis.set_major_locator(FixedLocator(range(len(ticks))))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: ticks[round(value)]))
        if unit:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        if diagonal:
            axes.axline((0, 0), slope=1, color=INK, linewidth=0.6, linestyle=":")
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.grid(visible=True)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    legend = tuple(
        Legend(one.name, number % COLOURS, _style(one, dashed=number >= COLOURS)) for number, one in enumerate(series)
    )
    return Chart(title, _for_a_page(text.getvalue(), title), legend if len(legend) > 1 else (), note)


def wide(values: Sequence[float]) -> bool:
    """Whether numbers are best seen on a logarithmic axis."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > WIDE * min(finite)


def _draw(axes: Axes, one: Series, colour: str, *, dashed: bool) -> None:
    style = "--" if dashed else "-"
    match one.kind:
        case "points":
            axes.plot(one.x, one.y, "o", color=colour, markersize=4, alpha=0.7, markeredgewidth=0)
        case "crosses":  # at the lower edge: they have no value
            axes.plot(one.x, [0.03] * len(one.x), "x", color=colour, transform=axes.get_xaxis_transform())
        case "dotted line":
            marker = "o" if len(one.x) <= 60 else ""
            axes.plot(one.x, one.y, style, color=colour, linewidth=1.4, marker=marker, markersize=3)
        case "faint":
            axes.plot(one.x, one.y, style, color=colour, linewidth=0.9, alpha=0.8, marker="o" * (len(one.x) == 1))
        case _:
            axes.plot(one.x, one.y, style, color=colour, linewidth=1.4, marker="o" * (len(one.x) == 1))


def _style(one: Series, *, dashed: bool) -> Literal["solid", "dashed", "dotted"]:
    return "dotted" if one.kind in ("points", "crosses") else "dashed" if dashed else "solid"


def _plain_numbers(axis: Axis, is_log: bool) -> None:
    """Without powers of ten, which would be set as formulas."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    if is_log:
        axis.set_minor_formatter(NullFormatter())


def _for_a_page(svg: str, title: str) -> str:
    """Only what a page needs: no addresses, sizes, styles or names of parts; colours and font are the page's."""
    view = re.search(r'viewBox="[^"]*"', svg)
    assert view
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r"<svg[^>]*>", f'<svg {view[0]} role="img" aria-label="{html.escape(title)}">', svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg).replace("xlink:href", "href")
    svg = re.sub(
        r"(?<=style=\")font: ([0-9.]+px) [^;\"<]*|; font-family: [^;\"<]*", lambda found: _font_size(found[1]), svg
    )
    for number, colour in enumerate(_LINES):
        svg = svg.replace(colour, f"var(--line{number})")
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--grid)")
    return re.sub(r"\s*\n\s*", "\n", svg).strip()


def _font_size(size: str | None) -> str:
    return f"font-size: {size}" if size else ""
