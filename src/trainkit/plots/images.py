"""Pictures with words under them, drawn on white so that they are readable on any page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from trainkit.plots.figures import Legend, Tile

WHITE, INK = (255, 255, 255), (32, 33, 36)
RIGHT, WRONG = (24, 128, 56), (197, 34, 31)

SIDE = 112
"""Small pictures are enlarged to about so many pixels, without smoothing."""
LARGEST_SIDE = 144
COLUMNS = 8
GAP = 8
LINE = 16
TITLE = 26
BETWEEN = 3
"""Pixels between a picture and what stands beside it."""
SWATCH = 10


def spread(values: Tensor) -> Tensor:
    """Any numbers as shades from black, the smallest, to white; uint8 of the same shape."""
    low, high = values.amin(), values.amax()
    return ((values - low) / (high - low).clamp(min=1e-12)).mul(255).round().byte()


def sheet(title: str, tiles: Sequence[Tile], columns: int = COLUMNS, legend: Legend = ()) -> Image.Image:
    """Pictures of the same size side by side, row by row, and what their colours mean."""
    pictures = [joined([_scaled(picture) for picture in (tile.picture, *tile.beside)]) for tile in tiles]
    columns = max(1, round(columns / (1 + len(tiles[0].beside))))
    width, height = pictures[0].size
    across, down = width + 2 * GAP, height + 2 * GAP + LINE * (2 if any(tile.predicted for tile in tiles) else 1)
    font, bottom = _font(12), math.ceil(len(tiles) / columns) * down
    places = list(_flow([name for name, _ in legend], columns * across, font))
    canvas, draw = _titled(title, columns * across, bottom + (places[-1][1] + LINE + GAP if places else 0))
    for (name, color), (x, y) in zip(legend, places, strict=True):
        y += TITLE + bottom
        draw.rectangle((x, y + 2, x + SWATCH, y + 2 + SWATCH), color)
        draw.text((x + SWATCH + 4, y), _fitted(name, columns * across - x - SWATCH - 4, font), INK, font)
    for index, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        x, y = index % columns * across + GAP, index // columns * down + GAP + TITLE
        color = INK
        if tile.wrong is not None:
            color = WRONG if tile.wrong else RIGHT
            draw.rectangle((x - 3, y - 3, x + width + 2, y + height + 2), color)
        canvas.paste(picture, (x, y))
        mark = "" if tile.wrong is None else "✗ " if tile.wrong else "✓ "
        y += height + 4
        draw.text((x - 3, y), _fitted(tile.label, width + 6, font), INK, font)
        room = width + 6 - font.getlength(f" {tile.confidence}")
        draw.text((x - 3, y + LINE), _fitted(mark + tile.predicted, room, font), color, font)
        draw.text((x + width + 3, y + LINE), tile.confidence, color, font, "ra")
    return canvas


def joined(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures of one height as one, from left to right."""
    if len(images) == 1:
        return images[0]
    width, height = images[0].size
    row = Image.new("RGB", (len(images) * (width + BETWEEN) - BETWEEN, height), WHITE)
    for place, image in enumerate(images):
        row.paste(image, (place * (width + BETWEEN), 0))
    return row


def _flow(names: Sequence[str], width: float, font: ImageFont.FreeTypeFont) -> Iterator[tuple[float, int]]:
    """Where the entries of a legend begin, as many in a line as there is room for."""
    x, y = float(GAP), 0
    for name in names:
        length = SWATCH + 4 + font.getlength(name) + 2 * GAP
        if x > GAP and x + length > width:
            x, y = GAP, y + LINE
        yield x, y
        x += length


def _titled(title: str, width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A white page with room for what is to be drawn below its title."""
    canvas = Image.new("RGB", (width, height + TITLE), WHITE)
    draw = ImageDraw.Draw(canvas)
    draw.text((5, 6), _fitted(title, width - 10, _font(13)), INK, _font(13))
    return canvas, draw


def as_image(picture: Tensor) -> Image.Image:
    """From uint8, shape (1 or 3, height, width)."""
    array = picture.movedim(0, -1).numpy()
    return Image.fromarray(array if array.shape[2] == 3 else array[:, :, 0])


def _scaled(picture: Tensor) -> Image.Image:
    image = as_image(picture)
    longest = max(image.size)
    if longest > LARGEST_SIDE:
        image.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
        return image
    times = max(1, round(SIDE / longest))
    return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)


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
