"""Decoding of picture files to tensors: one picture, a batch, or all of them to see which cannot be read.

One file, since all of it is what becomes of a file on its way to a batch; formats and their oddities lie beside it.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from pydantic import Field
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from trainkit.core import nest
from trainkit.core.errors import DataError, StorageError, os_error_text
from trainkit.core.tiling import Patch
from trainkit.data import workers
from trainkit.data.base import Batch, Source
from trainkit.data.images.bit_depth import eight_bits, is_deep, white_is_zero
from trainkit.data.images.image_files import HEIF
from trainkit.data.images.orientation import is_scrambled
from trainkit.data.paths import no_file

MAX_PIXELS = 100_000_000

Level = Annotated[int, Field(ge=0, le=255)]
Colour = Literal["white", "black"] | tuple[Level, Level, Level]
Resize = Literal["crop", "pad", "stretch", "tile"]

NO_LIMITS = "has more than 8 bits a pixel, and which values are black and white is not known"

Unreadable = dict[int, str]
"""Why pictures cannot be read, by their indices in the source."""


class UnreadableError(Exception):
    """A picture that cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Files that are decoded when they are asked for, and brought to one size."""

    root: Path
    names: Sequence[str]
    """Paths below `root`."""
    targets: Tensor
    """Shape (n,), int64; or (n, size), float32."""
    mode: Literal["rgb", "grey"]
    height: int
    width: int
    crop_pct: float = 1.0
    """The share of the scaled picture's shorter side that is kept."""
    resize: Resize = "crop"
    background: Colour | None = "white"
    """What is seen through transparency, and where a picture is padded; None: transparency does not count."""
    limits: tuple[float, float] | None = None
    """What becomes black and white of pictures with more than 8 bits a pixel; None where there are none."""
    heeds_white_is_zero: bool = True
    """Whether those are inverted that say that 0 is white."""
    patches: Sequence[Patch] | None = None
    """With `resize: tile`: which part of its picture each is. Those of one picture stand together."""

    def __len__(self) -> int:
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)"""
        return (3 if self.mode == "rgb" else 1, self.height, self.width)

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        pixels, unreadable = self.decode(index.tolist())
        if unreadable:
            raise self.refusal(*next(iter(unreadable.items())))
        return Batch(pixels, self.targets[index], index)

    def decode(self, indices: Sequence[int]) -> tuple[Tensor, Unreadable]:
        """Those of the pictures that can be decoded, in their order, and why the others cannot."""
        pixels: list[NDArray[np.uint8]] = []
        unreadable: Unreadable = {}
        with quiet():
            for _, some in groupby(indices, self.names.__getitem__):
                same = list(some)
                try:
                    pixels += self.pixels(same)
                except UnreadableError as error:
                    unreadable |= dict.fromkeys(same, str(error))
        if not pixels:
            return torch.empty((0, *self.shape), dtype=torch.uint8), unreadable
        batch = torch.from_numpy(np.stack(pixels))
        # Channels stay side by side, as they are decoded.
        return batch.unsqueeze(1) if self.mode == "grey" else batch.permute(0, 3, 1, 2), unreadable

    def path(self, index: int) -> Path:
        """Of the picture with that index."""
        return self.root / self.names[index]

    def refusal(self, index: int, why: str) -> DataError:
        """What to raise where a picture cannot be read that is needed now."""
        return DataError(f"{self.path(index)}: {why}; data.on_error=skip leaves such pictures out")

    def without(self, unreadable: Unreadable) -> Self:
        """The other pictures."""
        if not unreadable:
            return self
        return self.only([index for index in range(len(self)) if index not in unreadable])

    def only(self, indices: Sequence[int]) -> Self:
        """Those with these indices."""
        names = [self.names[index] for index in indices]
        patches = None if self.patches is None else [self.patches[index] for index in indices]
        return replace(self, names=names, targets=self.targets[indices], patches=patches)

    def kept(self) -> Source:
        """The same where later epochs are to read it."""
        return self

    def digest(self) -> str:
        # Of the files' sizes, not of their content: reading all of it would take as long as an epoch.
        crop = "" if self.crop_pct == 1 else f" {self.crop_pct:g}"
        resize = "" if self.resize == "crop" else f" {self.resize}"
        background = "" if self.background in (None, "white") else f" {self.background}"  # older files know neither
        sha = hashlib.sha256(f"{self.mode} {self.height}x{self.width}{crop}{resize}{background}".encode())
        for name, target in zip(self.names, self._identities(), strict=True):
            sha.update(os.fsencode(f"{name}\0{self._file_size(name)}\0{target}\n"))
        for patch in self.patches or ():
            sha.update(f"{astuple(patch)}\n".encode())
        return sha.hexdigest()

    def _file_size(self, name: str) -> int:
        try:
            return (self.root / name).stat().st_size
        except OSError as error:
            raise DataError(f"{self.root / name}: {os_error_text(error)}") from None

    def _identities(self) -> Sequence[object]:
        """What the digest has of each target."""
        return self.targets.tolist()

    def pixels(self, indices: Sequence[int]) -> list[NDArray[np.uint8]]:
        """One picture, or several tiles of one. Shape (height, width, 3) or (height, width) each.

        Raises:
            UnreadableError: it cannot be decoded.
        """
        with opened(self.path(indices[0])) as picture:
            flat = flattened(ImageOps.exif_transpose(picture), self.mode, self.background, self.limits)
            if self.heeds_white_is_zero and white_is_zero(picture):
                flat = ImageOps.invert(flat)
            return [np.asarray(self.fitted(index, flat, Image.Resampling.BILINEAR)) for index in indices]

    def fitted(
        self, index: int, picture: Image.Image, resampling: Image.Resampling, padding: int | None = None
    ) -> Image.Image:
        """A picture, or what belongs to one, brought to the size; or its tile with that index.

        Args:
            padding: what stands beside one that is padded; by default the background.
        """
        size = self.width, self.height
        if self.resize == "stretch":
            return picture.resize(size, resampling)
        if self.resize == "pad":
            return ImageOps.pad(picture, size, resampling, self._beside(padding))
        if self.patches is not None:
            tile = Image.new(picture.mode, size, self._beside(padding))
            tile.paste(picture, (-self.patches[index].left, -self.patches[index].top))
            return tile
        # `bleed` is what is cut off on each side.
        return ImageOps.fit(picture, size, resampling, (1 - self.crop_pct) / 2)

    def _beside(self, padding: int | None) -> int | tuple[int, int, int]:
        """What stands beside a picture."""
        if padding is not None:
            return padding
        paper = _rgb(self.background or "black")
        return paper if self.mode == "rgb" else _grey(paper)

    def uncounted(self, index: int, size: tuple[int, int]) -> NDArray[np.bool_] | None:
        """Which pixels are beside a picture of this width and height, or belong to another tile of it; None where
        none do. Shape (height, width)."""
        if self.patches is not None:
            there = np.ones((self.height, self.width), dtype=np.bool_)
            there[self.patches[index].own] = False
            return there
        if self.resize != "pad":
            return None
        inside = self.fitted(index, Image.new("L", size, 1), Image.Resampling.NEAREST, padding=0)
        return ~np.asarray(inside, dtype=np.bool_)


def flattened(
    picture: Image.Image,
    mode: Literal["rgb", "grey"],
    background: Colour | None,
    limits: tuple[float, float] | None,
) -> Image.Image:
    """The same with 8 bits a channel and nothing to see through.

    Raises:
        UnreadableError: it has more bits, and no limits are given.
    """
    if is_deep(picture):
        picture = _shallow(picture, limits, background)
    elif background is not None and picture.has_transparency_data:
        paper = Image.new("RGBA", picture.size, _rgb(background))
        picture = Image.alpha_composite(paper, _rgba(picture))
    return picture.convert("RGB" if mode == "rgb" else "L")


def _shallow(picture: Image.Image, limits: tuple[float, float] | None, background: Colour | None) -> Image.Image:
    if limits is None:
        raise UnreadableError(NO_LIMITS)
    values = np.asarray(picture)
    levels = eight_bits(values, limits)
    transparent = picture.info.get("transparency")
    if background is not None and isinstance(transparent, int):  # of PNG: one value that is not seen
        levels[values == transparent] = _grey(_rgb(background))
    return Image.fromarray(levels)


def _rgba(picture: Image.Image) -> Image.Image:
    transparent = picture.info.get("transparency")
    if isinstance(transparent, tuple) and max(transparent) > 255:  # of 16 bits, of which Pillow keeps the upper 8
        picture.load()
        picture.info["transparency"] = tuple(value >> 8 for value in transparent)
    return picture.convert("RGBA")


def _rgb(colour: Colour) -> tuple[int, int, int]:
    return {"white": (255, 255, 255), "black": (0, 0, 0)}[colour] if isinstance(colour, str) else colour


def _grey(colour: tuple[int, int, int]) -> int:
    return int(np.asarray(Image.new("RGB", (1, 1), colour).convert("L"))[0, 0])


OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""The machine's fault, not the picture's."""


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """Open a picture; only its header is read until its pixels are asked for.

    Raises:
        UnreadableError: it cannot be opened, or what is done with it fails.
        StorageError: the machine has no room for another open file.
    """
    try:
        if why := no_file(path):
            raise UnreadableError(why)
        if path.suffix.lower() in HEIF:
            _read_heif()
        with Image.open(path) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableError(f"{picture.width}x{picture.height} pixels are more than {MAX_PIXELS:,}")
            if is_scrambled(picture):
                raise UnreadableError("a TIFF without compression that is stored turned is read wrongly; compress it")
            yield picture
    except (UnreadableError, MemoryError):
        raise
    except UnidentifiedImageError:
        with open(path, "rb") as file:
            start = file.read(16)
        reason = f"it begins with {start!r}" if start else "the file is empty"
        raise UnreadableError(f"not a picture that can be read ({reason})") from None
    except Exception as error:  # Pillow's decoders leak many kinds on damaged files
        if isinstance(error, OSError) and error.errno in OUT_OF_RESOURCES:
            raise StorageError(f"{path}: {os_error_text(error)}") from None
        if isinstance(error, OSError) and error.strerror:
            raise UnreadableError(os_error_text(error)) from None
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UnreadableError(f"not a picture that can be read ({reason})") from None


