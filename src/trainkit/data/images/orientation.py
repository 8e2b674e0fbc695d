"""How a camera or a scanner has stored a picture: turned, or as it is shown."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

LYING = (5, 6, 7, 8)
"""With these EXIF orientations, a picture's height and width are swapped."""
TEXTS = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
"""Chunks of a PNG that may say how it is turned."""


def orientation(picture: Image.Image) -> int:
    """What EXIF says of it; 1 where it is stored as it is shown."""
    # Pillow would decode a whole PNG to see whether EXIF follows the pixels, as ExifTool writes it.
    if isinstance(picture, PngImageFile) and "exif" not in picture.info and not _may_say_more(picture):
        return 1
    return int(picture.getexif().get(ExifTags.Base.Orientation, 1))


def _may_say_more(picture: PngImageFile) -> bool:
    """Whether there are chunks in a file that may hold EXIF or XMP."""
    file = picture.fp
    assert file is not None
    pixels = file.tell()
    file.seek(8)  # behind the signature
    try:
        while len(start := file.read(8)) == 8:
            if start[4:] in TEXTS:
                return True
            file.seek(int.from_bytes(start[:4]) + 4, os.SEEK_CUR)  # and its checksum
        return False
    finally:
        file.seek(pixels)


def stored_size(picture: Image.Image) -> tuple[int, int]:
    """Width and height of a picture in its file: of a TIFF, Pillow (from 11.0 on) gives those that it is shown with."""
    if isinstance(picture, TiffImageFile):
        return picture.tag_v2[ExifTags.Base.ImageWidth], picture.tag_v2[ExifTags.Base.ImageLength]
    return picture.size


def shown_size(picture: Image.Image) -> tuple[int, int]:
    """Height and width of a picture as it is shown."""
    width, height = stored_size(picture)
    return (width, height) if orientation(picture) in LYING else (height, width)


def upright(pixels: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Stored pixels of shape (height, width, …) as they are shown, given what `orientation` says; a view of them."""
    if turn in LYING:
        pixels = pixels.swapaxes(0, 1)
    if turn in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if turn in (2, 3, 6, 7) else pixels


def is_scrambled(picture: Image.Image) -> bool:
    """Whether Pillow (from 11.0 on) would take the rows of a turned TIFF for as long as they are to become."""
    is_raw = isinstance(picture, TiffImageFile) and bool(picture.tile) and picture.tile[0][0] == "raw"
    return is_raw and picture.size != stored_size(picture)
