"""CSV and TSV files: fields, lines, and what is damaged."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import pytest

from tests.data.tables.test_table_files import CSV, TABLE, columns, places, problem
from trainkit.data.tables.table_files import read


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.txt", "a.csv.gz", "a.tsv", "a.tab", "A.TSV.GZ"])
def test_text_that_is_delimited(name: str) -> None:
    content = CSV.replace("a, b", "a; b").replace(",", "\t").replace(";", ",") if "t" in name[2:5].lower() else CSV
    content = CSV if name.endswith("txt") else content
    Path(name).write_bytes(gzip.compress(content.encode()) if name.lower().endswith("gz") else content.encode())
    found = read([name], ["size"], key="path")
    assert columns(found) == TABLE
    assert places(found) == [f"{name}:2", f"{name}:3", f"{name}:4"]


def test_rows_know_their_lines_behind_blank_ones_and_quoted_line_ends() -> None:
    Path("a.csv").write_text('path, label \n\na.png, cat\n"b\n.png",dog\n\n"c ""1""",owl\n', encoding="utf-8")
    found = read(["a.csv"], ["label"], key="path")
    assert columns(found) == {"path": ["a.png", "b\n.png", 'c "1"'], "label": ["cat", "dog", "owl"]}
    assert places(found) == ["a.csv:3", "a.csv:5", "a.csv:7"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "end"])
def test_line_ends(end: str, last: str) -> None:
    text = "path,label\na,1\n\nb,2\n" + ("c,3" if last else "")
    Path("a.csv").write_bytes(text.replace("\n", end).encode())
    found = read(["a.csv"], [], key="path")
    assert columns(found)["path"] == ["a", "b", *(["c"] if last else [])]
    assert places(found)[:2] == ["a.csv:2", "a.csv:4"]


def test_excel_s_mark_and_line_ends_and_another_delimiter() -> None:
    Path("a.csv").write_bytes('\ufeff"path";label\r\nä.png;cat, the\r\n'.encode())
    found = read(["a.csv"], ["path"], key="path", delimiter=";")
    assert columns(found) == {"path": ["ä.png"], "label": ["cat, the"]}


def test_spaces_around_cells_and_names_are_none_of_theirs() -> None:
    Path("a.csv").write_text(" x\u00a0,  y z\t\n 1 ,\u00a0a  b\u00a0\n")
    assert columns(read(["a.csv"], ["y z"], key="path")) == {"x": ["1"], "y z": ["a  b"]}


def test_columns_without_a_name_are_called_after_their_place() -> None:
    Path("a.csv").write_text(",x,,\n1,2,,\n")
    assert columns(read(["a.csv"], ["x"], key="path")) == {
        "column_1": ["1"],
        "x": ["2"],
        "column_3": [""],
        "column_4": [""],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv:1: expected the names of the columns"),
        (b"\n\n", "a.csv:1: expected the names of the columns"),
        (b"path,path\n", "a.csv:1: column 'path' stands there twice"),
        (b"path, path \na,b\n", "a.csv:1: column 'path' stands there twice"),
        (b"path,labels\n", "a.csv:1: no column 'label'; did you mean 'labels'?; there are: path, labels"),
        (b"path,label\na,b\nc\n", "a.csv:3: 1 field, the header has 2"),
        (b'path,label\na,b\n\n"a\n",b\nc,d,e\n', "a.csv:6: 3 fields, the header has 2"),
        (
            b"path,label\n1,a,b\n2,c,d\n",
            "a.csv:2: 3 fields, the header has 2; all rows have one more: name the first column in the header",
        ),
        (b'path,label\na,"b\n', "a.csv:2: unexpected end of data"),
        (b"path;label\na;b\n", "a.csv:1: no column 'path'; is ';' the data.delimiter?; there are: path;label"),
        (b"path\tlabel\na\tb\n", "a.csv:1: no column 'path'; is '\\t' the data.delimiter?; there are: path\\tlabel"),
        (b"path,label\na;b\n", "a.csv:2: 1 field, the header has 2"),
        (b"path,label\n" + b"a" * 200_000, "a.csv:2: 1 field, the header has 2"),
        (b"path,label\na,b\na,\0\n", "a.csv:3: a NUL character; this is no text, or not UTF-8"),
        ("path,label\na,b\n".encode("utf-16"), "a.csv:1: not UTF-8 (byte 0xff); save it as UTF-8"),
        ("path,label\na,b\n".encode("utf-16-le"), "a.csv:1: a NUL character; this is no text, or not UTF-8"),
        (b"path,label\na,b\n\xe4,b\n", "a.csv:3: not UTF-8 (byte 0xe4); save it as UTF-8"),
        (b"path,label\na,b\na,\xc3", "a.csv:3: not UTF-8 (byte 0xc3); save it as UTF-8"),
    ],
)
def test_problems_of_csv_name_the_line(content: bytes, message: str) -> None:
    Path("a.csv").write_bytes(content)
    assert problem("a.csv", needed=("path", "label")) == message
    if content:
        Path("a.csv.gz").write_bytes(gzip.compress(content))
        assert problem("a.csv.gz", needed=("path", "label")) == message.replace("a.csv", "a.csv.gz")


