"""What a column of a stranger's table is: decided from all of its rows, or as the config says."""

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

from trainkit.data import cells, dates
from trainkit.data.cells import Bools, Floats
from trainkit.data.columns import Column, ColumnConfig
from trainkit.data.table_files import Texts
from trainkit.errors import DataError

NA_VALUES = ("", "na", "n/a", "n.a.", "nan", "-nan", "<na>", "#n/a", "#n/a n/a", "#na", "#nv", "null", "none", "nil",
             "?", "-", "--", ".", "\\n", "1.#qnan", "-1.#ind")  # fmt: skip
"""What stands for no value among numbers, dates and flags, in any case. Among words only the empty one does."""
MOSTLY = 0.9
"""A column with so large a share of numbers, or of dates, is one of numbers with a mistake in it."""
KNOWN = 0.5
"""Where fewer rows have a word that is frequent enough for an input of its own, the column is left out."""
MOST_TEXTS = 50_000
"""Different texts that are looked at one by one."""
MAX_CATEGORIES = 255
"""Of a column; each is an input. The most frequent ones are kept."""
ID_NAME = re.compile(
    r"(?i)(.*[_ .\-])?(id|ids|index|idx|key|uuid|guid|rownames|row|no|nr|unnamed: 0|column_\d+)|.*[a-z]I[dD]"
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
    warning: str = ""
    """What is to be told of it in any case."""


def read(
    name: str,
    texts: Texts,
    asked: ColumnConfig,
    where: Callable[[int], str],
    *,
    needed: bool = False,
    is_target: bool = False,
) -> Read:
    """Decide what a column is, and read it.

    Args:
        where: gives the place of a row.
        needed: nothing is left out, as of the only column to predict from.
        is_target: it is to be predicted, and so needed as well.

    Raises:
        DataError: hardly anything in it is not a number (or date), so that this is a mistake; or not what was asked.
    """
    given = tuple(text.lower() for text in asked.na_values or ())
    number = Column(
        name=name,
        decimal=asked.decimal or ".",
        thousands=asked.thousands or "",
        na_values=tuple(dict.fromkeys((*NA_VALUES, *given))),
    )
    word = Column(name=name, kind="category", na_values=tuple(dict.fromkeys(("", *given))))
    reader = _Reader(name, texts, asked, where, number, word, is_target)
    needed = needed or is_target
    if asked.kind in ("drop", "text"):
        why = "data.columns says so" if asked.kind == "drop" else "texts are left out for now"
        return Read(None, texts, why)
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
    asked: ColumnConfig
    where: Callable[[int], str]
    as_number: Column
    as_word: Column
    is_target: bool

    def number(self, *, forced: bool = False, needed: bool = False) -> Read | None:
        column = self.as_number
        values, bad = cells.numbers(self.texts, column)
        if bad.any() or np.isnan(values).all():
            if not bad.any() and forced:
                raise DataError(f"{self.where(0)}: {self.name}: no number in the whole column")
            return Read(None, self.texts, "empty") if not bad.any() and not needed else None
        self._check_finite(values)
        if forced:
            return Read(column, values, "data.columns says so")
        if pc.any(pc.starts_with(self.texts, "0")).as_py():
            there = self.texts.filter(pa.array(~np.isnan(values)))
            if _any(there, r"^0\d+$") and not _any(there, r"[^\d]"):
                return self.category("codes: numbers with leading zeros")
        if (found := self._compact_date(values)) is not None:
            return found
        whole = bool(np.all((values == np.floor(values)) | np.isnan(values)))
        counted = whole and len(values) > 2 and bool(np.all(np.diff(values) == 1))
        if whole and not needed and ID_NAME.fullmatch(self.name) and len(np.unique(values)) == len(values) > 2:
            return Read(None, values, "an id: a number of its own in every row")
        warning = ""
        if counted and not needed:
            first = ", ".join(f"{value:.12g}" for value in values[:3])
            warning = f"{self.name} counts the rows ({first} …); if it means nothing, use data.ignore=[{self.name}]"
        return Read(column, values, "numbers", warning)

    def flag(self, *, forced: bool = False) -> Read | None:
        column = self.as_number.model_copy(update={"kind": "flag"})
        values, bad = cells.flags(self.texts, column)
        if forced and bad.any():
            row = int(bad.argmax())
            raise DataError(f"{self.where(row)}: {self.name}: expected yes or no, got {self.texts[row].as_py()!r}")
        if bad.any() or (not forced and len(np.unique(values[~np.isnan(values)])) < 2):
            return None
        return Read(column, values, "yes or no")

    def date(self, *, forced: bool = False) -> Read | None:
        """Dates in the one format in which all are dates."""
        gone = cells.missing(self.texts, self.as_number)
        different = pc.unique(self.texts.filter(pa.array(~gone)))
        form = self.asked.format
        if not form:
            candidates = _formats([text.as_py() for text in islice(different, 50)])
            if len(candidates) > 1:
                candidates = dates.formats(different.to_pylist()) or candidates
            if len(candidates) > 1:
                row = int((~gone).argmax())
                cell, ways = self.texts[row].as_py(), " or ".join(candidates)
                raise DataError(
                    f"{self.where(row)}: {self.name}: {cell!r} may be {ways}; say which with "
                    f"data.columns={{{self.name}: {{kind: date, format: {candidates[0]}}}}}"
                )
            if not candidates and forced:
                raise DataError(f"{self.where(0)}: {self.name}: no dates; say what they look like with format")
            if not candidates:
                return None
            form = candidates[0]
        column = self.as_number.model_copy(update={"kind": "date", "format": form})
        values, bad = cells.dates(self.texts, column)
        if bad.any():
            if not forced and bad.sum() > (1 - MOSTLY) * (~gone).sum():
                return None
            row = int(bad.argmax())
            raise DataError(
                f"{self.where(row)}: {self.name}: {self.texts[row].as_py()!r} is no date in the format {form} of the "
                f"others ({_of(int(bad.sum()), 'cell')} in all); {self._ways_out(row)}"
            )
        return Read(column, values, f"dates ({form})")

    def _compact_date(self, values: Floats) -> Read | None:
        """Dates without separators, such as 20260131."""
        if not (np.nanmin(values) > 19000100 and np.nanmax(values) < 21001232):
            return None
        column = self.as_number.model_copy(update={"kind": "date", "format": "compact"})
        found, bad = cells.dates(self.texts, column)
        return None if bad.any() else Read(column, found, "dates (year, month, day without separators)")

    def signed_number(self) -> Read | None:
        """Numbers with one sign for all, such as %; or nearly numbers, which is an error."""
        counted = pc.value_counts(self.texts)
        if len(counted) > MOST_TEXTS:
            counted = counted.slice(0, MOST_TEXTS)
        gone = set(self.as_number.na_values)
        signs: Counter[tuple[str, str, bool]] = Counter()
        total = 0
        for text, count in zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True):
            if text.lower() in gone:
                continue
            total += count
            if (found := _sign(text, self.as_number)) is not None:
                signs[found] += count
        if not signs:
            return None
        (before, after), most = Counter({
            pair: sum(count for (one, other, _), count in signs.items() if (one, other) == pair)
            for pair in {(one, other) for one, other, _ in signs}
        }).most_common(1)[0]  # fmt: skip
        plain = signs[before, after, False]
        if plain == total:
            factor = 0.01 if after == "%" and self.asked.percent == "fraction" else 1.0
            column = self.as_number.model_copy(update={"prefix": before, "suffix": after, "factor": factor})
            values, bad = cells.numbers(self.texts, column)
            if not bad.any():
                self._check_finite(values)
                sign = f"{before}…{after}" if before and after else before or after
                said = f"numbers, each with {sign}"
                return Read(column, values, said + (" (12% is 0.12)" if factor != 1 else ""))
        sizes = sum(count for (one, other, _), count in signs.items() if not one and other in ("", *MAGNITUDES))
        if most >= MOSTLY * total or (sizes >= MOSTLY * total and signs.keys() - {("", "", False), ("", "", True)}):
            return self.odd_number(signs)
        return None

    def odd_number(self, signs: Counter[tuple[str, str, bool]]) -> Read:
        """Raise DataError for the first cell that is not as the others are."""
        gone = cells.missing(self.texts, self.as_number)
        common = max(signs, key=lambda sign: signs[sign], default=("", "", False))
        best = self.as_number.model_copy(update={"prefix": common[0], "suffix": common[1]})
        _, bad = cells.numbers(self.texts, best)
        row = int(bad.argmax())
        cell, count = self.texts[row].as_py(), _of(int(bad.sum()), "cell")
        place = f"{self.where(row)}: {self.name}: {cell!r}"
        if any(separated for _, _, separated in signs) and (sign := _sign(cell, self.as_number)) and sign[2]:
            raise DataError(
                f"{place} has separators, and what they mean is not guessed ({count} in all); say it with "
                f"{_separators(cell)} (or for this column alone, in data.columns)"
            )
        share = 1 - bad.sum() / max(1, (~gone).sum())
        if not signs or share < 0.5:
            raise DataError(f"{place} is no number ({count} in all); {self._ways_out(row)}")
        raise DataError(
            f"{place} is no number as {share:.1%} of this column are ({count} in all); {self._ways_out(row)}"
        )

    def _ways_out(self, row: int) -> str:
        cell = self.texts[row].as_py()
        way = "data.task=class" if self.is_target else f"data.columns={{{self.name}: category}} (or drop)"
        return f"mend the file, count it as missing with data.na_values=[{cell!r}], or use {way}"

    def words(self, *, needed: bool = False) -> Read:
        """Categories; or what says nothing of other rows, which is left out."""
        counted = pc.value_counts(self.texts)
        different = len(counted)
        counts = counted.field(1).to_numpy()
        rows = len(self.texts)
        frequent = counts[counts >= least(rows)]
        known = np.sort(frequent)[::-1][:MAX_CATEGORIES].sum() / max(rows, 1)
        if needed or known >= KNOWN or rows < 20:
            return self.category("words")
        lengths = pc.utf8_length(counted.field(0))
        long = pc.mean(lengths).as_py() > 25
        what = "free text" if long else "an id: a word of its own in nearly every row" if different > 0.9 * rows else (
            "mostly words that are too rare to learn from")  # fmt: skip
        return Read(None, self.texts, f"{what} ({different:,} different)")

    def category(self, why: str) -> Read:
        return Read(self.as_word, cells.words(self.texts, self.as_word), why)

    def _check_finite(self, values: Floats) -> None:
        bad: Bools = np.abs(values) > float(np.finfo(np.float32).max)  # infinite ones as well
        if bad.any():
            row = int(bad.argmax())
            text = self.texts[row].as_py()
            raise DataError(f"{self.where(row)}: {self.name}: {text} is too large; at most 3.4e+38")


