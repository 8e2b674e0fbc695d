"""What is told of the columns of a table."""
# ruff: noqa: E501  # in a table of messages, a row is a line

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainkit.data import sample_checks
from trainkit.data.base import Data
from trainkit.data.sources.table import TableConfig
from trainkit.data.tables.columns import ColumnFacts, column_lines

draws = random.Random(0)
NOISE = [f"{draws.random():.9f}" for _ in range(400)]
COINS = [draws.choice("ab") for _ in range(400)]


def opened(text: str, **options: Any) -> Data:
    Path("t.csv").write_text(text)
    return TableConfig.from_plain({"path": "t.csv", "target": "y", **options}).open(0)


def table(
    *columns: Callable[[int], object], rows: int = 200, y: Callable[[int], object] = COINS.__getitem__, **options: Any
) -> Data:
    """Columns a, b, …, one of noise, and the target y."""
    names = "abcdefgh"[: len(columns)]
    lines = [",".join([*(str(column(n)) for column in columns), NOISE[n], str(y(n))]) for n in range(rows)]
    return opened("\n".join([",".join([*names, "noise", "y"]), *lines]) + "\n", **options)


def facts(data: Data) -> dict[str, ColumnFacts]:
    return {one.name: one for one in data.columns}


def codes(data: Data) -> list[str]:
    return [found.code for found in sample_checks.diagnostics(data)]


# ---------------------------------------------------------------------------------------------------------------------
# One line a column

STRANGE = """id,rent,share,size,sold,colour,garden,note,all,empty,when,y
7,1.5,12%,30 m2,2020-01-31,red,yes,the cat sat on the mat and slept,1,,0,a
9,2.5,13%,31 m2,2020-02-01,blue,no,a dog ran home to eat its dinner,1,,1,b
13,,14%,32 m2,2020-02-02,red,no,the bird flew over the old house,1,,2,a
21,4.5,15%,33 m2,2020-02-03,red,yes,a mouse hid below the large bed,1,,3,b
"""


def test_a_line_for_every_column() -> None:
    rows = STRANGE.splitlines()
    repeated = [
        row.replace(row.split(",")[0] + ",", f"{number * number},", 1).replace(",the", f",{number} the")
        for number, row in enumerate(rows[1:] * 8)
    ]
    data = opened(
        "\n".join([rows[0], *repeated]) + "\n", test=None, val=0, missing="mean", columns={"note": "text"}, rules=2
    )
    assert column_lines(data.columns) == [
        "column  what it is                                         missing  different  values                   inputs  what the model sees",
        "id      left out: an id: a number of its own in every row        0         32                                0  nothing",
        "rent    numbers                                                  8          3  1.5 … 4.5                     2  the number, standardised and a mark where it is missing",
        "share   numbers, each with %                                     0          4  12 … 15                       1  the number, standardised",
        "size    numbers, each with m2                                    0          4  30 … 33                       1  the number, standardised",
        "sold    dates (ymd)                                              0          4  2020-01-31 … 2020-02-03       4  month, day, weekday, days",
        "colour  category: words                                          0          2  red 75%, blue 25%             2  0 or 1 for each of 2 words",
        "garden  flag: yes or no                                          0          2  yes 50%                       1  0 or 1",
        "note    left out: a text                                         0         18                                0  nothing",
        "all     numbers                                                  0          1  1 … 1                         1  the number, standardised",
        "empty   left out: empty                                         32          0                                0  nothing",
        "when    numbers                                                  0          4  0 … 3                         1  the number, standardised",
    ]  # fmt: skip


def test_the_same_for_programs() -> None:
    data = table(lambda n: n * n, lambda n: "red" if n % 3 else "blue")
    assert facts(data)["b"].to_plain() == {
        "name": "b",
        "kind": "category",
        "why": "words",
        "missing": 0,
        "different": 2,
        "values": "red 66%, blue 34%",
        "inputs": 2,
        "becomes": "0 or 1 for each of 2 words",
    }
    assert sum(one.inputs for one in data.columns) == data.spec.shape[0] == 4


def test_rare_words_in_the_line() -> None:
    data = table(lambda n: f"w{n}" if n % 10 == 0 else "ab"[n % 2])
    found = facts(data)["a"]
    assert (found.different, found.inputs) == (22, 3)
    assert found.becomes.startswith("0 or 1 for each of 2 words, and one for ")


@pytest.mark.parametrize(
    ("standardize", "how"), [(True, "standardised"), (False, "as it is"), ("robust", "robustly scaled")]
)
def test_how_numbers_are_scaled(standardize: object, how: str) -> None:
    assert facts(table(lambda n: n * n, standardize=standardize))["a"].becomes == f"the number, {how}"


def test_many_different_numbers_are_counted_in_the_first_rows() -> None:
    one = ColumnFacts("x", "number", "numbers", 0, 20_000, "", 1, "")
    assert one.counted == "20,000 and more"
    assert column_lines([]) == []


def test_a_flag_of_gaps_alone() -> None:
    found = facts(table(lambda n: "", columns={"a": "flag"}, missing="mean"))["a"]
    assert (found.missing, found.different) == (200, 0)
    assert "nan" not in found.values


@pytest.mark.parametrize("word", ["red\nblue", "\x1b[31mred", "a\tb"])
def test_words_from_a_file_do_nothing_to_a_terminal(word: str) -> None:
    data = table(lambda n: f'"{word}"' if n % 2 else "plain", lambda n: n * n)
    lines = column_lines(data.columns)
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)


def test_names_from_a_file_do_nothing_to_a_terminal() -> None:
    data = opened('"x\x1b[31m\n",y\n' + "".join(f"{n * n},{COINS[n]}\n" for n in range(50)))
    assert all(line.isprintable() for line in column_lines(data.columns))


