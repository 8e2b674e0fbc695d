from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tests.data.transforms.test_geometric import CPU, labelled, smooth
from tests.data.transforms.test_pipeline import spec
from trainkit.config import registry
from trainkit.core.errors import DataError
from trainkit.data import DataSpec
from trainkit.data.base import Split, TensorSource
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.sources.dataset_source import DatasetSource
from trainkit.data.sources.sklearn import DigitsConfig
from trainkit.data.transforms.normalize import Normalize, measured, presets, statistics
from trainkit.data.transforms.pipeline import fitted, preparation


def source(pictures: Tensor) -> Split:
    return Split(TensorSource(pictures, torch.zeros(len(pictures), dtype=torch.int64)), torch.arange(len(pictures)))


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
    assert (config.spec().input.mean, config.spec().input.std) == ((), ())
    data = config.open(0)
    taken = data.train.take(torch.arange(len(data.train))).inputs.double() / 255
    assert data.spec.input.mean == pytest.approx([taken.mean().item()], abs=1e-12)
    assert data.spec.input.std == pytest.approx([taken.std(correction=0).item()], abs=1e-12)
    assert data.spec.task.samples == len(data.train)  # what open measures else is still there
    assert config.open(0).spec == data.spec
    assert config.open(1).spec.input.mean != data.spec.input.mean
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
    assert data.spec.input.mean == pytest.approx((120 / 255, 130 / 255, 2 / 255))
    assert data.spec.input.std == pytest.approx((20 / 255, 20 / 255, 2**0.5 / 255))
