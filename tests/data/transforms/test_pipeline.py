from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from tests.data.transforms.test_geometric import CPU, labelled, smooth
from trainkit.core.errors import DataError
from trainkit.data import Batch, DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.data.sources.sklearn import DigitsConfig
from trainkit.data.transforms.geometric import RandomHorizontalFlip
from trainkit.data.transforms.normalize import Normalize, Preset, statistics
from trainkit.data.transforms.pipeline import fitted, preparation
from trainkit.tasks import Classification

CLASSES = Classification(size=10)


def spec(shape: tuple[int, ...] = (1, 8, 8), normalize: Preset | Normalize = "none") -> DataSpec:
    mean, std = statistics(normalize, shape[0])
    return DataSpec(input=Pictures(shape=shape, mean=mean, std=std), task=CLASSES)


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


def test_other_inputs_pass_unchanged() -> None:
    prepare = preparation(DataSpec(input=Numbers(shape=(4,)), task=CLASSES), (), 0, CPU)
    batch = Batch(torch.randn(3, 4), torch.arange(3), torch.arange(3))
    assert all(torch.equal(a, b) for a, b in zip(prepare(batch, 0)[:3], batch[:3], strict=True))


def test_transforms_are_for_images() -> None:
    with pytest.raises(DataError, match=r"^data.augment: random_horizontal_flip is for images, the data has none$"):
        preparation(DataSpec(input=Numbers(shape=(4,)), task=CLASSES), (RandomHorizontalFlip(),), 0, CPU)


def test_the_same_transform_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="the same transform twice"):
        DigitsConfig.from_plain({"augment": ["random_crop", {"name": "random_crop", "padding": 1}]})


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