def _any(texts: Texts, pattern: str) -> bool:
    return bool(pc.any(pc.match_substring_regex(texts, pattern)).as_py())


def _formats(texts: list[str]) -> list[str]:
    """The formats that nearly all of some texts have, if there are any."""
    found = Counter(form for text in texts for form in dates.formats([text]))
    most = max(found.values(), default=0)
    return [form for form, count in found.items() if count == most >= MOSTLY * len(texts)]


def least(rows: int) -> int:
    """How often a word has to occur for an input of its own."""
    return min(10, max(1, rows // 20))


MAGNITUDES = ("k", "K", "m", "M", "mn", "b", "B", "bn", "T")
_CURRENCY = "€$£¥₹₽₩₺₪₫฿"
_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SEPARATED = r"\d{1,3}(?:[.,'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d+)?|\d+,\d+"
_MINUS = rf"[+\-{cells.MINUS}]?"
_SIGNED = re.compile(
    rf"{_MINUS}(?P<before>[{_CURRENCY}#~]|[A-Z]{{1,2}}\$|[A-Z]{{3}}(?= ))?[ \u00a0\u202f]?{_MINUS}"
    rf"(?:(?P<plain>{_PLAIN})|(?P<apart>{_SEPARATED}))"
    rf"[ \u00a0\u202f]?(?P<after>[%‰{_CURRENCY}]|°?[A-Za-zµμ]{{1,8}}[²³0-9]?(?:/[A-Za-z]+[²³0-9]?)?)?"
)


def _sign(text: str, column: Column) -> tuple[str, str, bool] | None:
    """What stands before and after the number in a text, and whether it has separators that nobody has explained."""
    if (found := _SIGNED.fullmatch(text)) is None:
        return None
    before, after = found["before"] or "", found["after"] or ""
    with_sign = column.model_copy(update={"prefix": before, "suffix": after})
    return before, after, re.match(cells.pattern(with_sign), text) is None


def _separators(cell: str) -> str:
    """The keys that would explain the separators of a number."""
    marks = [letter for letter in cell if letter in ".,'\u2019 \u00a0\u202f"]
    last = marks[-1] if marks else ","
    if len(set(marks)) > 1:
        return f"data.thousands={marks[0]!r} and data.decimal={last!r}"
    if last in ".,":
        other = "," if last == "." else "."
        return f"data.decimal={last!r} (with data.thousands={other!r}), or data.thousands={last!r}"
    return f"data.thousands={last!r}"


def _of(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
