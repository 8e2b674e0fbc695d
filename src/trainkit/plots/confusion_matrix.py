"""The confusion matrix as a picture, and how strong its colours are."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

RIGHT, WRONG = (25, 103, 210), (217, 48, 37)
CELLS = ((12, 48), (24, 36), (48, 20), (128, 14), (256, 4))
"""Pixels of a cell for up to so many classes; for more it is 2. From 20 on there is room for numbers."""
DPI = 100
DIGIT = 8
"""Pixels of a digit."""


def strengths(counts: Sequence[Sequence[int]]) -> NDArray[np.float64]:
    """How strong each cell's colour is, from 0 to 1: on the diagonal the share of its row; of mistakes, the root of
    that share beside the commonest one."""
    table = np.array(counts, dtype=float)
    shares = table / table.sum(1, keepdims=True).clip(min=1)
    right = np.eye(len(table), dtype=bool)
    commonest = max(shares[~right].max(initial=0), 1e-12)
    found: NDArray[np.float64] = np.where(right, shares, 0.8 * np.sqrt(shares / commonest))
    return found


def confusion_picture(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> Image.Image:
    """A confusion matrix, a row for every true class. Blue: the share that is right; red: the mistakes."""
    size = len(counts)
    cell = next((side for most, side in CELLS if size <= most), 2)
    strength = strengths(counts)
    full = np.where(np.eye(size, dtype=bool)[..., None], RIGHT, WRONG) / 255
    with mpl.rc_context({"text.parse_math": False, "font.size": 9}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # other fonts have it
        side = size * cell / DPI
        figure = Figure(figsize=(max(side + 2.5, 5.6), side + 2.5), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.imshow(1 - (1 - full) * strength[..., None], interpolation="nearest")
        figure.suptitle(title, fontsize="medium", wrap=True)
        axes.tick_params(top=True, labeltop=True, bottom=False, labelbottom=False)
        if cell > 4:
            short = [name if len(name) <= 24 else f"{name[:23]}…" for name in names]
            axes.set_xticks(range(size), short, rotation=90)
            axes.set_yticks(range(size), short)
        for row, column in np.argwhere(np.array(counts) > 0) if cell >= 20 else ():
            count, colour = str(counts[row][column]), "white" if strength[row, column] > 0.6 else "black"
            if len(count) * DIGIT < cell:
                text = axes.text(column, row, count, ha="center", va="center", color=colour)
                text.set_in_layout(False)  # to make room for each would take seconds
        file = io.BytesIO()
        figure.savefig(file, format="png")
        return Image.open(file).convert("RGB")
