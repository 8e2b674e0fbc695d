"""Random boxes cut out of training pictures as these are decoded: scaled once, from no more pixels than it takes."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import get_worker_info

from trainkit.data import workers
from trainkit.data.base import Batch, Split
from trainkit.data.images.caching import CachedSource
from trainkit.data.images.decoding import PictureSource, UnreadableError, opened, quiet
from trainkit.data.images.orientation import LYING, orientation, upright
from trainkit.data.images.views import view_of
from trainkit.data.transforms.base import SampleRandom, TransformConfig, numbered
from trainkit.data.transforms.geometric import RandomHorizontalFlip, RandomResizedCrop

CPU = torch.device("cpu")
SCALES = (8, 4, 2)
"""What JPEG's decoders divide a picture's sides by in decoding, at less work than for the whole of it."""
Pixels = NDArray[np.uint8]
Box = tuple[float, float, float, float]
"""Top, left, height and width, in pixels."""


@dataclass(frozen=True, slots=True)
class RandomCrops:
    """Pictures of which each take gives another part, brought to the size of the whole: a training split's source."""

    pictures: PictureSource | CachedSource
    crop: RandomResizedCrop
    flip: RandomHorizontalFlip | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def targets(self) -> Tensor:
        return self.files.targets

    @property
    def files(self) -> PictureSource:
        """The files of the pictures."""
        return self.pictures.files if isinstance(self.pictures, CachedSource) else self.pictures

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        channels, *size = self.files.shape
        draws = SampleRandom(numbered(index, repeat), draw, 0, CPU)
        boxes = list(zip(*(side.tolist() for side in self.crop.boxes(size, draws)), strict=True))
        flipped = (draws.on_host("flip") < (self.flip.p if self.flip else 0)).tolist()
        indices, inputs = index.tolist(), torch.empty((len(index), *size, channels), dtype=torch.uint8)

        def fill(places: Sequence[int]) -> None:
            for place in places:
                # Ready to be one of a batch: with the strides of [None], torch would not see that channels come last.
                part = torch.from_numpy(self._part(indices[place], boxes[place])).unsqueeze(0).permute(0, 3, 1, 2)
                scaled = functional.interpolate(part, size, mode="bilinear", antialias=True)
                inputs[place] = (scaled.flip(-1) if flipped[place] else scaled)[0].permute(1, 2, 0)

        with quiet():
            if get_worker_info():  # one of several
                fill(range(len(index)))
            else:  # decoders and scaling leave Python's lock alone
                threads = min(workers.cores(), 8)
                with ThreadPoolExecutor(threads) as pool:
                    list(pool.map(fill, [range(first, len(index), threads) for first in range(threads)]))
        return Batch(inputs.permute(0, 3, 1, 2), self.targets[index], index)

    def digest(self) -> str:
        return self.pictures.digest()

    def _part(self, index: int, box: Box) -> Pixels:
        """What is to be scaled. Shape (height, width, channels).

        Args:
            box: in pixels of the picture as it was brought to the size.
        """
        if isinstance(self.pictures, CachedSource):
            return _cut(self.pictures.inputs[index].permute(1, 2, 0).numpy(), box)
        try:
            fills = self.files.resize in ("crop", "stretch")  # with nothing beside it
            part = self._part_of_jpeg(self.files.path(index), box) if fills else None
            return _cut(np.atleast_3d(self.files.pixels([index])[0]), box) if part is None else part
        except UnreadableError as error:
            raise self.files.refusal(index, str(error)) from None

    def _part_of_jpeg(self, path: Path, box: Box) -> Pixels | None:
        """The part without what brings the whole picture to the size; None where only that knows what to do."""
        files = self.files
        with opened(path) as picture:
            if picture.format != "JPEG" or picture.mode != "RGB" or files.mode != "rgb":
                return None
            turn = orientation(picture)
            height, width = picture.size if turn in LYING else picture.size[::-1]
            view = view_of(files, (height, width))
            down, right = view.height / files.height, view.width / files.width
            top, left, tall, wide = box[0] * down, box[1] * right, box[2] * down, box[3] * right
            scale = next((one for one in SCALES if tall >= one * files.height and wide >= one * files.width), 1)
            pixels = upright(_decoded(picture, path, scale), turn)
        down, right = pixels.shape[0] / height, pixels.shape[1] / width
        return _cut(pixels, ((view.top + top) * down, (view.left + left) * right, tall * down, wide * right))


def done_in_decoding(train: Split, augment: tuple[TransformConfig, ...]) -> tuple[Split, tuple[TransformConfig, ...]]:
    """The training samples with what can be done of the random transforms as they are decoded, and the transforms that
    are left. Of pictures with masks, which have to move with them, nothing is."""
    source = train.source
    if not isinstance(source, PictureSource | CachedSource):
        return train, augment
    if type(source.files if isinstance(source, CachedSource) else source) is not PictureSource:
        return train, augment
    match augment:
        case (RandomResizedCrop() as crop, RandomHorizontalFlip() as flip, *_):
            return replace(train, source=RandomCrops(source, crop, flip)), augment[2:]
        case (RandomResizedCrop() as crop, *_):
            return replace(train, source=RandomCrops(source, crop)), augment[1:]
    return train, augment


def _cut(pixels: Pixels, box: Box) -> Pixels:
    """The part of a picture that comes nearest to a box."""
    (top, bottom), (left, right) = (
        _whole(start, length, side) for start, length, side in zip(box[:2], box[2:], pixels.shape[:2], strict=True)
    )
    part = pixels[top:bottom, left:right]
    # torch has no negative strides, and warns of arrays that cannot be written to, as those of Pillow.
    return part if part.flags.writeable and min(part.strides) > 0 else part.copy()


def _whole(start: float, length: float, side: int) -> tuple[int, int]:
    first = min(round(start), side - 1)
    return first, min(max(round(start + length), first + 1), side)


def _decoded(picture: Image.Image, path: Path, scale: int) -> Pixels:
    """An opened JPEG with its sides divided; the same pixels from either library."""
    width, height = picture.size
    if (library := _simplejpeg()) is not None:
        with open(path, "rb") as file:
            content = file.read()
        try:
            pixels: Pixels = library.decode_jpeg(content, min_height=-(-height // scale), min_width=-(-width // scale))
        except ValueError:  # damaged; Pillow decides whether too much
            pass
        else:
            return pixels
    picture.draft("RGB", (width // scale, height // scale))
    return np.asarray(picture)


@cache
def _simplejpeg() -> ModuleType | None:
    """A faster decoder, where it is installed."""
    try:
        return import_module("simplejpeg")
    except ModuleNotFoundError:
        return None
