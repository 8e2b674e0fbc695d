from __future__ import annotations

import pytest
import torch

from trainkit.data import DataSpec
from trainkit.data.inputs import Pictures
from trainkit.plots import images
from trainkit.plots.figures import Tile
from trainkit.plots.images import sheet
from trainkit.tasks import Classification


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_pixels_undo_the_normalisation(channels: int, shown: int) -> None:
    raw = torch.randint(256, (5, channels, 4, 6), dtype=torch.uint8)
    mean, std = (0.1, 0.2, 0.3, 0.4)[:channels], (0.5, 0.6, 0.7, 0.8)[:channels]
    target = Classification(size=2)
    spec = DataSpec(input=Pictures(shape=(channels, 4, 6), mean=mean, std=std), task=target)
    inputs = (raw / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    assert torch.equal(spec.input.pixels(inputs), raw[:, :shown])
    bare = DataSpec(input=Pictures(shape=(channels, 4, 6)), task=target)
    assert torch.equal(bare.input.pixels(raw / 255), raw[:, :shown])
    assert torch.equal(
        bare.input.pixels(torch.full((1, channels, 4, 6), 7.0)).unique(), torch.tensor([255], dtype=torch.uint8)
    )


def test_sheets_of_any_size() -> None:
    small = [Tile(torch.zeros(1, 28, 28, dtype=torch.uint8), "a" * 100, "b" * 100, "99%", True)]
    assert sheet("title", small).size == (8 * 128, images.TITLE + 128 + 2 * images.LINE)
    large = [Tile(torch.zeros(3, 300, 600, dtype=torch.uint8), "größer")] * 9
    assert sheet("title", large).size == (8 * 160, images.TITLE + 2 * (72 + 2 * images.GAP + images.LINE))


def test_pictures_beside_a_tile_and_a_legend() -> None:
    """Each tile is as wide as its three pictures, and the legend stands below them."""
    from trainkit.plots.images import BETWEEN, GAP, LINE

    picture, red = torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(3, 28, 28, dtype=torch.uint8)
    red[0] = 255
    tiles = [Tile(picture, "7", beside=(red, red))] * 4
    plain, drawn = sheet("", tiles), sheet("", tiles, legend=[("red", (255, 0, 0)), ("black", (0, 0, 0))])
    side = 112
    assert plain.width == 3 * (3 * side + 2 * BETWEEN + 2 * GAP)  # of 8 columns, 3 of three pictures each
    assert drawn.width == plain.width
    assert drawn.height == plain.height + LINE + GAP
    assert plain.getpixel((GAP + side // 2, plain.height // 4)) == (0, 0, 0)
    assert plain.getpixel((GAP + BETWEEN + side + side // 2, plain.height // 4)) == (255, 0, 0)
    assert drawn.getpixel((GAP + 4, plain.height + 6)) == (255, 0, 0)


def test_a_legend_takes_as_many_lines_as_it_needs() -> None:
    picture = torch.zeros(1, 28, 28, dtype=torch.uint8)
    entries = [(f"class number {number}", (number, 0, 0)) for number in range(40)]
    few = sheet("", [Tile(picture, "7")], legend=entries[:1])
    many = sheet("", [Tile(picture, "7")], legend=entries)
    assert many.width == few.width
    assert many.height > few.height + 4 * 16