def test_semicolons_and_decimal_commas() -> None:
    """A header without a comma above rows with one: Excel, where people write 1,5."""
    Path("a.csv").write_text("price;kind\n1,5;a\n2,5;b\n")
    assert "data.delimiter" in problem("a.csv", needed=("kind",))


def test_commas_at_the_ends_of_all_rows_are_no_column_in_front() -> None:
    Path("a.csv").write_text("x,y\n1,a,\n2,b,\n")
    assert "name the first column" not in problem("a.csv", needed=("y",))


def test_two_quotes_that_open_and_never_close_swallow_no_rows() -> None:
    rows = "".join(f"{'q' if n not in (3, 6) else chr(34) + 'q'}{n},{n}\n" for n in range(9))
    Path("a.csv").write_text(f"x,y\n{rows}")
    assert problem("a.csv").startswith("a.csv:")


def test_what_follows_a_closing_quote_is_an_error() -> None:
    Path("a.csv").write_text('x,y\n1,2\n"5" or "6",1\n')
    assert problem("a.csv") == "a.csv:3: ',' expected after '\"'"


def test_a_long_cell_has_a_line_too() -> None:
    """Essays may be longer than the longest field that Python's csv takes by itself."""
    Path("a.csv").write_text(f"x,y\n1,2\n{'z' * (csv.field_size_limit() + 1)},2\n3,4\n")
    found = read(["a.csv"], [], key="path")
    assert found.columns["y"].to_pylist() == ["2", "2", "4"]
    assert places(found) == ["a.csv:2", "a.csv:3", "a.csv:4"]


@pytest.mark.parametrize(
    ("delimiter", "message"),
    [
        ("\n", "a.csv: ParseOptions: delimiter cannot be \\r or \\n"),
        ("x", "a.csv:1: no column 'y'; is ',' the data.delimiter?; there are: a,b"),
    ],
)
def test_delimiters_that_are_none(delimiter: str, message: str) -> None:
    Path("a.csv").write_text("a,b\n1,2\n")
    assert problem("a.csv", needed=("y",), delimiter=delimiter) == message


@pytest.mark.parametrize("delimiter", ["é", "\0"])
def test_delimiters_of_more_than_a_byte(delimiter: str) -> None:
    Path("a.csv").write_text("a,b\n1,2\n")
    assert "delimiter" in problem("a.csv", delimiter=delimiter)


def test_a_header_alone() -> None:
    for content in ("x,y\n", "x,y"):
        Path("a.csv").write_text(content)
        assert columns(read(["a.csv"], [], key="path")) == {"x": [], "y": []}


def test_several_blocks_of_rows_are_still_one_column() -> None:
    """pyarrow reads in pieces of 4 MiB; Python's reader is asked only for the places."""
    word = "w" * 150
    Path("a.csv").write_text("n,w\n" + "".join(f"{n},{word}\n" for n in range(30_000)))
    found = read(["a.csv"], [], key="path")
    assert len(found) == len(found.columns["n"]) == 30_000
    assert [found.columns["n"][row].as_py() for row in (0, 27_000, 29_999)] == ["0", "27000", "29999"]
    assert found.where(29_999) == "a.csv:30001"
