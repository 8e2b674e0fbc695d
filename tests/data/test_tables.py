from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from trainkit.data.base import Data, DataSpec
from trainkit.data.columns import Column
from trainkit.data.embedded_tables import DiabetesConfig, SklearnTableConfig
from trainkit.data.tables import CsvConfig
from trainkit.data.transforms import preparation
from trainkit.errors import DataError
from trainkit.registry import find

ROWS = """species, weight ,colour,postcode
cat,4.0,black,1010
dog,20.5,brown,1020

cat,3.5,white,1010
dog,31,black,1030
cat,5.25,black,1010
dog,18,white,1020
"""


def read(text: str = ROWS, **options: Any) -> Data:
    Path("animals.csv").write_text(text)
    plain = {"path": "animals.csv", "target": "species", "test": None, "val": 0, **options}
    return CsvConfig.from_plain(plain).build(seed=0)


@pytest.mark.parametrize(
    ("name", "rows", "features", "size"),
    [("iris", 150, 4, 3), ("wine", 178, 13, 3), ("breast_cancer", 569, 30, 2), ("diabetes", 442, 10, 1)],
)
def test_embedded_tables(name: str, rows: int, features: int, size: int) -> None:
    config_class = find("data", name)
    assert issubclass(config_class, SklearnTableConfig)
    config = config_class.from_plain({})
    data = config.build(seed=3)
    assert data.val is not None
    assert data.test is not None
    assert len(data.train) + len(data.val) + len(data.test) == rows
    assert data.spec.shape == config.spec().shape == (features,)
    assert data.spec.target.size == config.spec().target.size == size
    assert torch.equal(data.test.source.take(data.test.index).inputs, config.build(seed=4).test.source.take(  # type: ignore[union-attr]
        data.test.index
    ).inputs)  # fmt: skip


def test_standardised_with_the_training_rows_alone() -> None:
    data = DiabetesConfig().build(seed=0)
    prepare = preparation(data.spec, (), 0, torch.device("cpu"))
    inputs = prepare(data.train.source.take(data.train.index), None).inputs
    torch.testing.assert_close(inputs.mean(0), torch.zeros(10), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std(0, correction=0), torch.ones(10), atol=1e-5, rtol=0)
    assert data.val is not None
    assert abs(float(prepare(data.val.source.take(data.val.index), None).inputs.mean())) > 1e-3


def test_csv_numbers_and_words() -> None:
    data = read(standardize=False)
    assert data.spec.target.names == ("cat", "dog")
    batch = data.train.source.take(data.train.index)
    assert batch.targets.tolist() == [0, 1, 0, 1, 0, 1]
    # weight, colour in black brown white, postcode
    assert batch.inputs[:2].tolist() == [[4.0, 1, 0, 0, 1010], [20.5, 0, 1, 0, 1020]]


def test_csv_columns_are_chosen_and_numbers_may_be_names() -> None:
    data = read(standardize=False, features=["postcode"], categorical=["postcode"])
    assert data.train.source.take(torch.tensor([1])).inputs.tolist() == [[0, 1, 0]]


def test_csv_categories_and_means_come_from_the_training_rows_alone() -> None:
    text = "species,weight,colour\ncat,1,red\ndog,3,blue\n"
    Path("test.csv").write_text("species,weight,colour\ncat,,green\n")
    data = read(text, test="test.csv", missing="mean", standardize=False)
    assert data.test is not None
    assert data.test.source.take(torch.tensor([0])).inputs.tolist() == [[2.0, 0, 0]]


def test_csv_columns_are_in_the_spec() -> None:
    text = "species,weight,colour\ncat,1,red\ndog,,blue\ndog,5,\n"
    spec = read(text, missing="mean").spec
    assert spec.columns == (Column(name="weight", mean=3.0), Column(name="colour", categories=("", "blue", "red")))
    assert DataSpec.from_plain(spec.to_plain()) == spec
    assert DiabetesConfig().build(seed=0).spec.columns == ()


def test_csv_words_that_a_checkpoint_has_no_room_for() -> None:
    rows = "".join(f"{number % 2},{number:07000}x\n" for number in range(300))
    with pytest.raises(DataError) as error:
        read(f"species,essay\n{rows}")
    assert str(error.value) == (
        "animals.csv:2: the words of all columns have 2,100,300 letters, too many for categories (at most 2,000,000); "
        "choose columns with data.features"
    )


def test_csv_regression() -> None:
    data = read(target="weight", task="number", standardize=False)
    assert (data.spec.target.kind, data.spec.target.names) == ("number", ("weight",))
    assert data.train.source.take(torch.tensor([0, 1])).targets.tolist() == [[4.0], [20.5]]


