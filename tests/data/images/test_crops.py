from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.conftest import equal
from tests.runs.conftest import stopped
from trainkit.core.errors import ConfigError, DataError
from trainkit.data.base import Data, Split
from trainkit.data.images import crops
from trainkit.data.images.crops import RandomCrops
from trainkit.data.images.decoding import PictureSource
from trainkit.data.loader import LoaderConfig
from trainkit.data.sources.image_folder import ImageFolderConfig
from trainkit.data.transforms.base import SampleRandom
from trainkit.data.transforms.geometric import RandomHorizontalFlip, RandomResizedCrop
from trainkit.experiment.schema import ExperimentConfig
from trainkit.runs import checkpoint
from trainkit.runs.resuming import extended
from trainkit.runs.run import resume, train

CPU = torch.device("cpu")
SIZE = 32

# Torch's remark about two workers on a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")


@pytest.fixture(autouse=True)
def cache_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINKIT_CACHE_DIR", "cache")


def photograph(seed: int, height: int, width: int) -> Image.Image:
    """With a spectrum like that of photographs, and colours that no turn leaves in their places."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    phase = random.normal(size=(3, *frequency.shape, 2)).view(np.complex128)[..., 0]
    field = np.fft.irfft2(phase / frequency**1.4, (height, width))
    levels = 128 + 50 * field / field.std() + np.array([30, 0, -30])[:, None, None] * np.linspace(-1, 1, width)
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0))


def source(*names: str, **options: Any) -> PictureSource:
    targets = torch.arange(len(names))
    return replace(PictureSource(Path(), names, targets, "rgb", SIZE, SIZE), **options)


def cropped(files: PictureSource, scale: tuple[float, float] = (0.08, 1.0), draw: int = 1) -> Tensor:
    made: Tensor = RandomCrops(files, RandomResizedCrop(scale=scale)).take(torch.arange(len(files)), draw).inputs
    return made


def psnr(one: Tensor, other: Tensor) -> float:
    return 10 * float(torch.log10(255**2 / (one.double() - other.double()).square().mean().clamp(min=1e-9)))


@pytest.mark.parametrize("sides", [(60, 80), (300, 400)])
def test_as_of_the_exact_pictures(sides: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Small pictures, and ones that are decoded at a half to an eighth."""
    names = [f"{number}.jpg" for number in range(12)]
    for number, name in enumerate(names):
        photograph(number, *sides).save(name, quality=85, progressive=number % 2 == 0)
    files, index = source(*names), torch.arange(12)
    fast, whole = cropped(files), files.take(index).inputs
    exact, others = (RandomResizedCrop().apply(whole, SampleRandom(index, draw, 0, CPU)) for draw in (1, 2))
    assert psnr(fast, exact) > 28
    assert psnr(fast, others) < 20
    monkeypatch.setattr(crops, "SCALES", ())
    assert psnr(fast, cropped(files)) > (33 if sides == (300, 400) else 100)


@pytest.mark.parametrize("resize", ["crop", "stretch", "pad"])
def test_a_box_of_everything_is_the_picture_brought_to_the_size(resize: Any) -> None:
    names = [f"{turn}.jpg" for turn in range(1, 9)]
    for turn, name in enumerate(names, 1):
        exif = Image.Exif()
        exif[0x0112] = turn
        photograph(turn, 60, 90).save(name, quality=95, exif=exif)
    files = source(*names, resize=resize)
    made, expected = cropped(files, (1, 1)), files.decode(range(8))[0]

    for one, other in zip(made, expected, strict=True):
        assert psnr(one, other) > 30


def test_the_same_pixels_from_both_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("simplejpeg")
    names = [f"{number}.jpg" for number in range(6)]
    for number, name in enumerate(names):
        photograph(number, 70 * (number + 1), 50 * (number + 1)).save(
            name, quality=60 + 5 * number, subsampling=number % 3
        )
    files = source(*names)
    ours = cropped(files)
    monkeypatch.setattr(crops, "_simplejpeg", lambda: None)
    assert torch.equal(cropped(files), ours)


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("a.png", "RGB"),
        ("a.png", "P"),
        ("a.png", "L"),
        ("a.png", "I;16"),
        ("a.png", "RGBA"),
        ("a.jpg", "L"),
        ("a.jpg", "CMYK"),
    ],
)
def test_others_are_brought_to_the_size_first(name: str, mode: str) -> None:
    picture = photograph(0, 60, 80)
    deep = Image.fromarray(np.asarray(picture.convert("L")).astype(np.uint16) * 250)
    (deep if mode == "I;16" else picture.convert(mode)).save(name)
    files = source(name, limits=(0.0, 65535.0))
    Image.fromarray(files.pixels([0])[0]).save("fitted.png")
    assert torch.equal(cropped(files), cropped(source("fitted.png")))
    assert torch.equal(cropped(files, (1, 1)), files.take(torch.tensor([0])).inputs)


