"""What is in files of rows, whatever their format, and where."""

from __future__ import annotations

import gzip
import json
import os
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from trainkit.core.errors import DataError
from trainkit.data.tables.table_files import Cells, read

TABLE = {"size": ["1.50", "", "3"], "colour": ["red", "a, b", "None"]}
CSV = 'size,colour\n1.50,red\n,"a, b"\n3,None\n'


def columns(found: Cells) -> dict[str, list[str]]:
    return {name: texts.to_pylist() for name, texts in found.columns.items()}


def places(found: Cells) -> list[str]:
    assert list(found.locations()) == [found.where(row) for row in range(len(found))]
    return list(found.locations())


def problem(*names: str, needed: tuple[str, ...] = (), delimiter: str | None = None) -> str:
    with pytest.raises(DataError) as error:
        read(names, needed, key="path", delimiter=delimiter)
    [problem] = error.value.problems
    return problem


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.jsonl.gz"])
def test_an_object_on_each_line(name: str) -> None:
    lines = '{"size": 1.50, "colour": "red"}\n\n{"colour": " a, b", "size": null}\n{"size": 3, "colour": "None"}\n'
    Path(name).write_bytes(gzip.compress(lines.encode()) if name.endswith("gz") else lines.encode())
    found = read([name], ["colour"], key="path")
    assert columns(found) == TABLE
    assert places(found) == [f"{name}:1", f"{name}:3", f"{name}:4"]


def test_json_keeps_every_digit_and_a_row_may_lack_a_key() -> None:
    Path("a.jsonl").write_text(
        '{"id": 12345678901234567890, "x": 0.10}\n{"id": -0, "ok": true}\n{"x": NaN, "ok": false}'
    )
    assert columns(read(["a.jsonl"], [], key="path")) == {
        "id": ["12345678901234567890", "-0", ""],
        "x": ["0.10", "", "NaN"],
        "ok": ["", "true", "false"],
    }


def test_parquet() -> None:
    table: dict[str, Any] = {
        "size": pa.array([1.5, None, 3.0]),
        "colour": pa.array([" red ", None, "None"]).dictionary_encode(),
        "id": pa.array([2**53 + 1, None, 3]),
        "ok": pa.array([True, False, None]),
        "day": pa.array([date(2020, 1, 2), None, date(1969, 12, 31)]),
        "at": pa.array([datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), None, None]),
        "price": pa.array([Decimal("1.50"), None, Decimal("-2.00")]),
    }
    parquet.write_table(pa.table(table), "a.parquet")
    found = read(["a.parquet"], ["day"], key="path")
    assert columns(found) == {
        "size": ["1.5", "", "3"],
        "colour": ["red", "", "None"],
        "id": ["9007199254740993", "", "3"],
        "ok": ["true", "false", ""],
        "day": ["2020-01-02", "", "1969-12-31"],
        "at": ["2020-01-02 03:04:05.000000Z", "", ""],
        "price": ["1.50", "", "-2.00"],
    }
    assert places(found) == ["a.parquet: row 1", "a.parquet: row 2", "a.parquet: row 3"]


@pytest.mark.parametrize(
    "names",
    [["a1.csv", "a2.csv.gz", "b.jsonl"], ["a*.csv*", "b.jsonl"], ["{here}/a?.csv", "a[0-9].csv.gz", "b.jsonl"]],
)
def test_several_files_of_one_shape(names: list[str], tmp_path: Path) -> None:
    Path("a1.csv").write_text("x,y\n1,a\n\n2,b\n")
    Path("a2.csv.gz").write_bytes(gzip.compress(b"y,x\nc,3\n"))  # in another order
    Path("b.jsonl").write_text('{"x": 4, "y": "d"}\n')
    found = read([name.format(here=tmp_path) for name in names], ["x"], key="path")
    assert columns(found) == {"x": ["1", "2", "3", "4"], "y": ["a", "b", "c", "d"]}
    assert [place.rpartition("/")[2] for place in places(found)] == ["a1.csv:2", "a1.csv:4", "a2.csv.gz:2", "b.jsonl:1"]
    assert Path(found.name).name == "a1.csv"


def test_a_file_may_have_the_name_of_a_pattern() -> None:
    Path("a[1].csv").write_text("x\n1\n")
    Path("a1.csv").write_text("x\n2\n")
    assert columns(read(["a[1].csv"], [], key="path")) == {"x": ["1"]}


def test_files_of_another_shape() -> None:
    Path("a.csv").write_text("x,y\n1,2\n")
    Path("b.csv").write_text("x,z\n1,2\n")
    Path("c.csv").write_text("x\n1\n")
    assert problem("a.csv", "b.csv") == "b.csv: no column 'y', which the other files have"
    assert problem("c.csv", "a.csv") == "c.csv: no column 'y', which the other files have"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.jsonl: no rows"),
        ('{"x": 1}\n{"x": }\n', "a.jsonl:2: not JSON; expected one object on each line"),
        ('{"x": 1}\n\n[1, 2]\n', "a.jsonl:3: expected an object, got '[1, 2]'"),
        ('{"x": 1}\n{"x": [1]}\n', "a.jsonl:2: x: expected a text, a number, true, false or null"),
        ('{"x": {"y": 1}}\n', "a.jsonl:1: x: expected a text, a number, true, false or null"),
        ('{"y": 1}\n', "a.jsonl:1: no column 'x'; there are: y"),
        ("[" * 100_000, "a.jsonl:1: not JSON; expected one object on each line"),
    ],
)
def test_problems_of_json_lines_name_the_line(content: str, message: str) -> None:
    Path("a.jsonl").write_text(content)
    assert problem("a.jsonl", needed=("x",)) == message


def test_half_a_character_in_json() -> None:
    Path("a.jsonl").write_text('{"x": "a"}\n{"x": "\\ud800"}\n')
    assert problem("a.jsonl").startswith("a.jsonl:2: ")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"x": pa.array([[1], [2]])},
            "a.parquet: x: is of list<element: int64>; expected text, numbers, dates or flags",
        ),
        ({"y": pa.array([1])}, "a.parquet:1: no column 'x'; there are: y"),
    ],
)
def test_problems_of_parquet(table: dict[str, Any], message: str) -> None:
    parquet.write_table(pa.table(table), "a.parquet")
    assert problem("a.parquet", needed=("x",)) == message


def test_parquet_without_columns() -> None:
    parquet.write_table(pa.table({}), "a.parquet")
    assert problem("a.parquet", needed=("x",)).startswith("a.parquet: ")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv.gz", gzip.compress(CSV.encode())[:-12], "a.csv.gz: cut short"),
        ("a.csv.gz", CSV.encode(), "data.path: {here}/a.csv.gz: not a gzipped file (b'si')"),
        ("a.csv", gzip.compress(CSV.encode()), "a.csv:1: not UTF-8 (byte 0x8b); save it as UTF-8"),
        ("a.parquet", b"hello", "a.parquet: not a Parquet file, or damaged"),
    ],
)
def test_damaged_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    Path(name).write_bytes(content)
    assert problem(name) == message.format(here=tmp_path)


def test_a_packed_file_with_wrong_bytes_inside() -> None:
    packed = bytearray(gzip.compress("".join(f"{n * n % 7919},{n}\n" for n in range(5000)).encode()))
    packed[4000:4040] = b"\xff" * 40
    Path("a.csv.gz").write_bytes(packed)
    assert "a.csv.gz: " in problem("a.csv.gz")


def test_a_workbook_is_no_text() -> None:
    """What Excel saves by itself, under its own name or as .csv."""
    for name in ("a.xlsx", "a.csv"):
        Path(name).write_bytes(b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(256)))
        assert "CSV" in problem(name)


def test_a_list_in_json_is_no_csv() -> None:
    Path("a.json").write_text(json.dumps([{"x": 1, "y": 2}, {"x": 3, "y": 4}]))
    assert ".jsonl" in problem("a.json", needed=("x",))


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert problem("b.csv") == f"data.path: {tmp_path}/b.csv: no such file or directory"
    assert problem(".") == f"data.path: {tmp_path}: is a directory"
    assert problem("b*.csv") == "data.path: b*.csv: no file matches"
    assert problem("[.csv") == "data.path: [.csv: no file matches"
    Path("a.csv").touch()
    assert problem("a.cvs") == f"data.path: {tmp_path}/a.cvs: no such file or directory; did you mean a.csv?"


def test_a_pattern_that_is_none() -> None:
    assert problem("a**.csv").startswith("data.path: a**.csv: ")


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo("a.csv")
    assert problem("a.csv") == f"data.path: {tmp_path}/a.csv: is not a regular file"
    assert problem("/dev/zero") == "data.path: /dev/zero: is not a regular file"
