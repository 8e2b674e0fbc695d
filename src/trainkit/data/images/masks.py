"""Mask files: the values, palettes and sizes that they hold, read once into memory at the size of their pictures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from trainkit.data import workers
from trainkit.data.images.bit_depth import is_deep
from trainkit.data.images.decoding import PictureSource, UnreadableError, opened, quiet
from trainkit.data.images.orientation import LYING, orientation

RGB = tuple[int, int, int]
IGNORED = 255
"""What a mask in memory holds where nothing counts."""
LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF", "HEIF")
"""Formats that change values, or may."""
SHOWN = 5
"""Values or colours in a message."""
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What Pillow does to a picture with this EXIF orientation."""


class WrongMaskError(UnreadableError):
    """A mask that can be read, but not used with its picture."""


@dataclass(slots=True)
class MaskFile:
    """What one file holds, at its own size."""

    size: tuple[int, int]
    """Width and height, as the picture is shown."""
    pixels: dict[int, int]
    """How many pixels have each value that occurs."""
    palette: bytes | None = None
    """Red, green and blue of each value; None for grey ones."""

    def colour(self, value: int) -> RGB:
        """Of a value in the palette; what it does not have is black."""
        red, green, blue = (self.palette or b"")[3 * value : 3 * value + 3] or b"\0\0\0"
        return red, green, blue


@dataclass(slots=True)
class Masks:
    """Those of some pictures."""

    paths: Sequence[Path]
    values: Tensor
    """At the size of the pictures, shape (n, height, width), uint8; the padding is not marked yet."""
    files: dict[int, MaskFile] = field(default_factory=dict)
    """Of those that could be used, by their indices."""
    unreadable: dict[int, str] = field(default_factory=dict)
    """Why others cannot be read."""
    wrong: dict[int, str] = field(default_factory=dict)
    """What is wrong with others."""

    @property
    def by_path(self) -> dict[Path, MaskFile]:
        """What is in the files that could be used."""
        return {self.paths[index]: file for index, file in self.files.items()}

    def of_classes(self, table: Mapping[int, int], pictures: PictureSource) -> Tensor:
        """Values replaced by classes, in place. What the table does not have, the padding, and pixels of a tile that
        belong to another are `IGNORED`."""
        lookup = np.full(256, IGNORED, dtype=np.uint8)
        for value, number in table.items():
            lookup[value] = number
        rows = self.values.numpy()
        for index, file in self.files.items():
            rows[index] = lookup[rows[index]]
            if (uncounted := pictures.uncounted(index, file.size)) is not None:
                rows[index][uncounted] = IGNORED
        return self.values


def occurring(files: Iterable[MaskFile]) -> set[int]:
    """All values in some masks."""
    return {value for file in files for value in file.pixels}


@dataclass(frozen=True, slots=True)
class ColourTable:
    """Which classes the colours of masks stand for."""

    classes: Mapping[RGB, int]
    ignored: RGB | None

    def values(self, picture: Image.Image) -> NDArray[np.uint8]:
        """The classes of the pixels.

        Raises:
            WrongMaskError: there are other colours.
        """
        red, green, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(np.int32), 2, 0)
        codes = (red << 16) + (green << 8) + blue
        known = {_code(colour): number for colour, number in self.classes.items()}
        if self.ignored is not None:
            known[_code(self.ignored)] = IGNORED
        ordered = sorted(known)
        places = np.searchsorted(np.array(ordered), codes).clip(max=len(ordered) - 1)
        unknown = np.array(ordered)[places] != codes
        if unknown.any():
            others, counts = np.unique(codes[unknown], return_counts=True)
            most = [[int(code) >> 16, int(code) >> 8 & 255, int(code) & 255] for code in others[counts.argsort()[::-1]]]
            raise WrongMaskError(
                f"{int(unknown.sum()):,} pixels of colours that data.classes does not have: {shown(most)}"
            )
        classes: NDArray[np.uint8] = np.array([known[code] for code in ordered], dtype=np.uint8)[places]
        return classes


def _code(colour: RGB) -> int:
    red, green, blue = colour
    return (red << 16) + (green << 8) + blue


def shown(values: Sequence[object]) -> str:
    """The first of several values."""
    return ", ".join(map(str, values[:SHOWN])) + (", …" if len(values) > SHOWN else "")


