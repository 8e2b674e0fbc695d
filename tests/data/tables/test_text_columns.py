"""A table with columns of texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.data.sources.test_text_folder import WORDS, text
from trainkit.core.errors import DataError
from trainkit.data.inputs import Numbers, Texts
from trainkit.data.sources.table import CsvConfig
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import batches
from trainkit.inference.restoring import restore
from trainkit.runs.run import train

PLAIN: dict[str, Any] = {"path": "reviews.csv", "target": "label", "columns": {"review": "text"}}


def reviews(count: int = 40, name: str = "reviews.csv") -> list[str]:
    rows = [f'{n},"{text(label, n)}, yes",{label},author {n % 7}' for n in range(count) for label in WORDS]
    Path(name).write_text("\n".join(["id,review,label,author", *rows]))
    return rows


def test_a_column_of_texts_is_learned_from() -> None:
    reviews()
    data = CsvConfig(**PLAIN).open(0)
    assert isinstance(data.spec.input, Texts)
    assert data.spec.task.names == ("bad", "good")
    assert [one.kind for one in data.columns] == ["left out", "text", "left out"]
    assert "not used beside the text: id, author" in [note.text for note in data.notes]


def test_several_columns_are_one_text_and_authors_stay_together() -> None:
    reviews()
    both = {"review": "text", "author": {"kind": "text"}}
    data = CsvConfig(**PLAIN | {"columns": both, "group": "author"}).open(0)
    assert isinstance(data.spec.input, Texts)
    assert {"author", "6"} <= set(data.spec.input.tokenizer.tokens)
    assert data.test is not None
    where = [{split.source.places[index] for index in split.index.tolist()} for split in (data.train, data.test)]  # type: ignore[attr-defined]
    lines = Path("reviews.csv").read_text().splitlines()
    authors = [{lines[int(place.rpartition(":")[2]) - 1].rpartition(",")[2] for place in places} for places in where]
    assert not authors[0] & authors[1]


def test_rows_without_a_text() -> None:
    rows = reviews()
    Path("reviews.csv").write_text("\n".join(["id,review,label,author", *rows, '80," ",bad,nobody']))
    message = r"^reviews.csv:82: no text in review \(1 row in all\); data.missing=drop"
    with pytest.raises(DataError, match=message):
        CsvConfig(**PLAIN).open(0)
    data = CsvConfig(**PLAIN, missing="drop").open(0)
    assert sum(map(len, data.splits.values())) == 80


def test_the_model_of_texts_however_the_column_is_written() -> None:
    for column in ("text", {"kind": "text", "na_values": ["-"]}):
        plain = {"data": {"name": "csv", **PLAIN, "columns": {"review": column}}}
        assert ExperimentConfig.from_plain(plain).model.name == "embedding_bag"


def test_groups_that_a_test_file_shares_are_told() -> None:
    reviews(20)
    reviews(5, "test.csv")
    data = CsvConfig(**PLAIN, group="author", test="test.csv").open(0)
    assert [one.code for one in data.found] == ["shared-groups"]


def test_what_does_not_go_with_texts() -> None:
    reviews()
    for options, message in (
        ({"features": ["review"]}, "data.features: beside columns of texts nothing else is learned from"),
        ({"columns": {"review": "text", "id": "number"}}, "data.columns: id is a number, but beside columns of texts"),
    ):
        with pytest.raises(DataError, match=message):
            CsvConfig.model_validate(PLAIN | options, strict=False).open(0)


def test_texts_that_count_as_missing() -> None:
    rows = reviews()
    Path("reviews.csv").write_text("\n".join(["id,review,label,author", *rows, "80,n.n.,bad,nobody"]))
    data = CsvConfig(**PLAIN, missing="drop", na_values=("N.N.",)).open(0)
    assert sum(map(len, data.splits.values())) == 80


def test_configs_from_before_leave_texts_out() -> None:
    reviews()
    assert isinstance(CsvConfig(**PLAIN, rules=2).open(0).spec.input, Numbers)


def test_a_model_of_something_else_is_told() -> None:
    reviews()
    numbers = CsvConfig(**PLAIN, rules=2).open(0).spec
    with pytest.raises(DataError, match="the model was trained on something else"):
        CsvConfig(**PLAIN).reopen(0, numbers)


def test_from_training_to_predictions() -> None:
    reviews()
    plain = {"data": {"name": "csv", **PLAIN}, "loader": {"batch_size": 8}, "log": {"tensorboard": False}}
    experiment = ExperimentConfig.from_plain(plain)
    assert experiment.model.name == "embedding_bag"
    train(experiment, run_dir=Path("run"))
    assert evaluate_checkpoint(Path("run"), "test").metrics["accuracy"] > 0.8
    rows = reviews(10, "others.csv")
    restored = restore(Path("run"))
    [found] = batches(restored, ["others.csv"], lambda error: None, keep=["id"])
    assert [one.input for one in found] == [f"others.csv:{line}" for line in range(2, 2 + len(rows))]
    assert [one.kept["id"] for one in found] == [row.partition(",")[0] for row in rows]
    Path("others.csv").write_text("a,b\n1,2\n")
    refused: list[DataError] = []
    assert list(batches(restored, ["others.csv"], refused.append)) == []
    assert "no column 'review'" in str(refused[0])
