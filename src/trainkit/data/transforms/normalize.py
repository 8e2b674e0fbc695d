"""Normalisation of pictures: mean and standard deviation per channel, given, by a preset's name, or measured."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from pydantic import Field

from trainkit.config.base import Config
from trainkit.core.errors import DataError
from trainkit.core.seeding import permutation
from trainkit.data.base import Split, TensorSource
from trainkit.data.transforms.color import with_channels

Preset = Literal["mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet", "half", "auto", "none"]

Std = Annotated[float, Field(gt=0)]


class Normalize(Config):
    """Subtract `mean` and divide by `std`, per channel, after scaling the pixels to 0 … 1."""

    mean: float | tuple[float, ...]
    """One number for all channels, or one per channel."""
    std: Std | tuple[Std, ...]
    """One number for all channels, or one per channel."""


# Measured on the training images of each data set; `half` maps 0 … 1 to -1 … 1.
presets: dict[str, Normalize] = {
    "mnist": Normalize(mean=0.1307, std=0.3081),
    "fashion_mnist": Normalize(mean=0.2860, std=0.3530),
    "cifar10": Normalize(mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616)),
    "cifar100": Normalize(mean=(0.5071, 0.4865, 0.4409), std=(0.2673, 0.2564, 0.2762)),
    "imagenet": Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "half": Normalize(mean=0.5, std=0.5),
}


def statistics(normalize: Preset | Normalize, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation with one value per channel; empty without normalisation, or before it is measured.

    Raises:
        DataError: the number of values is neither 1 nor the number of channels.
    """
    if normalize in ("none", "auto"):
        return (), ()
    chosen = presets[normalize] if isinstance(normalize, str) else normalize

    def per_channel(name: str, values: float | tuple[float, ...]) -> tuple[float, ...]:
        values = values if isinstance(values, tuple) else (values,)
        if len(values) not in (1, channels):
            preset = f"{normalize}: " if isinstance(normalize, str) else ""
            plural = "s" * (channels != 1)
            raise DataError(
                f"data.normalize: {preset}{name} has {len(values)} values, the images have {channels} channel{plural}"
                + ("; use data.normalize=auto" if preset else "")
            )
        return values if len(values) == channels else values * channels

    return per_channel("mean", chosen.mean), per_channel("std", chosen.std)


MEASURED_FILES = 1000


def measured(split: Split, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of all pixels of each channel, in units of 0 … 1; `statistics` found in the data.

    Exact for data in memory. Where samples have to be decoded, of 1,000 of them, always the same ones.
    """
    positions = torch.arange(len(split))
    if type(split.source) is not TensorSource:  # nor one of its kind: decoded pictures in a cache change no result
        positions = permutation(len(split), 0, "normalize")[:MEASURED_FILES].sort().values
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for some in positions.split(100):
        pictures = with_channels(split.take(some).inputs, channels)
        for channel in range(channels):
            counts[channel] += pictures[:, channel].flatten().bincount(minlength=256)
    values = torch.arange(256)
    pixels = int(counts[0].sum())
    sums = (counts * values).sum(1).tolist()
    squares = (counts * values**2).sum(1).tolist()
    # In whole numbers up to here, so that a channel that is the same everywhere has variance 0; it is left as it is.
    stds = [math.sqrt(square * pixels - total**2) / pixels for total, square in zip(sums, squares, strict=True)]
    return tuple(total / pixels / 255 for total in sums), tuple(std / 255 or 1.0 for std in stds)
