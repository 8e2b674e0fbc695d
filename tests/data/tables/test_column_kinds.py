"""What a column of a stranger's table is taken for."""
# ruff: noqa: E501  # in a table of messages, a row is a line

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from trainkit.config.shell import typed
from trainkit.core.errors import DataError
from trainkit.data.tables.column_kinds import NA_VALUES, Read, least, read
from trainkit.data.tables.columns import ColumnConfig
from trainkit.data.tables.table_files import TextColumn

GAP = math.nan


def column(
    some: Sequence[str], name: str = "x", *, needed: bool = False, is_target: bool = False, **asked: Any
) -> Read:
    source = TextColumn(name, pa.array(some, pa.string()), "t.csv:{}".format)
    return read(source, ColumnConfig.from_plain(asked), needed=needed, is_target=is_target)


def kind(found: Read) -> str:
    return "left out" if found.column is None else found.column.kind


def problem(some: Sequence[str], **options: Any) -> str:
    with pytest.raises(DataError) as error:
        column(some, **options)
    [problem] = error.value.problems
    return problem


# ---------------------------------------------------------------------------------------------------------------------
# Kinds


@pytest.mark.parametrize(
    ("some", "expected", "why"),
    [
        (["1.5", "-2", "1e3", ""], "number", "numbers"),
        (["NA", "1", "n/a", "2", "null"], "number", "numbers"),
        (["\u22123", "4"], "number", "numbers"),
        (["yes", "no", "Yes", ""], "flag", "yes or no"),
        (["TRUE", "f", "N/A", "T"], "flag", "yes or no"),
        (["0", "1", "1"], "number", "numbers"),
        (["2020-01-31", "2020-02-01", ""], "date", "dates (ymd)"),
        (["31.01.2020", "01.02.2020"], "date", "dates (dmy)"),
        (["01/31/2020", "02/01/2020"], "date", "dates (mdy)"),
        (["31 Jan 2020", "1 March 2021"], "date", "dates (named)"),
        (["2020-01-31T10:30:00+02:00", "2020-01-31 10:30"], "date", "dates (ymd)"),
        (["20200131", "20211201", "20190101"], "date", "dates (year, month, day without separators)"),
        (["20200131", "20211301", "20190101"], "number", "numbers"),
        (["01067", "10115", "80331", "01067"], "category", "codes: numbers with leading zeros"),
        (["red", "blue", "red"], "category", "words"),
        (["None", "NA", "n/a", "DE"], "category", "words"),
        (["yes", "yes"], "category", "words"),
        (["yes", "no", "maybe"], "category", "words"),
        (["True", "1", "0"], "category", "words"),
        (["18-25", "26-35", "46+"], "category", "words"),
        (["1.0.2", "1.1.0"], "category", "words"),
        (["192.168.0.1", "10.0.0.1"], "category", "words"),
        (["", "", "NA"], "left out", "empty"),
        (["", "", ""], "left out", "empty"),
    ],
)
def test_kinds_of_short_columns(some: list[str], expected: str, why: str) -> None:
    found = column(some)
    assert (kind(found), found.why, found.warning) == (expected, why, None)


def test_values_of_each_kind() -> None:
    np.testing.assert_array_equal(column(["1.5", "NA", "\u22123"]).values, [1.5, GAP, -3])
    np.testing.assert_array_equal(column(["yes", "", "no"]).values, [1, GAP, 0])
    np.testing.assert_array_equal(
        column(["1970-01-02", "", "1970-01-01T01:00+01:00"]).values, [[86400, 86400], [GAP, GAP], [3600, 0]]
    )
    assert column(["NA", "", "red"]).values.to_pylist() == ["NA", "", "red"]
    assert column(["01067", "", "10115"]).values.to_pylist() == ["01067", "", "10115"]


def test_unix_seconds_keep_all_their_digits() -> None:
    some = [str(1_700_000_000 + n) for n in range(930)]
    assert len(np.unique(column(some).values)) == 930


@pytest.mark.parametrize("gap", ["", "NA", "?"])
def test_leading_zeros_beside_gaps(gap: str) -> None:
    """A postcode that is missing does not make numbers of the others."""
    found = column(["01067", "10115", gap, "80331", "01067"])
    assert (kind(found), found.why) == ("category", "codes: numbers with leading zeros")


def test_numbers_that_begin_with_a_zero_are_no_codes() -> None:
    assert kind(column(["0.5", "0", "00.5"])) == "number"
    assert kind(column(["0", "1", "2"])) == "number"


