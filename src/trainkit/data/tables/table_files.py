"""Table files as columns of text, whether CSV, TSV, JSON lines or Parquet, with the place of every row."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from trainkit.core.errors import DataError
from trainkit.core.suggestions import did_you_mean
from trainkit.data.paths import expanded, file_at, unreadable
from trainkit.data.tables.csv_files import CsvFile, opened, table_blocks, whole

Lines = NDArray[np.int64]
Texts = Any
"""A pyarrow.StringArray: the texts of a column, without spaces around them, none of them null."""


@dataclass(frozen=True)
class Cells:
    """The rows of one file, or of several of one shape."""

    name: str
    """For messages: the file, or the first one of several."""
    columns: dict[str, Texts]
    files: tuple[FileRows, ...]

    def __len__(self) -> int:
        return sum(file.rows for file in self.files)

    def column(self, name: str) -> TextColumn:
        """One column with its name and the places of its rows, to be read as numbers, dates or words."""
        return TextColumn(name, self.columns[name], self.where)

    def where(self, row: int) -> str:
        """`file:line` of a row; in formats without lines `file: row n`, from 1 on."""
        for file, end in zip(self.files, accumulate(file.rows for file in self.files), strict=True):
            if row < end:
                return file.where(row - end + file.rows)
        raise IndexError(row)

    def locations(self) -> Iterator[str]:
        """`where` of all rows, in their order."""
        return (file.where(row) for file in self.files for row in range(file.rows))


class TextColumn(NamedTuple):
    """A column as it stands in a file."""

    name: str
    texts: Texts
    where: Callable[[int], str]
    """Gives the place of a row, for messages."""


@dataclass(frozen=True)
class FileRows:
    """How many rows one file has, and where they stand."""

    name: str
    rows: int
    find_lines: Callable[[], Lines] | None
    """Gives the line of every row: the file is read once more, for messages."""

    def where(self, row: int) -> str:
        return f"{self.name}: row {row + 1}" if self.find_lines is None else f"{self.name}:{self._lines[row]}"

    @cached_property
    def _lines(self) -> Lines:
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
    return Cells(files[0], columns, tuple(rows for _, rows in tables))


def _matching(name: str, key: str) -> list[str]:
    if not any(letter in name for letter in "*?[") or expanded(name).exists():
        return [name]
    path = expanded(name)
    try:
        files = sorted(map(str, Path(path.anchor).glob(str(path.relative_to(path.anchor)))))
    except ValueError as error:
        raise DataError(f"data.{key}: {name}: {str(error).lower()}") from None
    if not files:
        raise DataError(f"data.{key}: {name}: no file matches")
    return files


def _read_one(name: str, needed: Iterable[str], key: str, delimiter: str | None) -> tuple[dict[str, Texts], FileRows]:
    path = file_at(key, name)
    kind = path.name.lower().removesuffix(".gz").rpartition(".")[2]
    try:
        if kind in ("parquet", "pq"):
            columns, find_lines = _parquet(name, path), None
        elif kind in ("jsonl", "ndjson", "json"):
            columns, find_lines = _json_lines(name, path)
        else:
            file = CsvFile(name, path, delimiter or ("\t" if kind in ("tsv", "tab") else ","))
            columns, find_lines = file.read(), file.lines
    except OSError as error:
        raise unreadable(key, path, error) from None
    except EOFError:
        raise DataError(f"{name}: cut short") from None
    except zlib.error as error:
        raise DataError(f"{name}: damaged ({error})") from None
    _check_names(name, list(columns), needed)
    return columns, FileRows(name, len(next(iter(columns.values()))), find_lines)


def _json_lines(name: str, path: Path) -> tuple[dict[str, Texts], Callable[[], Lines]]:
    """An object on every line; numbers stay the texts that they are."""
    with opened(path) as file:
        for _ in table_blocks(name, file):  # an error names the line
            pass
    rows, numbers = [], []
    with io.TextIOWrapper(opened(path), "utf-8-sig") as lines:
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
    return columns, lambda: np.array(numbers, dtype=np.int64)


def _parquet(name: str, path: Path) -> dict[str, Texts]:
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
            columns[str(title)] = pc.utf8_trim_whitespace(pc.fill_null(whole(column.cast(pa.string())), ""))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise DataError(f"{name}: {title}: is of {column.type}; expected text, numbers, dates or flags") from None
    return columns


def _check_names(name: str, header: list[str], needed: Iterable[str]) -> None:
    if unknown := list(dict.fromkeys(column for column in needed if column not in header)):
        there = f"; there are: {', '.join(header)}"
        if separator := next((other for other in ",;\t|" if other in header[0] and len(header) == 1), None):
            raise DataError(f"{name}:1: no column {unknown[0]!r}; is {separator!r} the data.delimiter?{there}")
        raise DataError(*(f"{name}:1: no column {one!r}{did_you_mean(one, header)}{there}" for one in unknown))
