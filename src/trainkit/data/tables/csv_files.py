"""CSV and TSV files: parsed fast by pyarrow; where something is damaged, Python's reader finds the line."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from trainkit.core.errors import DataError
from trainkit.core.text import counted
from trainkit.data.text_files import BLOCK_BYTES, text_blocks

LONGEST = 1 << 30
"""Letters of one cell."""


def opened(path: Path) -> BinaryIO:
    """A file that may be packed as .gz."""
    return gzip.open(path) if path.suffix.lower() == ".gz" else open(path, "rb")  # type: ignore[return-value]


def table_blocks(name: str, file: BinaryIO) -> Iterator[bytes]:
    """As `text_blocks`, with a word of its own for workbooks.

    Raises:
        DataError: the file is no text in UTF-8.
    """
    if file.read(4) == b"PK\x03\x04":
        raise DataError(f"{name}: a workbook or another archive, no text; save it as CSV")
    file.seek(0)
    return text_blocks(name, file)


@dataclass(frozen=True, slots=True)
class CsvFile:
    """Rows of fields between delimiters, the names of the columns first."""

    name: str
    """For messages."""
    path: Path
    delimiter: str

    def read(self) -> dict[str, Any]:
        """The texts of every column, without spaces around them.

        Raises:
            DataError: it is damaged, or no text; with the line.
        """
        # pyarrow takes what has no end for a field, and errors without their lines.
        try:
            parse_options = arrow_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True)
        except ValueError:
            raise DataError(f"data.delimiter: expected one ASCII character, got {self.delimiter!r}") from None
        quotes_match, spaces = self._scan()
        if not quotes_match:
            self._check()
        header = next(self._rows(), (0, []))[1]
        if not header:
            raise DataError(f"{self.name}:1: expected the names of the columns")
        # As many columns as the first row has, without the types that pyarrow would guess.
        types = {f"f{number}": pa.string() for number in range(len(header))}
        try:
            with opened(self.path) as file:
                table = arrow_csv.read_csv(
                    file,
                    read_options=arrow_csv.ReadOptions(
                        autogenerate_column_names=True, block_size=4 * BLOCK_BYTES, use_threads=False
                    ),
                    parse_options=parse_options,
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=types, strings_can_be_null=False, check_utf8=False
                    ),
                )
        except pa.ArrowInvalid as error:
            if not self._check():
                return {title.strip(): pa.array([], pa.string()) for title in header}
            raise DataError(f"{self.name}: {str(error).strip().partition(chr(10))[0]}") from None
        titles = [str(column[0].as_py()).strip() for column in table.columns]
        titles = [title or f"column_{number}" for number, title in enumerate(titles, 1)]
        self._check_titles(titles)
        columns = {}
        for title in titles:  # one after the other, so that not all are there twice
            texts = whole(table.column(0))[1:]
            columns[title] = pc.utf8_trim_whitespace(texts) if spaces else texts
            table = table.remove_column(0)
        return columns

    def lines(self) -> NDArray[np.int64]:
        """The line of every row."""
        return np.array([line for line, _ in self._rows()][1:], dtype=np.int64)

    def _scan(self) -> tuple[bool, bool]:
        """Whether quotes are where quotes should be, as far as can be counted, and whether there is a space.

        Raises:
            DataError: the file is no text in UTF-8.
        """
        borders = (b"\n", b"\r", self.delimiter.encode())
        quotes = opening = closing = doubled = 0
        last, spaces = b"", False
        with opened(self.path) as file:
            for block in table_blocks(self.name, file):
                spaces = spaces or b" " in block or b"\t" in block
                if b'"' in block or last == b'"':
                    quotes += block.count(b'"')
                    joined = (last or b"\n") + block  # with what stands on either side of the border
                    opening += sum(joined.count(one + b'"') for one in borders)
                    closing += sum(joined.count(b'"' + one) for one in borders)
                    doubled += joined.count(b'""')
                last = block[-1:]
        closing += last == b'"'
        inner = quotes - opening - closing
        return opening == closing and 0 <= inner <= 2 * doubled and inner % 2 == 0, spaces

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows that are not blank as Python reads them, each with the line on which it ends."""
        limit = csv.field_size_limit(LONGEST)
        with io.TextIOWrapper(opened(self.path), "utf-8-sig", newline="") as lines:
            try:
                reader = csv.reader(lines, delimiter=self.delimiter, strict=True)
            except ValueError as error:  # from Python 3.13 on
                raise DataError(f"data.delimiter: {error}") from None
            try:
                for fields in reader:
                    if fields:
                        yield reader.line_num, fields
            except csv.Error as error:
                raise DataError(f"{self.name}:{reader.line_num}: {error}") from None
            finally:
                csv.field_size_limit(limit)

    def _check(self) -> int:
        """Count the rows below the header.

        Raises:
            DataError: one has another number of fields than the header, or cannot be read.
        """
        rows = self._rows()
        header = next(rows, (1, []))[1]
        self._check_titles([title.strip() for title in header])
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
            raise DataError(f"{self.name}:{line}: {counted(count, 'field')}, the header has {len(header)}{hint}")
        return len(sizes)

    def _check_titles(self, titles: list[str]) -> None:
        if len(set(titles)) < len(titles):
            twice = next(title for title in titles if titles.count(title) > 1)
            raise DataError(f"{self.name}:1: column {twice!r} stands there twice")


def whole(column: Any) -> Any:
    """A pyarrow column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)