# ---------------------------------------------------------------------------------------------------------------------
# One sign for all


@pytest.mark.parametrize(
    ("some", "prefix", "suffix", "values", "why"),
    [
        (["12%", "-3 %", "", "0.5%"], "", "%", [12, -3, GAP, 0.5], "numbers, each with %"),
        (["$12", "$3.50", "NA"], "$", "", [12, 3.5, GAP], "numbers, each with $"),
        (["12 €", "3 €"], "", "€", [12, 3], "numbers, each with €"),
        (["12.5 m2", "3m2"], "", "m2", [12.5, 3], "numbers, each with m2"),
        (["12 kg/m²", "3 kg/m²"], "", "kg/m²", [12, 3], "numbers, each with kg/m²"),
        (["USD 12", "USD 3"], "USD", "", [12, 3], "numbers, each with USD"),
        (["-$5", "$6"], "$", "", [-5, 6], "numbers, each with $"),
        (["$5k", "$6k"], "$", "k", [5, 6], "numbers, each with $…k"),
        (["20°C", "\u22123 °C"], "", "°C", [20, -3], "numbers, each with °C"),
    ],
)
def test_one_sign_for_all_is_read_and_said(
    some: list[str], prefix: str, suffix: str, values: list[float], why: str
) -> None:
    found = column(some)
    assert found.column is not None
    assert (found.column.kind, found.column.prefix, found.column.suffix) == ("number", prefix, suffix)
    np.testing.assert_allclose(found.values, values, rtol=1e-15)
    assert found.why == why


def test_a_minus_behind_the_currency() -> None:
    np.testing.assert_array_equal(column(["$-5", "$6"]).values, [-5, 6])


def test_percents_as_fractions() -> None:
    found = column(["12%", "3%"], percent="fraction")
    np.testing.assert_allclose(found.values, [0.12, 0.03], rtol=1e-15)
    assert found.why == "numbers, each with % (12% is 0.12)"


@pytest.mark.parametrize(
    "odd", [["5%", "7"], ["$5", "€7"], ["5 kg", "7 g"], ["$5", "7"], ["5", "(7)"]], ids=lambda pair: " and ".join(pair)
)
def test_signs_for_some_alone_are_no_reason_to_leave_a_column_out(odd: list[str]) -> None:
    """All read as numbers, but not as the same ones: no word of it can be right in silence, and none is an id."""
    some = [odd[n % 2].replace("5", str(n)).replace("7", str(n)) for n in range(60)]
    assert problem(some).startswith("t.csv:")


def test_sizes_in_magnitudes() -> None:
    assert problem(["1M"] * 10 + ["5k"] * 10) == (
        "t.csv:10: x: '5k' is no number as 50.0% of this column are (10 cells in all); mend the file, count it as missing "
        "with 'data.na_values=[5k]', or use 'data.columns={x: category}' (or drop)"
    )


# ---------------------------------------------------------------------------------------------------------------------
# Nearly numbers


@pytest.mark.parametrize(
    "odd", ["unknown", "TBD", "x", "12 kg", "3..5", "5-", "<5", "\u20138", "98*", "err", "1_0", "N. A."]
)
def test_one_odd_cell_in_a_thousand(odd: str) -> None:
    some = [f"{n * 7 % 613}.5" for n in range(1000)]
    some[702] = odd
    assert problem(some) == (
        f"t.csv:702: x: {odd!r} is no number as 99.9% of this column are (1 cell in all); mend the file, count it as "
        f"missing with {typed('data.na_values', [odd])}, or use 'data.columns={{x: category}}' (or drop)"
    )
    found = column(some, na_values=[odd.upper()])
    assert np.flatnonzero(np.isnan(found.values)).tolist() == [702]
    assert kind(column(some, kind="category")) == "category"


@pytest.mark.parametrize("odd", ["#N/A", "N.A.", "\\N", "-", "?", "none", "NULL", "1.#QNAN", "#NV", ""])
def test_one_cell_that_is_missing_in_a_thousand(odd: str) -> None:
    some = [f"{n * 7 % 613}.5" for n in range(1000)]
    some[702] = odd
    found = column(some)
    assert found.column is not None
    assert (found.column.kind, np.flatnonzero(np.isnan(found.values)).tolist()) == ("number", [702])


