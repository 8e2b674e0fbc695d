"""Pictures with words under them, and confusion matrices, drawn on white so that they are readable on any page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainkit.data import DataSpec

Color = tuple[int, int, int]

WHITE, EMPTY, INK, GRAY = (255, 255, 255), (241, 243, 244), (32, 33, 36), (95, 99, 104)
RIGHT, WRONG = (24, 128, 56), (197, 34, 31)
BLUE, RED = (25, 103, 210), (217, 48, 37)

SIDE = 112
"""Small pictures are enlarged to about so many pixels, without smoothing."""
LARGEST_SIDE = 144
COLUMNS = 8
GAP = 8
LINE = 16
TITLE = 26


@dataclass(frozen=True, slots=True)
class Tile:
    """One picture of a sheet."""

    picture: Tensor
    """uint8, shape (1 or 3, height, width)."""
    truth: str
    """What it is; stands under it."""
    said: str = ""
    """What the model says that it is."""
    sure: str = ""
    """How sure the model is."""
    wrong: bool | None = None
    """Frames it green or red, with a mark for those who cannot tell the two apart."""


def pixels(inputs: Tensor, spec: DataSpec) -> Tensor:
    """The pictures that a model's inputs were made of: normalisation undone, three channels or one.

    Args:
        inputs: shape (batch, channels, height, width).

    Returns:
        uint8, shape (batch, 1 or 3, height, width), on the CPU.
    """
    mean, std = (
        torch.tensor(values or none).view(-1, 1, 1) for values, none in ((spec.mean, (0.0,)), (spec.std, (1.0,)))
    )
    pictures = (inputs.float().cpu() * std + mean).clamp(0, 1).mul(255).round().byte()
    return pictures[:, : 3 if pictures.shape[1] >= 3 else 1]


def spread(values: Tensor) -> Tensor:
    """Any numbers as shades from black, the smallest, to white; uint8 of the same shape."""
    low, high = values.amin(), values.amax()
    return ((values - low) / (high - low).clamp(min=1e-12)).mul(255).round().byte()


def sheet(title: str, tiles: Sequence[Tile], columns: int = COLUMNS) -> Image.Image:
    """Pictures of the same size side by side, row by row."""
    pictures = [_scaled(tile.picture) for tile in tiles]
    width, height = pictures[0].size
    across, down = width + 2 * GAP, height + 2 * GAP + LINE * (2 if any(tile.said for tile in tiles) else 1)
    canvas, draw = _titled(title, columns * across, math.ceil(len(tiles) / columns) * down)
    font = _font(12)
    for place, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        x, y = place % columns * across + GAP, place // columns * down + GAP + TITLE
        color = INK
        if tile.wrong is not None:
            color = WRONG if tile.wrong else RIGHT
            draw.rectangle((x - 3, y - 3, x + width + 2, y + height + 2), color)
        canvas.paste(picture, (x, y))
        mark = "" if tile.wrong is None else "✗ " if tile.wrong else "✓ "
        y += height + 4
        draw.text((x - 3, y), _fitted(tile.truth, width + 6, font), INK, font)
        room = width + 6 - font.getlength(f" {tile.sure}")
        draw.text((x - 3, y + LINE), _fitted(mark + tile.said, room, font), color, font)
        draw.text((x + width + 3, y + LINE), tile.sure, color, font, "ra")
    return canvas


def confusion_picture(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> Image.Image:
    """A confusion matrix, a row for every true class. Blue: the share that is right; red: the mistakes."""
    size = len(counts)
    cell = next((side for most, side in ((12, 48), (24, 36), (48, 20), (128, 14), (256, 4)) if size <= most), 2)
    font = _font(12)
    names = [_fitted(name, 160, font) for name in names] if cell > 4 else [""] * size  # no room for any
    longest = round(max(map(font.getlength, names)))
    left = longest + 2 * GAP
    top = TITLE + (longest + GAP if longest > cell else LINE) + GAP
    canvas, draw = _titled(title, max(left + size * cell + GAP, 560), top - TITLE + size * cell + GAP)
    for place, name in enumerate(names):
        middle = (place + 0.5) * cell
        draw.text((left - 6, top + middle), name, INK, font, "rm")
        if longest > cell:
            _draw_upwards(canvas, (left + middle, top - 6), name, font)
        else:
            draw.text((left + middle, top - 4), name, INK, font, "md")
    draw.rectangle((left, top, left + size * cell - 2, top + size * cell - 2), EMPTY)
    gap = 2 if cell > 4 else 1
    for line in range(1, size) if cell > 4 else ():
        x, y = left + line * cell - 1, top + line * cell - 1
        draw.line((x, top, x, top + size * cell), WHITE)
        draw.line((left, y, left + size * cell, y), WHITE)
    for row, column, strength in _strengths(counts):
        x, y, text = left + column * cell, top + row * cell, str(counts[row][column])
        draw.rectangle((x, y, x + cell - gap, y + cell - gap), _mixed(BLUE if row == column else RED, strength))
        if cell >= 20 and font.getlength(text) < cell - 2:
            draw.text((x + cell / 2 - 1, y + cell / 2 - 1), text, WHITE if strength > 0.6 else INK, font, "mm")
    return canvas


def _strengths(counts: Sequence[Sequence[int]]) -> Iterator[tuple[int, int, float]]:
    """Row, column and strength of colour of what is not 0: shares of a row; of mistakes, beside the commonest one."""
    totals = [max(sum(row), 1) for row in counts]
    found = [(row, column, count / totals[row]) for row, line in enumerate(counts) for column, count in enumerate(line)]
    commonest = max((share for row, column, share in found if row != column), default=1.0)
    for row, column, share in found:
        if share:
            yield row, column, share if row == column else 0.8 * math.sqrt(share / commonest)


def _titled(title: str, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white page with room for what is to be drawn below its title."""
    canvas = Image.new("RGB", (width, height + TITLE), WHITE)
    draw = ImageDraw.Draw(canvas)
    draw.text((5, 6), _fitted(title, width - 10, _font(13)), INK, _font(13))
    return canvas, draw


def _scaled(picture: Tensor) -> Image.Image:
    array = picture.movedim(0, -1).numpy()
    image = Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])
    longest = max(image.size)
    if longest > LARGEST_SIDE:
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        return image
    times = max(1, round(SIDE / longest))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


def _draw_upwards(canvas: Image.Image, at: tuple[float, float], text: str, font: ImageFont.FreeTypeFont) -> None:
    """Text turned by a quarter, the middle of its beginning at a place."""
    words = Image.new("L", (round(font.getlength(text)) + 2, LINE))
    ImageDraw.Draw(words).text((0, LINE / 2), text, 255, font, "lm")
    turned = words.rotate(90, expand=True)
    canvas.paste(INK, (round(at[0] - LINE / 2), round(at[1]) - turned.height), turned)


def _mixed(color: Color, strength: float) -> Color:
    """A colour on white."""
    red, green, blue = (round(255 + (part - 255) * strength) for part in color)
    return red, green, blue


def _fitted(text: str, width: float, font: ImageFont.FreeTypeFont) -> str:
    """As much of a text as there is room for."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans out of matplotlib's files, without its slow import: Pillow's own font knows only ASCII."""
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)
