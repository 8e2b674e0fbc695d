"""Files of rows as columns of text, whatever their format, with the place of every row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from trainkit.core.errors import DataError
from trainkit.core.suggestions import did_you_mean
from trainkit.core.text import counted
from trainkit.data.paths import expanded, file_at, unreadable

BLOCK_BYTES = 1 << 20
LONGEST = 1 << 30
"""Letters of one cell."""
Texts = Any
"""A pyarrow.StringArray: the texts of a column, without spaces around them, none of them null."""


@dataclass(frozen=True)
class Cells:
    """The rows of one file, or of several of one shape."""

    name: str
    """For messages: the file, or the first one of several."""
    columns: dict[str, Texts]
    parts: tuple[Part, ...]

    def __len__(self) -> int:
        return sum(part.rows for part in self.parts)

    def where(self, row: int) -> str:
        """`file:line` of a row; in formats without lines `file: row n`, from 1 on."""
        for part, end in zip(self.parts, accumulate(part.rows for part in self.parts), strict=True):
            if row < end:
                return part.where(row - end + part.rows)
        raise IndexError(row)

    def places(self) -> Iterator[str]:
        """Of all rows, in their order."""
        return (part.where(row) for part in self.parts for row in range(part.rows))


@dataclass(frozen=True)
class Part:
    """The rows of one file."""

    name: str
    rows: int
    find_lines: Callable[[], NDArray[np.int64]] | None
    """Gives the line of every row: a second look at the file, for messages."""

    def where(self, row: int) -> str:
        return f"{self.name}: row {row + 1}" if self.find_lines is None else f"{self.name}:{self._lines[row]}"

    @cached_property
    def _lines(self) -> NDArray[np.int64]:
        assert self.find_lines is not None
        return self.find_lines()


def read(names: Sequence[str], needed: Iterable[str], *, key: str, delimiter: str | None = None) -> Cells:
    """The rows of files in UTF-8 (or of Parquet files) that all have the same columns; blank lines are left out.

    Args:
        names: files, or patterns such as `data/*.csv`.
        needed: columns that must be there.
        key: of `data`, under which the names stand.
        delimiter: of CSV files; by default a comma, and a tab in files called .tsv or .tab.

    Raises:
        DataError: a file is missing, damaged or of another shape; with the line, where there are lines.
    """
    files = [file for name in names for file in _matching(name, key)]
    tables = [_read_one(file, needed, key, delimiter) for file in files]
    (columns, _), *others = tables
    for name, (other, _) in zip(files[1:], others, strict=True):
        if stray := sorted(columns.keys() ^ other.keys()):
            lacking = name if stray[0] in columns else files[0]
            raise DataError(f"{lacking}: no column {stray[0]!r}, which the other files have")
    if others:
        columns = {
            column: pa.concat_arrays([texts, *(other[column] for other, _ in others)])
            for column, texts in columns.items()
        }
    return Cells(files[0], columns, tuple(part for _, part in tables))


def _matching(name: str, key: str) -> list[str]:
    if not any(letter in name for letter in "*?[") or expanded(name).exists():
        return [name]
    path = expanded(name)
    try:
        found = sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    except ValueError as error:
        raise DataError(f"data.{key}: {name}: {str(error).lower()}") from None
    if not found:
        raise DataError(f"data.{key}: {name}: no file matches")
    return found


def _read_one(name: str, needed: Iterable[str], key: str, delimiter: str | None) -> tuple[dict[str, Texts], Part]:
    path = file_at(key, name)
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if kind in ("parquet", "pq"):
            columns, part = _parquet(name, path)
        elif kind in ("jsonl", "ndjson", "json"):
            columns, part = _json_lines(name, path)
        else:
            columns, part = _csv(name, path, delimiter or ("\t" if kind in ("tsv", "tab") else ","))
    except OSError as error:
        raise unreadable(key, path, error) from None
    except EOFError:
        raise DataError(f"{name}: cut short") from None
    except zlib.error as error:
        raise DataError(f"{name}: damaged ({error})") from None
    _check_names(name, list(columns), needed)
    return columns, part


def _opened(path: Path) -> BinaryIO:
    return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[return-value]


def _csv(name: str, path: Path, delimiter: str) -> tuple[dict[str, Texts], Part]:
    # pyarrow parses fast, but takes what has no end for a field, and errors without their lines; where something is
    # odd, Python's reader finds the line.
    try:
        parse_options = arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    except ValueError:
        raise DataError(f"data.delimiter: expected one ASCII character, got {delimiter!r}") from None
    looks_right, spaces = _scan(name, path, delimiter)
    if not looks_right:
        _look_for_damage(name, path, delimiter)
    try:
        with _opened(path) as file:
            table = arrow_csv.read_csv(
                file,
                read_options=arrow_csv.ReadOptions(
                    autogenerate_column_names=True, block_size=4 * BLOCK_BYTES, use_threads=False
                ),
                parse_options=parse_options,
                convert_options=arrow_csv.ConvertOptions(
                    column_types=_all_text(name, path, delimiter), strings_can_be_null=False, check_utf8=False
                ),
            )
    except pa.ArrowInvalid as error:
        if not _look_for_damage(name, path, delimiter):
            none = pa.array([], pa.string())
            header = next(_fields(name, path, delimiter))[1]
            return {title.strip(): none for title in header}, Part(name, 0, lambda: np.zeros(0, dtype=np.int64))
        raise DataError(f"{name}: {str(error).strip().partition(chr(10))[0]}") from None
    header = [str(column[0].as_py()).strip() for column in table.columns]
    header = [title or f"column_{number}" for number, title in enumerate(header, 1)]
    _check_header(name, header)
    columns = {}
    for title in header:  # one after the other, so that not all are there twice
        texts = _whole(table.column(0))[1:]
        columns[title] = pc.utf8_trim_whitespace(texts) if spaces else texts
        table = table.remove_column(0)
    return columns, Part(name, len(columns[header[0]]), lambda: _lines(name, path, delimiter))


def _whole(column: Any) -> Texts:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _all_text(name: str, path: Path, delimiter: str) -> dict[str, Any]:
    """As many columns as the first row has, without the types that pyarrow would guess."""
    first = next(_fields(name, path, delimiter), (0, []))[1]
    if not first:
        raise DataError(f"{name}:1: expected the names of the columns")
    return {f"f{number}": pa.string() for number in range(len(first))}


def _scan(name: str, path: Path, delimiter: str = ",") -> tuple[bool, bool]:
    """Make sure that a file is text in UTF-8.

    Gives whether its quotes are where quotes should be, as far as can be counted, and whether there is a space in it.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    borders = (b"\n", b"\r", delimiter.encode())
    quotes = opening = closing = doubled = 0
    lines, before, last, any_space = 1, b"", b"", False
    with _opened(path) as file:
        while True:
            block = file.read(BLOCK_BYTES)
            if not last and block.startswith(b"PK\x03\x04"):
                raise DataError(f"{name}: a workbook or another archive, no text; save it as CSV")
            try:
                decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                bad = error.object[error.start]
                line = lines - before.count(b"\n") + error.object.count(b"\n", 0, error.start)
                raise DataError(f"{name}:{line}: not UTF-8 (byte 0x{bad:02x}); save it as UTF-8") from None
            if (place := block.find(0)) >= 0:
                line = lines + block.count(b"\n", 0, place)
                raise DataError(f"{name}:{line}: a NUL character; this is no text, or not UTF-8")
            if not block:
                closing += last == b'"'
                inner = quotes - opening - closing
                return opening == closing and 0 <= inner <= 2 * doubled and inner % 2 == 0, any_space
            any_space = any_space or b" " in block or b"\t" in block
            if b'"' in block or last == b'"':
                quotes += block.count(b'"')
                whole = (last or b"\n") + block  # with what stands on either side of the border
                opening += sum(whole.count(one + b'"') for one in borders)
                closing += sum(whole.count(b'"' + one) for one in borders)
                doubled += whole.count(b'""')
            last = block[-1:]
            lines += block.count(b"\n")
            before = decoder.getstate()[0]


