from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.data.images.test_decoding import chunk
from trainkit.data.images.decoding import PictureSource
from trainkit.data.images.headers import read, sizes_of, spread_of


def source(*names: str) -> PictureSource:
    return PictureSource(Path(), names, torch.zeros(len(names), dtype=torch.int64), "grey", 8, 8)


def tiff_with_16_bits_a_colour() -> bytes:
    """Of one pixel."""
    start = 8 + 2 + 8 * 12 + 4
    fields = {256: 1, 257: 1, 258: start, 262: 2, 273: start + 6, 277: 3, 278: 1, 279: 6}
    entries = [struct.pack("<HHII", key, *((3, 3) if key == 258 else (4, 1)), value) for key, value in fields.items()]
    return (
        b"II*\0" + struct.pack("<IH", 8, 8) + b"".join(entries) + bytes(4) + struct.pack("<3H", 16, 16, 16) + bytes(6)
    )


def test_the_depth_is_told_by_the_header() -> None:
    deep = np.arange(64, dtype=np.uint16).reshape(8, 8)
    for name in ("deep.png", "deep.tif", "deep.ppm"):
        Image.fromarray(deep).save(name)
    for name in ("a.png", "a.jpg", "a.gif", "a.bmp", "a.webp", "a.tif", "a.pgm", "a.avif"):
        Image.fromarray(deep.astype(np.uint8)).save(name)
    Image.fromarray(deep.astype(np.float32)).save("float.tif")
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(7)))
    Path("colour.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    Path("colour.tif").write_bytes(tiff_with_16_bits_a_colour())
    Path("text.png").write_text("hello")
    names = sorted(path.name for path in Path().iterdir())
    found = read(source(*names))
    assert [names[number] for number in found.deep] == ["deep.png", "deep.ppm", "deep.tif", "float.tif"]
    assert [names[number] for number in found.truncated] == ["colour.png", "colour.tif"]
    assert [names[number] for number in found.unreadable] == ["text.png"]


def test_sizes_and_spread_leave_out_what_cannot_be_read() -> None:
    Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 100).save("a.png")
    Path("b.png").write_text("hello")
    assert sizes_of(source("a.png", "b.png"), [0, 1]) == [(2, 3)]
    found = spread_of(source("a.png", "b.png"), [0, 1])
    assert found is not None
    assert found.limits == (0.0, 500.0)
    assert spread_of(source("b.png"), [0]) is None
