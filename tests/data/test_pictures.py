from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from trainkit.data.base import Data
from trainkit.data.loading import LoaderConfig
from trainkit.data.pictures import ImageFolderConfig, ImageTxtConfig
from trainkit.errors import DataError
from trainkit.experiment import ExperimentConfig
from trainkit.run import train

COLOURS = {"cats": (200, 40, 30), "dogs": (20, 60, 220)}


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 12), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def folder(root: str = "pets", each: int = 10) -> Path:
    for label, colour in COLOURS.items():
        for number in range(each):
            draw(Path(root, label, f"a picture {number}.png"), colour)
    return Path(root)


def read(**options: Any) -> Data:
    return ImageFolderConfig.from_plain({"path": "pets", "size": 8, "val": 0.25, **options}).build(seed=0)


def test_a_folder_per_class() -> None:
    folder()
    data = read()
    assert data.spec.target.names == ("cats", "dogs")
    assert data.spec.shape == (3, 8, 8)
    assert data.val is not None
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (12, 4, 4)
    batch = data.train.take(torch.arange(len(data.train)))
    assert batch.inputs.dtype == torch.uint8
    for picture, target in zip(batch.inputs, batch.targets.tolist(), strict=True):
        assert tuple(picture[:, 4, 4].tolist()) == COLOURS[data.spec.target.names[target]]


def test_splits_that_are_there_are_used() -> None:
    for part, each in (("train", 6), ("val", 2), ("test", 3)):
        folder(f"pets/{part}", each)
    data = read()
    assert data.val is not None
    assert data.test is not None
    assert (len(data.train), len(data.val), len(data.test)) == (12, 4, 6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_mode_of_picture_is_decoded(mode: str) -> None:
    ending = "tif" if mode == "CMYK" else "png"
    for label in COLOURS:
        draw(Path("pets", label, f"a.{ending}"), COLOURS[label], (5, 40), mode)
    for wanted, channels in (("rgb", 3), ("grey", 1)):
        data = read(mode=wanted, val=0, test=None, size=[6, 10])
        assert data.train.take(torch.arange(2)).inputs.shape == (2, channels, 6, 10)


def test_workers_hand_out_the_same_batches() -> None:
    folder()
    data = read()
    batches = []
    for workers in (0, 1):
        loader = LoaderConfig(batch_size=5, num_workers=workers).train_loader(data.train, 3, torch.device("cpu"))
        batches.append([batch.inputs for batch in loader.epoch(1)])
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


def test_labels_in_a_text_file() -> None:
    folder()
    lines = [f"{label}/a picture {n}.png {label[:3]}" for label in COLOURS for n in range(10)]
    Path("labels.txt").write_text("# name label\n\n" + "\n".join(lines) + "\n")
    data = ImageTxtConfig(path="pets", labels="labels.txt", size=8).build(seed=0)
    assert data.spec.target.names == ("cat", "dog")
    assert len(data.train) + len(data.val or ()) + len(data.test or ()) == 20


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("alone", "labels.txt:2: expected 'name label', got 'alone'"),
        ("cats/a picture 0.png cat", "labels.txt:2: 'cats/a picture 0.png' stands there twice"),
        ("cats/none.png cat", "labels.txt:2: no picture pets/cats/none.png"),
    ],
)
def test_bad_label_lines_are_named(line: str, message: str) -> None:
    folder(each=1)
    Path("labels.txt").write_text(f"cats/a picture 0.png cat\n{line}\n")
    with pytest.raises(DataError) as error:
        ImageTxtConfig(path="pets", labels="labels.txt").build(seed=0)
    assert error.value.problems == (message,)


def test_folders_that_will_not_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path}/pets: no such file or directory"):
        read()
    Path("pets/cats").mkdir(parents=True)
    with pytest.raises(DataError, match="expected a folder per class, found 1"):
        read()
    Path("pets/dogs").mkdir()
    with pytest.raises(DataError, match="pets/cats: no pictures in it"):
        read()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_cannot_be_read_ends_the_run_with_its_path(workers: int) -> None:
    folder()
    Path("pets/cats/a picture 3.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    experiment = ExperimentConfig.from_plain(
        {
            "data": {"name": "image_folder", "path": "pets", "size": 8, "val": 0, "test": None},
            "loader": {"num_workers": workers},
            "model": "mlp",
            "log": {"tensorboard": False},
        }
    )
    with pytest.raises(DataError) as error:
        train(experiment)
    assert str(error.value).startswith("pets/cats/a picture 3.png: not a picture that can be read (")
    assert "\n" not in str(error.value)


def test_it_learns() -> None:
    folder()
    plain = {
        "data": {"name": "image_folder", "path": "pets", "size": 8, "normalize": "half", "stratify": True},
        "loader": {"batch_size": 4, "num_workers": 0},
        "model": {"name": "cnn", "channels": [4], "hidden": []},
        "train": {"epochs": 15},
        "optimizer": {"name": "adam", "lr": 1e-2},
        "log": {"tensorboard": False},
    }
    assert train(ExperimentConfig.from_plain(plain)).metrics["test/accuracy"] == 1.0
