"""From values to what the model sees, by hand."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from trainkit.data.tables import cells
from trainkit.data.tables.column_kinds import NA_VALUES
from trainkit.data.tables.columns import Column, rescaled
from trainkit.data.tables.encoding import Standardize, encode, fitted, gaps, parse, scaled, unseen

GAP = math.nan


def words(*some: str) -> Any:
    return pa.array(some, pa.string())


def rows(count: int) -> NDArray[np.int64]:
    return np.arange(count)


def encoded(column: Column, values: Any) -> list[list[float]]:
    out = np.zeros((len(values), column.width), dtype=np.float32)
    encode(column, values, out)
    return [[float(one) for one in row] for row in out]


def dates(*some: str) -> Any:
    return cells.dates(words(*some), Column(name="x", kind="date", format="ymd"))[0]


# ---------------------------------------------------------------------------------------------------------------------
# Numbers


def test_numbers_with_their_mean_and_deviation() -> None:
    column = fitted(Column(name="x"), np.array([2.0, 4, 6, 100]), rows(3), True)  # the last one is no training row
    deviation = math.sqrt(8 / 3)
    assert (column.center, column.scale, column.mean, column.marked, column.width) == ((4,), (deviation,), 4, False, 1)
    assert encoded(column, np.array([2.0, 4, 7])) == [
        [pytest.approx(-2 / deviation)],
        [0],
        [pytest.approx(3 / deviation)],
    ]


def test_numbers_robustly() -> None:
    """Median, distance of the quartiles, and z / sqrt(1 + (z / 3)^2)."""
    values = np.array([1.0, 2, 3, 4, 1000])
    column = fitted(Column(name="x"), values, rows(5), "robust")
    assert (column.center, column.scale, column.clip, column.mean) == ((3,), (2,), True, 3)
    z = np.array([-1, -0.5, 0, 0.5, 498.5])
    np.testing.assert_allclose(np.array(encoded(column, values))[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)
    assert encoded(column, np.array([1e30, -1e30])) == [[pytest.approx(3)], [pytest.approx(-3)]]


def test_robustly_where_the_quartiles_are_equal() -> None:
    column = fitted(Column(name="x"), np.array([0.0, 0, 0, 0, 10]), rows(5), "robust")
    assert (column.center, column.scale) == ((0,), (5,))


def test_numbers_as_they_are() -> None:
    column = fitted(Column(name="x"), np.array([2.0, GAP, 6]), rows(3), False)
    assert (column.center, column.scale, column.mean, column.marked) == ((), (), 4, True)
    assert encoded(column, np.array([2.0, GAP, 6, 1e300])) == [
        [2, 0],
        [4, 1],
        [6, 0],
        [float(np.float32(3.4028235e38)), 0],
    ]


@pytest.mark.parametrize("standardize", [True, False, "robust"])
def test_a_number_that_never_changes(standardize: Standardize) -> None:
    column = fitted(Column(name="x"), np.array([7.0, 7, 9]), rows(2), standardize)
    assert np.isfinite(encoded(column, np.array([7.0, 9]))).all()
    assert encoded(column, np.array([7.0])) == ([[7]] if standardize is False else [[0]])


@pytest.mark.parametrize("standardize", [True, False, "robust"])
def test_no_number_among_the_training_rows(standardize: Standardize) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        column = fitted(Column(name="x"), np.array([GAP, GAP, 5]), rows(2), standardize)
    assert column.marked
    assert np.isfinite(encoded(column, np.array([GAP, 5]))).all()


def test_gaps_get_the_mean_of_the_training_rows_and_a_mark() -> None:
    column = fitted(Column(name="x"), np.array([1.0, GAP, 3, 50]), rows(3), True)
    assert column.mean == 2
    assert encoded(column, np.array([GAP, 2])) == [[0, 1], [0, 0]]
    unmarked = fitted(Column(name="x"), np.array([1.0, 3, GAP]), rows(2), True)
    assert encoded(unmarked, np.array([GAP])) == [[0]]


def test_float64_until_the_end() -> None:
    """Seconds since 1970, ids above 2^24, metres of UTM: in float32, 930 of these are 8."""
    values = 1_700_000_000 + np.arange(930.0)
    assert len(np.unique(values.astype(np.float32))) < 10
    for standardize in (True, "robust"):
        column = fitted(Column(name="x"), values, rows(930), standardize)
        assert len(np.unique(encoded(column, values))) == 930
    columns, inputs = scaled(values[:, None], ["at"], rows(930), True)
    assert len(np.unique(inputs)) == 930
    assert columns[0].center == (1_700_000_464.5,)


# ---------------------------------------------------------------------------------------------------------------------
# Flags, words, dates


def test_flags_are_not_standardised() -> None:
    flags = Column(name="x", kind="flag")
    column = fitted(flags, np.array([1.0, 0, 1, 1, GAP]), rows(5), True)
    assert (column.mean, column.marked, column.center) == (0.75, True, ())
    assert encoded(column, np.array([1.0, 0, GAP])) == [[1, 0], [0, 0], [0.75, 1]]
    assert fitted(flags, np.array([GAP, 1]), rows(1), True).mean == 0.5


def test_words_are_one_hot_and_not_standardised() -> None:
    values = words("red", "blue", "red", "", "green")
    column = fitted(Column(name="x", kind="category"), values, rows(4), True)
    assert (column.categories, column.other, column.rare) == (("", "blue", "red"), False, ())
    assert encoded(column, values) == [[0, 0, 1], [0, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]]
    assert unseen(column, values).tolist() == [False] * 4 + [True]


def test_rare_words_share_an_input() -> None:
    values = words(*["a"] * 50, *["b"] * 45, *["c"] * 3, "d", "e", "new")
    column = fitted(Column(name="x", kind="category"), values, rows(100), True)  # a word of 5 rows has its own
    assert (column.categories, column.other, column.rare) == (("a", "b"), True, ("c", "d", "e"))
    assert encoded(column, words("a", "b", "c", "e", "new", "")) == [
        [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]
    ]  # fmt: skip
    assert unseen(column, words("a", "c", "new", "")).tolist() == [False, False, True, True]


def test_at_most_255_words_and_the_most_frequent_ones() -> None:
    values = words(*(f"w{n:03d}" for n in range(300) for _ in range(10 + n % 2)))
    column = fitted(Column(name="x", kind="category"), values, rows(len(values)), True)
    assert column.categories is not None
    assert (len(column.categories), len(column.rare), column.width) == (255, 45, 256)
    assert {f"w{n:03d}" for n in range(1, 300, 2)} < set(column.categories)
    assert column.categories == tuple(sorted(column.categories))


def test_a_word_is_the_same_input_whatever_the_order_of_the_rows() -> None:
    some = [f"w{n % 7}" for n in range(70)]
    columns = {fitted(Column(name="x", kind="category"), words(*order), rows(70), True) for order in (some, some[::-1])}
    assert len(columns) == 1


def test_the_parts_of_dates() -> None:
    values = dates("2019-12-31 06:00", "2020-01-06 18:30", "2020-02-29 00:00")
    column = fitted(Column(name="x", kind="date", format="ymd"), values, rows(3), False)
    assert column.parts == ("year", "month", "day", "weekday", "hour", "days")
    days = [18261.25, 18267 + 18.5 / 24, 18321]
    by_hand = np.array([[2019, 12, 31, 1, 6, days[0]], [2020, 1, 6, 0, 18.5, days[1]], [2020, 2, 29, 5, 0, days[2]]])
    center, deviation = by_hand.mean(0), by_hand.std(0)
    np.testing.assert_allclose(column.center, center, rtol=1e-12)
    np.testing.assert_allclose(encoded(column, values), (by_hand - center) / deviation, rtol=1e-5, atol=1e-6)
    assert column.mean == pytest.approx(np.mean(days))


def test_dates_before_1970_and_zones() -> None:
    values = dates("1969-12-31 23:00+02:00", "1968-02-29 01:00Z", "2000-01-01")
    column = fitted(Column(name="x", kind="date", format="ymd"), values, rows(3), True)
    made = np.array(encoded(column, values)) * column.scale + column.center
    by_hand = np.array([[1969, 12, 31, 2, 23, -3 / 24], [1968, 2, 29, 3, 1, -672 + 1 / 24], [2000, 1, 1, 5, 0, 10957]])
    np.testing.assert_allclose(made, by_hand, rtol=1e-6, atol=1e-3)


def test_parts_of_dates_that_never_change_are_left_out() -> None:
    column = fitted(Column(name="x", kind="date"), dates("2020-01-06", "2020-01-13"), rows(2), True)
    assert column.parts == ("day", "days")
    column = fitted(Column(name="x", kind="date"), dates("2020-01-06", "2020-01-06"), rows(2), True)
    assert (column.parts, column.width) == (("days",), 1)
    assert encoded(column, dates("2020-01-06")) == [[0]]


def test_gaps_among_dates() -> None:
    values = dates("2020-01-06", "", "2020-02-13")
    column = fitted(Column(name="x", kind="date"), values, rows(3), True)
    assert encoded(column, values)[1] == [*[0] * len(column.parts), 1]
    assert gaps(values, column).tolist() == [False, True, False]


def test_gaps_among_dates_are_in_no_month() -> None:
    """The mean is that of the dates that are there; and what never changes is left out with gaps, too."""
    column = fitted(Column(name="x", kind="date"), dates("2020-04-06", "", "2020-08-13"), rows(3), True)
    assert dict(zip(column.parts, column.center, strict=True))["month"] == 6
    column = fitted(Column(name="x", kind="date"), dates("2020-04-06", "", "2020-04-13"), rows(3), True)
    assert column.parts == ("day", "days")


def test_no_date_among_the_training_rows() -> None:
    """A date that is given in one row of a thousand may well be none of theirs."""
    values = dates("", "", "2020-02-13")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        column = fitted(Column(name="x", kind="date"), values, rows(2), True)
    assert math.isfinite(column.mean)
    assert np.isfinite(encoded(column, values)).all()


# ---------------------------------------------------------------------------------------------------------------------
# New texts


@pytest.mark.parametrize(
    ("column", "some", "bad"),
    [
        (Column(name="x", na_values=NA_VALUES), ["1", "", "x", "1e39", "-inf"], [False, False, True, True, True]),
        (Column(name="x", suffix="%"), ["1%", "1", ""], [False, True, False]),
        (Column(name="x", kind="flag"), ["yes", "", "1"], [False, False, True]),
        (Column(name="x", kind="date", format="dmy"), ["1.2.2020", "2020-02-01", ""], [False, True, False]),
        (Column(name="x", kind="category"), ["anything", ""], [False, False]),
    ],
)
def test_texts_are_read_as_in_training(column: Column, some: list[str], bad: list[bool]) -> None:
    found = parse(words(*some), column)
    assert found.bad.tolist() == bad
    assert len(found.values) == len(some)


def test_only_words_are_unseen() -> None:
    assert unseen(Column(name="x"), np.array([1.0, 2])).tolist() == [False, False]


def test_arrays_in_the_columns_units() -> None:
    """What `predict` makes of an .npy array is what the rows of a file become."""
    number = fitted(Column(name="a"), np.array([1.0, GAP, 3, 10]), rows(4), "robust")
    word = fitted(Column(name="b", kind="category"), words("p", "q"), rows(2), True)
    plain = fitted(Column(name="c"), np.array([1.0, 2]), rows(2), False)
    raw = np.array([10.0, 0, 1, 0, 7])
    expected = [*encoded(number, np.array([10.0]))[0], *encoded(word, words("p"))[0], 7]
    np.testing.assert_allclose(rescaled([number, word, plain], raw), expected, rtol=1e-6)
    assert raw.tolist() == [10, 0, 1, 0, 7]
