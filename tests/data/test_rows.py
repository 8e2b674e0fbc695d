from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainkit.data.rows import read_csv, read_lines
from trainkit.errors import DataError


def problem(name: str, *needed: str, delimiter: str = ",") -> str:
    with pytest.raises(DataError) as error:
        read_csv(name, needed, key="path", delimiter=delimiter)
    [problem] = error.value.problems
    return problem


def test_rows_know_their_lines() -> None:
    Path("a.csv").write_text('path, label \n\na.png, cat\n"b\n.png",dog\n', encoding="utf-8")
    rows = [(row.where, row.fields) for row in read_csv("a.csv", ["label"], key="path")]
    assert rows == [
        ("a.csv:3", {"path": "a.png", "label": "cat"}),
        ("a.csv:5", {"path": "b\n.png", "label": "dog"}),
    ]


def test_excel_s_mark_and_line_ends_and_another_delimiter() -> None:
    Path("a.csv").write_bytes("\ufeffpath;label\r\nä.png;cat, the\r\n".encode())
    [row] = read_csv("a.csv", ["path"], key="path", delimiter=";")
    assert row.fields == {"path": "ä.png", "label": "cat, the"}
    Path("a.txt").write_bytes("\ufeff a.png cat\r\n\r\n b.png  dog \r\n".encode())
    assert read_lines("a.txt", key="labels") == [("a.txt:1", "a.png cat"), ("a.txt:3", "b.png  dog")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.csv:1: expected the names of the columns"),
        (b"path,path\n", "a.csv:1: column 'path' stands there twice"),
        (b"path,labels\n", "a.csv:1: no column 'label'; did you mean 'labels'?; there are: path, labels"),
        (b"path,label\na,b\nc\n", "a.csv:3: 1 fields, the header has 2"),
        (b'path,label\na,"b\n', "a.csv:2: unexpected end of data"),
        (b"path;label\na;b\n", "a.csv:1: no column 'path'; is ';' the data.delimiter?; there are: path;label"),
        (b"path,label\na;b\n", "a.csv:2: 1 fields, the header has 2"),
        (b"path,label\n" + b"a" * 200_000, "a.csv:2: field larger than field limit (131072)"),
        (b"path,label\na,b\na,\0\n", "a.csv:3: a NUL character; this is no text, or not UTF-8"),
        ("path,label\na,b\n".encode("utf-16"), "a.csv:1: not UTF-8 (byte 0xff); save it as UTF-8"),
        (b"path,label\na,b\n\xe4,b\n", "a.csv:3: not UTF-8 (byte 0xe4); save it as UTF-8"),
    ],
)
def test_problems_name_the_line(content: bytes, message: str) -> None:
    Path("a.csv").write_bytes(content)
    assert problem("a.csv", "path", "label") == message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert problem("b.csv") == f"data.path: {tmp_path}/b.csv: no such file or directory"
    assert problem(".") == f"data.path: {tmp_path}: is a directory"
    Path("a.csv").touch()
    assert problem("a.cvs") == f"data.path: {tmp_path}/a.cvs: no such file or directory; did you mean a.csv?"


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo("a.csv")
    assert problem("a.csv") == f"data.path: {tmp_path}/a.csv: is not a regular file"
    assert problem("/dev/zero") == "data.path: /dev/zero: is not a regular file"
