from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.data.images.test_source import COLOURS, cut, draw, folder, sizes
from trainkit.config.validation import validate
from trainkit.config.yamlfile import COMMAND_LINE, from_plain
from trainkit.core.errors import ConfigError, DataError
from trainkit.data.base import Data
from trainkit.data.sources.image_list import ImageListConfig, ImageTxtConfig

NAMES = [f"{label}/a picture {number}.png" for label in COLOURS for number in range(5)]


@pytest.fixture(autouse=True)
def pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")
    folder(each=5)


def labels(data: Data) -> dict[str, str]:
    """The label of every training picture."""
    files: Any = data.train.source
    return {files.names[n]: data.spec.task.names[files.targets[n]] for n in data.train.index.tolist()}


def text(content: str, **options: Any) -> Data:
    Path("labels.txt").write_bytes(content.encode())
    plain = {"path": "pets", "labels": "labels.txt", "size": 8, "val": 0, "test": None, **options}
    return ImageTxtConfig.from_plain(plain).build(seed=0)


def csv(content: str, **options: Any) -> Data:
    Path("labels.csv").write_text(content)
    plain = {"path": "pets", "file": "labels.csv", "size": 8, "val": 0, "test": None, **options}
    return ImageListConfig.from_plain(plain).build(seed=0)


EXPECTED = {name: name[:3] for name in NAMES}


