"""Kinds of columns: numbers, flags, dates or categories, inferred from all rows of a table, or as the config says.

One file, though a long one: the kinds are tried one after the other, and each has to know what the next would make of
the same texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from trainkit.config.shell import typed
from trainkit.core.errors import DataError
from trainkit.core.text import counted
from trainkit.data.tables import cells, dates
from trainkit.data.tables.cells import Bools, Floats
from trainkit.data.tables.columns import Column, ColumnConfig
from trainkit.data.tables.number_formats import POINT, Sign, separator_keys, sign_of
from trainkit.data.tables.table_files import TextColumn, Texts

NA_VALUES = ("", "na", "n/a", "n.a.", "nan", "-nan", "<na>", "#n/a", "#n/a n/a", "#na", "#nv", "null", "none", "nil",
             "?", "-", "--", ".", "\\n", "1.#qnan", "-1.#ind")  # fmt: skip
"""What stands for no value among numbers, dates and flags, in any case. Among words only the empty one does."""
MOSTLY = 0.9
"""A column with so large a share of numbers, or of dates, is one of numbers with a mistake in it."""
KNOWN = 0.5
"""Where fewer rows have a word that is frequent enough for an input of its own, the column is left out."""
GLANCE = 100
"""Rows of which mostly one tells that a column is none of numbers, or of flags."""
MOST_TEXTS = 50_000
"""Different texts that are inspected one by one."""
MOST_WHOLE = 2.0**53
"""Beyond that, float64 has not every whole number."""
MAX_CATEGORIES = 255
"""Of a column; each is an input. The most frequent ones are kept."""
ID_NAME = re.compile(
    r"(?i:(.*[_ .\-])?(id|ids|index|idx|key|uuid|guid|rownames|row|no|nr|unnamed: 0|column_\d+))|.*[a-z]I[dD]"
)


@dataclass(frozen=True, slots=True)
class Read:
    """A column that has been read."""

    column: Column | None
    """How; None for one that the model does not see."""
    values: Any
    """Numbers and flags (rows,), dates (rows, 2), or the words."""
    why: str
    """What it was taken for, and why; of one that is left out the reason."""
    texts: Texts = None
    """Of one that is left out."""
    warning: tuple[str, str] | None = None
    """The code and the text of what is probably not meant."""


def read(
    source: TextColumn, asked: ColumnConfig, *, needed: bool = False, is_target: bool = False, format_key: str = ""
) -> Read:
    """Decide what a column is, and read it.

    Args:
        needed: nothing is left out, as of the only column to predict from.
        is_target: it is to be predicted, and so needed as well.
        format_key: what says how dates are written, where there is no `data.columns`.

    Raises:
        DataError: hardly anything in it is not a number (or date), so that this is a mistake; or not what was asked.
    """
    given = tuple(text.lower() for text in asked.na_values or ())
    number = Column(
        name=source.name,
        decimal=asked.decimal or ".",
        thousands=asked.thousands or "",
        na_values=tuple(dict.fromkeys((*NA_VALUES, *given))),
    )
    word = Column(name=source.name, kind="category", na_values=tuple(dict.fromkeys(("", *given))))
    reader = _Reader(*source, asked, number, word, is_target, format_key)
    needed = needed or is_target
    if asked.kind in ("drop", "text"):
        why = "data.columns says so" if asked.kind == "drop" else "a text"
        return Read(None, None, why, source.texts)
    if asked.kind == "number":
        return reader.number(forced=True) or reader.signed_number() or reader.odd_number(Counter())
    if asked.kind == "flag":
        return reader.flag(forced=True) or reader.category("data.columns says so")
    if asked.kind == "date":
        return reader.date(forced=True) or reader.category("data.columns says so")
    if asked.kind == "category":
        return reader.category("data.columns says so")
    return (
        reader.number(needed=needed)
        or reader.flag()
        or reader.date()
        or reader.signed_number()
        or reader.words(needed=needed)
    )


@dataclass(frozen=True, slots=True)
class _Reader:
    """Tries to read a column as one kind after the other; each gives None where it is none of that."""

    name: str
    texts: Texts
    where: Callable[[int], str]
    asked: ColumnConfig
    as_number: Column
    as_word: Column
    is_target: bool
    format_key: str

    def number(self, *, forced: bool = False, needed: bool = False) -> Read | None:
        column = self.as_number
        if cells.numbers(self.texts[:GLANCE], column)[1].any():
            return None
        values, bad = cells.numbers(self.texts, column)
        if bad.any() or np.isnan(values).all():
            if not bad.any() and forced:
                raise self._error(0, "no number in the whole column")
            return Read(None, None, "empty", self.texts) if not bad.any() and not needed else None
        self._check_finite(values)
        if forced:
            return Read(column, values, "data.columns says so")
        whole = bool(np.all((values == np.floor(values)) | np.isnan(values)))
        if whole and pc.any(pc.starts_with(self.texts, "0")).as_py():
            there = self.texts.filter(pa.array(~np.isnan(values)))
            if _any(there, r"^0\d+$") and not _any(there, r"[^\d]"):
                return self.words(needed=needed, why="codes: numbers with leading zeros")
        if (dated := self._compact_date(values)) is not None:
            return dated
        counts_rows = whole and len(values) > 2 and bool(np.all(np.diff(values) == 1))
        if whole and not needed and ID_NAME.fullmatch(self.name) and len(np.unique(values)) == len(values) > 2:
            return Read(None, None, "an id: a number of its own in every row", self.texts)
        warning = None
        if counts_rows and not needed:
            first = ", ".join(f"{value:.12g}" for value in values[:3])
            way = typed("data.ignore", [self.name])
            warning = ("row-number", f"{self.name} counts the rows ({first} …); if it means nothing, use {way}")
        elif np.nanmax(np.abs(values)) >= MOST_WHOLE:
            before, after = len(pc.unique(self.texts)), len(np.unique(values[~np.isnan(values)]))
            if after < before - 1:
                text = f"{self.name}: {before:,} different numbers beyond 2^53 become {after:,} in float64"
                warning = ("float32", f"{text}; use {self._as_category} or drop, if they are names")
        return Read(column, values, "numbers", warning=warning)

    def flag(self, *, forced: bool = False) -> Read | None:
        column = self.as_number.model_copy(update={"kind": "flag"})
        if not forced and cells.flags(self.texts[:GLANCE], column)[1].any():
            return None
        values, bad = cells.flags(self.texts, column)
        if forced and bad.any():
            row = int(bad.argmax())
            raise self._error(row, f"expected yes or no, got {self._cell(row)!r}")
        if bad.any() or (not forced and len(np.unique(values[~np.isnan(values)])) < 2):
            return None
        return Read(column, values, "yes or no")

    def date(self, *, forced: bool = False) -> Read | None:
        """Dates in the one format in which all are dates."""
        missing = cells.missing(self.texts, self.as_number)
        different = pc.unique(self.texts.filter(pa.array(~missing)))
        form = self.asked.format
        if not form:
            few = [text.as_py() for text in islice(different, 50)]
            candidates = _formats(few)
            known = sum(bool(dates.formats([text])) for text in few)
            if few and not candidates and known >= MOSTLY * len(few):
                row = int((~missing).argmax())
                text = f"dates in several formats, {self._cell(row)!r} and others; bring them to one, or use"
                raise self._error(row, f"{text} {self._as_category} (or drop)")
            if len(candidates) > 1:
                candidates = dates.formats(different.to_pylist()) or candidates
            if len(candidates) > 1:
                row, form = int((~missing).argmax()), candidates[0]
                way = typed("data.columns", {self.name: {"kind": "date", "format": form}})
                way = f"{self.format_key}={form}" if self.format_key else way
                raise self._error(row, f"{self._cell(row)!r} may be {' or '.join(candidates)}; say which with {way}")
            if not candidates and forced:
                raise self._error(0, "no dates; say what they look like with format")
            if not candidates:
                return None
            form = candidates[0]
        column = self.as_number.model_copy(update={"kind": "date", "format": form})
        values, bad = cells.dates(self.texts, column)
        if bad.any():
            if not forced and bad.sum() > (1 - MOSTLY) * (~missing).sum():
                return None
            row, count = int(bad.argmax()), counted(int(bad.sum()), "cell")
            text = f"{self._cell(row)!r} is no date in the format {form} of the others ({count} in all)"
            raise self._error(row, f"{text}; {self._ways_out(row)}")
        return Read(column, values, f"dates ({form})")

    def _compact_date(self, values: Floats) -> Read | None:
        """Dates without separators, such as 20260131."""
        if not (np.nanmin(values) > 19000100 and np.nanmax(values) < 21001232):
            return None
        column = self.as_number.model_copy(update={"kind": "date", "format": "compact"})
        moments, bad = cells.dates(self.texts, column)
        return None if bad.any() else Read(column, moments, "dates (year, month, day without separators)")

    def signed_number(self) -> Read | None:
        """Numbers with one sign for all, such as %; or nearly numbers, which is an error."""
        counted = pc.value_counts(self.texts)
        if len(counted) > MOST_TEXTS:
            counted = counted.slice(0, MOST_TEXTS)
        na_values = set(self.as_number.na_values)
        signs: Counter[Sign] = Counter()
        total = 0
        for text, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            if text.lower() in na_values:
                continue
            total += count
            if (sign := sign_of(text, self.as_number)) is not None:
                signs[sign] += count
        if not signs:
            return None
        pairs: Counter[tuple[str, str]] = Counter()
        for sign, count in signs.items():
            pairs[sign.before, sign.after] += count
        (before, after), most = pairs.most_common(1)[0]
        plain = sum(
            count for sign, count in signs.items() if not sign.apart and (sign.before, sign.after) == (before, after)
        )
        if plain == total and before != "(":
            factor = 0.01 if after == "%" and self.asked.percent == "fraction" else 1.0
            column = self.as_number.model_copy(update={"prefix": before, "suffix": after, "factor": factor})
            values, bad = cells.numbers(self.texts, column)
            if not bad.any():
                self._check_finite(values)
                sign_text = f"{before}…{after}" if before and after else before or after
                why = f"numbers, each with {sign_text}"
                return Read(column, values, why + (" (12% is 0.12)" if factor != 1 else ""))
        clear = sum(count for sign, count in signs.items() if sign.clear)
        if most >= MOSTLY * total or clear >= MOSTLY * total:
            return self.odd_number(signs)
        return None

    def odd_number(self, signs: Counter[Sign]) -> Read:
        """Raise DataError for the first cell that is not as the others are."""
        missing = cells.missing(self.texts, self.as_number)
        common = max(signs, key=lambda sign: signs[sign], default=Sign("", "", apart=False, clear=True))
        best = self.as_number.model_copy(update={"prefix": common.before, "suffix": common.after})
        _, bad = cells.numbers(self.texts, best)
        row = int(bad.argmax())
        cell, count = self._cell(row), counted(int(bad.sum()), "cell")
        if (sign := sign_of(cell, self.as_number)) and sign.apart:
            keys = separator_keys(cell, points=_any(self.texts, POINT))
            text = f"{cell!r} has separators, and what they mean is not guessed ({count} in all); say it with {keys}"
            raise self._error(row, text + ("" if self.format_key else " (or for this column alone, in data.columns)"))
        share = 1 - bad.sum() / max(1, (~missing).sum())
        others = f" as {share:.1%} of this column are" if signs and share >= 0.5 else ""
        raise self._error(row, f"{cell!r} is no number{others} ({count} in all); {self._ways_out(row)}")

    def _cell(self, row: int) -> str:
        return str(self.texts[row].as_py())

    def _error(self, row: int, text: str) -> DataError:
        return DataError(f"{self.where(row)}: {self.name}: {text}")

    def _ways_out(self, row: int) -> str:
        way = "data.task=classification" if self.is_target else f"{self._as_category} (or drop)"
        return f"mend the file, count it as missing with {typed('data.na_values', [self._cell(row)])}, or use {way}"

    @property
    def _as_category(self) -> str:
        return typed("data.columns", {self.name: "category"})

    def words(self, *, needed: bool = False, why: str = "words") -> Read:
        """Categories; or what says nothing of other rows, which is left out."""
        counted = pc.value_counts(self.texts)
        different = len(counted)
        counts = counted.field(1).to_numpy()
        rows = len(self.texts)
        frequent = counts[counts >= least(rows)]
        known = np.sort(frequent)[::-1][:MAX_CATEGORIES].sum() / max(rows, 1)
        if needed or known >= KNOWN or rows < 20:
            return self.category(why)
        odd = counted.field(0).filter(
            pc.invert(pc.match_substring_regex(counted.field(0), cells.pattern(self.as_number)))
        )
        if why == "words" and len(odd) <= different / 2:
            what = f"numbers beside something else, such as {odd[0].as_py()[:20]!r}"
        elif pc.mean(pc.count_substring(counted.field(0), " ")).as_py() >= 2:
            what = "free text"
        elif different > 0.9 * rows:
            what = "an id: a word of its own in nearly every row"
        else:
            what = "mostly words that are too rare to learn from"
        return Read(None, None, f"{what} ({different:,} different)", self.texts)

    def category(self, why: str) -> Read:
        return Read(self.as_word, cells.words(self.texts, self.as_word), why)

    def _check_finite(self, values: Floats) -> None:
        bad: Bools = np.abs(values) > float(np.finfo(np.float32).max)  # infinite ones as well
        if bad.any():
            row = int(bad.argmax())
            raise self._error(row, f"{self._cell(row)} is too large; at most 3.4e+38")


def _any(texts: Texts, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _formats(texts: list[str]) -> list[str]:
    """The formats that nearly all of some texts have, if there are any."""
    counts = Counter(form for text in texts for form in dates.formats([text]))
    most = max(counts.values(), default=0)
    return [form for form, count in counts.items() if count == most >= MOSTLY * len(texts)]


def least(rows: int) -> int:
    """How often a word has to occur for an input of its own."""
    return min(10, max(1, rows // 20))
