from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
import torch

from tests.data.images.test_source import COLOURS, draw, folder, problems, read, sizes
from trainkit.core.errors import DataError
from trainkit.data import sample_checks
from trainkit.data.images.decoding import PictureSource
from trainkit.data.sources.image_folder import ImageFolderConfig, ImageNetConfig
from trainkit.data.spec import DataSpec


def test_a_folder_per_class() -> None:
    folder()
    data = read()
    assert data.spec.task.names == ("cats", "dogs")
    assert data.spec.shape == (3, 8, 8)
    assert sizes(data) == (12, 4, 4)
    batch = data.train.take(torch.arange(len(data.train)))
    assert batch.inputs.dtype == torch.uint8
    for picture, target in zip(batch.inputs, batch.targets.tolist(), strict=True):
        assert tuple(picture[:, 4, 4].tolist()) == COLOURS[data.spec.task.names[target]]


def test_splits_that_are_there_are_used() -> None:
    for part, each in (("train", 6), ("val", 2), ("test", 3)):
        folder(f"pets/{part}", each)
    assert sizes(read()) == (12, 4, 6)
    assert sizes(read(subset=0.5)) == (6, 4, 6)


def test_nested_folders_belong_to_their_class_and_other_files_to_none() -> None:
    folder(each=5)
    draw(Path("pets/cats/wild/lynx/1.JPG"), COLOURS["cats"])
    for name in ("readme.txt", "cats/notes.md", "cats/._a.png", "cats/.thumbnails/a.png", ".git/a.png"):
        Path("pets", name).parent.mkdir(exist_ok=True)
        Path("pets", name).write_text("no picture")
    data = read(val=0, test=None)
    assert sizes(data) == (11, 0, 0)
    assert [note.text for note in data.notes] == ["pets: not taken for pictures: 1 .md, 1 .txt"]
    assert data.found == ()
    assert data.train.targets.tolist() == [0] * 6 + [1] * 5


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    assert problems() == (f"data.path: {tmp_path}/pets: no such file or directory",)
    Path("pets").mkdir()
    assert problems() == (f"{tmp_path}/pets: expected a folder per class, found none",)
    Path("pets/cats").mkdir(parents=True)
    assert problems() == (f"{tmp_path}/pets: expected a folder per class, found only 'cats'",)
    Path("pets/dogs").mkdir()
    draw(Path("pets/owls/1.png"), (0, 0, 0))
    Path("pets/dogs/a.heic").touch()
    assert problems() == (
        "pets/cats: no pictures in it; it is empty",
        "pets/dogs: no pictures in it; found 1 .heic (pip install pillow-heif reads them)",
    )


def test_classes_of_val_that_training_lacks_are_all_named() -> None:
    folder("pets/train")
    for label in ("cats", "owls", "mice"):
        draw(Path("pets/val", label, "1.png"), (0, 0, 0))
    assert problems() == (
        "pets/val/mice: the training pictures have no class 'mice'",
        "pets/val/owls: the training pictures have no class 'owls'",
    )


def test_val_may_lack_classes_but_not_all() -> None:
    folder("pets/train")
    draw(Path("pets/val/dogs/1.png"), COLOURS["dogs"])
    data = read()
    assert data.val is not None
    assert data.val.targets.tolist() == [1]
    Path("pets/val/dogs/1.png").unlink()
    assert [*problems()] == [
        "pets/val/cats: no pictures in it; it is empty",
        "pets/val/dogs: no pictures in it; it is empty",
    ]


def test_test_pictures_without_classes_are_not_used() -> None:
    folder("pets/train")
    draw(Path("pets/test/1.png"), (0, 0, 0))
    data = read()
    assert sizes(data) == (12, 4, 4)
    assert [note.text for note in data.notes] == ["pets/test: not used, as it has no folder per class"]


def test_splits_with_other_names_are_not_taken_for_classes_without_a_word() -> None:
    folder("pets/training")
    folder("pets/validation", 3)
    data = read()
    assert data.spec.task.names == ("training", "validation")
    [note] = data.notes
    assert note.text == (
        "pets: each of the classes training, validation has the folders cats, dogs; "
        "if these are the classes, call the others train, val and test"
    )


