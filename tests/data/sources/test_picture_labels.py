"""Several labels and numbers for pictures, of image_list and of image_folder with a file."""
# ruff: noqa: E501  # in a table, a row is a line

from __future__ import annotations

import io
from csv import DictReader
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.command import warm
from trainkit.config.validation import validate
from trainkit.config.yamlfile import COMMAND_LINE, from_plain
from trainkit.core.errors import ConfigError, DataError, TrainkitError
from trainkit.data.base import DataConfig
from trainkit.data.sources.image_folder import ImageFolderConfig
from trainkit.data.sources.image_list import ImageListConfig
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.reports import report_page
from trainkit.runs.run import Result, resume, train
from trainkit.tasks import Classification, MultiLabel, Regression

COUNT = 6


def draw(count: int = COUNT) -> list[str]:
    """Pictures of 8x8, their left half brighter from one to the next, their right half every second time."""
    Path("pictures").mkdir(exist_ok=True)
    for number in range(count):
        pixels = np.zeros((8, 8), np.uint8)
        pixels[:, :4], pixels[:, 4:] = 255 * number // count, 200 * (number % 2)
        Image.fromarray(pixels).save(f"pictures/{number}.png")
    return [f"{number}.png" for number in range(count)]


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")
    draw()


BASE = {"path": "pictures", "size": 8, "mode": "grey", "val": 0, "test": None}


def csv(rows: str, **options: Any) -> ImageListConfig:
    """A list with these rows, of which the first has the names of the columns and all others belong to a picture."""
    head, *lines = rows.splitlines()
    Path("labels.csv").write_text(f"path,{head}\n" + "".join(f"{n}.png,{line}\n" for n, line in enumerate(lines)))
    return ImageListConfig.from_plain({**BASE, "file": "labels.csv", **options})


def yaml(labels: list[Any], **options: Any) -> ImageListConfig:
    paths = [f"{number}.png" for number in range(len(labels))]
    return ImageListConfig.from_plain({**BASE, "paths": paths, "labels": labels, **options})


def problems(config: DataConfig) -> tuple[str, ...]:
    with pytest.raises(DataError) as error:
        config.open(seed=0)
    return error.value.problems


def read(config: DataConfig) -> tuple[Any, list[Any]]:
    """The task without what was counted, and the targets."""
    data = config.model_copy(update={"target_transform": "none"}).open(seed=0)
    return data.spec.task.unmeasured(), data.train.targets.tolist()


PETS = MultiLabel(size=2, names=("dog", "night"))


@pytest.mark.parametrize(
    ("config", "names", "targets"),
    [
        (lambda: csv("dog,night\n1,0\n0,1\n1,1", label_column=["dog", "night"]), ("dog", "night"), [[1, 0], [0, 1], [1, 1]]),
        (lambda: csv("dog,night\nyes,no\nNo,no\ntrue,no", label_column=["night", "dog"]), ("night", "dog"), [[0, 1], [0, 0], [0, 1]]),
        (lambda: csv("tags\ndog; night\n\nnight;", label_column="tags", separator=";"), ("dog", "night"), [[1, 1], [0, 0], [0, 1]]),
        (lambda: csv("tags\n10 9\n9\n10 10", label_column="tags", separator=" ", task="multilabel"), ("9", "10"), [[1, 1], [1, 0], [0, 1]]),
        (lambda: yaml([["night", "dog"], [], ["dog"]]), ("dog", "night"), [[1, 1], [0, 0], [1, 0]]),
        (lambda: yaml([["a", 1], ["a"]]), ("1", "a"), [[1, 1], [0, 1]]),
        (lambda: yaml(["dog,night", "", "dog"], separator=","), ("dog", "night"), [[1, 1], [0, 0], [1, 0]]),
        (lambda: yaml([[0, 1], [1, 1]], label_column=["dog", "night"]), ("dog", "night"), [[0, 1], [1, 1]]),
    ],
)  # fmt: skip
def test_several_labels(config: Any, names: tuple[str, ...], targets: list[list[float]]) -> None:
    assert read(config()) == (MultiLabel(size=2, names=names), targets)


