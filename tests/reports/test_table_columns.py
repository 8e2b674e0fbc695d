"""What stands in a row of a table, read back from what the model sees of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from trainkit.data.tables.columns import Column, ColumnFacts
from trainkit.data.tables.encoding import Standardize, encode, fitted, parse
from trainkit.reports.table_columns import Columns, words_of


def read_back(column: Column, texts: list[str], standardize: Standardize = True) -> list[str]:
    """The words of rows, the first four of which the column is fitted to."""
    values = parse(pa.array(texts), column).values
    column = fitted(column, values, np.arange(4), standardize)
    out = np.zeros((len(texts), column.width), dtype=np.float32)
    encode(column, values, out)
    return [words_of(column, row) for row in out.tolist()]


@pytest.mark.parametrize("standardize", [True, False, "robust"])
def test_numbers(standardize: Standardize) -> None:
    texts = ["1893", "2011.5", "", "-4", "1e6", "0"]
    assert read_back(Column(name="x"), texts, standardize) == ["1893", "2012", "(missing)", "-4", "1e+06", "0"]


def test_flags_dates_and_words() -> None:
    assert read_back(Column(name="x", kind="flag"), ["yes", "no", "yes", "no"]) == ["yes", "no", "yes", "no"]
    dates = read_back(Column(name="x", kind="date", format="iso"), ["2020-01-31", "2021-02-28", "2022-03-01", ""])
    assert dates[0].startswith("year 2020, month 1, day 31, weekday 4")
    assert dates[3] == "(missing)"
    column = Column(name="x", kind="category", categories=("", "a", "b"), other=True)
    rows = [words_of(column, row) for row in torch.eye(4).tolist()]
    assert rows == ["(missing)", "a", "b", "(another)"]


def test_the_columns_that_are_needed_most_come_first() -> None:
    def facts(name: str) -> ColumnFacts:
        return ColumnFacts(name, "number", "number", 0, 2, "", 1, "")

    judged = [(facts("b"), 0.5), (facts("a"), 0.25), (facts("c"), -0.1), (facts("id"), None)]
    columns = Columns("mae", judged, tuple(Column(name=name) for name in "abc"))
    assert columns.shares == [1, 0.5, 0, 0]
    assert columns.row(torch.tensor([1.0, 2.0, 3.0]), 2) == {"b": "2", "a": "1"}
    assert Columns().shares == []
