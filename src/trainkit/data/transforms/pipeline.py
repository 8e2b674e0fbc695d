"""What happens to a batch between the loader and the model, on the device, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional

from trainkit.config.base import Component, Config
from trainkit.core.errors import DataError
from trainkit.core.seeding import derive, permutation
from trainkit.data.base import Batch, Data, DataConfig, DataSpec, Split, TensorSource
from trainkit.data.transforms.color import with_channels
from trainkit.data.transforms.geometric import PictureTransform, SampleRandom, TransformConfig
from trainkit.data.transforms.mixup import BatchMix

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
    deviations = [math.sqrt(square * pixels - total**2) / pixels for total, square in zip(sums, squares, strict=True)]
    return (
        tuple(total / pixels / 255 for total in sums),
        tuple(deviation / 255 or 1.0 for deviation in deviations),
    )


def fitted(pictures: Tensor, shape: tuple[int, ...]) -> Tensor:
    """uint8 pictures brought to (channels, height, width): scaled to cover the size, and cut to it around the centre.

    Bilinear with antialiasing, as torchvision's `v2.Resize` and `v2.CenterCrop`.
    """
    channels, height, width = shape
    if pictures.shape[1] > channels:
        pictures = with_channels(pictures, channels)  # before there are more pixels
    old_height, old_width = pictures.shape[-2:]
    if (old_height, old_width) != (height, width):
        factor = max(height / old_height, width / old_width)
        covering = (max(height, round(old_height * factor)), max(width, round(old_width * factor)))
        pictures = functional.interpolate(pictures.float(), covering, mode="bilinear", antialias=True)
        top, left = round((covering[0] - height) / 2), round((covering[1] - width) / 2)
        pictures = pictures[:, :, top : top + height, left : left + width].round_().to(torch.uint8)
    return with_channels(pictures, channels)


REPEAT_BITS = 40
"""Above these, an index has room for how often a sample has come before."""

Prepare = Callable[[Batch, int | None], Batch]
"""Makes a loader's batch ready for the model. The epoch is given when training and None in evaluation."""


def check_augment(augment: tuple[TransformConfig, ...], spec: DataSpec) -> None:
    """Compare the random transforms with the data.

    Raises:
        DataError: one does not fit.
    """
    for transform in augment:
        if not spec.image:
            raise DataError(f"data.augment: {transform.name} is for images, the data has none")
        transform.check(spec)


def preparation(
    spec: DataSpec,
    augment: tuple[TransformConfig, ...],
    seed: int,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
) -> Prepare:
    """Build the `Prepare` of an experiment: move, bring to size, augment, scale, normalise and mix, all on the device.

    Args:
        dtype: in which the model takes inputs that are no pictures.

    Raises:
        DataError: a transform does not fit the data.
    """
    check_augment(augment, spec)
    transforms = [transform for transform in augment if isinstance(transform, PictureTransform)]
    mixes = [transform for transform in augment if isinstance(transform, BatchMix)]
    per_value = (1, -1, 1, 1) if spec.image else (1, -1)
    mean = torch.tensor(spec.mean or (0.0,), dtype=torch.float64).view(per_value)
    std = torch.tensor(spec.std or (1.0,), dtype=torch.float64).view(per_value)
    # (x / 255 - mean) / std, and without the 255 for numbers, as one multiply-add
    scale = (1 / (std * 255 if spec.image else std)).float().to(device)
    shift = (-mean / std).float().to(device)

    def prepare(batch: Batch, epoch: int | None) -> Batch:
        index = batch.index  # on the CPU, where reading it does not wait for the device
        if batch.repeat is not None:
            index = index + (batch.repeat << REPEAT_BITS)  # a sample that comes again is another one to what is random
        batch = batch.to(device)
        inputs = batch.inputs
        if not spec.image:
            inputs = inputs.to(dtype)
            return batch._replace(inputs=torch.addcmul(shift, inputs, scale) if spec.mean else inputs)
        inputs = fitted(inputs, spec.shape)
        if epoch is not None:
            draws = SampleRandom(index, seed, epoch, device)
            for transform in transforms:
                inputs = transform.apply(inputs, draws)
        inputs = inputs.to(torch.float32, memory_format=torch.channels_last)
        batch = batch._replace(inputs=torch.addcmul(shift, inputs, scale))
        if epoch is not None and mixes:
            random = Random(derive(seed, "mix", epoch, int(index[0])))
            batch = random.choice(mixes).mix(batch, spec.target, random)
        return batch

    return prepare


def _distinct(augment: tuple[TransformConfig, ...]) -> tuple[TransformConfig, ...]:
    if len({type(transform) for transform in augment}) < len(augment):
        raise ValueError("the same transform twice")  # it would draw the same numbers twice
    return augment


class ImageDataConfig(DataConfig):
    """Base of the sources that hand out uint8 pictures."""

    shown: ClassVar = frozenset({"normalize", "augment"})

    normalize: Preset | Normalize = "none"
    """A preset's name, or `{mean: …, std: …}` in units of 0 … 1; `auto` measures both on the training samples (on 1,000
    of them where they have to be decoded), `none` only scales the pixels to 0 … 1."""
    augment: Annotated[tuple[Annotated[TransformConfig, Component("transform")], ...], AfterValidator(_distinct)] = ()
    """Random transforms, applied to training batches only, in this order; `mixup` and `cutmix` come after the
    normalisation wherever they stand."""

    def open(self, seed: int) -> Data:
        data = super().open(seed)
        if self.normalize != "auto" or not data.spec.image:
            return data
        mean, std = measured(data.train, data.spec.shape[0])
        return replace(data, spec=data.spec.model_copy(update={"mean": mean, "std": std}))
