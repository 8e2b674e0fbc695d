"""The column by which samples are kept together, or follow one another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trainkit.core.errors import DataError
from trainkit.data.tables import split_keys
from trainkit.data.tables.columns import ColumnConfig
from trainkit.data.tables.table_files import TextColumn


def texts(*some: str) -> Any:
    return pa.array(some, pa.string())


def ranks(*some: str, rows: list[int] | None = None, **asked: Any) -> list[float]:
    numbers = np.array(range(len(some)) if rows is None else rows, dtype=np.int64)
    keys = split_keys.ranks(
        TextColumn("when", texts(*some), "t.csv:{}".format), ColumnConfig.from_plain(asked), numbers
    )
    assert keys.groups is None
    assert keys.ranks is not None
    return keys.ranks.tolist()


def order(*some: str, **options: Any) -> list[int]:
    found = ranks(*some, **options)
    return sorted(range(len(found)), key=found.__getitem__)


def test_the_same_text_is_a_group_and_none_is_one_of_its_own() -> None:
    keys = split_keys.groups(texts("anna", "", "bert", "anna", "", "NA", "NA"))
    assert keys.ranks is None
    assert keys.groups is not None
    groups = keys.groups.tolist()
    assert groups[0] == groups[3]
    assert groups[5] == groups[6]
    assert len(set(groups)) == 5


@pytest.mark.parametrize(
    ("some", "expected"),
    [
        (["10", "9", "100"], [1, 0, 2]),
        (["2020-02-01", "2019-12-31", "2020-01-01T00:00:00Z"], [1, 2, 0]),
        (["31.12.2019", "01.02.2020", "15.01.2020"], [0, 2, 1]),
        (["2020-01-01 10:00+02:00", "2020-01-01 09:00Z", "2020-01-01 09:30+00:00"], [0, 1, 2]),
        (["fold-b", "fold-a", "fold-c"], [1, 0, 2]),
        (["10%", "9%"], [1, 0]),
        (["20200131", "20191231"], [1, 0]),
        (["v2", "v1"], [1, 0]),
        (["02", "01"], [1, 0]),
        (["yes", "no"], [1, 0]),
    ],
)
def test_by_number_date_or_letter(some: list[str], expected: list[int]) -> None:
    assert order(*some) == expected


def test_equal_ones_have_one_rank() -> None:
    assert len(set(ranks("a", "b", "a"))) == len(set(ranks("1", "2.0", "1.00"))) == 2


def test_of_some_rows_alone() -> None:
    assert ranks("3", "", "1", "2", rows=[2, 0]) == [1, 3]


def test_seconds_since_1970_keep_their_order() -> None:
    some = [str(1_700_000_000 + n) for n in range(1000)]
    assert len(set(ranks(*some))) == 1000


@pytest.mark.parametrize(
    ("some", "message"),
    [
        (["1", "", "3"], "t.csv:1: no value for 'when', which data.order goes by"),
        (["2020-01-01", "NA"], "t.csv:1: no value for 'when', which data.order goes by"),
        (
            ["01/02/2020", "03/04/2020"],
            (
                "t.csv:0: when: '01/02/2020' may be dmy or mdy; say which with "
                "'data.columns={when: {kind: date, format: dmy}}'"
            ),
        ),
    ],
)
def test_what_has_no_order(some: list[str], message: str) -> None:
    with pytest.raises(DataError) as error:
        ranks(*some)
    assert error.value.problems == (message,)


def test_a_format_is_heard() -> None:
    assert order("01/02/2020", "02/01/2020", kind="date", format="dmy") == [1, 0]
    assert order("01/02/2020", "02/01/2020", kind="date", format="mdy") == [0, 1]


@pytest.mark.parametrize("kind", ["drop", "text"])
def test_a_column_may_order_the_rows_without_being_an_input(kind: str) -> None:
    assert order("3", "1", "2", kind=kind) == [1, 2, 0]
