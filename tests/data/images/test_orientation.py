from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from trainkit.data.images.orientation import orientation, shown_size


def save(turn: int, *, behind_pixels: bool) -> None:
    """A PNG whose EXIF is written by Pillow, or behind the pixels as ExifTool does."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (12, 20), dtype=np.uint8))
    if not behind_pixels:
        picture.save("a.png", exif=exif)
        return
    picture.save("a.png")
    content, text = Path("a.png").read_bytes(), exif.tobytes().removeprefix(b"Exif\0\0")
    checksum = zlib.crc32(b"eXIf" + text).to_bytes(4)
    Path("a.png").write_bytes(content[:-12] + len(text).to_bytes(4) + b"eXIf" + text + checksum + content[-12:])


@pytest.mark.parametrize("behind_pixels", [False, True])
@pytest.mark.parametrize("turn", [1, 3, 6])
def test_a_png_is_turned_as_it_is_decoded(turn: int, behind_pixels: bool) -> None:
    save(turn, behind_pixels=behind_pixels)
    with Image.open("a.png") as picture:
        assert (orientation(picture), shown_size(picture)) == (turn, (20, 12) if turn == 6 else (12, 20))
        assert ImageOps.exif_transpose(picture).size == ((12, 20) if turn == 6 else (20, 12))


def test_a_png_without_a_word_is_not_decoded_for_it() -> None:
    Image.fromarray(np.zeros((12, 20), dtype=np.uint8)).save("a.png")
    with Image.open("a.png") as picture:
        assert orientation(picture) == 1
        assert picture.fp is not None  # Pillow closes the file once it has read the pixels
        assert not np.asarray(picture).any()
