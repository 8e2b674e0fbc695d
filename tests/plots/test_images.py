from __future__ import annotations

import pytest
import torch

from trainkit.data import DataSpec, TargetSpec
from trainkit.plots import images
from trainkit.plots.images import Tile, pixels, sheet


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_pixels_undo_the_normalisation(channels: int, shown: int) -> None:
    raw = torch.randint(256, (5, channels, 4, 6), dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3, 0.4)[:channels], (0.5, 0.6, 0.7, 0.8)[:channels]
    target = TargetSpec(kind="classification", size=2)
    spec = DataSpec(shape=(channels, 4, 6), target=target, image=True, mean=mean, std=std)
    inputs = (raw / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert torch.equal(pixels(inputs, spec), raw[:, :shown])
    bare = DataSpec(shape=(channels, 4, 6), target=target, image=True)
    assert torch.equal(pixels(raw / 255, bare), raw[:, :shown])
    assert torch.equal(
        pixels(torch.full((1, channels, 4, 6), 7.0), bare).unique(), torch.tensor([255], dtype=torch.uint8)
    )


def test_sheets_of_any_size() -> None:
    small = [Tile(torch.zeros(1, 28, 28, dtype=torch.uint8), "a" * 100, "b" * 100, "99%", True)]
    assert sheet("title", small).size == (8 * 128, images.TITLE + 128 + 2 * images.LINE)
    large = [Tile(torch.zeros(3, 300, 600, dtype=torch.uint8), "größer")] * 9
    assert sheet("title", large).size == (8 * 160, images.TITLE + 2 * (72 + 2 * images.GAP + images.LINE))
