"""Handwritten digits on canvases with masks: a small segmentation task that is always there without a download."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.core.seeding import generator
from trainkit.data.base import Data, TensorSource
from trainkit.data.images.config import ImageDataConfig
from trainkit.data.sources.sklearn import digits
from trainkit.data.sources.sklearn_files import train_test_rows
from trainkit.data.spec import DataSpec
from trainkit.tasks import Segmentation

SIDES = (24, 28, 32)
"""To which scans of 8 x 8 are enlarged, in pixels."""
INK = 0.401
"""Pixels of an enlarged scan with more of the full ink are the digit. None has just as much, so that the last bit of a
machine's interpolation decides nothing."""
NOISE = 0.05
"""Standard deviation of the noise on every pixel; black is 0, white 1."""
QUARTERS = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Of a canvas, each with one digit at the most."""
AT_ONCE = 500
"""Canvases."""


@register("data")
class DigitsSegmentationConfig(ImageDataConfig):
    """Scans of handwritten digits (those of `digits`), 1 to 4 on a canvas, brighter than an uneven, noisy
    background, each in a quarter of its own. The classes are the background and the digits 0 to 9.

    A fifth of the scans is for the test canvases alone, which are the same for every seed. Those of `val` are of the
    same scans as the training canvases, but other canvases.
    """

    name: Literal["digits_segmentation"] = "digits_segmentation"
    size: int = Field(64, ge=2 * max(SIDES), le=1024)
    """Height and width of a canvas in pixels. The digits have 24 to 32 on any."""
    samples: int = Field(2000, ge=1, le=1_000_000)
    """Training canvases, before `val` is split off."""
    test_samples: int = Field(500, ge=1, le=1_000_000)
    """Canvases of the test split."""

    def spec(self) -> DataSpec:
        names = ("background", *"0123456789")
        return self.image_spec((1, self.size, self.size), Segmentation(size=len(names), names=names))

    def build(self, seed: int) -> Data:
        scans, labels = digits()
        rows, test_rows = train_test_rows(labels)
        train = self._canvases(scans[rows], labels[rows], self.samples, seed, "train")
        test = self._canvases(scans[test_rows], labels[test_rows], self.test_samples, 0, "test")
        return Data(self.spec(), *self.train_val_test(train, seed, test))

    def _canvases(
        self, scans: NDArray[np.float64], labels: NDArray[np.int64], count: int, seed: int, purpose: str
    ) -> TensorSource:
        """Canvases of these scans, shape (n, 8, 8), and their masks."""
        random = generator(seed, "digits_segmentation", purpose)
        enlarged = [_enlarged(scans, side) for side in SIDES]
        pictures = torch.empty(count, 1, self.size, self.size, dtype=torch.uint8)
        masks = torch.zeros(count, self.size, self.size, dtype=torch.uint8)
        for start in range(0, count, AT_ONCE):
            some = slice(start, start + AT_ONCE)
            canvases = _backgrounds(len(masks[some]), self.size, random)
            digits = torch.randint(1, len(QUARTERS) + 1, (len(canvases),), generator=random).tolist()
            draws = torch.rand(len(canvases), len(QUARTERS), 6, generator=random, dtype=torch.float64).numpy()
            for canvas, mask, each, many in zip(canvases.numpy(), masks[some].numpy(), draws, digits, strict=True):
                # The last number decides which of the quarters have a digit.
                for (down, right), (scan, side, top, left, level, order) in zip(QUARTERS, each, strict=True):
                    if order > sorted(each[:, 5])[many - 1]:
                        continue
                    number = int(scan * len(labels))
                    ink = enlarged[int(side * len(SIDES))][number]
                    room = self.size // 2 - len(ink) + 1
                    at = (down * self.size // 2 + int(top * room), right * self.size // 2 + int(left * room))
                    _paste(canvas, mask, ink, 1 + int(labels[number]), at, level)
            canvases += NOISE * torch.randn(canvases.shape, generator=random)
            pictures[some, 0] = (canvases.clamp_(0, 1) * 255).round_().to(torch.uint8)
        return TensorSource(pictures, masks)


def _enlarged(scans: NDArray[np.float64], side: int) -> NDArray[np.float32]:
    """The ink of scans from 0 to 1, shape (n, side, side)."""
    ink = torch.as_tensor(scans, dtype=torch.float32)[:, None] / 16
    larger: NDArray[np.float32] = functional.interpolate(ink, (side, side), mode="bilinear")[:, 0].numpy()
    return larger


def _backgrounds(count: int, size: int, random: torch.Generator) -> Tensor:
    """Grey, each of its own level, with darker and brighter regions. Shape (count, size, size)."""
    regions = torch.rand(count, 1, 4, 4, generator=random)
    uneven = functional.interpolate(regions, (size, size), mode="bicubic")[:, 0]
    return 0.2 * torch.rand(count, 1, 1, generator=random) + 0.4 * uneven


def _paste(
    canvas: NDArray[np.float32],
    mask: NDArray[np.uint8],
    ink: NDArray[np.float32],
    label: int,
    at: tuple[int, int],
    level: float,
) -> None:
    """Draw a digit on a canvas and its mask.

    Args:
        at: its first row and column.
        level: how much brighter than the background it is, from 0 to 1.
    """
    place = tuple(slice(start, start + len(ink)) for start in at)
    canvas[place] += ink * (0.3 + 0.2 * level)
    mask[place][ink > INK] = label
