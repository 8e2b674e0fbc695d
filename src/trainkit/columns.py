"""Rows of words as lines of equal columns."""

from __future__ import annotations

from collections.abc import Container, Sequence

from rich.cells import cell_len


def aligned(rows: Sequence[Sequence[str]], right: Container[int] = ()) -> list[str]:
    """One line a row, two spaces between the columns; measured as a terminal shows them.

    Args:
        right: the columns that are aligned to the right, from 0 on; the others are to the left.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for place, (cell, width) in enumerate(zip(row, widths, strict=True)):
            room = " " * (width - cell_len(cell))
            cells.append(room + cell if place in right else cell + room)
        lines.append("  ".join(cells).rstrip())
    return lines