def _fields(name: str, path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not blank as Python reads them, each with the line on which it ends."""
    limit = csv.field_size_limit(LONGEST)
    with io.TextIOWrapper(_opened(path), "utf-8-sig", newline="") as lines:
        try:
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
        except ValueError as error:  # from Python 3.13 on
            raise DataError(f"data.delimiter: {error}") from None
        try:
            for fields in reader:
                if fields:
                    yield reader.line_num, fields
        except csv.Error as error:
            raise DataError(f"{name}:{reader.line_num}: {error}") from None
        finally:
            csv.field_size_limit(limit)


def _look_for_damage(name: str, path: Path, delimiter: str) -> int:
    """Count the rows below the header.

    Raises:
        DataError: one has another number of fields than the header, or cannot be read.
    """
    rows = _fields(name, path, delimiter)
    header = next(rows, (1, []))[1]
    if header:
        _check_header(name, [title.strip() for title in header])
    sizes = [(line, len(fields), not fields[-1]) for line, fields in rows]
    wrong = [(line, count) for line, count, _ in sizes if count != len(header)]
    if wrong:
        line, count = wrong[0]
        hint = ""
        if separator := next((other for other in ";\t|" if len(header) == 1 and other in header[0]), None):
            hint = f"; is {separator!r} the data.delimiter?"
        elif {count for _, count, _ in sizes} == {len(header) + 1}:
            hint = "; all rows have one more: name the first column in the header"
            if all(is_empty for _, _, is_empty in sizes):
                hint = "; all rows end with a separator: let the header, too"
        raise DataError(f"{name}:{line}: {counted(count, 'field')}, the header has {len(header)}{hint}")
    return len(sizes)


def _lines(name: str, path: Path, delimiter: str) -> NDArray[np.int64]:
    return np.array([line for line, _ in _fields(name, path, delimiter)][1:], dtype=np.int64)


def _json_lines(name: str, path: Path) -> tuple[dict[str, Texts], Part]:
    """An object on every line; numbers stay the texts that they are."""
    _scan(name, path)
    rows, numbers = [], []
    with io.TextIOWrapper(_opened(path), "utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, parse_float=str, parse_int=str, parse_constant=str)
                if "\\u" in line:
                    json.dumps(row, ensure_ascii=False).encode()  # half a character is none
            except (ValueError, RecursionError):
                if path.suffix == ".json":
                    raise DataError(
                        f"{name}: not one object on each line; write such a file, and call it .jsonl"
                    ) from None
                raise DataError(f"{name}:{number}: not JSON; expected one object on each line") from None
            if isinstance(row, list) and path.suffix == ".json":
                raise DataError(f"{name}: a list; write one object on each line, and call it .jsonl")
            if not isinstance(row, dict):
                raise DataError(f"{name}:{number}: expected an object, got {line.strip()[:40]!r}")
            if nested := next((key for key, value in row.items() if isinstance(value, dict | list)), None):
                raise DataError(f"{name}:{number}: {nested}: expected a text, a number, true, false or null")
            rows.append(row)
            numbers.append(number)
    names = list(dict.fromkeys(key for row in rows for key in row))
    if not names:
        raise DataError(f"{name}: no rows")
    plain = {None: "", True: "true", False: "false"}
    columns = {}
    for key in names:
        cells = (row.get(key) for row in rows)
        texts = [cell.strip() if isinstance(cell, str) else plain[cell] for cell in cells]
        columns[key] = pa.array(texts, pa.string())
    return columns, Part(name, len(rows), lambda: np.array(numbers, dtype=np.int64))


def _parquet(name: str, path: Path) -> tuple[dict[str, Texts], Part]:
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid:  # its words are other ones in every version, and long
        raise DataError(f"{name}: not a Parquet file, or damaged") from None
    if not table.column_names:
        raise DataError(f"{name}: no columns")
    columns = {}
    for title, column in zip(table.column_names, table.columns, strict=True):
        try:
            columns[str(title)] = pc.utf8_trim_whitespace(pc.fill_null(_whole(column.cast(pa.string())), ""))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(f"{name}: {title}: is of {column.type}; expected text, numbers, dates or flags") from None
    return columns, Part(name, len(table), None)


def _check_header(name: str, header: list[str]) -> None:
    if len(set(header)) < len(header):
        twice = next(column for column in header if header.count(column) > 1)
        raise DataError(f"{name}:1: column {twice!r} stands there twice")


def _check_names(name: str, header: list[str], needed: Iterable[str]) -> None:
    if unknown := list(dict.fromkeys(column for column in needed if column not in header)):
        there = f"; there are: {', '.join(header)}"
        if separator := next((other for other in ",;\t|" if other in header[0] and len(header) == 1), None):
            raise DataError(f"{name}:1: no column {unknown[0]!r}; is {separator!r} the data.delimiter?{there}")
        raise DataError(*(f"{name}:1: no column {one!r}{did_you_mean(one, header)}{there}" for one in unknown))