@pytest.mark.parametrize(
    ("config", "names", "targets"),
    [
        (lambda: csv("label\n0.5\n1.75\n3"), ("label",), [[0.5], [1.75], [3]]),
        (lambda: csv("age\n5\n7\n9", label_column="age", task="regression"), ("age",), [[5], [7], [9]]),
        (lambda: csv("x,y\n1,-2\n3,4e1", label_column=["x", "y"]), ("x", "y"), [[1, -2], [3, 40]]),
        (lambda: csv("x,y\n1,0\n0,1", label_column=["x", "y"], task="regression"), ("x", "y"), [[1, 0], [0, 1]]),
        (lambda: csv('label\n"1.234,5"\n"2,5"', thousands="."), ("label",), [[1234.5], [2.5]]),
        (lambda: csv("label\n12.5%\n50%"), ("label",), [[12.5], [50]]),
        (lambda: yaml([0.5, 1.75]), ("label",), [[0.5], [1.75]]),
        (lambda: yaml([5, 7], task="regression"), ("label",), [[5], [7]]),
        (lambda: yaml([[0.5, 2], [1, -1]]), ("0", "1"), [[0.5, 2], [1, -1]]),
        (lambda: yaml([[0.5, 2], [1, -1]], label_column=["x", "y"]), ("x", "y"), [[0.5, 2], [1, -1]]),
    ],
)
def test_numbers(config: Any, names: tuple[str, ...], targets: list[list[float]]) -> None:
    assert read(config()) == (Regression(size=len(names), names=names), targets)


@pytest.mark.parametrize(
    "config",
    [
        lambda: csv("label\n5\n7\n9"),
        lambda: csv("label\n5\n7\n5.0"),
        lambda: csv("label\n0.5\n1.75\ncat"),
        lambda: csv("label\n0.5\n1.75", task="classification"),
        lambda: csv("label\n0.5\n1.75", rules=2),
        lambda: csv("label\n01.02.2020\n03.02.2020"),
        lambda: yaml(["1.5", "2.5"], rules=1),
        lambda: yaml([5, "7"]),
    ],
)
def test_what_goes_on_to_be_classes(config: Any) -> None:
    task, targets = read(config())
    assert isinstance(task, Classification)
    assert len(set(targets)) == task.size


def test_pictures_without_a_number_are_left_out() -> None:
    data = csv("x,y\n1,2\n,4\n5,NA\n-1,x\n7,9", label_column=["x", "y"], task="regression", na_values=["X"]).open(0)
    assert data.train.targets.tolist() == [[1, 2], [7, 9]]
    assert [(note.level, note.text) for note in data.notes] == [
        ("warning", "labels.csv: 3 pictures without x or y, left out")
    ]


def test_labels_that_only_other_splits_have_are_told() -> None:
    rows = "tags,fold\ndog;night,train\ndog,train\nowl;dog,val\nowl,test\nnight,test"
    data = csv(rows, label_column="tags", separator=";", split_column="fold").open(seed=0)
    assert data.spec.task.unmeasured() == PETS
    assert data.val is not None
    assert data.test is not None
    assert (data.val.targets.tolist(), data.test.targets.tolist()) == ([[1, 0]], [[0, 0], [0, 1]])
    told = "labels.csv: 2 pictures with labels that training never saw ('owl')"
    assert ("warning", told) in [(note.level, note.text) for note in data.notes]


def test_groups_and_order_with_numbers() -> None:
    rows = "label,day\n0.5,6\n1.5,5\n,4\n3.5,3\n4.5,2\n5.5,1"
    data = csv(rows, order="day", test=0.2, val=0.2).open(seed=0)
    assert data.test is not None
    assert data.val is not None
    assert (data.test.targets.tolist(), data.val.targets.tolist()) == ([[0.5]], [[1.5]])
    rows = "label,who\n0.5,a\n1.5,b\n,b\n3.5,a\n4.5,b\n5.5,c"
    data = csv(rows, group="who", test=0.4, val=0).open(seed=0)
    parts = [{rows.splitlines()[1 + n][-1] for n in part.index.tolist()} for part in (data.train, data.test) if part]
    assert len(parts) == 2


