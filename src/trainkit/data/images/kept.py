"""Pictures with masks, decoded once: each when it is first asked for, and from memory after that."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor

from trainkit.core.nest import selected
from trainkit.data import workers
from trainkit.data.base import Batch, Source
from trainkit.data.images.decoding import PictureSource, UnreadableError, quiet

MOST_BYTES = 1_000_000_000
"""Of the decoded pictures of a split that are kept in memory; of more, each epoch decodes all of them."""


@dataclass(frozen=True, slots=True)
class MaskedPictures(PictureSource):
    """Picture files with a mask each. `targets` are the masks in memory: shape (n, height, width), uint8."""

    masks: Sequence[str] = ()
    """The files of the masks, paths below `root`."""

    @classmethod
    def of(cls, pictures: PictureSource, masks: Sequence[str], targets: Tensor) -> Self:
        """These pictures with masks."""
        same = {field.name: getattr(pictures, field.name) for field in fields(pictures)}
        return cls(**{**same, "targets": targets, "masks": masks})

    def only(self, indices: Sequence[int]) -> Self:
        # Not super(), which in a dataclass with slots asks for another class.
        return replace(PictureSource.only(self, indices), masks=[self.masks[index] for index in indices])

    @property
    def fits(self) -> bool:
        """Whether all of them, decoded, are few enough to be kept in memory."""
        return len(self) * math.prod(self.shape) <= MOST_BYTES

    def kept(self) -> Source:
        return kept_in_memory(self) if self.fits and len(self) else self

    def _identities(self) -> Sequence[object]:
        return [f"{name}\0{self._file_size(name)}" for name in self.masks]


@dataclass(frozen=True, slots=True)
class KeptPictures:
    """A source of pictures that fit in memory. Worker processes share it: what one has decoded, all have."""

    files: MaskedPictures
    pictures: Tensor
    """Shape (n, channels, height, width), uint8; channels lie side by side, as they are decoded."""
    decoded: Tensor
    """Which of them are there. Shape (n,), bool."""
    by_name: dict[str, list[int]]
    """Which of them are of each file."""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def targets(self) -> Tensor:
        return self.files.targets

    def take(self, index: Tensor, draw: int = 0, repeat: Tensor | None = None) -> Batch:
        missing = index[~self.decoded[index]].unique().tolist()
        if missing:
            # Threads, which fill one memory; Pillow decodes and scales without Python's lock.
            with quiet(), ThreadPoolExecutor(min(workers.cores(), 8)) as pool:
                list(pool.map(self._decode, {self.files.names[one] for one in missing}))
        return Batch(selected(self.pictures, index), self.files.targets.index_select(0, index), index)

    def _decode(self, name: str) -> None:
        """A file, and all tiles of it."""
        indices = self.by_name[name]
        try:
            pixels = self.files.pixels(indices)
        except UnreadableError as error:
            raise self.files.refusal(indices[0], str(error)) from None
        for index, one in zip(indices, pixels, strict=True):
            self.pictures.numpy()[index] = np.atleast_3d(one).transpose(2, 0, 1)
        self.decoded[indices] = True

    def digest(self) -> str:
        return self.files.digest()

    def __reduce__(self) -> tuple[Callable[[MaskedPictures], KeptPictures], tuple[MaskedPictures]]:
        return kept_in_memory, (self.files,)  # where processes are not forked, each decodes for itself


def kept_in_memory(files: MaskedPictures) -> KeptPictures:
    """Pictures of which none is decoded yet."""
    channels, height, width = files.shape
    shape = (len(files), height, width, channels)
    # Not torch's shared memory, of which containers have little; pages that are not written to take no memory.
    pictures = torch.frombuffer(mmap.mmap(-1, math.prod(shape)), dtype=torch.uint8).view(shape)
    decoded = torch.frombuffer(mmap.mmap(-1, len(files)), dtype=torch.bool)
    by_name: dict[str, list[int]] = {}
    for index, name in enumerate(files.names):
        by_name.setdefault(name, []).append(index)
    return KeptPictures(files, pictures.permute(0, 3, 1, 2), decoded, by_name)
