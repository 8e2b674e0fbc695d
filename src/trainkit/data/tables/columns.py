"""A column of a table: what its texts are, and what they become for the model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from trainkit.config.base import Config
from trainkit.core.text import aligned, printable

ColumnKind = Literal["number", "flag", "category", "date"]
DatePart = Literal["year", "month", "day", "weekday", "hour", "days"]

Asked = Literal["auto", "number", "flag", "category", "date", "text", "drop"]

FIRST_NA_VALUES = ("", "na", "nan", "n/a", "null", "none", "?")
"""What counted as missing before columns said it for themselves."""


class Column(Config):
    """A column that the model sees, as it was in training: new rows are read and encoded in the same way.

    It makes `width` inputs, one after the other: the number (or the parts of a date, or 0 and 1 of a flag) and, where
    `marked`, one that is 1 where it is missing; or one that is 0 or 1 for each category.
    """

    name: str
    kind: ColumnKind = "number"
    categories: tuple[str, ...] | None = None
    """The words of a category, each an input that is 0 or 1. The empty word stands for a missing one."""
    other: bool = False
    """One input more, after those of `categories`: for words that are none of them."""
    rare: tuple[str, ...] = ()
    """Words that the training rows have, but not often enough for an input of their own."""
    mean: float = 0.0
    """Stands for what is missing, in the column's unit; of a flag between 0 and 1, of a date in days."""
    marked: bool = False
    """Whether the last input says where it is missing."""
    center: tuple[float, ...] = ()
    """Subtracted, in float64; one number for each input but the mark. Empty for nothing."""
    scale: tuple[Annotated[float, Field(gt=0)], ...] = ()
    """What is then divided by."""
    clip: bool = False
    """Whether z then becomes z / sqrt(1 + (z / 3)^2), between -3 and 3 (Holzmüller et al., 2024, arXiv:2407.04491)."""
    prefix: str = ""
    suffix: str = ""
    """What stands before and after every number, such as $ or %."""
    decimal: str = "."
    thousands: str = ""
    """What separates the decimals, and groups of three digits."""
    factor: float = 1.0
    """What the number is multiplied by: 0.01 makes shares of percents."""
    format: str = ""
    """Of dates: `iso`, `ymd`, `dmy`, `mdy` with any separators, or a format of Python's strptime."""
    parts: tuple[DatePart, ...] = ()
    """Of dates: what becomes an input."""
    na_values: tuple[str, ...] = FIRST_NA_VALUES
    """Texts that count as missing, in lower case, for any case."""

    @property
    def width(self) -> int:
        """How many inputs it makes."""
        if self.categories is not None:
            return len(self.categories) + self.other
        return (len(self.parts) if self.kind == "date" else 1) + self.marked


def rescaled(columns: Iterable[Column], inputs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inputs in the columns' units, shape (inputs,), as the model takes them; marks and categories stay 0 and 1."""
    made = inputs.copy()
    start = 0
    for column in columns:
        some = made[start : start + len(column.center)]
        some[:] = (some - column.center) / column.scale if column.center else some
        if column.clip:
            some /= np.sqrt(1 + np.square(some / 3))
        start += column.width
    return made


MOST_COUNTED = 20_000
"""Rows in which the different numbers are counted."""


def _date_format(form: str) -> str:
    if form and form not in ("ymd", "dmy", "mdy") and "%" not in form:
        raise ValueError(f"format: expected ymd, dmy, mdy, or such as %d.%m.%Y, got {form!r}")
    return form


DateFormat = Annotated[str, Field(max_length=100), AfterValidator(_date_format)]


class ColumnConfig(Config):
    """How one column is read, where the guess or the keys of `data` would not do."""

    kind: Asked = "auto"
    """`number`, `flag` (yes or no), `category`, `date`; `text` and `drop` are left out; `auto` guesses."""
    decimal: Literal[".", ","] | None = None
    """What stands before the decimals, if not what `data.decimal` says."""
    thousands: Literal[",", ".", " ", "'", ""] | None = None
    """What separates groups of three digits, if not what `data.thousands` says."""
    percent: Literal["number", "fraction"] | None = None
    """Whether 12% is 12 or 0.12, if not what `data.percent` says."""
    na_values: tuple[str, ...] | None = None
    """Texts that count as missing here, words too; if not what `data.na_values` says."""
    format: DateFormat = ""
    """Of dates: `ymd`, `dmy`, `mdy` with any separators, or a format of Python's strptime such as `%d.%m.%Y`."""

    @model_validator(mode="after")
    def _one_mark_for_each(self) -> Self:
        if self.decimal is not None and self.decimal == self.thousands:
            raise ValueError(f"decimal: {self.decimal!r} is thousands as well")
        return self


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """What is told of a column, whether the model sees it or not."""

    name: str
    kind: str
    """What it was taken for; `left out` for what the model does not see."""
    why: str
    missing: int
    """Rows without a value."""
    different: int
    """Values, as far as they were counted."""
    values: str
    """From where to where they go, or the most frequent ones."""
    inputs: int
    becomes: str
    """What the model sees of it."""

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def what(self) -> str:
        """Kind and reason."""
        return self.why if self.why.startswith(self.kind) else f"{self.kind}: {self.why}"

    @property
    def counted(self) -> str:
        """The different values, as text."""
        return f"{self.different:,}" if self.different < MOST_COUNTED else f"{MOST_COUNTED:,} and more"


def column_lines(columns: Sequence[ColumnFacts]) -> list[str]:
    """A table with a line for each column; nothing for data without columns."""
    if not columns:
        return []
    titles = ("column", "what it is", "missing", "different", "values", "inputs", "what the model sees")
    rows = [
        (printable(one.name), one.what, f"{one.missing:,}", one.counted, one.values, str(one.inputs), one.becomes)
        for one in columns
    ]
    return aligned([titles, *rows], right=(2, 3, 5))
