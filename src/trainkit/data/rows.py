"""Text files by rows that know their place: CSV with a header, and plain lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from trainkit.data.paths import file_at, unreadable
from trainkit.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a CSV file."""

    where: str
    """`file:line`, for messages."""
    fields: Mapping[str, str]
    """By the names of the columns, without spaces around them."""


def read_csv(name: str, needed: Iterable[str], *, key: str, delimiter: str = ",") -> list[Row]:
    """The rows of a CSV file in UTF-8 that begins with the names of its columns. Blank lines are left out.

    Args:
        needed: columns that must be there.
        key: of `data`, under which the name stands.

    Raises:
        DataError: the file is missing or not such a file; with the line.
    """
    lines = io.StringIO(_read_text(name, key), newline="")
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
    except ValueError as error:  # from Python 3.13 on
        raise DataError(f"data.delimiter: {error}") from None
    try:
        header = [field.strip() for field in next(reader, [])]
        _check_header(name, header, needed)
        rows = []
        for fields in filter(None, reader):
            where = f"{name}:{reader.line_num}"
            if len(fields) != len(header):
                raise DataError(f"{where}: {len(fields)} fields, the header has {len(header)}")
            rows.append(Row(where, dict(zip(header, map(str.strip, fields), strict=True))))
        return rows
    except csv.Error as error:
        raise DataError(f"{name}:{reader.line_num}: {error}") from None


def read_lines(name: str, *, key: str) -> list[tuple[str, str]]:
    """The lines of a text file in UTF-8, each after its `file:line`. Blank ones are left out.

    Raises:
        DataError: the file is missing or not text.
    """
    lines = [line.strip() for line in io.StringIO(_read_text(name, key), newline=None)]
    return [(f"{name}:{number}", line) for number, line in enumerate(lines, 1) if line]


def _check_header(name: str, header: list[str], needed: Iterable[str]) -> None:
    if not header:
        raise DataError(f"{name}:1: expected the names of the columns")
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise DataError(f"{name}:1: column {twice!r} stands there twice")
    if unknown := list(dict.fromkeys(column for column in needed if column not in header)):
        there = f"; there are: {', '.join(header)}"
        if separator := next((other for other in ",;\t|" if other in header[0] and len(header) == 1), None):
            raise DataError(f"{name}:1: no column {unknown[0]!r}; is {separator!r} the data.delimiter?{there}")
        raise DataError(*(f"{name}:1: no column {one!r}{did_you_mean(one, header)}{there}" for one in unknown))


def _read_text(name: str, key: str) -> str:
    path = file_at(key, name)
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise unreadable(key, path, error) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{name}:{line}: not UTF-8 (byte 0x{content[error.start]:02x}); save it as UTF-8") from None
    if (place := content.find(0)) >= 0:
        line = content.count(b"\n", 0, place) + 1
        raise DataError(f"{name}:{line}: a NUL character; this is no text, or not UTF-8")
    return text