@pytest.mark.parametrize("separator", [" ", "   ", "\t", " \t "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_of_names_and_labels(separator: str, end: str) -> None:
    lines = ["# name label", "", *(f"{name}{separator}{label} " for name, label in EXPECTED.items()), ""]
    assert labels(text(end.join(lines))) == EXPECTED


def test_after_a_tab_labels_may_have_spaces() -> None:
    data = text("cats/a picture 0.png\ttabby cat\ndogs/a picture 0.png\tsheep dog\n")
    assert data.spec.task.names == ("sheep dog", "tabby cat")


def test_labels_that_are_numbers_keep_their_order() -> None:
    data = text("".join(f"{name} {number}\n" for number, name in enumerate(NAMES, 5)))
    assert data.spec.task.names == ("5", "6", "7", "8", "9", "10", "11", "12", "13", "14")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("alone", "labels.txt:3: no label for 'alone'"),
        (
            "cats/a picture 1.png",
            "labels.txt:3: no picture pets/cats/a picture; cats/a picture 1.png is one, but has no label",
        ),
        (f"{'a' * 300} cat", f"labels.txt:3: pets/{'a' * 300}: file name too long"),
        ("cats cat", "labels.txt:3: pets/cats: is a directory"),
        (
            "cats/a picture 0.png cat",
            "labels.txt:3: 'cats/a picture 0.png' stands there twice, first at labels.txt:1",
        ),
        ("cats/none.png cat", "labels.txt:3: no picture pets/cats/none.png"),
        ("cats/a picture 1 cat", "labels.txt:3: no picture pets/cats/a picture 1; with data.suffix=.png there is one"),
    ],
)
def test_bad_lines_are_named(line: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        text(f"cats/a picture 0.png cat\n\n{line}\n")
    assert error.value.problems == (message,)


def test_bad_lines_are_named_all_at_once_up_to_ten() -> None:
    with pytest.raises(DataError) as error:
        text("".join(f"{number}.png cat\n" for number in range(12)))
    assert error.value.problems[9:] == ("labels.txt:10: no picture pets/9.png", "… and 2 more like these")


def test_one_label_is_not_enough() -> None:
    with pytest.raises(DataError, match=r"^labels\.txt: expected two labels or more, found 1$"):
        text("cats/a picture 0.png cat\n")


def test_a_picture_in_a_list_that_cannot_be_read() -> None:
    Path("pets/cats/a picture 0.png").write_text("hello")
    lines = "".join(f"{name} {label}\n" for name, label in EXPECTED.items())
    with pytest.raises(DataError) as error:
        text(lines)
    assert error.value.problems == (
        "pets/cats/a picture 0.png: not a picture that can be read (it begins with b'hello')",
        "labels.txt: 1 of 10 pictures cannot be read; mend or remove them, or use data.on_error=skip",
    )
    assert len(text(lines, on_error="skip").train) == 9


def test_lists_in_the_yaml() -> None:
    plain = {"paths": [f"pets/{name}" for name in NAMES], "labels": [10] * 5 + [9] * 5, "size": 8, "mode": "grey"}
    data = ImageListConfig.from_plain(plain).build(seed=0)
    assert data.spec.shape == (1, 8, 8)
    assert data.spec.task.names == ("9", "10")
    assert sizes(data) == (7, 1, 2)
    with pytest.raises(DataError) as error:
        ImageListConfig(paths=("a.png", "b.png"), labels=("cat", "")).build(seed=0)
    assert error.value.problems == ("data.paths[0]: no picture a.png", "data.paths[1]: no label for 'b.png'")


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"paths": ["a", "b", "c"], "labels": [0, 1]}, "there are 3 paths and 2 labels"),
        ({"paths": ["a"]}, "give either file, or paths and labels"),
        ({"file": "a.csv", "paths": ["a"], "labels": [0]}, "give either file, or paths and labels"),
        ({}, "give either file, or paths and labels"),
    ],
)
def test_configs_that_will_not_do(plain: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        validate(ImageListConfig, from_plain(plain, COMMAND_LINE))
    assert error.value.problems == (f"command line: {message}",)


def test_columns_of_a_csv_file() -> None:
    rows = "".join(f"{name};x;{label}\n" for name, label in EXPECTED.items())
    data = csv(f"file;other;breed\n{rows}", path_column="file", label_column="breed", delimiter=";")
    assert labels(data) == EXPECTED


def test_names_without_their_endings() -> None:
    rows = "".join(f"{name[:-4]},{label}\n" for name, label in EXPECTED.items())
    assert labels(csv(f"path,label\n{rows}", suffix=".png")) == EXPECTED


def test_a_column_of_splits() -> None:
    parts = ["train", "train", "train", "val", "test"] * 2
    rows = "".join(f"{name},{label},{part}\n" for (name, label), part in zip(EXPECTED.items(), parts, strict=True))
    data = csv(f"path,label,fold\n{rows}", split_column="fold", val=0.1, test=0.2)
    assert sizes(data) == (6, 2, 2)
    assert data.val is not None
    assert data.val.targets.tolist() == [0, 1]
    cut("pets/cats/a picture 3.png")
    assert sizes(csv(f"path,label,fold\n{rows}", split_column="fold", on_error="skip", cache=True)) == (6, 1, 2)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (
            "",
            {"label_column": "lable"},
            "labels.csv:1: no column 'lable'; did you mean 'label'?; there are: path, label, fold",
        ),
        (
            "",
            {"split_column": "part"},
            "labels.csv:1: no column 'part'; did you mean 'path'?; there are: path, label, fold",
        ),
        (",cat,train\n", {}, "labels.csv:4: the path is empty"),
        ("cats/a picture 2.png,,train\n", {}, "labels.csv:4: no label for 'cats/a picture 2.png'"),
        ("cats/none.png,cat,train\n", {}, "labels.csv:4: no picture pets/cats/none.png"),
        (
            "cats/a picture 0.png,cat,train\n",
            {},
            "labels.csv:4: 'cats/a picture 0.png' stands there twice, first at labels.csv:2",
        ),
        (
            "cats/a picture 1.png,cat,vall\n",
            {"split_column": "fold"},
            "labels.csv:4: expected one of train, val, test, got 'vall'; did you mean 'val'?",
        ),
        (
            "cats/a picture 1.png,owl,test\n",
            {"split_column": "fold"},
            "labels.csv:4: class 'owl' is not among the training pictures",
        ),
        ("cats/a picture 1.png,cat\n", {}, "labels.csv:4: 2 fields, the header has 3"),
    ],
)
def test_csv_problems_name_the_line(rows: str, options: dict[str, Any], message: str) -> None:
    good = "cats/a picture 0.png,cat,train\ndogs/a picture 0.png,dog,train\n"
    with pytest.raises(DataError) as error:
        csv(f"path,label,fold\n{good}{rows}", **options)
    assert error.value.problems == (message,)


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    lines = "".join(f"{name} {label}\n" for name, label in EXPECTED.items())
    Path("file").touch()
    for path, problem in (("pats", "no such file or directory; did you mean pets?"), ("file", "is not a directory")):
        with pytest.raises(DataError) as error:
            text(lines, path=path)
        assert error.value.problems == (f"data.path: {tmp_path}/{path}: {problem}",)


def test_pictures_that_are_not_in_the_list_are_counted() -> None:
    lines = "".join(f"./{name} {label}\n" for name, label in EXPECTED.items())
    assert text(lines).notes == ()
    draw(Path("pets/cats/wild/lynx.png"), COLOURS["cats"])
    Path("pets/notes.md").touch()
    notes = text(lines).notes
    assert [(note.level, note.text) for note in notes] == [
        ("info", "pets: 1 of the pictures in it are not in labels.txt and not used, such as cats/wild/lynx.png"),
        ("info", "pets: not taken for pictures: 1 .md"),
    ]
    Path("pets/new.heic").touch()
    [found] = text(lines).found
    assert found.text.startswith("data.path: 2 files are not taken for pictures in pets: 1 .heic (pip install")


