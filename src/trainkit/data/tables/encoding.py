"""Encoding of columns for the model: scaling, one-hot vocabularies, parts of dates; measured on the training rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trainkit.data.tables import cells
from trainkit.data.tables.cells import Bools, Floats
from trainkit.data.tables.column_kinds import MAX_CATEGORIES, least
from trainkit.data.tables.columns import Column, DatePart
from trainkit.data.tables.table_files import Texts

Standardize = bool | Literal["robust"]
Rows = NDArray[np.int64]

LARGEST = float(np.finfo(np.float32).max)

PARTS: dict[DatePart, Callable[[Floats, Floats], Floats]] = {
    "year": lambda wall, utc: _date(wall, "Y") + 1970,
    "month": lambda wall, utc: _date(wall, "M") % 12 + 1,
    "day": lambda wall, utc: _date(wall, "D") - _date(wall, "M").astype("M8[M]").astype("M8[D]").astype(np.float64) + 1,
    "weekday": lambda wall, utc: (_date(wall, "D") + 3) % 7,
    "hour": lambda wall, utc: wall % 86400 / 3600,
    "days": lambda wall, utc: utc / 86400,
}
"""What a date becomes, of seconds since 1970 by the clock on the wall and in UTC: weekdays from 0 for Monday on."""


def _date(wall: Floats, unit: str) -> Any:
    """Units since 1970."""
    return np.nan_to_num(wall).astype("M8[s]").astype(f"M8[{unit}]").astype(np.int64)


def _parts(values: Any, parts: Iterable[DatePart]) -> dict[DatePart, Floats]:
    """Of dates, shape (rows, 2): NaN where there is none."""
    wall, utc = values.T
    return {part: np.where(np.isnan(wall), np.nan, PARTS[part](wall, utc)) for part in parts}


class Parsed(NamedTuple):
    """What the texts of a column are."""

    values: Any
    """Numbers and flags (rows,), dates (rows, 2), or words."""
    bad: Bools
    """Which are not what the column holds; of words none is."""


def parse(texts: Texts, column: Column) -> Parsed:
    """Read texts as the column's were read in training."""
    if column.kind == "category":
        return Parsed(cells.words(texts, column), np.zeros(len(texts), dtype=bool))
    if column.kind == "number":
        values, bad = cells.numbers(texts, column)
        return Parsed(values, bad | (np.abs(values) > LARGEST))
    return Parsed(*(cells.flags if column.kind == "flag" else cells.dates)(texts, column))


def gaps(values: Any, column: Column) -> Bools:
    """Where there is no value, shape (rows,)."""
    if column.kind == "category":
        return np.asarray(pc.equal(values, "").to_numpy(zero_copy_only=False), dtype=bool)
    return np.asarray(np.isnan(values if values.ndim == 1 else values[:, 0]))


def fitted(column: Column, values: Any, rows: Rows, standardize: Standardize) -> Column:
    """The column with what its training rows say: words, means, scales. Some of the values may be missing."""
    if column.kind == "category":
        return _with_words(column, values.take(pa.array(rows)))
    update: dict[str, Any] = {"marked": bool(gaps(values, column)[rows].any())}
    if column.kind == "flag":
        seen = values[rows][~np.isnan(values[rows])]
        update["mean"] = float(seen.mean()) if len(seen) else 0.5
    elif column.kind == "date":
        dates = _parts(values[rows], PARTS)
        parts = tuple(part for part, one in dates.items() if _differ(one)) or ("days",)
        centers, scales = zip(*(_center(dates[part], standardize) for part in parts), strict=True)
        update |= {"parts": parts, "mean": _center(dates["days"], True)[0]}
        update |= {"center": centers, "scale": scales, "clip": standardize == "robust"}
    else:
        center, scale = _center(values[rows], standardize)
        update["mean"] = center
        if standardize:
            update |= {"center": (center,), "scale": (scale,), "clip": standardize == "robust"}
    return column.model_copy(update=update)


def _differ(values: Floats) -> bool:
    seen = values[~np.isnan(values)]
    return len(seen) > 0 and bool(seen.max() > seen.min())


def _center(values: Floats, standardize: Standardize) -> tuple[float, float]:
    """What is subtracted, and what is divided by: mean and standard deviation; or, robust against outliers, the median
    and the distance of the quartiles (where these are equal, half of the whole range)."""
    seen = values[~np.isnan(values)]
    if not len(seen):
        return 0.0, 1.0
    low, high = float(seen.min()), float(seen.max())
    if low == high:
        return low, 1.0
    if standardize == "robust":
        lower, center, upper = np.quantile(seen, (0.25, 0.5, 0.75)).tolist()
        return center, upper - lower or (high - low) / 2
    return float(seen.mean()), float(seen.std()) or 1.0


def _with_words(column: Column, words: Texts) -> Column:
    counted = pc.value_counts(words)
    frequency = dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
    enough = [word for word, count in frequency.items() if count >= least(len(words))]
    kept = sorted(sorted(enough, key=lambda word: (-frequency[word], word))[:MAX_CATEGORIES])
    rare = sorted(frequency.keys() - set(kept))
    return column.model_copy(update={"categories": tuple(kept), "other": bool(rare), "rare": tuple(rare)})


def encode(column: Column, values: Any, out: NDArray[np.float32]) -> None:
    """Fill in the column's inputs, shape (rows, column.width), which are 0 so far."""
    if column.categories is not None:
        indices = pc.index_in(values, pa.array(column.categories, pa.string()))
        indices = pc.fill_null(indices, len(column.categories) if column.other else -1).to_numpy(zero_copy_only=False)
        known = indices >= 0
        out[np.arange(len(out))[known], indices[known]] = 1
        return
    missing = gaps(values, column)
    if column.kind == "date":
        made, fill = list(_parts(values, column.parts).values()), column.center
    else:
        made, fill = [values], (column.mean,)
    for index, one in enumerate(made):
        one = np.where(missing, fill[index], one)
        if column.center:
            one = (one - column.center[index]) / column.scale[index]
        one = one / np.sqrt(1 + np.square(one / 3)) if column.clip else one
        out[:, index] = np.clip(one, -LARGEST, LARGEST)
    if column.marked:
        out[:, -1] = missing


def scaled(
    numbers: Floats, names: Iterable[str], rows: Rows, standardize: Standardize
) -> tuple[tuple[Column, ...], NDArray[np.float32]]:
    """Columns of numbers without gaps, shape (all rows, columns), measured on some rows, and what they become."""
    out = np.zeros(numbers.shape, dtype=np.float32)
    columns = []
    for index, name in enumerate(names):
        columns.append(fitted(Column(name=name), numbers[:, index], rows, standardize))
        encode(columns[-1], numbers[:, index], out[:, index : index + 1])
    return tuple(columns), out


def unseen(column: Column, values: Any) -> Bools:
    """Which words the training rows did not have, shape (rows,)."""
    if column.categories is None:
        return np.zeros(len(values), dtype=bool)
    known = pa.array((*column.categories, *column.rare), pa.string())
    return ~np.asarray(pc.is_in(values, known).to_numpy(zero_copy_only=False), dtype=bool)