# ---------------------------------------------------------------------------------------------------------------------
# Oddities


def test_a_healthy_table_is_not_odd() -> None:
    data = table(lambda n: n * n % 1009, lambda n: "red" if n % 3 else "blue", lambda n: "yes" if n % 7 < 3 else "no")
    assert codes(data) == []


@pytest.mark.parametrize("seed", range(8))
def test_few_numbers_are_no_copies(seed: int) -> None:
    """Among 800 numbers of five digits two are now and then equal by chance."""
    some = random.Random(seed)
    rows = [f"0.{some.randrange(100_000):05d},{some.choice('ab')}\n" for _ in range(800)]
    assert "shared-samples" not in codes(opened("x,y\n" + "".join(rows)))


def test_copies_across_the_splits_are_told() -> None:
    """Every row stands there twice."""
    rows = [f"{NOISE[n]},{NOISE[-n]},{COINS[n]}\n" for n in range(100)]
    assert codes(opened("a,b,y\n" + "".join(rows * 2))).count("shared-samples") == 2


@pytest.mark.parametrize(
    ("column", "code", "message"),
    [
        (lambda n: n, "row-number", "t.csv: a counts the rows (0, 1, 2 …); if it means nothing, use 'data.ignore=[a]'"),
        (lambda n: 5, "constant-column", "t.csv: a is the same in all training rows; it says nothing"),
        (lambda n: "2020-01-01", "constant-column", "t.csv: a is the same in all training rows; it says nothing"),
        (lambda n: "same", "constant-column", "t.csv: a is the same in all training rows; it says nothing"),
        (lambda n: {"a": "ill", "b": "well"}[COINS[n]], "gives-away", "t.csv: a alone tells the class; if it is not known beforehand, use 'data.ignore=[a]'"),
        (lambda n: {"a": 3, "b": 1}[COINS[n]], "gives-away", "t.csv: a alone tells the class; if it is not known beforehand, use 'data.ignore=[a]'"),
    ],
)  # fmt: skip
def test_columns_that_are_probably_not_meant(column: Callable[[int], object], code: str, message: str) -> None:
    [found] = sample_checks.diagnostics(table(column))
    assert (found.code, str(found)) == (code, message)


def test_a_number_that_gives_a_number_away() -> None:
    data = table(
        lambda n: f"{2.54 * float(NOISE[n]):.9f}",
        lambda n: n * n % 997,
        y=lambda n: f"{float(NOISE[n]) + 7:.9f}",
        ignore=["noise"],
    )
    [found] = sample_checks.diagnostics(data)
    assert (found.code, str(found)) == (
        "gives-away", "t.csv: a alone tells y; if it is not known beforehand, use 'data.ignore=[a]'"
    )  # fmt: skip


def test_what_tells_only_nearly_is_no_giveaway() -> None:
    ill = {"a": "ill", "b": "well"}
    assert "gives-away" in codes(table(lambda n: ill[COINS[n]], lambda n: n * n))
    assert "gives-away" not in codes(table(lambda n: ill[COINS[n] if n % 20 else "a"], lambda n: n * n))


def test_numbers_of_their_own_give_nothing_away() -> None:
    """That every row has another number tells the class of the training rows alone."""
    assert "gives-away" not in codes(table(lambda n: n * n))


@pytest.mark.parametrize("standardize", [True, "robust"])
def test_numbers_that_are_lost_in_float32(standardize: object) -> None:
    """One of 10^30 beside small ones makes all of them equal."""
    data = table(lambda n: "1e30" if n % 50 == 7 else n * n, standardize=standardize, test=None, val=0)
    assert ("float32" in codes(data)) == (standardize is True)
    if standardize is True:
        [found] = [str(one) for one in sample_checks.diagnostics(data) if one.code == "float32"]
        assert found == (
            "t.csv: a: 197 different values become 2 in float32, since a few are very far from the others; "
            "data.standardize=robust helps, or leave those out"
        )


@pytest.mark.parametrize("first", [2**53, 10**17])
def test_whole_numbers_that_even_float64_cannot_tell_apart(first: int) -> None:
    data = table(lambda n: first + 3 * n * n % 1009)
    [found] = [str(one) for one in sample_checks.diagnostics(data) if one.code == "float32"]
    assert "a: " in found


def test_seconds_since_1970_are_not_lost() -> None:
    assert codes(table(lambda n: 1_700_000_000 + n * n)) == []


def test_rare_classes() -> None:
    """They are told with the ways out; the run goes on."""
    data = table(lambda n: n * n, y=lambda n: "owl" if n == 5 else "eel" if n in (7, 9) else COINS[n])
    [found] = sample_checks.diagnostics(data)
    assert str(found) == (
        "t.csv: classes with hardly a row can be neither learned nor measured: 'eel' (2), 'owl' (1); find more of them, "
        "join them, or take them out"
    )
    data = table(lambda n: n * n, y=lambda n: f"c{n}" if n < 5 else COINS[n])
    assert str(sample_checks.diagnostics(data)[0]) == (
        "t.csv: classes with hardly a row can be neither learned nor measured: 'c0' (1), 'c1' (1), 'c2' (1) and 2 more; "
        "find more of them, join them, or take them out"
    )


def test_many_constant_columns_are_not_as_many_lines() -> None:
    """The pixels of digits in a CSV file, or genes."""
    names = [f"p{n}" for n in range(100)]
    rows = [",".join(["0"] * 100 + [NOISE[n], COINS[n]]) for n in range(60)]
    data = opened("\n".join([",".join([*names, "x", "y"]), *rows]) + "\n")
    assert 1 <= codes(data).count("constant-column") <= 5
