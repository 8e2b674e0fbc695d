"""New rows of a table are read and encoded as those of the training were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainkit.core.errors import DataError
from trainkit.data.sources.table import TableConfig
from trainkit.data.tables.new_rows import NewRows, new_rows

TRAINING = """size,colour,garden,sold,kind
10%,red,yes,31.01.2020,cat
,blue,no,01.02.2020,dog
30%,,no,,cat
50%,red,,03.03.2021,dog
"""


def trained(**options: Any) -> TableConfig:
    Path("train.csv").write_text(TRAINING)
    plain = {"path": "train.csv", "target": "kind", "test": None, "val": 0, "missing": "mean", **options}
    return TableConfig.from_plain(plain)


def rows(content: str, name: str = "new.csv", **options: Any) -> NewRows:
    config = trained(**options)
    Path(name).write_text(content)
    return new_rows(config, name, config.open(0).spec.columns)


def test_the_training_rows_again_become_what_they_were() -> None:
    config = trained()
    data = config.open(0)
    found = new_rows(config, "train.csv", data.spec.columns)
    assert torch.equal(found.inputs, data.train.take(torch.arange(4)).inputs)
    assert found.locations == ("train.csv:2", "train.csv:3", "train.csv:4", "train.csv:5")
    assert (found.problems, found.unseen) == ({}, ())


def test_other_columns_in_another_order_without_the_target() -> None:
    whole = rows(TRAINING)
    lines = [line.split(",") for line in TRAINING.splitlines()]
    turned = "\n".join(",".join([fields[3], "x", fields[2], fields[1], fields[0]]) for fields in lines)
    assert torch.equal(rows(turned.replace(",x,", ",extra,", 1) + "\n").inputs, whole.inputs)


def test_another_format() -> None:
    whole = rows(TRAINING)
    lines = [line.split(",") for line in TRAINING.splitlines()[1:]]
    json = "".join(f'{{"sold": "{d}", "garden": "{c}", "colour": "{b}", "size": "{a}"}}\n' for a, b, c, d, _ in lines)
    found = rows(json, "new.jsonl")
    assert torch.equal(found.inputs, whole.inputs)
    assert found.locations[3] == "new.jsonl:4"


def test_rows_that_cannot_be_used_are_told_one_by_one() -> None:
    found = rows(
        "size,colour,garden,sold\n"
        "12%,red,yes,1.2.2020\n"
        "12,red,yes,1.2.2020\n"
        "heavy,red,maybe,2020-01-01\n"
        "1e99%,red,yes,1.2.2020\n"
        "12%,red,perhaps,1.2.2020\n"
        "12%,red,yes,tomorrow\n"
    )
    assert found.problems == {
        1: "new.csv:3: size: expected a number like 12%, got '12'",
        2: "new.csv:4: size: expected a number like 12%, got 'heavy'",
        3: "new.csv:5: size: 1e99% is too large; at most 3.4e+38",
        4: "new.csv:6: garden: expected yes or no, got 'perhaps'",
        5: "new.csv:7: sold: expected a date, got 'tomorrow'",
    }


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_gaps_where_training_had_none(missing: str) -> None:
    Path("train.csv").write_text("size,colour,kind\n1,red,cat\n2,blue,dog\n3,red,cat\n")
    config = TableConfig.from_plain({"path": "train.csv", "target": "kind", "test": None, "val": 0, "missing": missing})
    Path("new.csv").write_text("size,colour\n,red\n2,\n2,NA\n")
    found = new_rows(config, "new.csv", config.open(0).spec.columns)
    said = f"the model was trained with data.missing={missing}"
    assert found.problems == {
        0: f"new.csv:2: no value for 'size'; {said}",
        1: f"new.csv:3: no value for 'colour'; {said}",
    }
    assert found.unseen == ("colour: 2 new.csv rows with values that training never saw ('', 'NA')",)


def test_gaps_that_are_filled() -> None:
    found = rows("size,colour,garden,sold\n,,,\n")
    assert found.problems == {}
    columns = trained().open(0).spec.columns
    by_hand = {
        "size": [0, 1],  # the mean, standardised, and the mark
        "colour": [1, 0, 0],  # '', blue, red
        "garden": [pytest.approx(1 / 3), 1],
        "sold": [0] * (columns[3].width - 1) + [1],
    }
    start = 0
    for column in columns:
        assert found.inputs[0, start : start + column.width].tolist() == by_hand[column.name], column.name
        start += column.width


def test_words_that_training_never_saw_are_counted() -> None:
    found = rows(
        "size,colour,garden,sold\n"
        + "".join(f"1%,{colour},yes,1.2.2020\n" for colour in ("red", "green", "grey", "green", "pink", "white"))
    )
    assert found.problems == {}
    assert found.unseen == ("colour: 5 new.csv rows with values that training never saw ('green', 'grey', 'pink', …)",)


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        (
            "size,garden\n1%,yes\n",
            (
                "new.csv:1: no column 'colour'; there are: size, garden",
                "new.csv:1: no column 'sold'; there are: size, garden",
            ),
        ),
        ("size,colour,garden,sold\n1%,red\n", ("new.csv:2: 2 fields, the header has 4",)),
        (
            "size;colour;garden;sold\n1%;red;yes;1.2.2020\n",
            ("new.csv:1: no column 'size'; is ';' the data.delimiter?; there are: size;colour;garden;sold",),
        ),
    ],
)
def test_files_that_cannot_be_used(content: str, problems: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as error:
        rows(content)
    assert error.value.problems == problems


def test_no_rows() -> None:
    found = rows("size,colour,garden,sold\n")
    assert (found.locations, len(found.inputs)) == ((), 0)


def test_separators_of_the_training_file() -> None:
    Path("train.csv").write_text('size,kind\n"1.000,5",cat\n"2,5",dog\n')
    config = TableConfig.from_plain(
        {
            "path": "train.csv", "target": "kind", "test": None, "val": 0, "standardize": False,
            "decimal": ",", "thousands": ".",
        }
    )  # fmt: skip
    Path("new.csv").write_text('size\n"3.000,25"\n7\n1.5\n')
    found = new_rows(config, "new.csv", config.open(0).spec.columns)
    assert found.inputs[:2].tolist() == [[3000.25], [7]]
    assert found.problems == {2: "new.csv:4: size: expected a number, got '1.5'"}
