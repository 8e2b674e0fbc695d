from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms import v2

from tests.data.transforms.test_geometric import CPU, labelled, smooth
from trainkit.config import registry
from trainkit.core.errors import DataError
from trainkit.data import Batch, DataSpec, TargetSpec
from trainkit.data.base import Split, TensorSource
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.sources.dataset_source import DatasetSource
from trainkit.data.sources.sklearn import DigitsConfig
from trainkit.data.transforms.geometric import RandomHorizontalFlip
from trainkit.data.transforms.normalize import Normalize, Preset, measured, presets, statistics
from trainkit.data.transforms.pipeline import fitted, preparation

CLASSES = TargetSpec(kind="classification", size=10)


def spec(shape: tuple[int, ...] = (1, 8, 8), normalize: Preset | Normalize = "none") -> DataSpec:
    mean, std = statistics(normalize, shape[0])
    return DataSpec(shape=shape, target=CLASSES, image=True, mean=mean, std=std)


def test_mnist_black_and_white() -> None:
    prepare = preparation(spec((1, 1, 2), "mnist"), (), 0, CPU)
    batch = Batch(torch.tensor([[[[0, 255]]]], dtype=torch.uint8), torch.zeros(1), torch.zeros(1, dtype=torch.int64))
    assert prepare(batch, None).inputs.flatten().tolist() == pytest.approx([-0.4242, 2.8215], abs=5e-5)


@pytest.mark.parametrize("preset", ["mnist", "cifar10", "imagenet", "half", "none"])
def test_normalisation_equals_torchvision(preset: Preset) -> None:
    channels = 1 if preset == "mnist" else 3
    inputs = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, channels, 1, 1)
    steps: list[torch.nn.Module] = [v2.ToDtype(torch.float32, scale=True)]
    if preset != "none":
        steps.append(v2.Normalize(*statistics(preset, channels)))
    expected = v2.Compose(steps)(inputs)
    shape = (channels, 16, 16)
    prepared = preparation(spec(shape, preset), (), 0, CPU)(Batch(inputs, torch.zeros(1), torch.zeros(1)), None)
    assert prepared.inputs.dtype == torch.float32
    torch.testing.assert_close(prepared.inputs, expected, atol=1e-6, rtol=0)


def test_half_maps_to_plus_minus_one() -> None:
    assert statistics("half", 3) == ((0.5,) * 3, (0.5,) * 3)
    assert statistics(Normalize(mean=0.1, std=(0.2, 0.3)), 2) == ((0.1, 0.1), (0.2, 0.3))
    assert statistics("none", 3) == ((), ())


def test_every_preset_has_a_value_per_channel_or_one() -> None:
    for name, normalize in presets.items():
        for values in (normalize.mean, normalize.std):
            assert not isinstance(values, tuple) or len(values) == 3, name


def test_wrong_number_of_values() -> None:
    message = r"^data.normalize: cifar10: mean has 3 values, the images have 1 channel; use data.normalize=auto$"
    with pytest.raises(DataError, match=message):
        DigitsConfig(normalize="cifar10").spec()
    with pytest.raises(DataError, match=r"^data.normalize: std has 2 values, the images have 3 channels$"):
        statistics(Normalize(mean=0.5, std=(0.5, 0.5)), 3)


def test_other_inputs_pass_unchanged() -> None:
    prepare = preparation(DataSpec(shape=(4,), target=CLASSES), (), 0, CPU)
    batch = Batch(torch.randn(3, 4), torch.arange(3), torch.arange(3))
    assert all(torch.equal(a, b) for a, b in zip(prepare(batch, 0)[:3], batch[:3], strict=True))


def test_transforms_are_for_images() -> None:
    with pytest.raises(DataError, match=r"^data.augment: random_horizontal_flip is for images, the data has none$"):
        preparation(DataSpec(shape=(4,), target=CLASSES), (RandomHorizontalFlip(),), 0, CPU)


def test_the_same_transform_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the same transform twice"):
        DigitsConfig.from_plain({"augment": ["random_crop", {"name": "random_crop", "padding": 1}]})


def source(pictures: Tensor) -> Split:
    return Split(TensorSource(pictures, torch.zeros(len(pictures), dtype=torch.int64)), torch.arange(len(pictures)))


@pytest.mark.parametrize("channels", [1, 3])
def test_measured_statistics_are_exact(channels: int) -> None:
    pictures = smooth(350, (channels, 13, 17))
    mean, std = measured(source(pictures), channels)
    exact = pictures.double().transpose(0, 1).flatten(1) / 255
    assert mean == pytest.approx(exact.mean(1).tolist(), abs=1e-12)
    assert std == pytest.approx(exact.std(1, correction=0).tolist(), abs=1e-12)
    prepared = preparation(spec((channels, 13, 17), Normalize(mean=mean, std=std)), (), 0, CPU)(
        labelled(pictures), None
    )
    flat = prepared.inputs.transpose(0, 1).flatten(1)
    torch.testing.assert_close(flat.mean(1), torch.zeros(channels), atol=1e-5, rtol=0)
    torch.testing.assert_close(flat.std(1), torch.ones(channels), atol=1e-4, rtol=0)


