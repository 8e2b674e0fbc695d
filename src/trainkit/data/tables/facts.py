"""Facts about the columns of a table: a line for each, and diagnostics such as constant columns or leaked targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch import Tensor

from trainkit.config.shell import typed
from trainkit.core.diagnostics import Diagnostic
from trainkit.core.text import counted, printable
from trainkit.data.tables import cells, encoding
from trainkit.data.tables.column_kinds import NA_VALUES, Read
from trainkit.data.tables.columns import MOST_COUNTED, Column, ColumnFacts
from trainkit.tasks import Task

NOTHING = Column(name="", na_values=NA_VALUES)
SHOWN = 3
"""Of the words of a column, the most frequent ones."""
FEW = 3
"""So many rows of a class are one in each split."""
ENOUGH = 50
"""With fewer rows a column may give the answer away by chance."""
LOST = 0.9
"""When fewer of the different values are left in float32, it is told."""


def facts_of(reads: Mapping[str, Read], columns: Sequence[Column]) -> Iterator[ColumnFacts]:
    """One line for every column, in the order of the file."""
    fitted = {column.name: column for column in columns}
    for name, one in reads.items():
        column = fitted.get(name)
        if column is None or one.column is None:
            gaps = cells.missing(one.texts, NOTHING)
            there = one.texts.filter(pa.array(~gaps))
            yield ColumnFacts(name, "left out", one.why, int(gaps.sum()), _different(there), "", 0, "nothing")
            continue
        missing = encoding.gaps(one.values, column)
        yield ColumnFacts(
            name, column.kind, one.why, int(missing.sum()), _different(one.values), _range(one.values, column),
            column.width, _becomes(column),
        )  # fmt: skip


def _different(values: Any) -> int:
    if not isinstance(values, np.ndarray):
        return int(pc.count_distinct(values).as_py())
    some = (values if values.ndim == 1 else values[:, 1])[:MOST_COUNTED]
    return len(np.unique(some[~np.isnan(some)]))


def _range(values: Any, column: Column) -> str:
    if column.kind == "category":
        counted = pc.value_counts(values)
        order = pc.array_sort_indices(pc.negate(counted.field(1)))[:SHOWN]
        named = zip(counted.field(0).take(order).to_pylist(), counted.field(1).take(order).to_pylist(), strict=True)
        return ", ".join(f"{printable(word[:20]) or '(missing)'} {count / len(values):.0%}" for word, count in named)
    if np.isnan(values).all():
        return ""
    if column.kind == "flag":
        return f"yes {np.nanmean(values):.0%}"
    if column.kind == "date":
        first, last = (datetime.fromtimestamp(float(at), UTC) for at in (np.nanmin(values), np.nanmax(values)))
        return f"{first:%Y-%m-%d} … {last:%Y-%m-%d}"
    return f"{np.nanmin(values):.6g} … {np.nanmax(values):.6g}"


def _becomes(column: Column) -> str:
    mark = " and a mark where it is missing" if column.marked else ""
    if column.categories is not None:
        rest = f", and one for {counted(len(column.rare), 'rare one')}" if column.rare else ""
        return f"0 or 1 for each of {counted(len(column.categories), 'word')}{rest}"
    if column.kind == "date":
        return ", ".join(column.parts) + mark
    if column.kind == "flag":
        return f"0 or 1{mark}"
    how = "as it is" if not column.center else "robustly scaled" if column.clip else "standardised"
    return f"the number, {how}{mark}"


def oddities(
    values: Mapping[str, Any],
    columns: Sequence[Column],
    targets: Tensor,
    task: Task,
    rows: NDArray[np.int64],
    reads: Mapping[str, Read],
    file: str,
) -> Iterator[Diagnostic]:
    """What is allowed in columns, but usually a mistake."""
    wanted = targets.numpy()[rows]
    if task.exclusive:
        counted_names = zip(task.known_names, task.count(targets), strict=True)
        if rare := [f"{name!r} ({count})" for name, count in counted_names if count < FEW]:
            text = f"classes with hardly a row can be neither learned nor measured: {', '.join(rare[:SHOWN])}"
            more = f" and {len(rare) - SHOWN} more" if len(rare) > SHOWN else ""
            yield Diagnostic("rare-class", f"{file}: {text}{more}; find more of them, join them, or take them out")
    constant: list[str] = []
    for column in columns:
        name, one = column.name, values[column.name]
        if warning := reads[name].warning:
            yield Diagnostic(warning[0], f"{file}: {warning[1]}")
        if column.other and not column.categories:
            text = f"{name}: none of its words is in enough rows for an input of its own; it says nothing"
            yield Diagnostic("constant-column", f"{file}: {text}")
        if _is_constant(column, one, rows):
            constant.append(name)
            continue
        if column.kind == "number" and column.center:
            yield from _lost(column, one[rows], file)
        if len(rows) >= ENOUGH and _gives_away(column, one, rows, wanted, task):
            text = f"{name} alone tells {' and '.join(task.names) if task.reading == 'numbers' else 'the class'}"
            yield Diagnostic(
                "gives-away", f"{file}: {text}; if it is not known beforehand, use {typed('data.ignore', [name])}"
            )
    if constant:
        more = f" and {len(constant) - SHOWN} more" if len(constant) > SHOWN else ""
        verb, it = ("is", "it says") if len(constant) == 1 else ("are", "they say")
        text = f"{', '.join(constant[:SHOWN])}{more} {verb} the same in all training rows; {it} nothing"
        yield Diagnostic("constant-column", f"{file}: {text}")


def _is_constant(column: Column, values: Any, rows: NDArray[np.int64]) -> bool:
    if column.categories is not None:
        return len(column.categories) + len(column.rare) < 2
    seen = (values if values.ndim == 1 else values[:, 1])[rows]
    return not np.nanmax(seen, initial=-np.inf) > np.nanmin(seen, initial=np.inf)


def _lost(column: Column, seen: Any, file: str) -> Iterator[Diagnostic]:
    """Different values that are the same once they are scaled, in float32."""
    some = seen[~np.isnan(seen)][:MOST_COUNTED]
    before = len(np.unique(some))
    made = np.zeros((len(some), column.width), dtype=np.float32)
    encoding.encode(column, some, made)
    after = len(np.unique(made[:, 0]))
    if after < LOST * before:
        way = "" if column.clip else "data.standardize=robust helps, or "
        yield Diagnostic(
            "float32",
            f"{file}: {column.name}: {before:,} different values become {after:,} in float32, since a few are very far "
            f"from the others; {way}leave those out",
        )


def _gives_away(column: Column, values: Any, rows: NDArray[np.int64], wanted: Any, task: Task) -> bool:
    if task.reading == "flags" or (task.reading == "numbers" and column.kind == "category"):
        return False
    if column.kind == "category":
        seen = values.take(pa.array(rows))
    else:
        seen = (values if values.ndim == 1 else values[:, 1])[rows]
        if np.isnan(seen).any():
            return False
        different = len(np.unique(seen[:MOST_COUNTED]))
        if task.reading == "numbers":
            return different > 2 and any(
                abs(np.corrcoef(seen, each)[0, 1]) > 0.9999 for each in wanted.T if np.ptp(each) > 0
            )
        if different > len(seen[:MOST_COUNTED]) / 2:
            return False  # there are too many for a look at each
    # In most columns a few rows say no, which is quicker.
    if not all(_decides(_codes(seen[:count]), wanted[:count]) for count in (ENOUGH, MOST_COUNTED)):
        return False
    codes = _codes(seen)
    return 1 < codes.max() + 1 <= len(rows) / 4 and len(np.unique(wanted)) > 1 and _decides(codes, wanted)


def _codes(values: Any) -> NDArray[np.int64]:
    """A number from 0 on for each of the different values."""
    if isinstance(values, np.ndarray):
        return np.unique(values, return_inverse=True)[1]
    return np.asarray(pc.dictionary_encode(values).indices, dtype=np.int64)


def _decides(codes: NDArray[np.int64], classes: NDArray[np.int64]) -> bool:
    """Whether equal values always stand beside equal classes."""
    return len(np.unique(codes * (classes.max() + 1) + classes)) == int(codes.max()) + 1