def test_imagenet() -> None:
    for part, each in (("train", 6), ("val", 2)):
        folder(f"data/imagenet/{part}", each)
    config = ImageNetConfig()
    data = config.build(seed=0)
    assert sizes(data) == (12, 4, 0)  # nothing is taken off the training pictures
    assert data.spec.shape == (3, 224, 224)
    assert (data.spec.input.mean, data.spec.input.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert config.size / config.crop_pct == 256  # type: ignore[operator]
    folder("data/imagenet/test", 1)
    assert sizes(config.build(seed=0)) == (12, 4, 2)


def test_imagenet_is_never_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_DATA_DIR", "elsewhere")
    folder("elsewhere/imagenet/train")
    with pytest.raises(DataError) as error:
        ImageNetConfig().build(seed=0)
    assert str(error.value) == (
        f"{tmp_path}/elsewhere/imagenet: expected the folders train and val, in each a folder of pictures per class, "
        "such as train/n01440764; got no such val; ImageNet is never downloaded, see image-net.org"
    )
    with pytest.raises(DataError, match=re.escape("got no such train and val")):
        ImageNetConfig(path="nowhere").build(seed=0)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    Path("pets").write_text("a file")
    assert problems() == (f"data.path: {tmp_path}/pets: not a directory",)
    Path("pets").unlink()
    Path("pets").symlink_to("pets")
    assert problems() == (f"data.path: {tmp_path}/pets: too many levels of symbolic links",)
    [problem] = problems(path="a" * 300)
    assert problem == f"data.path: {tmp_path}/{'a' * 300}: file name too long"
    assert problems(path="a\0b")[0].endswith(": embedded null byte")
    assert problems(path="~nobody-of-that-name/pets") == ("~nobody-of-that-name/pets: there is no such user",)


def test_links_that_lead_back_end(tmp_path: Path) -> None:
    folder(each=5)
    plain = read().digests()
    for number in range(3):  # together, 3 to the power of the depth: without an end
        Path(f"pets/cats/again{number}").symlink_to(tmp_path / "pets" / "cats")
    assert read().digests() == plain
    Path("elsewhere").mkdir()
    draw(Path("elsewhere/lynx.png"), COLOURS["cats"])
    for name in ("x", "y"):  # two ways to one folder
        Path(f"pets/cats/{name}").symlink_to(tmp_path / "elsewhere")
    files = read(val=0, test=None).train.source
    assert isinstance(files, PictureSource)
    assert [name for name in files.names if "lynx" in name] == ["cats/x/lynx.png"]


def test_the_order_of_a_listing_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("B", "a", "Ä", "10", "9", "b/x", "b/Y"):
        for number in range(12):
            draw(Path(f"pets/{name}/{number}.png"), (0, 0, 0))
    first = read()
    assert first.spec.task.names == ("10", "9", "B", "a", "b", "Ä")  # as their bytes
    listdir, scandir, random = os.listdir, os.scandir, Random(0)

    def shuffled(names: list[str]) -> list[str]:
        random.shuffle(names)
        return names

    class ShuffledEntries(ExitStack):
        def __init__(self, path: str) -> None:
            super().__init__()
            self.entries = list(scandir(path))
            random.shuffle(self.entries)

        def __next__(self) -> os.DirEntry[str]:
            if not self.entries:
                raise StopIteration
            return self.entries.pop()

    monkeypatch.setattr(os, "listdir", lambda path: shuffled(listdir(path)))
    monkeypatch.setattr(os, "scandir", ShuffledEntries)
    for _ in range(3):
        again = read()
        assert again.digests() == first.digests()
        assert again.spec == first.spec


def test_classes_that_differ_in_case_alone_are_told() -> None:
    for name in ("Cats", "cats", "dogs"):
        draw(Path(f"pets/{name}/1.png"), COLOURS["cats"])
    assert "data: 'Cats' and 'cats' are two classes, though only upper and lower case differ" in (
        map(str, sample_checks.diagnostics(ImageFolderConfig(path="pets", size=8, val=0, test=None).open(0)))
    )


def test_names_that_are_not_in_utf_8() -> None:
    folder()
    Path("pets/cats").rename(os.fsdecode(b"pets/caf\xe9"))
    spec = read().spec
    assert spec.task.names == (r"caf\udce9", "dogs")
    assert DataSpec.from_plain(json.loads(json.dumps(spec.to_plain()))) == spec


@pytest.mark.parametrize("name", ["val", "valid", "validation", "dev"])
def test_the_val_split_by_any_of_its_names(name: str) -> None:
    folder("pets/train", 6)
    folder(f"pets/{name}", 4)
    data = read()
    assert sizes(data) == (10, 8, 2)  # a fifth of the training pictures for the test
    assert [note.text for note in data.notes] == [
        f"val is the folder pets/{name}; data.val is for sources without one",
    ]
    assert data.found == ()
    config = ImageFolderConfig(path="pets", size=8, val=0.25, rules=1, test=None)
    assert sizes(config.build(0)) == ((12, 8, 0) if name == "val" else (9, 3, 0))  # as before there were the others


def test_the_message_about_a_large_val_split_says_which_it_is() -> None:
    folder("pets/train", 3)
    folder("pets/valid", 10)
    data = ImageFolderConfig(path="pets", size=8, test=None).open(0)
    large = [str(found) for found in sample_checks.diagnostics(data) if found.code == "large-val"]
    assert large == ["data: the val split has 20 samples, more than the 6 to train on"]


def test_what_lies_beside_the_splits_and_the_classes_is_told() -> None:
    folder("pets/train", 6)
    folder("pets/extra", 4)
    folder("pets/dev", 2)
    folder("pets/valid", 2)  # of two names, the first in the order above
    for name in ("train/a.png", "train/.ipynb_checkpoints/b.png", "train/cats/c.heic", "train/cats/d.jfif", "e.txt"):
        draw(Path("pets", Path(name).with_suffix(".png")), (0, 0, 0))
        Path("pets", Path(name).with_suffix(".png")).rename(Path("pets", name))
    data = read()
    assert data.spec.task.names == ("cats", "dogs")
    assert sizes(data) == (10, 4, 3)
    known = "train is called train; val is called val or valid or validation or dev; test is called test"
    assert list(map(str, data.found)) == [
        f"data.path: the folder pets/dev (4 pictures) is not used; {known}",
        f"data.path: the folder pets/extra (8 pictures) is not used; {known}",
        (
            "data.path: 1 picture beside the folders of the classes in pets/train, such as a.png; what has no "
            "class is not used"
        ),
        "data.path: 2 files are not taken for pictures in pets: 1 .heic (pip install pillow-heif reads them), 1 .txt",
    ]
    assert {found.code for found in data.found} == {"unused-files"}