def test_csv_with_several_targets() -> None:
    text = "barks,flies,weight\n1,0,20\n0,1,0.5\n0,0,4\n"
    data = read(text, target=["barks", "flies"], task="multilabel", standardize=False)
    assert (data.spec.target.kind, data.spec.target.names) == ("multilabel", ("barks", "flies"))
    batch = data.train.take(torch.arange(3))
    assert batch.targets.tolist() == [[1, 0], [0, 1], [0, 0]]
    assert batch.inputs.tolist() == [[20], [0.5], [4]]
    assert read(text, target=["weight", "flies"], task="number").spec.shape == (1,)
    with pytest.raises(ValueError, match="several target columns are for task=number or task=multilabel"):
        read(text, target=["barks", "flies"])


def test_csv_missing_values_are_dropped_on_request() -> None:
    data = read(ROWS + "cat,,black,1010\n,3,black,1010\n", missing="drop")
    assert len(data.train) == 6


def test_csv_with_bom_and_windows_line_ends() -> None:
    Path("animals.csv").write_bytes(b"\xef\xbb\xbf" + ROWS.replace("\n", "\r\n").encode())
    config = CsvConfig(path="animals.csv", target="species", val=0, test=None)
    assert len(config.build(seed=0).train) == 6


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            ROWS,
            {"target": "specie"},
            "animals.csv:1: no column 'specie'; did you mean 'species'?; there are: species, weight, colour, postcode",
        ),
        (ROWS, {"features": ["size"]}, "animals.csv:1: no column 'size'; there are: species, weight, colour, postcode"),
        (ROWS + "cat,1\n", {}, "animals.csv:9: 2 fields, the header has 4"),
        (
            ROWS + "cat,,red,1\n",
            {},
            "animals.csv:9: no value for 'weight'; use data.missing=mean or drop, or mend the file",
        ),
        (
            ROWS + ",1,red,1\n",
            {"missing": "mean"},
            "animals.csv:9: no value for 'species'; use data.missing=drop, or mend the file",
        ),
        (ROWS, {"target": "colour", "task": "number"}, "animals.csv:2: colour: expected a number, got 'black'"),
        ("a,a\n1,2\n", {"target": "a"}, "animals.csv:1: column 'a' stands there twice"),
        ("species,x\ncat,1\ncat,2\n", {}, "animals.csv: every row has the class 'cat'"),
        ("species,x\n", {}, "animals.csv: no rows to train on"),
        ("", {}, "animals.csv:1: expected the names of the columns"),
        (
            "species,x,y\n1,0,7\n0.5,1,8\n",
            {"target": ["species", "x"], "task": "multilabel"},
            "animals.csv:3: labels are 0 or 1, got 0.5, 1.0",
        ),
        ('species,x\ncat,"1\n', {}, "animals.csv:2: unexpected end of data"),
        ("species,x\ncat,1\ndog,inf\n", {}, "animals.csv:3: x: inf is too large; at most 3.4e+38"),
        (
            "species,x\n1,1e300\n2,2\n",
            {"target": "x", "task": "number"},
            "animals.csv:2: x: 1e300 is too large; at most 3.4e+38",
        ),
        (
            "species,x\n1,1_0\n2,2\n",
            {"target": "x", "task": "number"},
            "animals.csv:2: x: expected a number, got '1_0'",
        ),
        ("species\ncat\ndog\n", {}, "animals.csv:1: no column beside species to predict from"),
        (
            "species,x\n" + "".join(f"{n % 2},x{n}\n" for n in range(10_001)),
            {},
            (
                "animals.csv:2: x: 10,001 different words are too many for categories (at most 10,000); "
                "choose columns with data.features"
            ),
        ),
    ],
)
def test_csv_problems_name_the_line(text: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        read(text, **options)
    assert error.value.problems == (message,)


def test_csv_a_class_that_training_never_saw_is_named() -> None:
    Path("test.csv").write_text("species,weight,colour,postcode\nowl,1,red,1\n")
    with pytest.raises(DataError, match=r"test\.csv:2: class 'owl' is not among the training rows"):
        read(test="test.csv")


def test_csv_missing_file_names_the_full_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/nothing.csv: no such file or directory"):
        CsvConfig(path="nothing.csv", target="x").build(seed=0)


def test_csv_of_the_test_split_needs_the_same_columns() -> None:
    Path("test.csv").write_text("species,weight,colour\ncat,1,red\n")
    with pytest.raises(DataError, match=r"^test\.csv:1: no column 'postcode'; there are: species, weight, colour$"):
        read(test="test.csv")
    Path("test.csv").write_text("extra,postcode,species,weight,colour\n,1010,cat,1,red\n")
    data = read(test="test.csv")
    assert data.test is not None
    assert data.test.source.take(torch.tensor([0])).inputs.shape[1:] == data.spec.shape


def test_csv_a_feature_that_hardly_changes_stays_finite() -> None:
    data = read("species,x,y\ncat,0,7\ndog,1e-44,7\n")
    prepared = preparation(data.spec, (), 0, torch.device("cpu"))(data.train.take(torch.arange(2)), None)
    assert bool(prepared.inputs.isfinite().all())