def test_labels_of_thousands_of_digits_are_names() -> None:
    lines = "".join(f"{name} {'7' * (5000 + number)}\n" for number, name in enumerate(NAMES))
    assert len(text(lines).spec.task.names) == 10


def names(split: Any) -> list[str]:
    return [] if split is None else [split.source.names[n] for n in split.index.tolist()]


@pytest.mark.parametrize("seed", range(3))
def test_pictures_of_one_patient_stay_together(seed: int) -> None:
    """A patient has a picture of a cat and one of a dog."""
    patients = {name: f"p{number % 5}" for number, name in enumerate(NAMES)}
    content = "path,label,patient\n" + "".join(f"{name},{name[:3]},{patients[name]}\n" for name in NAMES)
    Path("labels.csv").write_text(content)
    plain = {"path": "pets", "file": "labels.csv", "size": 8, "val": 0.25, "test": 0.2, "group": "patient"}
    data = ImageListConfig.from_plain(plain).build(seed)
    parts = [{patients[name] for name in names(split)} for split in (data.train, data.val, data.test)]
    assert [len(part) for part in parts] == [3, 1, 1]
    assert sizes(data) == (6, 2, 2)
    assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])


def test_the_latest_pictures_are_held_out() -> None:
    days = {name: f"{28 - number:02d}.03.2020" for number, name in enumerate(NAMES)}
    rows = "".join(f"{name},{name[:3]},{day}\n" for name, day in days.items())
    data = csv(f"path,label,taken\n{rows}", order="taken", test=0.2, val=0.25)
    assert sorted(names(data.test)) == sorted(NAMES[:2])
    assert sorted(names(data.val)) == sorted(NAMES[2:4])
    assert sorted(names(data.train)) == sorted(NAMES[4:])


def test_pictures_that_cannot_be_read_do_not_move_the_order() -> None:
    cut(f"pets/{NAMES[0]}")
    rows = "".join(f"{name},{name[:3]},{100 - number}\n" for number, name in enumerate(NAMES))
    data = csv(f"path,label,taken\n{rows}", order="taken", test=0.2, val=0, on_error="skip")
    assert names(data.test) == NAMES[1:3]
    assert names(data.train) == NAMES[3:]


def test_groups_within_given_splits() -> None:
    """Val is taken out of the training pictures, patient by patient; test is what the list says."""
    parts = ["test" if number % 5 == 4 else "train" for number in range(10)]
    rows = "".join(
        f"{name},{name[:3]},{part},p{number % 4}\n"
        for number, (name, part) in enumerate(zip(NAMES, parts, strict=True))
    )
    data = csv(f"path,label,fold,patient\n{rows}", split_column="fold", group="patient", val=0.25)
    assert sizes(data) == (6, 2, 2)
    patient = {name: number % 4 for number, name in enumerate(NAMES)}
    assert not {patient[name] for name in names(data.train)} & {patient[name] for name in names(data.val)}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"group": "patent"},
            "labels.csv:1: no column 'patent'; did you mean 'patient'?; there are: path, label, patient, taken",
        ),
        ({"order": "taken"}, "labels.csv:3: no value for 'taken', which data.order goes by"),
    ],
)
def test_keys_that_say_nothing(options: dict[str, Any], message: str) -> None:
    rows = "".join(f"{name},{name[:3]},p,{'' if number == 1 else number}\n" for number, name in enumerate(NAMES))
    with pytest.raises(DataError) as error:
        csv(f"path,label,patient,taken\n{rows}", **options)
    assert error.value.problems == (message,)


@pytest.mark.parametrize("ending", ["tsv", "jsonl"])
def test_lists_in_other_formats(ending: str) -> None:
    lines = [f"{name}\t{label}\n" for name, label in EXPECTED.items()]
    if ending == "jsonl":
        lines = [f'{{"path": "{name}", "label": "{label}"}}\n' for name, label in EXPECTED.items()]
    Path(f"list.{ending}").write_text("".join(["path\tlabel\n" if ending == "tsv" else "", *lines]))
    plain = {"path": "pets", "file": f"list.{ending}", "size": 8, "val": 0, "test": None}
    assert labels(ImageListConfig.from_plain(plain).build(seed=0)) == EXPECTED


def test_dates_that_may_be_either_have_a_way_out() -> None:
    """What the error advises is a key that there is."""
    rows = "".join(f"{name},{name[:3]},0{1 + number % 9}/03/2020\n" for number, name in enumerate(NAMES))
    with pytest.raises(DataError) as error:
        csv(f"path,label,taken\n{rows}", order="taken")
    advised = re.findall(r"data\.(\w+)", str(error.value))
    assert set(advised) <= ImageListConfig.model_fields.keys()
