"""The texts of a column read as numbers, flags, dates or words."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trainkit.data.tables.columns import Column
from trainkit.data.tables.dates import seconds
from trainkit.data.tables.table_files import Texts

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FLAGS = {"yes": True, "no": False, "true": True, "false": False, "y": True, "n": False, "t": True, "f": False,
         "on": True, "off": False}  # fmt: skip
SPACES = "[ \u00a0\u202f]"
MINUS = "\u2212"
"""As typesetters write it."""


def missing(texts: Texts, column: Column) -> Bools:
    """Which texts stand for no value, shape (rows,)."""
    return _mask(pc.is_in(pc.utf8_lower(texts), pa.array(column.na_values, pa.string())))


def numbers(texts: Texts, column: Column) -> tuple[Floats, Bools]:
    """The numbers in the column's unit, NaN where there is none, and which texts are neither numbers nor missing.

    Both of shape (rows,).
    """
    plain = not (column.prefix or column.suffix or column.thousands or column.decimal != ".")
    if plain:
        try:
            values = pc.cast(texts, pa.float64()).to_numpy(zero_copy_only=False)
            if any(re.match(pattern(column), text) for text in column.na_values):
                values = np.where(missing(texts, column), np.nan, values)
            return _scaled(values, column), np.zeros(len(values), dtype=bool)
        except pa.ArrowInvalid:
            pass
    is_missing = missing(texts, column)
    good = _mask(pc.match_substring_regex(texts, pattern(column))) & ~is_missing
    bare = pc.replace_substring_regex(texts, pattern(column), r"\1\2\3")
    if column.thousands:
        bare = pc.replace_substring_regex(bare, _separator(column.thousands), "")
    if column.decimal != ".":
        bare = pc.replace_substring(bare, column.decimal, ".")
    bare = pc.replace_substring_regex(pc.replace_substring(bare, MINUS, "-"), r"^\+", "")
    values = pc.cast(pc.if_else(pa.array(good), bare, "nan"), pa.float64()).to_numpy(zero_copy_only=False)
    return _scaled(values, column), ~good & ~is_missing


def pattern(column: Column) -> str:
    """What a number looks like in this column, for RE2 and Python: the sign is group 1 or 2, the rest group 3."""
    decimal, group = re.escape(column.decimal), _separator(column.thousands)
    digits = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d+)" if column.thousands else r"\d+"
    body = rf"(?:{digits}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?|(?i:inf(?:inity)?)"
    before, after = re.escape(column.prefix), re.escape(column.suffix)
    sign = rf"[+\-{MINUS}]"
    return rf"^(?:({sign}?){before}{SPACES}?|{before}{SPACES}?({sign}))({body}){SPACES}?{after}$"


def _separator(thousands: str) -> str:
    return SPACES if thousands == " " else re.escape(thousands)


def _scaled(values: Floats, column: Column) -> Floats:
    return values if column.factor == 1.0 else values * column.factor


def flags(texts: Texts, column: Column) -> tuple[Floats, Bools]:
    """1 for yes, 0 for no, NaN for nothing, and which texts are none of these."""
    is_missing = missing(texts, column)
    words = pc.utf8_lower(texts)
    yes, no = (pa.array([word for word, means in FLAGS.items() if means is side]) for side in (True, False))
    is_yes, is_no = _mask(pc.is_in(words, yes)) & ~is_missing, _mask(pc.is_in(words, no)) & ~is_missing
    values = np.where(is_yes, 1.0, np.where(is_no, 0.0, np.nan))
    return values, ~(is_yes | is_no | is_missing)


def dates(texts: Texts, column: Column) -> tuple[NDArray[Any], Bools]:
    """Seconds since 1970 by the clock on the wall and in UTC, shape (rows, 2), NaN where there is no date; and which
    texts are neither dates nor missing."""
    is_missing = missing(texts, column)
    encoded = pc.dictionary_encode(texts)
    known = np.array([seconds(text, column.format) for text in encoded.dictionary.to_pylist()]).reshape(-1, 2)
    values = known[encoded.indices.to_numpy(zero_copy_only=False)]
    values[is_missing] = np.nan
    return values, np.isnan(values[:, 0]) & ~is_missing


def words(texts: Texts, column: Column) -> Texts:
    """The words, with the empty one for all that are missing."""
    if column.na_values == ("",):
        return texts
    return pc.if_else(pa.array(missing(texts, column)), "", texts)


def _mask(array: Any) -> Bools:
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=bool)
