"""What a trained model says of new files is what an evaluation finds of the same samples."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import trainkit
from tests.command import ROOT, Ended, bare, warm
from tests.conftest import MakeExperiment
from trainkit.core.errors import CheckpointError, DataError
from trainkit.data import Split
from trainkit.data.images.decoding import PictureSource
from trainkit.data.tables.columns import Column
from trainkit.data.transforms.pipeline import fitted
from trainkit.experiment.building import open_data
from trainkit.inference.prediction import batches, predict
from trainkit.inference.restoring import restore
from trainkit.runs.run import train
from trainkit.tasks import Prediction
from trainkit.tasks.ranked import Ranked
from trainkit.training.predictions import Predictions, predictions_of

FIXTURE = ROOT / "tests/fixtures/checkpoint-schema-1.pt"
HOUSES = "colour,size,postcode,price,large,red\n"


def pictures(folder: str = "pets", count: int = 12) -> None:
    """Noise in the colour of its class, no picture as large as another, some of them grey or with a palette."""
    noise = np.random.default_rng(0)
    for number in range(count):
        for label, channel in ("cat", 0), ("dog", 2):
            pixels = noise.integers(0, 100, (20 + number, 35 - number, 3), dtype=np.uint8)
            pixels[:, :, channel] += 120
            picture = Image.fromarray(pixels).convert(("RGB", "L", "P", "RGB")[number % 4])
            Path(folder, label).mkdir(parents=True, exist_ok=True)
            picture.save(Path(folder, label, f"{number:02d}.png"))


def houses(path: str, count: int, colours: str, seed: int) -> None:
    """Houses with words, with numbers that are names, and with fields that are empty."""
    draw = random.Random(seed)
    lines = [HOUSES]
    for _ in range(count):
        colour, size = draw.choice(colours.split()), draw.randint(40, 200)
        shown = ("" if draw.random() < 0.2 else colour, "n/a" if draw.random() < 0.2 else size)
        labels = int(size > 100), int(colour == "red")
        lines.append(",".join(map(str, (*shown, draw.choice((1010, 1020)), size / 10, *labels))) + "\n")
    Path(path).write_text("".join(lines))


def raw(row: dict[str, str], columns: Sequence[Column]) -> list[float]:
    """A house as an array has it: numbers in their units, 0 or 1 for each word and for what is missing."""
    found: list[float] = []
    for column in columns:
        text = row[column.name]
        if column.categories is not None:
            found += [float(text == word) for word in column.categories]
            found += [float(text not in column.categories)] * column.other
        else:
            found += [column.mean if text == "n/a" else float(text), float(text == "n/a")]
    return found


def evaluated(checkpoint: Path, split: str) -> tuple[Predictions, Split]:
    """What an evaluation sees the model say, and of what."""
    restored = restore(checkpoint)
    _, data, _ = open_data(restored.experiment)
    samples = data.split(split)
    loader = restored.experiment.loader.eval_loader(samples, restored.parts.device)
    answers = predictions_of(restored.parts, loader, restored.spec.task)
    assert answers is not None
    return answers, samples


def check(predictions: list[Prediction], answers: Predictions) -> None:
    """The same decisions, and the same probabilities or numbers."""
    task = answers.task
    values = task.probabilities(answers.outputs) if isinstance(task, Ranked) else answers.outputs
    found = torch.tensor([list(each.values.values()) for each in predictions])
    torch.testing.assert_close(found, values, atol=1e-6, rtol=1e-6)
    assert all(tuple(each.values) == task.known_names for each in predictions)
    if task.name == "classification":
        assert [each.answer for each in predictions] == [(task.known_names[n],) for n in values.argmax(1).tolist()]
    if task.name == "multilabel":
        there = [[name in each.answer for name in task.known_names] for each in predictions]
        assert there == (answers.outputs > 0).tolist()


@pytest.mark.parametrize("mode", ["rgb", "grey"])
def test_pictures_in_files(make: MakeExperiment, mode: str) -> None:
    pictures()
    data = {
        "name": "image_folder", "path": "pets", "size": [16, 12], "crop_pct": 0.9, "mode": mode, "normalize": "auto",
        "val": 8, "augment": ["random_horizontal_flip"],
    }  # fmt: skip
    result = train(make(data=data, loader={"eval_batch_size": 3, "num_workers": 0}, train={"epochs": 1}))
    answers, split = evaluated(result.checkpoint, "val")
    assert isinstance(split.source, PictureSource)
    names = [f"pets/{split.source.names[number]}" for number in split.index.tolist()]
    predictions = list(predict(result.checkpoint, names))
    check(predictions, answers)
    assert [each.input for each in predictions] == names
    of_folder = {each.input: each for each in predict(result.checkpoint, "pets")}
    assert list(of_folder) == sorted(of_folder)
    assert len(of_folder) == 24
    assert [of_folder[name].answer for name in names] == [each.answer for each in predictions]


def test_pictures_that_were_no_files(make: MakeExperiment) -> None:
    result = train(make(data={"name": "digits", "val": 0.1}, train={"epochs": 1}))
    answers, split = evaluated(result.checkpoint, "test")
    inputs = split.take(torch.arange(len(split))).inputs.numpy()
    for number, one in enumerate(inputs):
        Image.fromarray(one[0]).save(f"{number:03d}.png")
    np.save("all.npy", inputs)
    check(list(predict(result.checkpoint, sorted(Path().glob("*.png")))), answers)
    check(list(predict(result.checkpoint, "all.npy")), answers)
    np.save("flat.npy", inputs[:, 0])
    check(list(predict(result.checkpoint, "flat.npy")), answers)
    for name, one in (("one.npy", inputs[0]), ("flat.npy", inputs[0, 0])):
        np.save(name, one)
        [found] = predict(result.checkpoint, name)
        assert found.input == name


def test_other_pictures_are_brought_to_the_size_and_the_channels_as_in_training(make: MakeExperiment) -> None:
    result = train(make(data={"name": "digits"}, train={"epochs": 1}))
    pixels = torch.randint(256, (3, 30, 17), dtype=torch.uint8)
    lying = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise makes it upright
    lying.save("photo.png", exif=exif)
    np.save("photo.npy", fitted(pixels.rot90(-1, (1, 2))[None], (1, 8, 8)))
    found, expected = predict(result.checkpoint, ["photo.png", "photo.npy"])
    assert (found.input, expected.input) == ("photo.png", "photo.npy:0")
    assert found.values == pytest.approx(expected.values, abs=1e-6)


@pytest.mark.parametrize(
    ("options", "loss"),
    [
        ({"target": "red"}, "cross_entropy"),
        ({"target": "red"}, "bce_with_logits"),
        ({"target": ["large", "red"], "task": "multilabel"}, "bce_with_logits"),
        ({"target": ["price", "red"], "task": "regression"}, "mse"),
    ],
)
def test_csv_files(make: MakeExperiment, options: dict[str, Any], loss: str) -> None:
    houses("train.csv", 90, "red blue", seed=0)
    houses("test.csv", 30, "red blue green", seed=1)  # no training row is green
    features = {"features": ["size", "colour", "postcode"], "categorical": ["postcode"], "missing": "mean"}
    data = {"name": "csv", "path": "train.csv", "test": "test.csv", "val": 10, **features, **options}
    result = train(make(data=data, model={"name": "mlp", "hidden": [8]}, loss=loss))
    answers, _ = evaluated(result.checkpoint, "test")
    predictions = list(predict(result.checkpoint, "test.csv"))
    check(predictions, answers)
    assert [each.input for each in predictions] == [f"test.csv:{line}" for line in range(2, 32)]
    rows = list(csv.DictReader(io.StringIO(Path("test.csv").read_text())))
    with open("bare.csv", "w") as file:  # other columns, in another order, without the targets
        writer = csv.DictWriter(file, ["note", "postcode", "colour", "size"], restval="x", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    Path("train.csv").unlink()
    check(list(predict(result.checkpoint, "bare.csv")), answers)
    columns = restore(result.checkpoint).spec.columns
    np.save("raw.npy", np.array([raw(row, columns) for row in rows], dtype=">f8"))
    check(list(predict(result.checkpoint, "raw.npy")), answers)


def test_columns_of_a_table_go_along(make: MakeExperiment) -> None:
    houses("houses.csv", 60, "red blue", seed=0)
    data = {"name": "csv", "path": "houses.csv", "target": "red", "features": ["size"], "missing": "mean", "val": 0}
    ckpt = str(train(make(data=data, model={"name": "mlp", "hidden": [4]}, train={"epochs": 1})).checkpoint)
    rows = list(csv.DictReader(io.StringIO(Path("houses.csv").read_text())))

    def said(*words: str) -> Ended:
        return warm.run(["predict", "--ckpt", ckpt, "houses.csv", *words])

    some = list(csv.DictReader(io.StringIO(said("--keep", "postcode", "--keep", "price", "--csv").stdout)))
    assert list(some[0])[:3] == ["input", "postcode", "price"]
    assert [(row["postcode"], row["price"]) for row in some] == [(row["postcode"], row["price"]) for row in rows]
    every = json.loads(said("--keep", "all", "--json").stdout)
    assert [one["kept"] for one in every] == rows
    assert "kept" not in json.loads(said("--json").stdout)[0]
    Path("houses.csv").write_text(Path("houses.csv").read_text().replace("postcode", "input", 1))
    renamed = csv.DictReader(io.StringIO(said("--keep", "input", "--csv").stdout))  # two columns of one name
    assert [row["kept_input"] for row in renamed] == [row["postcode"] for row in rows]
    assert next(iter(csv.DictReader(io.StringIO(said("--csv").stdout))))["input"] == "houses.csv:2"
    Path("houses.csv").write_text(Path("houses.csv").read_text().replace("input", "postcode", 1))
    assert said("--keep", "post").stderr.startswith("error: houses.csv:1: no column 'post'; did you mean 'postcode'?")


def test_rows_of_an_embedded_table(make: MakeExperiment) -> None:
    result = train(make(data={"name": "iris"}, model={"name": "mlp", "hidden": [8]}))
    answers, split = evaluated(result.checkpoint, "test")
    inputs = split.take(torch.arange(len(split))).inputs
    np.save("rows.npy", inputs)
    np.save("row.npy", inputs[0])
    predictions = list(predict(result.checkpoint, ["rows.npy", "row.npy"]))
    check(predictions[:-1], answers)
    assert [each.input for each in predictions[-3:]] == ["rows.npy:28", "rows.npy:29", "row.npy"]
    assert predictions[-1].values == pytest.approx(predictions[0].values, abs=1e-6)


def test_sequences_of_different_lengths(make: MakeExperiment) -> None:
    data = {"name": "synthetic", "shape": [12, 3], "min_length": 4, "size": 4, "samples": 100, "val": 20}
    result = train(make(data=data, model={"name": "gru", "hidden_size": 8}, loader={"eval_batch_size": 8}))
    answers, split = evaluated(result.checkpoint, "val")
    for place in range(len(split)):
        batch = split.take(torch.tensor([place]))
        np.save(f"{place:02d}.npy", batch.inputs[0])
    check(list(predict(result.checkpoint, sorted(Path().glob("*.npy")))), answers)
    np.save("long.npy", np.zeros((2, 40, 3)))
    assert len(list(predict(result.checkpoint, "long.npy"))) == 2
    np.save("wide.npy", np.zeros((7, 2), np.float32))
    with pytest.raises(DataError) as error:
        list(predict(result.checkpoint, "wide.npy"))
    expected = "expected an .npy array of shape (length, 3) or (n, length, 3)"
    assert str(error.value) == f"wide.npy: float32 of shape (7, 2); {expected}"


def test_a_batch_is_read_when_it_is_its_turn(make: MakeExperiment) -> None:
    pictures(count=3)
    data = {"name": "image_folder", "path": "pets", "size": 8, "test": None, "val": 0}
    result = train(make(data=data, loader={"eval_batch_size": 2}, train={"epochs": 1}))
    refused: list[str] = []
    found = batches(restore(result.checkpoint), ["pets/cat", "pets/dog"], lambda error: refused.extend(error.problems))
    assert [each.input for each in next(found)] == ["pets/cat/00.png", "pets/cat/01.png"]
    Path("pets/cat/02.png").unlink()
    Path("pets/dog/01.png").write_bytes(b"")
    # Those refused make room in their batch.
    assert [[each.input for each in some] for some in found] == [["pets/dog/00.png", "pets/dog/02.png"]]
    assert refused == [
        "pets/cat/02.png: no such file or directory",
        "pets/dog/01.png: not a picture that can be read (the file is empty)",
    ]


def test_in_python_the_first_input_that_cannot_be_used_ends_it(make: MakeExperiment) -> None:
    result = train(make(train={"epochs": 1}))
    with pytest.raises(DataError, match=r"^no\.png: no such file or directory$"):
        list(trainkit.predict(str(result.run_dir), "no.png"))


PICTURE = "expected a picture, a folder of pictures, or an .npy array of uint8 of shape (1, 8, 8) or (n, 1, 8, 8)"


def test_unfitting_pictures_are_told_and_the_others_go_on() -> None:
    Image.new("L", (8, 8)).save("good.png")
    Path("bad.jpg").write_text("hello")
    Path("empty").mkdir()
    Path("x.csv").write_text("a,b\n1,2\n")
    np.save("float.npy", np.zeros((1, 8, 8)))
    np.save("size.npy", np.zeros((2, 1, 9, 8), np.uint8))
    np.save("none.npy", np.zeros((0, 1, 8, 8), np.uint8))
    np.save("one.npy", np.uint8(7))
    np.save("objects.npy", np.array([{}]), allow_pickle=True)
    Path("cut.npy").write_bytes(Path("size.npy").read_bytes()[:150])
    words = [
        "bad.jpg",
        "empty",
        "x.csv",
        "float.npy",
        "size.npy",
        "none.npy",
        "one.npy",
        "objects.npy",
        "cut.npy",
        "x.npy",
    ]
    words += ["no", "long" * 2000]
    ended = warm.run(["predict", "--ckpt", str(FIXTURE), *words, "good.png"])
    assert ended.stderr.splitlines() == [
        "error: empty: no pictures in it; it is empty",
        f"error: x.csv: {PICTURE}",
        f"error: float.npy: float64 of shape (1, 8, 8); {PICTURE}",
        f"error: size.npy: uint8 of shape (2, 1, 9, 8); {PICTURE}",
        f"error: none.npy: uint8 of shape (0, 1, 8, 8); {PICTURE}",
        f"error: one.npy: uint8 of shape (); {PICTURE}",
        "error: objects.npy: not an .npy array, or cut short",
        "error: cut.npy: not an .npy array, or cut short",
        "error: x.npy: no such file or directory",
        "error: bad.jpg: not a picture that can be read (it begins with b'hello')",
        "error: no: no such file or directory",
        f"error: {words[-1]}: file name too long",
        "error: 12 inputs could not be used",
    ]
    assert ended.code == 3
    assert [line.split()[0] for line in ended.stdout.splitlines()] == ["input", "good.png"]


def animals(make: MakeExperiment, missing: str = "error", **sections: Any) -> Path:
    """The checkpoint of a model that has learned from a CSV file."""
    rows = [f"{'cat' if n % 2 else 'dog'},{n % 2},{n},{'black' if n % 3 else 'white'}\n" for n in range(40)]
    Path("animals.csv").write_text("kind,purrs,weight,fur\n" + "".join(rows))
    data = {"name": "csv", "path": "animals.csv", "target": "kind", "missing": missing, **sections.pop("data", {})}
    model = {"name": "mlp", "hidden": [4]}
    return train(make(data=data, model=model, train={"epochs": 1}, **sections)).checkpoint


def test_unfitting_rows_are_told_and_the_others_go_on(make: MakeExperiment) -> None:
    checkpoint = animals(make)
    rows = ["1,3,black", "1,,black", "1,heavy,black", "0,1e99,white", "1,4,green"]
    Path("new.csv").write_text("purrs,weight,fur\n" + "\n".join(rows) + "\n")
    Path("other.csv").write_text("purrs,height\n1,2\n")
    Path("x.png").write_text("")
    np.save("x.npy", np.array([[0, 0, 0, 1], [np.nan, 0, 0, 1], [1e300, 0, 0, 1]]))
    array = "expected a CSV file or an .npy array of shape (4,) or (n, 4)"
    words = ["new.csv", "other.csv", "x.png", ".", "no.csv", "x.npy"]
    ended = warm.run(["predict", "--ckpt", str(checkpoint), *words, "--csv"])
    assert ended.stderr.splitlines() == [
        "warning: fur: 1 new.csv row with values that training never saw ('green')",
        "error: other.csv:1: no column 'weight'; did you mean 'height'?; there are: purrs, height",
        "error: other.csv:1: no column 'fur'; there are: purrs, height",
        f"error: x.png: {array}",
        f"error: .: {array}",
        "error: no.csv: no such file or directory",
        "error: new.csv:3: no value for 'weight'; the model was trained with data.missing=error",
        "error: new.csv:4: weight: expected a number, got 'heavy'",
        "error: new.csv:5: weight: 1e99 is too large; at most 3.4e+38",
        "error: x.npy:1: holds a value that is not finite",
        "error: x.npy:2: holds a value that is not finite",
        "error: 9 inputs could not be used",
    ]
    assert ended.code == 3
    lines = list(csv.reader(io.StringIO(ended.stdout)))
    assert lines[0] == ["input", "class", "probability"]
    assert [line[0] for line in lines[1:]] == ["new.csv:2", "new.csv:6", "x.npy:0"]


def test_rows_that_training_left_out_are_told(make: MakeExperiment) -> None:
    checkpoint = animals(make, missing="drop")
    Path("new.csv").write_text("purrs,weight,fur\n1,?,black\n")
    with pytest.raises(DataError) as error:
        list(predict(checkpoint, "new.csv"))
    assert str(error.value) == "new.csv:2: no value for 'weight'; the model was trained with data.missing=drop"


def test_only_arrays_for_other_models(make: MakeExperiment) -> None:
    result = train(make(data={"shape": [5, 2], "size": 3}, model={"name": "gru", "hidden_size": 4}))
    for name in ("x.csv", "-"):
        with pytest.raises(DataError) as error:
            list(predict(result.checkpoint, name))
        assert str(error.value) == f"{name}: expected an .npy array of shape (5, 2) or (n, 5, 2)"


def test_an_old_checkpoint_does_not_know_its_columns(make: MakeExperiment) -> None:
    checkpoint = animals(make)
    content = torch.load(checkpoint, weights_only=True)
    del content["spec"]["input"]["columns"]
    torch.save(content, "old.pt")
    np.save("x.npy", np.zeros(4))
    assert len(list(predict("old.pt", "x.npy"))) == 1
    ended = warm.run(["predict", "--ckpt", "old.pt", "animals.csv"])
    assert ended.code == 4
    assert ended.stderr == (
        "error: old.pt: from before checkpoints kept what the columns of a CSV file mean; train again, or give .npy "
        "arrays\n"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": [{"name": "x"}]}, "spec.input: Value error, the columns make another number of features"),
        ({"columns": [{"name": "x", "mean": "1"}]}, "spec.input.columns.0.mean: should be a valid number"),
        ({"name": "pictures", "whole": None}, "spec.input.whole: Extra inputs are not permitted"),
        ({"name": "sequences"}, "spec.input: Value error, an input of this kind has another number of axes"),
        ({"shape": [-4]}, "spec.input.shape.0: should be greater than or equal to 1"),
        ({"shape": []}, "spec.input.shape: Tuple should have at least 1 item after validation, not 0"),
    ],
)
def test_a_checkpoint_whose_inputs_make_no_sense(make: MakeExperiment, changes: dict[str, Any], message: str) -> None:
    content = torch.load(animals(make), weights_only=True)
    content["spec"]["input"].update(changes)
    torch.save(content, "odd.pt")
    with pytest.raises(CheckpointError) as error:
        predict("odd.pt", "animals.csv")
    assert str(error.value) == f"odd.pt: damaged: {message}"


def test_the_forms_of_the_answer(make: MakeExperiment) -> None:
    checkpoint = str(animals(make))
    Path("new.csv").write_text("purrs,weight,fur\n1,3,black\n0,4,white\n")
    predictions = list(predict(checkpoint, "new.csv"))
    shares = [{name: f"{share:.2%}".replace("%", " %") for name, share in each.values.items()} for each in predictions]

    def output(*options: str) -> str:
        ended = warm.run(["predict", "--ckpt", checkpoint, "new.csv", *options])
        assert (ended.code, ended.stderr) == (0, "")
        return ended.stdout

    rows = zip(predictions, shares, strict=True)
    lines = [f"{each.input:9}  {each.answer[0]:5}  {share[each.answer[0]]:>11}" for each, share in rows]
    assert output().splitlines() == ["input      class  probability", *lines]
    assert output("--top", "9").splitlines()[0] == "input      class  probability  class_2  probability_2"
    assert json.loads(output("--json")) == [
        {
            "input": each.input,
            "class": each.answer[0],
            "probability": max(each.values.values()),
            "probabilities": each.values,
        }
        for each in predictions
    ]
    best = json.loads(output("--json", "--top", "1"))
    assert [each["probabilities"] for each in best] == [{each["class"]: each["probability"]} for each in best]
    assert list(csv.reader(io.StringIO(output("--csv", "--top", "2")))) == [
        ["input", "class", "probability", "class_2", "probability_2"],
        *([each.input, *(str(cell) for pair in each.top(2) for cell in pair)] for each in predictions),
    ]


def test_labels_and_numbers(make: MakeExperiment) -> None:
    houses("houses.csv", 60, "red blue", seed=0)
    Path("new.csv").write_text("colour,size,postcode\nred,190,1010\nblue,45,1020\n")
    data = {"name": "csv", "path": "houses.csv", "features": ["size", "colour"], "missing": "mean"}
    model = {"name": "mlp", "hidden": []}

    def output(checkpoint: Path, *options: str) -> list[str]:
        ended = warm.run(["predict", "--ckpt", str(checkpoint), "new.csv", *options])
        assert (ended.code, ended.stderr) == (0, "")
        return ended.stdout.splitlines()

    labels = {**data, "target": ["large", "red"], "task": "multilabel"}
    checkpoint = train(make(data=labels, model=model, loss="bce_with_logits", train={"epochs": 20})).checkpoint
    large, small = predict(checkpoint, "new.csv")
    assert (large.answer, small.answer) == (("large", "red"), ())
    values = [f"{each:.2%}".replace("%", " %") for each in large.values.values()]
    assert output(checkpoint) == [
        "input      labels",
        f"new.csv:2  large {values[0]}, red {values[1]}",
        "new.csv:3  none",
    ]
    assert output(checkpoint, "--top", "1")[0] == "input      label  probability"
    assert output(checkpoint, "--csv") == [
        "input,large,red",
        *(",".join([each.input, *map(str, each.values.values())]) for each in (large, small)),
    ]
    found = json.loads("".join(output(checkpoint, "--json")))
    assert found[1] == {"input": "new.csv:3", "labels": [], "probabilities": small.values}
    numbers = {**data, "target": "price", "task": "regression"}
    checkpoint = train(make(data=numbers, model=model, loss="mse")).checkpoint
    prices = [each.values["price"] for each in predict(checkpoint, "new.csv")]
    assert [line.split() for line in output(checkpoint)[1:]] == [
        [f"new.csv:{line}", f"{price:.6g}"] for line, price in enumerate(prices, 2)
    ]
    assert output(checkpoint, "--csv")[0] == "input,price"
    assert json.loads("".join(output(checkpoint, "--json")))[0] == {
        "input": "new.csv:2",
        "values": {"price": prices[0]},
    }
    ended = warm.run(["predict", "--ckpt", str(checkpoint), "new.csv", "--top", "2"])
    assert (ended.code, ended.stderr) == (
        2,
        "error: command line: --top is for classes and labels, this model predicts numbers\n",
    )


def test_standard_input(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = animals(make)

    def given(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    given(Path("animals.csv").read_bytes())
    piped = list(predict(checkpoint, "-"))
    assert [each.input for each in piped] == [f"-:{line}" for line in range(2, 42)]
    assert [each.values for each in piped] == [each.values for each in predict(checkpoint, "animals.csv")]
    given(b"purrs\n1\n")
    with pytest.raises(
        DataError, match=r"^-:1: no column 'weight'; there are: purrs\n-:1: no column 'fur'; there are: purrs$"
    ):
        list(predict(checkpoint, "-"))
    for name in ("a.png", "b c.png"):
        Image.new("L", (8, 8)).save(name)
    given(b"a.png\r\n\nb c.png\n")
    assert [each.input for each in predict(FIXTURE, ["-", "a.png"])] == ["a.png", "b c.png", "a.png"]


def test_help_does_not_wait_for_torch() -> None:
    ended = bare.run(["predict", "--help"])
    assert (ended.code, ended.stderr, ended.imported_torch) == (0, "", False)
    assert "nothing is inverted" in " ".join(ended.stdout.split())


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (
            ["--ckpt", str(FIXTURE)],
            2,
            "command line: INPUT is missing; usage: trainkit predict --ckpt FILE INPUT...",
        ),
        (["x.png"], 2, "command line: --ckpt FILE is missing; write --ckpt best.pt"),
        (["--ckpt", str(FIXTURE), "x.png", "--csv", "--json"], 2, "command line: --csv or --json, not both"),
        (["--ckpt", "no.pt", "x.png"], 4, "no.pt: no such file or run"),
    ],
)
def test_wrong_command_lines(words: list[str], code: int, message: str) -> None:
    ended = warm.run(["predict", *words])
    assert (ended.code, ended.stdout, ended.stderr) == (code, "", f"error: {message}\n")


def test_nothing_found_is_valid_json_and_csv() -> None:
    for option, text in ("--json", "[]\n"), ("--csv", "input,class,probability\n"):
        ended = warm.run(["predict", "--ckpt", str(FIXTURE), "no.png", option])
        assert (ended.code, ended.stdout) == (3, text)


def test_a_name_that_no_terminal_should_see() -> None:
    Image.new("L", (8, 8)).save("a\x1b[31m\n\udce9.png")
    for options in ([], ["--csv"]):
        ended = warm.run(["predict", "--ckpt", str(FIXTURE), ".", *options])
        assert (ended.code, ended.stderr) == (0, "")
        assert ended.stdout.splitlines()[1].startswith("a\\x1b[31m\\n\\udce9.png")
    [found] = json.loads(warm.run(["predict", "--ckpt", str(FIXTURE), ".", "--json"]).stdout)
    assert found["input"] == "a\x1b[31m\n\udce9.png"


def test_a_folder_says_what_it_has_beside_pictures() -> None:
    Path("new/.ipynb_checkpoints").mkdir(parents=True)
    for name in ("a.jfif", "b.avif", "._c.png", ".ipynb_checkpoints/d.png"):
        Image.new("L", (8, 8)).save(Path("new", name), "JPEG" if name.endswith("jfif") else None)
    for name in ("e.heic", "f.heic", "g"):
        Path("new", name).touch()
    ended = warm.run(["predict", "--ckpt", str(FIXTURE), "new"])
    assert [line.split()[0] for line in ended.stdout.splitlines()[1:]] == ["new/a.jfif", "new/b.avif"]
    assert "3 not taken for pictures: 2 .heic (pip install pillow-heif reads them), 1 without an ending" in ended.stderr


def test_pictures_of_sixteen_bits_are_read_as_they_were_by_old_checkpoints() -> None:
    """Their upper eight bits; a model of pictures of eight bits cannot say what more of them mean."""
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    Image.fromarray(pixels * 4 * 257).save("deep.png")
    Image.fromarray((pixels * 4).astype(np.uint8)).save("plain.png")
    deep, plain = predict(FIXTURE, ["deep.png", "plain.png"])
    assert deep.values == plain.values
    new = restore(FIXTURE)
    spec = new.spec.with_input(range=None)
    told: list[str] = []
    assert not [*batches(replace(new, spec=spec), ["deep.png"], lambda error: told.append(str(error)))]
    assert told == ["deep.png: has more than 8 bits a pixel, and which values are black and white is not known"]