def test_nine_tenths_are_the_border() -> None:
    some = [str(n * 7 % 613) for n in range(900)]
    assert problem([*some, *["x"] * 100]).startswith(
        "t.csv:900: x: 'x' is no number as 90.0% of this column are (100 cells"
    )
    assert kind(column([*some, *["x"] * 101])) != "number"
    with_gaps = [*some, *["x"] * 100, *[""] * 500]  # which count for neither
    assert problem(with_gaps).startswith("t.csv:900: x: 'x' is no number as 90.0% of this column are (100 cells")


def test_a_column_mostly_of_numbers_is_not_left_out_as_one_of_words() -> None:
    """Below nine tenths it is no error; but what is said of it is to be true."""
    draws = random.Random(0)
    found = column([f"{'<' * (n % 4 == 0)}{draws.random():.6f}" for n in range(400)])
    assert "words" not in found.why
    assert "a word of its own" not in found.why


def test_an_odd_cell_of_percents() -> None:
    some = [f"{n}%" for n in range(99)]
    assert problem([*some, "7"]) == (
        "t.csv:99: x: '7' is no number as 99.0% of this column are (1 cell in all); mend the file, count it as missing with "
        "'data.na_values=[\"7\"]', or use 'data.columns={x: category}' (or drop)"
    )


def test_what_a_target_may_be_instead() -> None:
    assert problem([*map(str, range(99)), "x"], is_target=True) == (
        "t.csv:99: x: 'x' is no number as 99.0% of this column are (1 cell in all); mend the file, count it as missing with "
        "'data.na_values=[x]', or use data.task=classification"
    )


@pytest.mark.parametrize("kind", ["auto", "number"])
@pytest.mark.parametrize(
    ("cell", "ways"),
    [
        ("1,234.50", "'data.thousands=\",\"' 'data.decimal=\".\"'"),
        ("1.234,50", "'data.thousands=\".\"' 'data.decimal=\",\"'"),
        ("16,99", "'data.decimal=\",\"' (with 'data.thousands=\".\"'), or 'data.thousands=\",\"'"),
        ("1,234", "'data.decimal=\",\"' (with 'data.thousands=\".\"'), or 'data.thousands=\",\"'"),
        ("1 234", "'data.thousands=\" \"'"),
        ("1\u00a0234", "'data.thousands=\" \"'"),
        ("1'234", typed("data.thousands", "'")),
        ("$1,234.50", "'data.thousands=\",\"' 'data.decimal=\".\"'"),
        ("16,99 €", "'data.decimal=\",\"' (with 'data.thousands=\".\"'), or 'data.thousands=\",\"'"),
    ],
)
def test_separators_are_not_guessed(cell: str, ways: str, kind: str) -> None:
    assert problem([cell] * 3, kind=kind) == (
        f"t.csv:0: x: {cell!r} has separators, and what they mean is not guessed (3 cells in all); say it with {ways} "
        "(or for this column alone, in data.columns)"
    )


def test_a_separator_that_is_named_is_one_that_the_key_takes() -> None:
    """Also of the narrow space that the French write."""
    assert "'data.thousands=\" \"'" in problem(["1\u202f234", "5"])


def test_two_points_are_no_decimals() -> None:
    """1.463.557 has only one reading."""
    message = problem(["1.463.557", "2.000.000"])
    assert "'data.thousands=\".\"'" in message
    assert "'data.decimal=\".\"'" not in message


@pytest.mark.parametrize(
    ("some", "keys", "values"),
    [
        (["1,234.50", "7"], {"thousands": ","}, [1234.5, 7]),
        (["1.234,50", "7"], {"thousands": ".", "decimal": ","}, [1234.5, 7]),
        (["16,99", "-1,5"], {"decimal": ","}, [16.99, -1.5]),
        (["1 234", "1\u00a0234.5"], {"thousands": " "}, [1234, 1234.5]),
        (["1'234", "5"], {"thousands": "'"}, [1234, 5]),
        (["16,99 €", "1.000 €"], {"decimal": ",", "thousands": "."}, [16.99, 1000]),
        (["12,5%", "3%"], {"decimal": ",", "percent": "fraction"}, [0.125, 0.03]),
    ],
)
@pytest.mark.parametrize("kind", ["auto", "number"])
def test_separators_that_are_explained(some: list[str], keys: dict[str, Any], values: list[float], kind: str) -> None:
    np.testing.assert_allclose(column(some, kind=kind, **keys).values, np.array(values), rtol=1e-15)


