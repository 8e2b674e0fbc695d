"""Charts as SVG for a page: in its colours, light or dark, and the same bytes for the same numbers."""

from __future__ import annotations

import html
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator

from trainkit.core.text import format_metric, is_share, printable, written_out
from trainkit.plots.charts import drawn
from trainkit.plots.figures import COLOURS, Series

INK, GRID = "#fe00fe", "#fe00fd"
_LINES = tuple(f"#fe01{number:02x}" for number in range(len(COLOURS)))
"""Stand for the colours in the page's style sheet."""
_SETTINGS = {
    "svg.fonttype": "none",  # text stays text: small, and in the page's own font
    "svg.hashsalt": "trainkit",
}
MOST_VALUES = 300
"""Points of a line whose values can be read on a page: about one a pixel, fewer where there are several lines…"""
FEWEST_VALUES = 60
"""…but no fewer than these."""


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
    values: dict[str, Any] | None = None
    """Where the axes lie and what the lines are made of, for a page's crosshair."""


def chart(
    title: str,
    series: Sequence[Series],
    *,
    xlabel: str,
    ylabel: str = "",
    metric: str = "",
    log: tuple[bool, bool] = (False, False),
    ticks: Sequence[str] = (),
    unit: bool = False,
    diagonal: bool = False,
    note: str = "",
    values: bool = False,
) -> Chart:
    """Draw lines or points.

    Args:
        metric: what y is; shares are shown in per cent.
        log: whether x and y are logarithmic.
        ticks: words for x = 0, 1, …
        unit: both axes go from 0 to 1.
        diagonal: draw where x and y are equal, and give them the same limits.
        values: tell them, too, for a crosshair.
    """
    with drawn(series, log=log, colours=_LINES, ink=INK, grid=GRID, settings=_SETTINGS) as (figure, axes):
        figure.patch.set_visible(False)
        axes.patch.set_visible(False)
        axes.xaxis.set_major_locator(LogLocator(numticks=6) if log[0] else MaxNLocator(6, steps=[1, 2, 5, 10]))
        if ticks:
            axes.xaxis.set_major_locator(FixedLocator(range(len(ticks))))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: ticks[round(value)]))
        if unit:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        if diagonal and not unit:
            ends = [*axes.get_xlim(), *axes.get_ylim()]
            axes.set(xlim=(min(ends), max(ends)), ylim=(min(ends), max(ends)))
        if diagonal:
            axes.axline((0, 0), slope=1, color=INK, linewidth=0.6, linestyle=":")
        if is_share(metric):
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.6g}\u00a0%"))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        told = _values(axes, series, metric, ticks) | {"xlabel": xlabel, "log": log[0]} if values else None
    legend = tuple(
        Legend(one.name, number % len(COLOURS), _style(one, dashed=number >= len(COLOURS)))
        for number, one in enumerate(series)
        if one.name
    )
    return Chart(title, _for_a_page(text.getvalue(), title), legend if len(legend) > 1 else (), note, told)


def _values(axes: Axes, series: Sequence[Series], metric: str, ticks: Sequence[str]) -> dict[str, Any]:
    """Plain data; places in per cent of the drawing, from its upper left corner."""
    box, (start, end) = axes.get_position(), axes.get_xlim()
    places = {"left": box.x0, "top": 1 - box.y1, "width": box.width, "height": box.height}
    lines = [_line(one, metric, max(FEWEST_VALUES, MOST_VALUES // len(series))) for one in series]
    return {
        **{name: round(100 * place, 2) for name, place in places.items()},
        "from": start,
        "to": end,
        "ticks": list(ticks),
        "scattered": any(one.kind == "points" for one in series),
        "lines": [line for line in lines if line["x"]],
    }


def _line(one: Series, metric: str, most: int) -> dict[str, Any]:
    """Name and points, of which those with the same x are one: what is highest and lowest there, in words.

    Args:
        most: points; further ones are left out evenly.
    """
    at: dict[float, list[float]] = {}
    for x, y in zip(one.x, one.y, strict=True):
        if math.isfinite(y):
            at.setdefault(float(f"{x:.4g}"), []).append(y)
    kept = list(at)[:: math.ceil(len(at) / most) or 1]
    ends = [[] if one.kind == "crosses" else [min(at[x]), max(at[x])] for x in kept]
    words = [[written_out(format_metric(metric, y).removeprefix(f"{metric} ").strip()) for y in pair] for pair in ends]
    return {
        "name": printable(one.name),
        "x": kept,
        "y": [" to ".join(dict.fromkeys(pair)) for pair in words],
    }


def _style(one: Series, *, dashed: bool) -> Literal["solid", "dashed", "dotted"]:
    return "dotted" if one.kind in ("points", "crosses") else "dashed" if dashed else "solid"


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