@pytest.mark.parametrize(
    ("rows", "options", "told"),
    [
        ("dog\n1\n0", {"label_column": ["dog", "nite"]}, "labels.csv:1: no column 'nite'; there are: path, dog"),
        ("dog,night\n1,0\n0,1", {"label_column": ["dog", "nigth"]}, "labels.csv:1: no column 'nigth'; did you mean 'night'?; there are: path, dog, night"),
        ("tags\ndog|night\ndog", {"separator": ";"}, "labels.csv: tags: the separator ';' stands in no row; did you mean '|', as in 'dog|night'?"),
        ("tags\ndog\ncat", {"separator": ";"}, "labels.csv: tags: the separator ';' stands in no row; for a class each, leave it out"),
        ("tags\ndog;\n", {"separator": ";"}, "labels.csv: expected two labels or more, found 1"),
        ("a,b\n1,0\n0,2", {"label_column": ["a", "b"]}, "labels.csv:3: b: labels are 0 or 1 (or yes or no), got '2'\ndata.task: are a, b labels or numbers? say multilabel or regression"),
        ("a,b\n1,0\n0,2", {"label_column": ["a", "b"], "task": "multilabel"}, "labels.csv:3: b: labels are 0 or 1 (or yes or no), got '2'"),
        ("label\n1\nabc", {"task": "regression"}, "labels.csv:3: label: 'abc' is no number (1 cell in all); mend the file, count it as missing with 'data.na_values=[abc]', or use data.task=classification"),
        ("label\n1.5\ninf", {}, "labels.csv:3: label: inf is too large; at most 3.4e+38\ndata.task: is 'label' a number or a class? say which"),
        ("label\n1.5\ninf", {"task": "regression"}, "labels.csv:3: label: inf is too large; at most 3.4e+38"),
        ('label\n"1,234"\n"2,345"', {"task": "regression"}, "labels.csv:2: label: '1,234' has separators, and what they mean is not guessed (2 cells in all); say it with 'data.decimal=\",\"' (with 'data.thousands=\".\"'), or 'data.thousands=\",\"'"),
        ("label,fold\n1.5,test\n2.5,test", {"split_column": "fold"}, "labels.csv: no training picture has label"),
        ("label\n\n", {"task": "regression"}, "labels.csv:2: label: no number in the whole column"),
        ("label\n0.5\n1.5", {"stratify": True, "val": 1}, "data.stratify: the targets are no classes"),
    ],
)  # fmt: skip
def test_labels_that_will_not_do(rows: str, options: dict[str, Any], told: str) -> None:
    if "separator" in options:
        options = {"label_column": "tags", **options}
    assert problems(csv(rows, **options)) == tuple(told.splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_column": ["a", "b"], "separator": ";"}, "separator is for one column with several labels (task=multilabel)"),
        ({"separator": ";", "task": "regression"}, "separator is for one column with several labels (task=multilabel)"),
        ({"label_column": ["a", "b"], "task": "classification"}, "several label columns are for task=regression or task=multilabel"),
        ({"task": "multilabel"}, "task=multilabel is for several label columns, or one with a separator"),
        ({"label_column": ["a", "a"]}, "label_column: 'a' stands there twice"),
        ({"file": None, "paths": ["a", "b"], "labels": [["x"], "y"]}, "labels: either lists for all pictures or for none"),
        ({"file": None, "paths": ["a", "b"], "labels": [0.5, "y"]}, "labels: words among numbers"),
        ({"file": None, "paths": ["a", "b"], "labels": [[0.5], [1, 2]]}, "labels: lists of numbers of different lengths"),
    ],
)  # fmt: skip
def test_configs_that_will_not_do(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(ImageListConfig, from_plain({**BASE, "file": "a.csv", **options}, COMMAND_LINE))
    assert error.value.problems == (f"command line: {message}",)


def folder(rows: str, **options: Any) -> ImageFolderConfig:
    Path("train.csv").write_text(rows)
    return ImageFolderConfig.from_plain({**BASE, "file": "train.csv", **options})


@pytest.mark.parametrize("ending", ["", ".png"])
def test_a_folder_and_a_file_of_labels(ending: str) -> None:
    config = folder(f"id,label\n0{ending},cat\n3{ending},dog\n")
    data = config.open(seed=0)
    assert data.spec.task.names == ("cat", "dog")
    source: Any = data.train.source
    assert source.names == ["0.png", "3.png"]
    assert [note.text for note in data.notes] == [
        "pictures: 4 of the pictures in it are not in train.csv and not used, such as 1.png"
    ]
    rows = f"id,x,y\n0{ending},1,2.5\n3{ending},-1,4\n"
    assert read(folder(rows, label_column=["x", "y"])) == (Regression(size=2, names=("x", "y")), [[1, 2.5], [-1, 4]])
    assert read(folder(f"tags,id\na b,0{ending}\nb,1\n", path_column="id", label_column="tags", separator=" "))[1] == [
        [1, 1],
        [0, 1],
    ]


def test_a_folder_in_which_a_name_may_be_two_pictures() -> None:
    Path("pictures/0.jpg").write_bytes(Path("pictures/0.png").read_bytes())
    assert problems(folder("id,label\n0,cat\n3,dog\n9,dog\n")) == (
        "train.csv:2: no picture pictures/0; with data.suffix=.jpg there is one",
        "train.csv:4: no picture pictures/9",
    )


def test_keys_of_a_file_need_one() -> None:
    with pytest.raises(ConfigError) as error:
        validate(ImageFolderConfig, from_plain({"path": "pictures", "separator": ";"}, COMMAND_LINE))
    assert error.value.problems == ("command line: separator is of the file that has the labels; say which with file",)


def experiment(data: dict[str, Any], epochs: int = 4) -> ExperimentConfig:
    return ExperimentConfig.from_plain(
        {
            "data": {"path": "pictures", "size": 8, "mode": "grey", "normalize": "auto", "val": 4, "test": 0.2, **data},
            "loader": {"batch_size": 4, "num_workers": 0},
            "model": {"name": "mlp", "hidden": [16]},
            "optimizer": {"name": "adam", "lr": 0.02},
            "train": {"epochs": epochs},
            "log": {"tensorboard": False},
        }
    )


def trained(data: dict[str, Any]) -> Result:
    """A run of four epochs, gone on with after two; with the same weights as one that was never stopped."""
    train(experiment(data), run_dir=Path("whole"), quiet=True)
    train(experiment(data, epochs=2), run_dir=Path("run"), quiet=True)
    result = resume(Path("run"), ["train.epochs=4"], quiet=True)
    whole, parts = (torch.load(f"{name}/checkpoints/last.pt", weights_only=True)["model"] for name in ("whole", "run"))
    assert all(torch.equal(whole[key], parts[key]) for key in whole)
    return result


def predicted(result: Result) -> list[dict[str, str]]:
    ended = warm.run(["predict", "--ckpt", str(result.checkpoint), "--csv", "pictures"])
    assert ended.code == 0
    return [*DictReader(io.StringIO(ended.stdout))]


def test_several_labels_from_training_to_predictions() -> None:
    names = draw(30)
    tags = {name: ";".join(["bright"] * (number >= 15) + ["odd"] * (number % 2)) for number, name in enumerate(names)}
    Path("tags.csv").write_text("path,tags\n" + "".join(f"{name},{tag}\n" for name, tag in tags.items()))
    data = {"name": "image_list", "file": "tags.csv", "label_column": "tags", "separator": ";"}
    result = trained(data)
    rows = predicted(result)
    assert set(rows[0]) == {"input", "bright", "odd"}
    found = {row["input"]: {name for name in ("bright", "odd") if float(row[name]) > 0.5} for row in rows}
    right = [found[f"pictures/{name}"] == {*filter(None, tag.split(";"))} for name, tag in tags.items()]
    assert sum(right) > 25
    # Other files: in another order, with a label that is new, and as columns.
    Path("new.csv").write_text(
        "path,tags\n1.png,odd;new\n29.png,odd;bright\n0.png,\n2.png,\n3.png,odd\n28.png,bright\n"
    )
    judged = evaluate_checkpoint(result.checkpoint, "train", overrides=["data.file=new.csv", "data.val=0"])
    assert "new.csv: 1 picture with labels that training never saw ('new')" in judged.notes
    flags = "".join(f"{name},{int('odd' in tag)},{int('bright' in tag)}\n" for name, tag in tags.items())
    Path("flags.csv").write_text(f"path,odd,bright\n{flags}")
    columns = ["data.file=flags.csv", "data.label_column=[odd, bright]", "data.separator=null"]
    assert (
        evaluate_checkpoint(result.checkpoint, overrides=columns).metrics
        == evaluate_checkpoint(result.checkpoint).metrics
    )
    with pytest.raises(DataError, match=r"^data\.label_column: the model was trained on bright, odd; got odd$"):
        evaluate_checkpoint(result.checkpoint, overrides=["data.file=flags.csv", "data.label_column=odd", columns[2]])
    assert report_page.write(Path("run")).path.is_file()


def test_two_numbers_from_training_to_predictions() -> None:
    """In their own units: thousands, and thousandths."""
    names = draw(30)
    numbers = {name: (5000 + 100 * number, 0.001 * (number % 2)) for number, name in enumerate(names)}
    lines = "".join(f"{name[:-4]},{mass:g},{length:g}\n" for name, (mass, length) in numbers.items())
    Path("numbers.csv").write_text(f"id,mass,length\n{lines}")
    result = trained({"name": "image_folder", "file": "numbers.csv", "label_column": ["mass", "length"]})
    assert result.metrics["test/mae"] < 300
    rows = predicted(result)
    assert [*rows[0]] == ["input", "mass", "length"]
    assert all(4000 < float(row["mass"]) < 9000 and -0.01 < float(row["length"]) < 0.01 for row in rows)
    columns = ["data.label_column=[length, mass]"]
    assert (
        evaluate_checkpoint(result.checkpoint, overrides=columns).metrics
        == evaluate_checkpoint(result.checkpoint).metrics
    )
    assert report_page.write(Path("run")).path.is_file()


def test_classes_of_another_file_are_those_of_the_training() -> None:
    csv("label\ncat\ndog\nowl\ncat\ndog\nowl")
    result = train(experiment({"name": "image_list", "file": "labels.csv", "val": 0, "test": None}), quiet=True)
    csv("label\nowl\ndog\nowl")
    assert evaluate_checkpoint(result.checkpoint, "train").metrics["loss"] > 0


@pytest.mark.parametrize(
    ("data", "more", "message"),
    [
        ({"labels": [0.5, 1.5, 2.5, 3.5]}, {"loader": {"sampler": "balanced"}}, "loader.sampler: balanced needs classes"),
        ({"labels": [["a"], ["b"], [], []]}, {"loader": {"sampler": "balanced"}}, "loader.sampler: balanced needs classes"),
        ({"labels": [0.5, 1.5, 2.5, 3.5], "augment": ["mixup"]}, {}, "mixup"),
    ],
)  # fmt: skip
def test_what_is_for_classes_alone(data: dict[str, Any], more: dict[str, Any], message: str) -> None:
    plain = {**BASE, "name": "image_list", "paths": [f"{n}.png" for n in range(4)], **data}
    with pytest.raises(TrainkitError, match=message):
        train(ExperimentConfig.from_plain({"data": plain, "model": "mlp", "train": {"epochs": 1}, **more}), quiet=True)


def test_labels_are_mixed() -> None:
    plain = {**BASE, "name": "image_list", "paths": ["0.png", "1.png", "2.png", "3.png"], "augment": ["mixup"]}
    data = {**plain, "labels": [["a"], ["b"], [], ["a", "b"]]}
    train(ExperimentConfig.from_plain({"data": data, "model": "mlp", "train": {"epochs": 1}}), quiet=True)