def test_points_where_commas_were_said() -> None:
    assert problem(["1.5", "2,5", "3,5"], decimal=",") == (
        "t.csv:0: x: '1.5' has separators, and what they mean is not guessed (1 cell in all); say it with 'data.decimal=\".\"' "
        "(with 'data.thousands=\",\"'), or 'data.thousands=\".\"' (or for this column alone, in data.columns)"
    )


@pytest.mark.parametrize("cell", ["1e39", "-1e400", "inf", "-Inf"])
def test_what_float32_has_no_room_for(cell: str) -> None:
    assert problem(["1", cell]) == f"t.csv:1: x: {cell} is too large; at most 3.4e+38"
    np.testing.assert_array_equal(column(["1", cell, "2"], na_values=[cell]).values, [1, GAP, 2])


# ---------------------------------------------------------------------------------------------------------------------
# Dates


def test_dates_that_may_be_either() -> None:
    assert problem(["", "01/02/2020", "03/04/2020"]) == (
        "t.csv:1: x: '01/02/2020' may be dmy or mdy; say which with 'data.columns={x: {kind: date, format: dmy}}'"
    )
    for form, first in (("dmy", "2020-02-01"), ("mdy", "2020-01-02")):
        ways: list[dict[str, Any]] = [{"kind": "date", "format": form}, {"format": form}]
        for asked in ways:
            found = column(["01/02/2020", "03/04/2020"], **asked)
            assert found.values[0, 0] == np.datetime64(first, "s").astype(float)


def test_one_date_among_thousands_tells_the_order() -> None:
    some = [f"{1 + n % 12:02d}/{1 + n % 11:02d}/2020" for n in range(1000)]
    assert column([*some, "13/01/2020"]).why == "dates (dmy)"
    assert column([*some, "01/13/2020"]).why == "dates (mdy)"


@pytest.mark.parametrize("odd", ["soon", "2020-02-30", "0000-00-00", "31/01/2020"])
def test_one_odd_date(odd: str) -> None:
    some = [f"2020-01-{1 + n % 28:02d}" for n in range(300)]
    some[77] = odd
    assert problem(some) == (
        f"t.csv:77: x: {odd!r} is no date in the format ymd of the others (1 cell in all); mend the file, count it as "
        f"missing with {typed('data.na_values', [odd])}, or use 'data.columns={{x: category}}' (or drop)"
    )
    assert np.flatnonzero(np.isnan(column(some, na_values=[odd]).values[:, 0])).tolist() == [77]


def test_dates_in_two_formats() -> None:
    """They are neither ids nor rare words."""
    some = [
        f"2020-{1 + n % 12:02d}-{1 + n % 28:02d}" if n % 3 else f"{13 + n % 15}/01/20{10 + n % 9}" for n in range(90)
    ]
    with pytest.raises(DataError, match=r"^t\.csv:"):
        column(some)


def test_a_date_is_asked_for_where_there_is_none() -> None:
    assert problem(["a", "b"], kind="date") == "t.csv:0: x: no dates; say what they look like with format"
    assert problem(["2020-02-09", "soon"], kind="date", format="ymd") == (
        "t.csv:1: x: 'soon' is no date in the format ymd of the others (1 cell in all); mend the file, count it as missing "
        "with 'data.na_values=[soon]', or use 'data.columns={x: category}' (or drop)"
    )


@pytest.mark.parametrize("form", ["mm/dd/yyyy", "DMY"])
def test_a_format_that_is_none(form: str) -> None:
    """The cells are not to blame."""
    with pytest.raises((DataError, ValueError), match="format") as error:
        column(["01/31/2020"], kind="date", format=form)
    assert "of the others" not in str(error.value)


# ---------------------------------------------------------------------------------------------------------------------
# What the config says


@pytest.mark.parametrize(
    ("asked", "some", "expected", "why"),
    [
        ("drop", ["1", "2"], "left out", "data.columns says so"),
        ("text", ["hello world", "you"], "left out", "a text"),
        ("category", ["1", "2"], "category", "data.columns says so"),
        ("number", ["01067", "2"], "number", "data.columns says so"),
        ("flag", ["yes", "yes"], "flag", "yes or no"),
        ("date", ["2020-02-09"], "date", "dates (ymd)"),
    ],
)
def test_kinds_on_request(asked: str, some: list[str], expected: str, why: str) -> None:
    found = column(some, kind=asked)
    assert (kind(found), found.why) == (expected, why)


