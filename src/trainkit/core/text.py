"""How numbers, names and tables read in messages."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

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


def and_more(names: Sequence[str]) -> str:
    """The first of several names, and how many there are more."""
    return f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]


def printable(text: str) -> str:
    """A text in one line, without what would move the cursor of a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, what: str) -> str:
    """`1 row`, `2,000 rows`."""
    return f"{count:,} {what}{'s' * int(count != 1)}"


def plain_json(value: Any) -> Any:
    """The same data with null for every number that JSON does not know."""
    if isinstance(value, Mapping):
        return {key: plain_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def format_metric(name: str, value: float) -> str:
    """`accuracy 98.70 %` for shares, four significant digits for everything else."""
    return f"{name} {value:.2%}".replace("%", " %") if is_share(name) else f"{name} {value:.4g}"


def written_out(text: str) -> str:
    """The same text with its numbers below ten millions without powers of ten: `28,380` for `2.838e+04`."""
    return re.sub(r"-?\d(?:\.\d+)?e\+0[3-6]\b", lambda found: f"{float(found[0]):,.0f}", text)


def is_share(name: str) -> bool:
    """Whether a metric is shown in per cent."""
    return any(word in name for word in ("accuracy", "precision", "recall", "f1", "iou", "dice"))


def format_duration(seconds: float) -> str:
    """`0:07`, `12:30` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def leaves(plain: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """What is no mapping, or an empty one, by dotted keys."""
    found: dict[str, Any] = {}
    for name, value in plain.items():
        key = f"{above}{name}"
        found |= leaves(value, f"{key}.") if isinstance(value, dict) and value else {key: value}
    return found


def first_ten(problems: Sequence[str]) -> list[str]:
    """Some of many problems, and how many there are more."""
    return [*problems[:10], *([f"… and {len(problems) - 10:,} more like these"] if len(problems) > 10 else [])]
