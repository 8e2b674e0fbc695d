from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainkit.core.errors import DataError
from trainkit.data.text_files import read_lines


def problem(name: str) -> str:
    with pytest.raises(DataError) as error:
        read_lines(name, key="labels")
    [problem] = error.value.problems
    return problem


def test_lines_know_their_place() -> None:
    Path("a.txt").write_bytes("\ufeff ä.png cat\r\n\r\n b.png  dog \r\nc.png owl".encode())
    assert read_lines("a.txt", key="labels") == [
        ("a.txt:1", "ä.png cat"),
        ("a.txt:3", "b.png  dog"),
        ("a.txt:4", "c.png owl"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a 0\nb \0\n", "a.txt:2: a NUL character; this is no text, or not UTF-8"),
        ("a 0\n".encode("utf-16"), "a.txt:1: not UTF-8 (byte 0xff); save it as UTF-8"),
        (b"a 0\nb 1\n\xe4 0\n", "a.txt:3: not UTF-8 (byte 0xe4); save it as UTF-8"),
    ],
)
def test_problems_name_the_line(content: bytes, message: str) -> None:
    Path("a.txt").write_bytes(content)
    assert problem("a.txt") == message


def test_what_is_not_there_or_has_no_end_is_not_read(tmp_path: Path) -> None:
    assert problem("b.txt") == f"data.labels: {tmp_path}/b.txt: no such file or directory"
    assert problem(".") == f"data.labels: {tmp_path}: is a directory"
    os.mkfifo("a.txt")
    assert problem("a.txt") == f"data.labels: {tmp_path}/a.txt: is not a regular file"