def test_statistics_are_of_the_channels_that_the_model_sees() -> None:
    pictures = smooth(20)
    grey = fitted(pictures, (1, 20, 28))
    assert measured(source(pictures), 1) == measured(source(grey), 1)
    mean, std = measured(source(grey), 3)
    assert (mean[:1] * 3, std[:1] * 3) == (mean, std)


def test_a_channel_that_is_the_same_everywhere_is_not_divided_by_nothing() -> None:
    assert measured(source(torch.full((3, 1, 4, 4), 51, dtype=torch.uint8)), 1) == ((0.2,), (1.0,))


def test_auto_measures_the_training_split_when_the_data_is_opened() -> None:
    config = DigitsConfig(normalize="auto", val=0.5)
    assert (config.spec().mean, config.spec().std) == ((), ())
    data = config.open(0)
    taken = data.train.take(torch.arange(len(data.train))).inputs.double() / 255
    assert data.spec.mean == pytest.approx([taken.mean().item()], abs=1e-12)
    assert data.spec.std == pytest.approx([taken.std(correction=0).item()], abs=1e-12)
    assert data.spec.target.samples == len(data.train)  # what open measures else is still there
    assert config.open(0).spec == data.spec
    assert config.open(1).spec.mean != data.spec.mean
    assert DataSpec.from_plain(data.spec.to_plain()) == data.spec


class Counted(Dataset[Any]):
    """Pictures that say when they are read."""

    def __init__(self) -> None:
        self.targets = [number % 2 for number in range(5000)]
        self.read: list[int] = []

    def __len__(self) -> int:
        return 5000

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        self.read.append(number)
        return torch.full((1, 2, 2), number % 256, dtype=torch.uint8), self.targets[number]


def test_of_what_must_be_decoded_a_thousand_samples_are_measured() -> None:
    dataset = Counted()
    split = Split(DatasetSource(dataset, "classification", "stack"), torch.arange(3000))
    dataset.read.clear()
    first = measured(split, 1)
    assert len(set(dataset.read)) == len(dataset.read) == 1000
    assert max(dataset.read) < 3000
    assert first[0][0] == pytest.approx(0.5, abs=0.03)
    assert measured(split, 1) == first


def test_pictures_that_are_decoded_already_are_measured_as_if_they_were_not() -> None:
    class Cached(TensorSource):
        pass

    dataset = Counted()
    pictures = torch.stack([dataset[number][0] for number in range(3000)])
    cached = Split(Cached(pictures, torch.tensor(dataset.targets[:3000])), torch.arange(3000))
    decoded = Split(DatasetSource(dataset, "classification", "stack"), torch.arange(3000))
    assert measured(cached, 1) == measured(decoded, 1) != measured(source(pictures), 1)


def test_auto_for_files(tmp_path: Path) -> None:
    for label, value in (("a", 100), ("b", 140)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for n in range(5):
            Image.new("RGB", (9, 7), (value, value + 10, n)).save(tmp_path / "pictures" / label / f"{n}.png")
    options = {"path": str(tmp_path / "pictures"), "size": 8, "normalize": "auto", "val": 0, "test": None}
    config = registry.find("data", "image_folder").model_validate(options)
    assert isinstance(config, ImageDataConfig)
    data = config.open(0)
    assert data.spec.mean == pytest.approx((120 / 255, 130 / 255, 2 / 255))
    assert data.spec.std == pytest.approx((20 / 255, 20 / 255, 2**0.5 / 255))


@pytest.mark.parametrize("shape", [(3, 32, 32), (3, 10, 14), (3, 40, 20), (1, 17, 33), (3, 20, 28), (1, 20, 28)])
def test_fitting_covers_and_cuts_around_the_centre(shape: tuple[int, int, int]) -> None:
    pictures = smooth(6)  # (3, 20, 28)
    channels, height, width = shape
    factor = max(height / 20, width / 28)
    steps = v2.Compose([
        *([v2.Grayscale()] if channels == 1 else []),
        v2.Resize([round(20 * factor), round(28 * factor)], antialias=True),
        v2.CenterCrop([height, width]),
    ])  # fmt: skip
    found = fitted(pictures, shape)
    assert (found.shape, found.dtype) == ((6, *shape), torch.uint8)
    assert int((found.int() - steps(pictures).int()).abs().max()) <= 2  # torchvision rounds grey values down


def test_grey_pictures_become_rgb() -> None:
    grey = smooth(3, (1, 8, 8))
    assert torch.equal(fitted(grey, (3, 8, 8)), grey.repeat(1, 3, 1, 1))
    enlarged = fitted(grey, (3, 16, 16))
    assert torch.equal(enlarged, fitted(grey, (1, 16, 16)).repeat(1, 3, 1, 1))


def test_pictures_have_the_specs_shape_before_the_random_transforms() -> None:
    batch = labelled(smooth(8))
    prepare = preparation(spec((1, 12, 12)), (RandomHorizontalFlip(p=1),), 0, CPU)
    expected = fitted(batch.inputs, (1, 12, 12))
    torch.testing.assert_close(prepare(batch, None).inputs, expected / 255)
    torch.testing.assert_close(prepare(batch, 0).inputs, expected.flip(-1) / 255)


def test_fitting_is_the_same_for_any_batch() -> None:
    pictures = smooth(20)
    whole = fitted(pictures, (3, 33, 21))
    assert torch.equal(torch.cat([fitted(part, (3, 33, 21)) for part in pictures.split(7)]), whole)