@pytest.mark.parametrize(
    ("asked", "some", "message"),
    [
        ("number", ["", "NA"], "t.csv:0: x: no number in the whole column"),
        ("number", ["5", "p", "q"], "t.csv:1: x: 'p' is no number (2 cells in all); mend the file, count it as missing with 'data.na_values=[p]', or use 'data.columns={x: category}' (or drop)"),
        ("flag", ["yes", "perhaps"], "t.csv:1: x: expected yes or no, got 'perhaps'"),
        ("flag", ["0", "1"], "t.csv:0: x: expected yes or no, got '0'"),
    ],
)  # fmt: skip
def test_what_was_asked_for_is_not_there(asked: str, some: list[str], message: str) -> None:
    assert problem(some, kind=asked) == message


def test_numbers_that_stand_for_nothing() -> None:
    np.testing.assert_array_equal(column(["1", "-999", "3"], na_values=["-999"]).values, [1, GAP, 3])
    np.testing.assert_array_equal(column(["1%", "-999%"], na_values=["-999%"]).values, [1, GAP])


def test_words_that_stand_for_nothing_when_asked() -> None:
    assert column(["a", "unknown", "b"], na_values=["Unknown"]).values.to_pylist() == ["a", "", "b"]
    assert column(["a", "unknown", "b"]).values.to_pylist() == ["a", "unknown", "b"]
    assert {text.lower() for text in NA_VALUES} == set(NA_VALUES)


# ---------------------------------------------------------------------------------------------------------------------
# Left out


def test_ids_by_their_names() -> None:
    some = [str(n * n + 7) for n in range(60)]
    for name in (
        "id",
        "ID",
        "user_id",
        "userId",
        "customer id",
        "index",
        "idx",
        "key",
        "Unnamed: 0",
        "column_1",
        "rownames",
    ):
        found = column(some, name)
        assert (kind(found), found.why) == ("left out", "an id: a number of its own in every row"), name
    assert kind(column(some, "id", needed=True)) == "number"
    assert kind(column([*some, "7"], "id")) == "number"  # it stands there twice
    assert kind(column([f"{text}.5" for text in some], "id")) == "number"


@pytest.mark.parametrize(
    "name", ["paid", "bid", "acid", "humid", "grid", "PAID", "covid", "valid", "no2", "rows", "price"]
)
def test_names_that_only_end_like_those_of_ids(name: str) -> None:
    assert kind(column([str(n * n + 7) for n in range(60)], name)) == "number"


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        ("PT-{0:04d}", "an id: a word of its own in nearly every row (300 different)"),
        ("{0:032x}", "an id: a word of its own in nearly every row (300 different)"),
        ("192.168.{0}.{0}", "an id: a word of its own in nearly every row (300 different)"),
        ("the {0} dogs and their many cats", "free text (300 different)"),
        ("n{1}", "mostly words that are too rare to learn from (150 different)"),
        ("000{0:03d}", "an id: a word of its own in nearly every row (300 different)"),
    ],
)
def test_words_of_which_nothing_can_be_learned(cell: str, why: str) -> None:
    found = column([cell.format(n, n // 2) for n in range(300)])
    assert (kind(found), found.why) == ("left out", why)


def test_what_is_needed_is_not_left_out() -> None:
    some = [f"w{n}" for n in range(300)]
    assert kind(column(some, needed=True)) == kind(column(some, is_target=True)) == "category"
    assert kind(column(["", ""], needed=True)) == "category"
    assert kind(column(some, kind="category")) == "category"


def test_rare_words_beside_frequent_ones() -> None:
    some = [f"w{n if n % 3 == 0 else n % 5}" for n in range(300)]  # two thirds of the rows have one of five words
    assert kind(column(some)) == "category"
    assert [least(rows) for rows in (0, 19, 40, 100, 200, 10_000)] == [1, 1, 2, 5, 10, 10]


def test_a_column_that_counts_the_rows() -> None:
    found = column(["5", "6", "7", "8"], "when")
    assert (kind(found), found.warning) == (
        "number",
        ("row-number", "when counts the rows (5, 6, 7 …); if it means nothing, use 'data.ignore=[when]'"),
    )
    assert column(["5", "6", "8", "9"], "when").warning is None
    assert column(["1", "2"], "when").warning is None
    assert column(["5", "6", "7"], "when", needed=True).warning is None
    assert column(["1.5", "2.5", "3.5"], "when").warning is None
