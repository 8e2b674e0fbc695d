from __future__ import annotations

import os
import resource
import signal
import struct
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from trainkit.data import decoding
from trainkit.data.decoding import PictureSource, Unreadable, decode_all, find_foreign
from trainkit.errors import DataError, StorageError, WorkerError

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def source(*names: str, mode: str = "rgb", height: int = 8, width: int = 8, crop_pct: float = 1.0) -> PictureSource:
    assert mode in ("rgb", "grey")
    targets = torch.zeros(len(names), dtype=torch.int64)
    return PictureSource(Path(), names, targets, mode, height, width, crop_pct)  # type: ignore[arg-type]


def decoded(name: str, mode: str = "rgb", height: int = 8, width: int = 8, crop_pct: float = 1.0) -> torch.Tensor:
    return source(name, mode=mode, height=height, width=width, crop_pct=crop_pct).take(torch.tensor([0])).inputs[0]


def half(name: str) -> None:
    """Cut a file in two: its header stays whole."""
    Path(name).write_bytes(Path(name).read_bytes()[: Path(name).stat().st_size // 2])


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1", "YCbCr"])
def test_every_mode_of_picture_is_decoded(mode: str) -> None:
    name = "a.tif" if mode in ("CMYK", "YCbCr") else "a.png"
    Image.new("RGB", (5, 40), (200, 40, 30)).convert(mode).save(name)
    for wanted, channels in (("rgb", 3), ("grey", 1)):
        pixels = decoded(name, wanted, 6, 10)
        assert pixels.shape == (channels, 6, 10)
        assert pixels.dtype == torch.uint8
        assert pixels.is_contiguous()


def test_a_palette_with_transparency_keeps_its_colours() -> None:
    picture = Image.new("P", (8, 8), 1)
    picture.putpalette([0, 0, 0, 10, 20, 30])
    picture.save("a.png", transparency=bytes([0, 128]))
    assert decoded("a.png")[:, 0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_sixteen_bits_become_eight(name: str) -> None:
    Image.fromarray(np.full((8, 8), 0x80FF, dtype=np.uint16)).save(name)
    assert decoded(name, "grey").unique().tolist() == [0x80]
    assert decoded(name).unique().tolist() == [0x80]


def test_content_counts_and_not_the_name() -> None:
    Image.fromarray(NOISE).save("a.png")
    Path("a.png").rename("a.jpg")
    Image.fromarray(NOISE).save("b.png")
    assert torch.equal(decoded("a.jpg"), decoded("b.png"))


def test_a_single_pixel_fills_the_picture() -> None:
    Image.new("RGB", (1, 1), (7, 8, 9)).save("a.png")
    assert decoded("a.png", height=3, width=5).flatten(1).unique(dim=1).tolist() == [[7], [8], [9]]


def test_floating_point_pixels_are_refused() -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.float32)).save("a.tif")
    with pytest.raises(DataError, match=r"a\.tif: its pixels are floating-point numbers, whose range is not known"):
        decoded("a.tif")


def test_the_camera_s_orientation_is_followed() -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # turned to the left
    picture = Image.new("RGB", (20, 10))
    picture.paste((250, 250, 250), (0, 0, 10, 10))
    picture.save("a.jpg", exif=exif, quality=100)
    pixels = decoded("a.jpg", height=20, width=10)
    assert pixels[:, :8].min() > 240
    assert pixels[:, 12:].max() < 10


def test_odd_metadata_says_nothing() -> None:
    exif = Image.Exif()
    exif[0x112] = 1
    data = bytearray(exif.tobytes())
    data[12] = 200  # more entries than there are
    Image.new("RGB", (8, 8)).save("a.jpg", exif=bytes(data))
    with pytest.warns(UserWarning, match="Corrupt EXIF"), Image.open("a.jpg") as picture:
        picture.getexif()
    decoded("a.jpg")


def test_the_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    frames[0].save("a.gif", save_all=True, append_images=frames[1:])
    assert decoded("a.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_crop_pct_scales_and_cuts_the_centre() -> None:
    Image.fromarray(NOISE).save("a.png")
    whole = ImageOps.fit(Image.fromarray(NOISE), (16, 16), Image.Resampling.BILINEAR)
    assert torch.equal(decoded("a.png", height=16, width=16), torch.from_numpy(np.array(whole)).permute(2, 0, 1))
    # shorter side 32 = 16 / 0.5, then 16 of it
    scaled = Image.fromarray(NOISE).resize((48, 32), Image.Resampling.BILINEAR).crop((16, 8, 32, 24))
    expected = torch.from_numpy(np.array(scaled)).permute(2, 0, 1)
    found = decoded("a.png", height=16, width=16, crop_pct=0.5)
    assert (found.int() - expected.int()).abs().max() <= 1


def test_the_digest_tells_sizes_and_crops_apart() -> None:
    Image.fromarray(NOISE).save("a.png")
    sources = [source("a.png"), source("a.png", width=9), source("a.png", mode="grey"), source("a.png", crop_pct=0.9)]
    assert len({one.digest() for one in sources}) == 4


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jpg", b"<!DOCTYPE html><p>404", "not a picture that can be read (it begins with b'<!DOCTYPE html><')"),
        ("a.png", b"", "not a picture that can be read (the file is empty)"),
        ("none.png", None, "no such file or directory"),
        ("loop.png", Path("loop.png"), "too many levels of symbolic links"),
    ],
)
def test_what_is_no_picture_is_found_by_its_first_bytes(name: str, content: bytes | Path | None, reason: str) -> None:
    if isinstance(content, Path):
        Path(name).symlink_to(content)
    elif content is not None:
        Path(name).write_bytes(content)
    Image.fromarray(NOISE).save("good.png")
    both = source("good.png", name)
    assert find_foreign(both) == {1: reason}
    assert both.decode([0, 1])[1] == {1: reason}
    with pytest.raises(DataError) as error:
        both.take(torch.tensor([0, 1]))
    assert error.value.problems == (f"{name}: {reason}; data.on_error=skip leaves such pictures out",)