def test_draws_depend_on_the_sample_and_the_draw_alone() -> None:
    names = [f"{number}.jpg" for number in range(6)]
    for name in names:
        photograph(0, 60, 80).save(name)
    made = RandomCrops(source(*names), RandomResizedCrop(), RandomHorizontalFlip())
    all_six = made.take(torch.arange(6), 3).inputs
    assert len({one.numpy().tobytes() for one in all_six}) == 6
    index = torch.tensor([5, 1])
    assert torch.equal(made.take(index, 3).inputs, all_six[index])
    assert not torch.equal(made.take(index, 4).inputs, all_six[index])
    again = made.take(torch.tensor([5, 5]), 3, torch.tensor([0, 1])).inputs
    assert torch.equal(again[0], all_six[5])
    assert not torch.equal(again[1], all_six[5])
    assert torch.equal(
        RandomCrops(made.pictures, made.crop, RandomHorizontalFlip(p=1)).take(index, 3).inputs.flip(-1),
        RandomCrops(made.pictures, made.crop).take(index, 3).inputs,
    )


def folder(each: int = 10) -> None:
    for label in ("cats", "dogs"):
        Path("pets", label).mkdir(parents=True)
        for number in range(each):
            photograph(number, 60, 80).save(f"pets/{label}/{number}.jpg")


def config(**options: Any) -> ImageFolderConfig:
    augment = ["random_resized_crop", "random_horizontal_flip"]
    return ImageFolderConfig.from_plain({"path": "pets", "size": SIZE, "augment": augment, "decode": "fast", **options})


def training(**options: Any) -> tuple[Data, Split]:
    data = config(**options).open(0)
    return data, config(**options).for_training(data.train)[0]


@pytest.mark.parametrize("cache", [False, True])
def test_workers_hand_out_the_same_batches(cache: bool) -> None:
    folder()
    _, split = training(cache=cache)
    assert isinstance(split.source, RandomCrops)
    batches = []
    for workers in (0, 2):
        loader = LoaderConfig(batch_size=5, num_workers=workers).train_loader(split, 3, CPU)
        batches.append([batch.inputs for batch in loader.epoch(1)])
    assert all(torch.equal(one, other) for one, other in zip(*batches, strict=True))


def test_cached_ones_are_cut_out_of_what_is_cached() -> None:
    folder()
    data, split = training(cache=True)
    assert isinstance(split.source, RandomCrops)
    whole = replace(split.source, crop=RandomResizedCrop(scale=(1, 1)), flip=None)
    positions = torch.arange(len(data.train))
    assert torch.equal(replace(split, source=whole).take(positions).inputs, data.train.take(positions).inputs)


@pytest.mark.parametrize("cache", [False, True])
def test_all_but_training_is_exact(cache: bool) -> None:
    folder()
    fast, exact = config(cache=cache).open(0), config(decode="exact").open(0)
    assert fast.digests() == exact.digests()
    for name, split in exact.splits.items():
        positions = torch.arange(len(split))
        assert torch.equal(fast.split(name).take(positions).inputs, split.take(positions).inputs)


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({}, []),
        (
            {"augment": ["random_resized_crop", "random_vertical_flip", "random_horizontal_flip"]},
            ["random_vertical_flip", "random_horizontal_flip"],
        ),
        ({"augment": ["random_horizontal_flip", "random_resized_crop"]}, None),
        ({"augment": []}, None),
        ({"decode": "exact"}, None),
    ],
)
def test_what_is_done_in_decoding(options: dict[str, Any], left: list[str] | None) -> None:
    folder(4)
    data = config(**options).open(0)
    split, augment = config(**options).for_training(data.train)
    if left is None:
        assert split is data.train
        assert augment == config(**options).augment
    else:
        assert [transform.name for transform in augment] == left


def test_a_damaged_picture_is_refused() -> None:
    folder()
    data, split = training(val=0, test=None)
    path = Path("pets/cats/3.jpg")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError) as error:
        split.source.take(torch.arange(20), 1)
    with pytest.raises(DataError) as exact:
        data.train.take(torch.arange(20))
    assert str(error.value) == str(exact.value)


def experiment(**data: Any) -> ExperimentConfig:
    return ExperimentConfig.from_plain(
        {
            "data": {**config(**data).to_plain(), "val": 4},
            "loader": {"batch_size": 4},
            "model": {"name": "cnn", "channels": [4], "hidden": []},
            "train": {"epochs": 2},
            "log": {"tensorboard": False},
        }
    )


@pytest.mark.parametrize("cache", [False, True])
def test_stop_and_resume_equals_no_stop(cache: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    folder()
    whole = train(experiment(cache=cache), run_dir=Path("whole"))
    stopped(experiment(cache=cache), 2, Path("parts"), monkeypatch)
    again = resume(Path("parts"), ["loader.num_workers=0"])
    one, other = (checkpoint.load(path / "checkpoints/last.pt")["model"] for path in (whole.run_dir, again.run_dir))
    assert equal(one, other)
    exact = train(experiment(cache=cache, decode="exact"), run_dir=Path("exact"))
    assert not equal(one, checkpoint.load(exact.run_dir / "checkpoints/last.pt")["model"])


def test_a_resumed_run_keeps_what_its_crops_are_cut_out_of() -> None:
    with pytest.raises(ConfigError) as error:
        extended(experiment(), ["data.cache=true"])
    assert str(error.value) == "command line: data.cache differs (stored false, given true); start a new run"
    assert extended(experiment(decode="exact"), ["data.cache=true"]).data.cache  # type: ignore[attr-defined]
