"""Numbers as people write them: with a currency, a unit or a percent sign, and separators of thousands and decimals."""

from __future__ import annotations

import re
from typing import NamedTuple

from trainkit.config.shell import typed
from trainkit.data.tables import cells
from trainkit.data.tables.columns import Column

POINT = r"^[+-]?\d*\.\d+$"
ORDINALS = ("st", "nd", "rd", "th")
MAGNITUDES = ("k", "K", "m", "M", "mn", "b", "B", "bn", "T")
_CURRENCY = "€$£¥₹₽₩₺₪₫฿"
_PLAIN = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_SEPARATED = r"\d{1,3}(?:[.,'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d+)?|\d+,\d+"
_MINUS = rf"[+\-{cells.MINUS}]?"
_SIGNED = re.compile(
    rf"{_MINUS}(?P<before>[{_CURRENCY}#~(]|[A-Z]{{1,2}}\$|[A-Z]{{3}}(?= ))?[ \u00a0\u202f]?{_MINUS}"
    rf"(?P<number>(?:{_PLAIN})|(?:{_SEPARATED}))"
    rf"(?P<space>[ \u00a0\u202f]?)(?P<after>[%‰{_CURRENCY})]|°?[A-Za-zµμ]{{1,8}}[²³0-9]?(?:/[A-Za-z]+[²³0-9]?)?)?"
)


class Sign(NamedTuple):
    """What stands around a number in a text."""

    before: str
    after: str
    apart: bool
    """Whether the number has separators that nobody has explained."""
    clear: bool
    """Whether this is a number for sure: not so `12a` and `3rd`."""


def sign_of(text: str, column: Column) -> Sign | None:
    if (match := _SIGNED.fullmatch(text)) is None:
        return None
    before, after = match["before"] or "", match["after"] or ""
    if (before == "(") != (after == ")"):
        return None
    with_sign = column.model_copy(update={"prefix": before, "suffix": after})
    clear = not after[:1].isalpha() or bool(match["space"]) or after in MAGNITUDES
    apart = re.match(cells.pattern(with_sign), text) is None
    return Sign(before, after, apart, clear and after not in ORDINALS)


def separator_keys(cell: str, *, points: bool) -> str:
    """The keys that would explain the separators of a number.

    Args:
        points: other numbers have decimals behind a point.
    """
    match = _SIGNED.fullmatch(cell)
    number = re.sub(cells.SPACES, " ", match["number"] if match else cell).replace("\u2019", "'")
    marks = [letter for letter in number if letter in ".,' "]
    last = marks[-1] if marks else ","
    if len(set(marks)) > 1:
        return f"{typed('data.thousands', marks[0])} {typed('data.decimal', last)}"
    if last in ".," and len(marks) == 1 and not (points and last == ","):
        other = "," if last == "." else "."
        decimal, groups = typed("data.decimal", last), typed("data.thousands", other)
        return f"{decimal} (with {groups}), or {typed('data.thousands', last)}"
    return typed("data.thousands", last)