def test_pictures_of_too_many_pixels_are_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "MAX_PIXELS", 2000)
    Image.fromarray(NOISE).save("a.png")
    assert source("a.png").decode([0])[1] == {0: "60x40 pixels are more than 2,000"}
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # Pillow's own limit, which is an error at its double
    assert "exceeds limit of 2000 pixels" in source("a.png").decode([0])[1][0]


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def test_a_header_that_promises_too_much_costs_nothing() -> None:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    Path("a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    tracemalloc.start()
    [reason] = source("a.png").decode([0])[1].values()
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert reason.startswith("not a picture that can be read (Image size (2500000000 pixels) exceeds limit")


def test_what_has_no_end_is_not_read() -> None:
    os.mkfifo("pipe.png")
    Path("zero.png").symlink_to("/dev/zero")
    Path("folder.png").mkdir()
    assert find_foreign(source("pipe.png", "zero.png", "folder.png")) == {
        0: "is not a regular file",
        1: "is not a regular file",
        2: "is a directory",
    }


def test_too_many_open_files_are_not_the_picture_s_fault() -> None:
    Image.fromarray(NOISE).save("a.png")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(StorageError, match=r"^a\.png: too many open files$"):
            decoded("a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_what_is_damaged_further_in_is_found_by_decoding(name: str) -> None:
    Image.fromarray(NOISE).save(name)
    half(name)
    pixels, unreadable = source(name).decode([0])
    assert pixels.shape == (0, 3, 8, 8)
    assert unreadable[0].startswith("not a picture that can be read (")


@pytest.mark.parametrize("count", [5, 300])  # here, and in worker processes
def test_all_are_decoded_in_their_order_without_those_that_fail(count: int) -> None:
    names = [f"{number}.png" for number in range(count)]
    for number, name in enumerate(names):
        Image.new("L", (2, 2), number % 251).save(name)
    half("3.png")
    chunks = list(decode_all(source(*names, mode="grey", height=120, width=150)))
    assert len(chunks) > 1 or count == 5
    expected = [number % 251 for number in range(count) if number != 3]
    assert torch.cat([pixels for pixels, _ in chunks])[:, 0, 0, 0].tolist() == expected
    assert [number for _, failed in chunks for number in failed] == [3]


class Deadly(PictureSource):
    def decode(self, numbers: Sequence[int]) -> tuple[torch.Tensor, Unreadable]:
        if 100 in numbers:
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.zeros(len(numbers), *self.shape, dtype=torch.uint8), {}


def test_a_killed_worker_is_told() -> None:
    deadly = Deadly(Path(), ["a.png"] * 300, torch.zeros(300, dtype=torch.int64), "grey", 8, 8)
    with pytest.raises(WorkerError, match=r"^worker killed by signal 9 \(out of memory\?\); use a smaller loader"):
        list(decode_all(deadly))