def read(pictures: PictureSource, names: Sequence[str], colours: ColourTable | None) -> Masks:
    """Read the masks of pictures, several at a time, and bring each to its picture's size, or cut it into its tiles.

    Args:
        names: of the masks, below the root of the pictures.
        colours: what the colours of masks stand for; None where values or palettes tell the class.
    """
    paths = [pictures.root / name for name in names]
    masks = Masks(paths, torch.full((len(names), pictures.height, pictures.width), IGNORED, dtype=torch.uint8))
    rows = masks.values.numpy()
    palettes: dict[bytes, bytes] = {}  # most are equal: one of each is kept

    def into_memory(same: Sequence[int]) -> MaskFile | UnreadableError | WrongMaskError:
        try:
            values, palette = _values(paths[same[0]], colours)
            turned = _turned(values, pictures.path(same[0]))
        except (UnreadableError, WrongMaskError) as error:
            return error
        for index in same:
            rows[index] = np.asarray(pictures.fitted(index, turned, Image.Resampling.NEAREST, padding=IGNORED))
        counts = np.bincount(values.ravel(), minlength=256)
        pixels = {value: int(counts[value]) for value in counts.nonzero()[0].tolist()}
        return MaskFile(turned.size, pixels, palette and palettes.setdefault(palette, palette))

    with quiet(), ThreadPoolExecutor(min(workers.cores(), 8)) as pool:
        files = [list(same) for _, same in groupby(range(len(names)), names.__getitem__)]
        for same, found in zip(files, pool.map(into_memory, files), strict=True):
            if isinstance(found, MaskFile):
                masks.files |= dict.fromkeys(same, found)
            else:
                wrong = masks.wrong if isinstance(found, WrongMaskError) else masks.unreadable
                wrong |= dict.fromkeys(same, str(found))
    return masks


def _values(path: Path, colours: ColourTable | None) -> tuple[NDArray[np.uint8], bytes | None]:
    """The values of a mask's pixels, shape (height, width), and its palette if it has one."""
    with opened(path) as mask:
        if mask.format in LOSSY:
            raise WrongMaskError(f"a mask in {mask.format}, which changes values; save masks as PNG")
        if colours is not None:
            return colours.values(mask), None
        if mask.mode == "P":
            values = np.asarray(mask)
            return values, bytes(mask.getpalette("RGB") or ())
        if mask.mode == "1":  # as a PNG says it, the values are black and white
            return np.asarray(mask.convert("L")), None
        values = np.asarray(mask)
        if is_deep(mask):
            low, high = values.min(), values.max()
            if not 0 <= low <= high <= 255 or mask.mode == "F":
                raise WrongMaskError(f"its values go from {low:,} to {high:,}; masks hold whole numbers from 0 to 255")
            return values.astype(np.uint8), None
        if mask.mode != "L":
            raise WrongMaskError(
                f"its pixels are {mask.mode}, a class is one number; save it as grey or indexed PNG, or say which "
                f"colour is which class, such as data.classes={{sky: {list(_first_colour(mask))}, …}}"
            )
        return values, None


def _first_colour(mask: Image.Image) -> RGB:
    red, green, blue = np.asarray(mask.convert("RGB"))[0, 0].tolist()
    return red, green, blue


def _turned(values: NDArray[np.uint8], path: Path) -> Image.Image:
    """A mask as its picture is shown: where a camera has stored that one turned, the sizes tell what the mask is like.

    Raises:
        WrongMaskError: it has another size, or may be turned or not.
    """
    mask = Image.fromarray(values)
    try:
        with opened(path) as picture:
            stored, turn = picture.size, orientation(picture)
            tiff = picture.format == "TIFF"  # of which Pillow swaps the sides by itself
    except UnreadableError:  # which is told of the picture itself
        return mask
    if turn not in TURNS:
        if mask.size != stored:
            raise WrongMaskError(f"{_sides(mask.size)} pixels, but the picture {path} has {_sides(stored)}")
        return mask
    if tiff or turn not in LYING or stored[0] == stored[1]:
        raise WrongMaskError(
            f"the picture {path} is shown turned (EXIF orientation {turn}), and whether its mask is for that "
            "cannot be told; save the picture as it is shown"
        )
    if mask.size == stored:
        return mask.transpose(TURNS[turn])
    if mask.size != stored[::-1]:
        shown = _sides(stored[::-1])
        raise WrongMaskError(f"{_sides(mask.size)} pixels, but the picture {path} is shown with {shown}")
    return mask


def _sides(size: tuple[int, int]) -> str:
    width, height = size
    return f"{height}x{width}"
