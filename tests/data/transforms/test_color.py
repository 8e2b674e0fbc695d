from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from tests.data.transforms.test_geometric import CPU, distance, draws, smooth, spec
from trainkit.core.errors import DataError
from trainkit.data.transforms.color import ColorJitter, luma, with_channels
from trainkit.data.transforms.pipeline import preparation


def test_luma_is_pillows_grey() -> None:
    picture = smooth(1, (3, 64, 64))
    expected = np.array(Image.fromarray(picture[0].permute(1, 2, 0).numpy()).convert("L"))
    assert distance(with_channels(picture, 1)[0, 0], torch.from_numpy(expected)) <= 1
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    assert torch.equal(with_channels(with_channels(grey, 3), 1), grey)
    assert luma(torch.tensor([255, 0, 0]).view(1, 3, 1, 1)).item() == pytest.approx(0.299 * 255)


def test_channels_that_lead_nowhere() -> None:
    with pytest.raises(DataError, match=r"^data: pictures with 4 channels among pictures with 3$"):
        with_channels(torch.zeros(1, 4, 2, 2, dtype=torch.uint8), 3)


@pytest.mark.parametrize(
    ("key", "jitter", "low", "high"),
    [
        ("brightness", 0.4, 0.6, 1.4),
        ("brightness", 2.0, 0.0, 3.0),
        ("contrast", 0.5, 0.5, 1.5),
        ("contrast", (0.2, 0.4), 0.2, 0.4),
        ("saturation", 0.7, 0.3, 1.7),
        ("hue", 0.5, -0.5, 0.5),
        ("hue", (0.1, 0.2), 0.1, 0.2),
    ],
)
def test_each_jitter_equals_torchvision(key: str, jitter: float | tuple[float, float], low: float, high: float) -> None:
    pictures = smooth(60)
    found = ColorJitter.model_validate({key: jitter}).apply(pictures, draws(60))
    factors = draws(60)(key, low, high).tolist()
    assert low <= min(factors) < low + (high - low) * 0.1
    assert high >= max(factors) > low + (high - low) * 0.9
    adjust = getattr(reference, f"adjust_{key}")
    for picture, factor, one in zip(pictures, factors, found, strict=True):
        assert distance(one, adjust(picture, factor)) <= 2  # it rounds grey values and results down


def test_grey_pictures() -> None:
    pictures = smooth(40, (1, 20, 20))
    found = ColorJitter(brightness=(0.9, 0.9), contrast=0.5).apply(pictures, draws(40))
    factors = draws(40)("contrast", 0.5, 1.5).tolist()
    for picture, factor, one in zip(pictures, factors, found, strict=True):
        darker = reference.adjust_brightness(picture, 0.9)
        assert distance(one, reference.adjust_contrast(darker, factor)) <= 3  # torchvision rounds down in between


def test_the_four_come_one_after_the_other() -> None:
    pictures = smooth(40)
    jitter = ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    expected = list(pictures)
    for key, half in (("brightness", 0.2), ("contrast", 0.2), ("saturation", 0.2), ("hue", 0.1)):
        middle = 0 if key == "hue" else 1
        factors = draws(40)(key, middle - half, middle + half).tolist()
        adjust = getattr(reference, f"adjust_{key}")
        expected = [adjust(one, factor) for one, factor in zip(expected, factors, strict=True)]
    assert distance(jitter.apply(pictures, draws(40)), torch.stack(expected)) <= 5


def test_colours_without_hue_stay_without() -> None:
    grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(5, 3, -1, -1)
    assert torch.equal(ColorJitter(hue=0.5, saturation=0.9).apply(grey, draws(5)), grey)


def test_grey_has_neither_hue_nor_saturation() -> None:
    for key, jitter in (("hue", 0.1), ("saturation", (0.5, 1.5))):
        with pytest.raises(DataError) as caught:
            preparation(spec((1, 8, 8)), (ColorJitter.model_validate({key: jitter}),), 0, CPU)
        assert str(caught.value) == f"data.augment: color_jitter: grey images have no {key} to change; leave it out"
    preparation(spec((1, 8, 8)), (ColorJitter(brightness=0.1, hue=0, saturation=0),), 0, CPU)
    with pytest.raises(DataError, match=r"color_jitter is for .* 1 or 3 channels \(grey or RGB\), the images have 4$"):
        preparation(spec((4, 8, 8)), (ColorJitter(brightness=0.1),), 0, CPU)
