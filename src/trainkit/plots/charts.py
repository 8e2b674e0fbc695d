"""Lines and points as matplotlib draws them, in one style: for the page, and for files of their own."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from trainkit.core import atomic
from trainkit.core.text import written_out
from trainkit.plots.figures import COLOURS, Series

INK, GRID = "#202124", "#dadce0"
WIDE = 50
"""Positive numbers whose largest is so many times the smallest get a logarithmic axis."""


def wide(values: Sequence[float]) -> bool:
    """Whether numbers are best seen on a logarithmic axis."""
    finite = [value for value in values if math.isfinite(value)]
    return bool(finite) and min(finite) > 0 and max(finite) > WIDE * min(finite)


def against(points: Iterable[tuple[float, float]], lost: Sequence[float], *, means: bool = True) -> list[Series]:
    """The metrics of trials against the values of one axis, with the mean at each.

    Args:
        lost: where trials have none.
    """
    by_place: dict[float, list[float]] = {}
    for x, y in sorted(points, key=lambda point: point[0]):
        by_place.setdefault(x, []).append(y)
    dots = [(x, y) for x, several in by_place.items() for y in several]
    found = [Series("one trial", [x for x, _ in dots], [y for _, y in dots], "points")]
    if means and len(by_place) > 1:
        found.append(
            Series("mean", list(by_place), [statistics.fmean(several) for several in by_place.values()], "dotted line")
        )
    return found + ([Series("failed or diverged", lost, lost, "crosses")] if lost else [])


@contextmanager
def drawn(
    series: Sequence[Series],
    *,
    log: tuple[bool, bool] = (False, False),
    colours: Sequence[str] = COLOURS,
    ink: str = INK,
    grid: str = GRID,
    settings: Mapping[str, str] | None = None,
) -> Iterator[tuple[Figure, Axes]]:
    """A figure of these series, to be saved inside the block.

    Args:
        log: whether x and y are logarithmic.
        settings: of matplotlib, besides those of the style.
    """
    style: dict[Any, Any] = {  # the keys are literals to type checkers
        **dict.fromkeys(("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color", "ytick.color"), ink),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right", "text.parse_math"), False),
        **dict.fromkeys(("axes.linewidth", "grid.linewidth"), 0.6),
        "grid.color": grid,
        "font.size": 9,
        "path.simplify_threshold": 0.5,
        **(settings or {}),
    }
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # other fonts have it
        figure = Figure(figsize=(4.6, 2.8), layout="constrained")  # no pyplot: it keeps figures and windows
        axes = figure.add_subplot()
        for number, (one, colour) in enumerate(zip(series, cycle(colours), strict=False)):
            _draw(axes, one, colour, "--" if number >= len(colours) else "-")
        for axis, is_log, set_scale in ((axes.xaxis, log[0], axes.set_xscale), (axes.yaxis, log[1], axes.set_yscale)):
            if is_log:
                set_scale("log")
            _plain_numbers(axis, is_log)
        axes.grid(visible=True)
        yield figure, axes


def write_png(
    path: Path,
    title: str,
    series: Sequence[Series],
    *,
    xlabel: str,
    ylabel: str,
    log: bool,
    ylim: tuple[float, float] | None = None,
) -> None:
    """Draw a picture file; `log`: whether x is logarithmic."""
    with drawn(series, log=(log, False)) as (figure, axes):
        figure.set_size_inches(7, 4.2)
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        if ylim:
            axes.set_ylim(*ylim)
        if len(series) > 1:
            axes.legend(frameon=False)
        atomic.replace(path, lambda file: figure.savefig(file, format="png", dpi=120))


def _draw(axes: Axes, one: Series, colour: str, style: str) -> None:
    marked = "o" * (len(one.x) == 1)
    match one.kind:
        case "points":
            axes.plot(one.x, one.y, "o", color=colour, markersize=4, alpha=0.7, markeredgewidth=0, label=one.name)
        case "crosses":
            lower_edge = axes.get_xaxis_transform()
            axes.plot(one.x, [0.03] * len(one.x), "x", color=colour, transform=lower_edge, label=one.name)
        case "upright":
            axes.axvline(one.x[0], color=colour, linewidth=1, linestyle="--", label=one.name)
        case "dotted line":
            marker = "o" if len(one.x) <= 60 else ""
            axes.plot(one.x, one.y, style, color=colour, linewidth=1.4, marker=marker, markersize=3, label=one.name)
        case "faint":
            axes.plot(one.x, one.y, style, color=colour, linewidth=0.9, alpha=0.8, marker=marked, label=one.name)
        case _:
            axes.plot(one.x, one.y, style, color=colour, linewidth=1.4, marker=marked, label=one.name)


def _plain_numbers(axis: Axis, is_log: bool) -> None:
    """Without powers of ten, which would be set as formulas."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: written_out(f"{value:,.6g}")))
    if is_log:
        axis.set_minor_formatter(NullFormatter())
