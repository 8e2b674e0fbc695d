from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainkit.core.errors import DataError
from trainkit.data.base import Data
from trainkit.data.images.caching import CachedSource
from trainkit.data.images.decoding import PictureSource
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources.image_folder import ImageFolderConfig
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.inference.prediction import predict
from trainkit.runs import checkpoint
from trainkit.runs.run import resume, train

COLOURS = {"cats": (200, 40, 30), "dogs": (20, 60, 220)}
CACHED = pytest.mark.parametrize("cache", [False, True])


@pytest.fixture(autouse=True)
def cache_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")


def draw(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (20, 12), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).convert(mode).save(path)


def folder(root: str = "pets", each: int = 10) -> Path:
    for label, colour in COLOURS.items():
        for number in range(each):
            draw(Path(root, label, f"a picture {number}.png"), colour)
    return Path(root)


def cut(name: str) -> None:
    """Leave the header of a picture whole, and half of the rest."""
    Path(name).write_bytes(Path(name).read_bytes()[: Path(name).stat().st_size // 2 + 5])


def read(**options: Any) -> Data:
    return ImageFolderConfig.from_plain({"path": "pets", "size": 8, "val": 0.25, **options}).build(seed=0)


def problems(**options: Any) -> tuple[str, ...]:
    with pytest.raises(DataError) as error:
        read(**options)
    return error.value.problems


def sizes(data: Data) -> tuple[int, int, int]:
    return len(data.train), len(data.val or ()), len(data.test or ())


def experiment(**data: Any) -> ExperimentConfig:
    return ExperimentConfig.from_plain(
        {
            "data": {"name": "image_folder", "path": "pets", "size": 8, "val": 0, "test": None, **data},
            "loader": {"batch_size": 4, "num_workers": 0},
            "model": {"name": "cnn", "channels": [4], "hidden": []},
            "train": {"epochs": 1},
            "log": {"tensorboard": False},
        }
    )


def test_workers_hand_out_the_same_batches() -> None:
    folder()
    data = read()
    batches = []
    for workers in (0, 1):
        loader = LoaderConfig(batch_size=5, num_workers=workers).train_loader(data.train, 3, torch.device("cpu"))
        batches.append([batch.inputs for batch in loader.epoch(1)])
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


def test_the_splits_are_disjoint_and_the_test_split_is_the_same_for_every_seed() -> None:
    folder()
    data, other = (ImageFolderConfig(path="pets", size=8, val=0.25).build(seed) for seed in (0, 1))
    assert sizes(data) == (12, 4, 4)
    assert data.val is not None
    assert data.test is not None
    assert other.test is not None
    assert sorted(torch.cat([data.train.index, data.val.index, data.test.index]).tolist()) == [*range(20)]
    assert torch.equal(data.test.index, other.test.index)
    assert not torch.equal(data.train.index, other.train.index)


@CACHED
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_the_cache_and_on_error_change_nothing_where_all_is_well(cache: bool, on_error: str) -> None:
    folder()
    plain, data = read(), read(cache=cache, on_error=on_error)
    assert data.digests() == plain.digests()
    assert isinstance(data.train.source, CachedSource if cache else PictureSource)
    positions = torch.arange(12)
    assert torch.equal(data.train.take(positions).inputs, plain.train.take(positions).inputs)
    assert [note.level for note in data.notes] == ["info"] * cache  # what the cache took
    assert read(cache=cache, on_error=on_error).notes == ()


@CACHED
def test_files_that_are_no_pictures_are_all_named_before_training(cache: bool) -> None:
    folder()
    Path("pets/cats/a picture 3.png").write_text("hello")
    Path("pets/dogs/empty.JPG").write_bytes(b"")
    assert problems(cache=cache) == (
        "pets/cats/a picture 3.png: not a picture that can be read (it begins with b'hello')",
        "pets/dogs/empty.JPG: not a picture that can be read (the file is empty)",
        "pets: 2 of 21 pictures cannot be read; mend or remove them, or use data.on_error=skip",
    )
    assert not Path("cache").exists()


def test_of_many_the_first_ten_are_named() -> None:
    folder(each=15)
    for number in range(12):
        Path(f"pets/cats/a picture {number}.png").write_text("hello")
    found = problems()
    assert len(found) == 12
    assert found[10:] == (
        "… and 2 more like these",
        "pets: 12 of 30 pictures cannot be read; mend or remove them, or use data.on_error=skip",
    )


def test_a_damaged_picture_ends_the_run_when_it_is_decoded() -> None:
    folder()
    cut("pets/cats/a picture 3.png")
    with pytest.raises(DataError) as error:
        train(experiment())
    assert str(error.value).startswith("pets/cats/a picture 3.png: not a picture that can be read (")
    assert str(error.value).endswith("); data.on_error=skip leaves such pictures out")


@pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_goes_or_changes_during_a_run_is_named(workers: int) -> None:
    folder()
    data = read(val=0, test=None)
    loader = LoaderConfig(batch_size=2, num_workers=workers).train_loader(data.train, 0, torch.device("cpu"))
    assert len(list(loader.epoch(0))) == 10
    Path("pets/dogs/a picture 4.png").write_text("changed")
    with pytest.raises(DataError) as error:
        list(loader.epoch(1))
    advice = "data.on_error=skip leaves such pictures out"
    name = "pets/dogs/a picture 4.png"
    assert error.value.problems == (f"{name}: not a picture that can be read (it begins with b'changed'); {advice}",)
    Path(name).unlink()
    with pytest.raises(DataError) as error:
        list(loader.epoch(2))
    assert error.value.problems == (f"{name}: no such file or directory; {advice}",)


def test_a_run_goes_on_with_the_same_pictures_only() -> None:
    folder()
    directory = train(experiment()).run_dir
    before = Path("pets/dogs/a picture 4.png").read_bytes()
    draw(Path("pets/dogs/a picture 4.png"), (0, 0, 0), size=(300, 200))
    with pytest.raises(DataError, match="the run was trained on other data: train differs"):
        resume(directory, ["train.epochs=2"])
    Path("pets/dogs/a picture 4.png").unlink()
    with pytest.raises(DataError, match="the run was trained on other data: train differs"):
        resume(directory, ["train.epochs=2"])
    Path("pets/dogs/a picture 4.png").write_bytes(before)
    resume(directory, ["train.epochs=2"])


def test_the_cache_finds_damaged_pictures_before_training() -> None:
    folder()
    cut("pets/cats/a picture 3.png")
    for _ in range(2):  # the second time without decoding
        assert problems(cache=True)[-1].startswith("pets: 1 of 20 pictures cannot be read; mend or remove them")


@CACHED
def test_unreadable_pictures_can_be_left_out_of_every_split(cache: bool) -> None:
    for part in ("train", "val", "test"):
        folder(f"pets/{part}", each=3)
        cut(f"pets/{part}/cats/a picture 1.png")
    data = read(on_error="skip", cache=cache)
    assert sizes(data) == (5, 5, 5)
    told = [note.text for note in data.notes if note.level == "warning"]
    assert told[0] == "3 of 18 pictures cannot be read and are left out"
    assert [text.partition(": not")[0] for text in told[1:]] == [
        f"pets/{part}/cats/a picture 1.png" for part in ("train", "val", "test")
    ]
    assert data.test is not None
    batch = data.test.take(torch.arange(5))
    assert batch.targets.tolist() == [0, 0, 1, 1, 1]
    for picture, target in zip(batch.inputs, batch.targets.tolist(), strict=True):
        assert tuple(picture[:, 4, 4].tolist()) == COLOURS[data.spec.task.names[target]]


@CACHED
def test_what_is_left_of_a_folder_has_the_same_fingerprint_as_the_folder_without_the_rest(cache: bool) -> None:
    folder()
    cut("pets/cats/a picture 1.png")
    digests = read(on_error="skip", cache=cache).digests()
    Path("pets/cats/a picture 1.png").unlink()
    assert read().digests() == digests


def test_those_left_out_are_all_told() -> None:
    folder(each=15)
    for number in range(13):
        Path(f"pets/cats/a picture {number}.png").write_text("hello")
    *_, last = read(on_error="skip").notes
    assert last.text.startswith("and 3 more: pets/cats/a picture 7.png: not a picture that can be read (")
    assert last.text.count("; ") == 2


def test_a_class_of_which_nothing_is_left_is_an_error() -> None:
    folder(each=5)
    draw(Path("pets/birds/a.png"), (0, 0, 0))
    cut("pets/birds/a.png")
    *_, last = problems(on_error="skip")
    assert last == "pets: no picture of 'birds' can be read"


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_more_than_half_unreadable_is_an_error_in_any_case(on_error: str) -> None:
    folder(each=2)
    for number in (0, 1):
        Path(f"pets/cats/a picture {number}.png").write_text("hello")
    draw(Path("pets/cats/b.png"), (0, 0, 0))
    Path("pets/dogs/a picture 0.png").write_text("hello")
    *_, last = problems(on_error=on_error)
    assert last == "pets: 3 of 5 pictures cannot be read; are these the pictures that are meant?"


def test_it_learns_and_the_cache_gives_the_same_run() -> None:
    folder()
    plain = experiment(
        normalize="half", stratify=True, val=0.2, test=0.2, augment=["random_horizontal_flip"]
    ).to_plain()
    plain |= {"train": {"epochs": 15}, "optimizer": {"name": "adam", "lr": 1e-2}}
    results = []
    for cache in (False, True):
        plain["data"]["cache"] = cache
        results.append(train(ExperimentConfig.from_plain(plain)).metrics)
    assert results[0] == results[1]
    assert results[0]["test/accuracy"] == 1.0


def deep_folder(root: str = "pets", high: int = 4095, each: int = 10) -> None:
    """Grey pictures of 12 bits: cats are darker than dogs."""
    for label, value in (("cats", high // 4), ("dogs", high // 2)):
        Path(root, label).mkdir(parents=True)
        for number in range(each):
            pixels = np.full((8, 8), value, dtype=np.uint16)
            pixels[0, :2] = 0, high
            Image.fromarray(pixels).save(Path(root, label, f"{number}.png"))


@CACHED
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_twelve_bits_keep_their_grey_levels(cache: bool, on_error: str) -> None:
    deep_folder()
    data = read(cache=cache, on_error=on_error)
    assert data.spec.range == (0.0, 4095.0)
    batch = data.train.take(torch.arange(12))
    for picture, target in zip(batch.inputs, batch.targets.tolist(), strict=True):
        assert picture[:, 4, 4].tolist() == [63 + 64 * target] * 3
    assert data.notes[0].text == (
        "data.range: 12 of 12 training pictures have more than 8 bits a pixel; 0 becomes black and 4095 white, as "
        "measured on 12 of them"
    )
    assert data.found == ()


def test_the_range_is_that_of_the_training_pictures_alone() -> None:
    deep_folder()
    data = read(normalize="auto")
    assert data.val is not None
    for number in data.val.index.tolist():
        pixels = np.full((8, 8), 60_000, dtype=np.uint16)
        Image.fromarray(pixels).save(f"pets/{data.val.source.names[number]}")  # type: ignore[attr-defined]
    again = read(normalize="auto")
    assert again.spec == data.spec
    assert again.val is not None
    assert again.val.take(torch.arange(4)).inputs.unique().tolist() == [255]
    # ... and of a checkpoint the one that its training pictures had
    config = ImageFolderConfig(path="pets", size=8)
    assert config.reopen(0, data.spec.with_input(range=(0, 100))).spec.range == (0, 100)
    with pytest.raises(DataError, match=r"and which values are black and white is not known; see data\.range"):
        config.reopen(0, data.spec.with_input(range=None))


@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_a_cache_from_without_a_range_does_not_hide_deep_pictures(on_error: str) -> None:
    deep_folder(each=10)
    draw(Path("pets", "cats", "shallow.png"), (255, 255, 255))
    draw(Path("pets", "dogs", "shallow.png"), (255, 255, 255))
    options: dict[str, Any] = {"cache": True, "on_error": on_error, "val": 0, "test": None}
    with pytest.raises(DataError, match="which values are black and white is not known"):
        read(**options, range=None)
    for _ in range(2):  # the second time without decoding
        data = read(**options)
        assert data.spec.range == (0.0, 4095.0)
        assert len(data.train) == 22


def test_values_that_are_given_for_other_pictures_count() -> None:
    folder()
    path = train(experiment()).checkpoint
    deep_folder("others")
    with pytest.raises(DataError, match=r"not known; see data\.range"):
        evaluate_checkpoint(path, "train", overrides=["data.path=others"])
    dark, light = (
        evaluate_checkpoint(path, "train", overrides=["data.path=others", f"data.range=[0, {white}]"]).metrics["loss"]
        for white in (65535, 4095)
    )
    assert dark != light


def test_single_pixels_that_decide_over_the_range_are_told() -> None:
    deep_folder()
    pixels = (300 + np.arange(10_000) % 501).astype(np.uint16).reshape(100, 100)
    pixels[0, 0] = 65535
    for number in range(10):
        Image.fromarray(pixels).save(f"pets/cats/{number}.png")
    pixels[0, 0] = 0
    for number in range(10):
        Image.fromarray(pixels).save(f"pets/dogs/{number}.png")
    [found] = read().found
    assert (found.code, found.text) == (
        "range",
        (
            "data.range: of each training picture, all but 0.2% of the pixels lie in 300 to 800, for which 2 of 256 "
            "grey levels are left; try 'data.range=[300.0, 800.0]'"
        ),
    )


def test_a_run_keeps_its_range() -> None:
    deep_folder()
    directory = train(experiment()).run_dir
    stored = checkpoint.load(directory / "checkpoints/last.pt")
    assert stored["spec"]["input"]["range"] == [0, 4095]
    assert stored["config"]["data"]["range"] == "auto"
    resume(directory, ["train.epochs=2"])
    evaluated = evaluate_checkpoint(directory, "train")
    said = [one.answer[0] == one.input.split("/")[1] for one in predict(directory, "pets")]
    assert (evaluated.notes, sum(said) / 20) == ([], evaluated.metrics["accuracy"])


def test_eight_and_sixteen_bits_side_by_side() -> None:
    deep_folder()
    draw(Path("pets/cats/plain.png"), (10, 20, 30))
    data = read(val=0, test=None)
    assert data.train.take(torch.tensor([10])).inputs[0, :, 0, 0].tolist() == [10, 20, 30]
    assert read(val=0, test=None, range=[0, 65535]).train.take(torch.tensor([0])).inputs[0, 0, 4, 4] == 1023 // 256


def test_small_pictures_are_not_enlarged_without_a_word() -> None:
    folder()
    [found] = ImageFolderConfig(path="pets").build(0).found
    assert (found.code, found.text) == (
        "enlarged",
        (
            "data.size: the pictures are 12x20, and are enlarged to the default of 224x224, which is 209 times the "
            "work; write 'data.size=[12, 20]', or data.size=224 where pretrained weights want that"
        ),
    )
    assert ImageFolderConfig(path="pets", size=224).build(0).found == ()
    draw(Path("pets/cats/large.png"), (0, 0, 0), size=(40, 40))
    [found] = ImageFolderConfig(path="pets").build(0).found
    assert "the pictures are about 12x12, and are enlarged" in found.text
    folder("large", 3)
    for path in Path("large").rglob("*.png"):
        draw(path, (0, 0, 0), size=(130, 120))
    assert ImageFolderConfig(path="large").build(0).found == ()


def test_a_whole_picture_is_not_cut() -> None:
    with pytest.raises(ValueError, match="resize: pad keeps the whole picture; use crop_pct: 1 with it"):
        ImageFolderConfig(path="pets", resize="pad", crop_pct=0.9)


def test_transparency_by_way_of_the_config_and_the_cache() -> None:
    for label in ("cats", "dogs"):
        for number in range(5):
            draw(Path(f"pets/{label}/{number}.png"), (0, 0, 0))
            Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(f"pets/{label}/{number}.png")
    for cache in (False, True):
        for background, value in (("white", 255), ("black", 0), ([9, 9, 9], 9), (None, 0)):
            data = read(cache=cache, background=background)
            assert data.train.take(torch.arange(len(data.train))).inputs.unique().tolist() == [value]