def _read_heif() -> None:
    """Let Pillow read the pictures of phones."""
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError:
        raise UnreadableError("HEIC needs an extra; pip install pillow-heif") from None
    register_heif_opener()


def decode_all(source: PictureSource) -> Iterator[tuple[Tensor, Unreadable]]:
    """Decode every picture once: some at a time, in their order, as `PictureSource.decode` gives them."""
    count = max(1, min(32, 2**22 // math.prod(source.shape)))  # at most 4 MB: containers have little shared memory
    # Processes, not threads: measured on 2 cores, threads take 1.3 (500 x 500) to 1.8 times (64 x 64) as long.
    few = len(source) < 200 or sys.platform == "win32"
    decoded = _Decoded(source)
    loader: DataLoader[tuple[Tensor, Unreadable] | nest.Packed | Exception] = DataLoader(
        decoded if few else workers.Guarded(decoded),
        batch_size=None,
        sampler=chunks(len(source), count),
        num_workers=0 if few else min(workers.cores(), 16),
        worker_init_fn=None if few else workers.begin,
        generator=torch.Generator(),
    )
    with workers.left_alone():
        batches = iter(loader)
    results = batches if few else workers.results(batches)
    console = Console(stderr=True)
    hidden = not console.is_terminal or bool(os.environ.get("CI"))
    yield from track(results, "decoding pictures", len(loader), console=console, transient=True, disable=hidden)


def chunks(total: int, size: int) -> list[range]:
    """Indices below a total, some at a time."""
    return [range(start, min(start + size, total)) for start in range(0, total, size)]


@dataclass(frozen=True, slots=True)
class _Decoded(Dataset[tuple[Tensor, Unreadable]]):
    source: PictureSource

    def __getitem__(self, indices: range) -> tuple[Tensor, Unreadable]:
        return self.source.decode(indices)


@contextmanager
def quiet() -> Iterator[None]:
    """Without Pillow's warnings, which are about odd metadata, and would come once for every such file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield
