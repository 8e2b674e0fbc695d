"""The texts of a column as values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trainkit.data.tables import cells
from trainkit.data.tables.column_kinds import NA_VALUES
from trainkit.data.tables.columns import FIRST_NA_VALUES, Column

GAP = math.nan


def texts(*some: str) -> Any:
    return pa.array(some, pa.string())


def column(**options: Any) -> Column:
    return Column(name="x", **{"na_values": NA_VALUES, **options})


@pytest.mark.parametrize(
    ("options", "some", "expected"),
    [
        # As they are: pyarrow's own way, where all are plain
        ({}, ["1", "-2.5", ".5", "5.", "1e3", "1.5E-2", "007"], [1, -2.5, 0.5, 5, 1000, 0.015, 7]),
        ({}, ["+1", "2"], [1, 2]),
        ({}, ["1", "", "n/a", "NULL", "-", "\\N", "#N/A", "N.A.", "?", ".", "nan"], [1, *[GAP] * 10]),
        ({}, ["\u22123", "4"], [-3, 4]),
        ({}, ["9007199254740993", "x"], [9007199254740992, None]),
        ({}, ["inf", "-Infinity", "INF", "x"], [math.inf, -math.inf, math.inf, None]),
        ({}, ["12%", "$1", "1,5", "1 000", "1_0", "0x1F", "1e", "e5", "1.2.3", "--1", "1-"], [None] * 11),
        ({}, ["1d5", "1f", "TRUE", "\u0661", "\u00bd"], [None] * 5),
        # Signs
        ({"suffix": "%"}, ["12%", "-0.5 %", "3\u00a0%", "4", "%", "5%%"], [12, -0.5, 3, None, None, None]),
        ({"suffix": "%", "factor": 0.01}, ["12%", ""], [0.12, GAP]),
        ({"prefix": "$"}, ["$12", "-$3", "$ 4", "5", "$"], [12, -3, 4, None, None]),
        ({"suffix": "m2"}, ["12.5 m2", "13m2", "14 m"], [12.5, 13, None]),
        ({"prefix": "USD", "suffix": "k"}, ["USD 1.5k"], [1.5]),
        # Separators
        ({"decimal": ","}, ["16,99", "16", "-,5", "1.5", "1,2,3"], [16.99, 16, -0.5, None, None]),
        ({"thousands": ","}, ["1,234.50", "1234.5", "12", "1,2345", "12,34", "1234,567"],
         [1234.5, 1234.5, 12, None, None, None]),
        ({"thousands": ".", "decimal": ","}, ["1.234.567,8", "1,5", "1.5"], [1234567.8, 1.5, None]),
        ({"thousands": " "}, ["1 234", "1\u00a0234 567", "1\u202f000.5"], [1234, 1234567, 1000.5]),
        ({"thousands": "'"}, ["1'234.5"], [1234.5]),
        ({"prefix": "$", "thousands": ","}, ["$1,234.50", "-$2,000"], [1234.5, -2000]),
        ({"decimal": ",", "suffix": "€"}, ["16,99 €"], [16.99]),
    ],
)  # fmt: skip
def test_numbers(options: dict[str, Any], some: list[str], expected: list[float | None]) -> None:
    """None stands for what is no number."""
    values, bad = cells.numbers(texts(*some), column(**options))
    assert bad.tolist() == [one is None for one in expected]
    np.testing.assert_array_equal(values, [GAP if one is None else one for one in expected])
    assert values.dtype == np.float64


@pytest.mark.parametrize("options", [{}, {"decimal": ","}, {"thousands": ","}])
def test_numbers_that_stand_for_nothing(options: dict[str, Any]) -> None:
    """As `na_values: ["-999"]` says of a column that holds nothing but numbers."""
    values, bad = cells.numbers(texts("1", "-999", "-999.0", "3"), column(**options, na_values=("", "-999", "inf")))
    assert not bad[:2].any()
    np.testing.assert_array_equal(values[[0, 1, 3]], [1, GAP, 3])
    values, _ = cells.numbers(texts("1", "inf"), column(**options, na_values=("", "inf")))
    np.testing.assert_array_equal(values, [1, GAP])


def test_the_same_number_by_either_way() -> None:
    """The last digit does not depend on whether another cell is odd."""
    some = ["0.1", "1e-7", "123456789.123456789", "3.4028235e38", "1e400", "-0"]
    plain, _ = cells.numbers(texts(*some), column())
    other, bad = cells.numbers(texts(*some, "x"), column())
    assert bad.tolist() == [False] * 6 + [True]
    np.testing.assert_array_equal(plain, other[:6])
    np.testing.assert_array_equal(plain, [0.1, 1e-7, 123456789.123456789, 3.4028235e38, math.inf, 0])


def test_no_rows_and_only_gaps() -> None:
    values, bad = cells.numbers(texts(), column())
    assert (values.shape, bad.shape) == ((0,), (0,))
    values, bad = cells.numbers(texts("", "NA"), column())
    assert np.isnan(values).all()
    assert not bad.any()


def test_what_is_missing_in_any_case() -> None:
    given = texts("", "na", "NaN", "None", "#N/A", "-", "--", "unknown", "0", "n", "nothing")
    assert cells.missing(given, column()).tolist() == [True] * 7 + [False] * 4
    assert cells.missing(given, column(na_values=(*NA_VALUES, "unknown"))).tolist() == [True] * 8 + [False] * 3
    assert cells.missing(given, column(na_values=FIRST_NA_VALUES)).tolist() == [True] * 4 + [False] * 7


def test_flags() -> None:
    given = texts("yes", "No", "TRUE", "false", "Y", "n", "T", "f", "ON", "off", "", "n/a", "maybe", "1", "0")
    values, bad = cells.flags(given, column(kind="flag"))
    np.testing.assert_array_equal(values, [1, 0, 1, 0, 1, 0, 1, 0, 1, 0, *[GAP] * 5])
    assert bad.tolist() == [False] * 12 + [True] * 3
    values, bad = cells.flags(texts("no", "n"), column(kind="flag", na_values=("no",)))  # what is said counts
    np.testing.assert_array_equal(values, [GAP, 0])
    assert not bad.any()


def test_dates() -> None:
    given = texts("1970-01-02", "", "1970-01-01 01:00+01:00", "NA", "soon", "1970-01-02")
    values, bad = cells.dates(given, column(kind="date", format="ymd"))
    np.testing.assert_array_equal(
        values, [[86400, 86400], [GAP, GAP], [3600, 0], [GAP, GAP], [GAP, GAP], [86400, 86400]]
    )
    assert bad.tolist() == [False, False, False, False, True, False]
    values, bad = cells.dates(texts("0000-00-00"), column(kind="date", format="ymd", na_values=("0000-00-00",)))
    assert np.isnan(values).all()
    assert not bad.any()


def test_words() -> None:
    given = texts("None", "NA", "", "unknown", "Unknown")
    assert cells.words(given, column(na_values=("",))).to_pylist() == ["None", "NA", "", "unknown", "Unknown"]
    assert cells.words(given, column(na_values=("", "unknown"))).to_pylist() == ["None", "NA", "", "", ""]
    assert cells.words(given, column(na_values=FIRST_NA_VALUES)).to_pylist() == ["", "", "", "unknown", "Unknown"]
