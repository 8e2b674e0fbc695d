"""What is to be drawn, as plain data: a chart of lines or points, a picture with words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

COLOURS = ("#1967d2", "#d93025", "#188038", "#9334e6", "#e37400", "#129eaf", "#5f6368")
"""Of lines; further lines are dashed ones of the same colours."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line, or a cloud of points."""

    name: str
    """Empty for what no legend has to name."""
    x: Sequence[float]
    y: Sequence[float]
    kind: Literal["line", "faint", "dotted line", "points", "crosses", "upright"] = "line"
    """`crosses` lie at the lower edge: they have no value; `upright` is a line across the whole height."""


@dataclass(frozen=True, slots=True)
class LineChart:
    """Lines or points against each other."""

    title: str
    series: Sequence[Series]
    xlabel: str
    ylabel: str
    unit: bool = False
    """Both axes go from 0 to 1."""
    diagonal: bool = False
    """Draw where x and y are equal."""
    note: str = ""


RGB = tuple[int, int, int]
Legend = Sequence[tuple[str, RGB]]
"""What colours mean."""


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a sheet."""

    picture: Tensor
    """uint8, shape (1 or 3, height, width)."""
    label: str
    """What it is; stands under it."""
    predicted: str = ""
    """What the model takes it for."""
    confidence: str = ""
    """The probability that the model gives that."""
    wrong: bool | None = None
    """Frames it green or red, with a mark for those who cannot tell the two apart."""
    beside: tuple[Tensor, ...] = ()
    """Further pictures of its size that are shown to the right of it, such as truth and prediction."""
