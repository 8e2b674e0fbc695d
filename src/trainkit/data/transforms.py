"""What happens to a batch between the loader and the model, on the device, batch by batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor
from torch.nn import functional

from trainkit.config import Component, Config
from trainkit.data.base import Batch, DataConfig, DataSpec
from trainkit.errors import DataError
from trainkit.registry import register
from trainkit.seeding import uniform

Preset = Literal["mnist", "fashion_mnist", "cifar10", "cifar100", "imagenet", "half", "none"]

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
    """Mean and standard deviation with one value per channel; empty when there is no normalisation.

    Raises:
        DataError: the number of values is neither 1 nor the number of channels.
    """
    if normalize == "none":
        return (), ()
    chosen = presets[normalize] if isinstance(normalize, str) else normalize

    def per_channel(name: str, values: float | tuple[float, ...]) -> tuple[float, ...]:
        values = values if isinstance(values, tuple) else (values,)
        if len(values) not in (1, channels):
            plural = "s" * (channels != 1)
            raise DataError(
                f"data.normalize: {name} has {len(values)} values, the images have {channels} channel{plural}"
            )
        return values if len(values) == channels else values * channels

    return per_channel("mean", chosen.mean), per_channel("std", chosen.std)


class TransformConfig(Config):
    """Base of every random transform: used for training only, with a draw of its own for every sample."""

    name: str

    @abstractmethod
    def check(self, spec: DataSpec) -> None:
        """Raise DataError where the transform does not fit the data."""

    @abstractmethod
    def apply(self, inputs: Tensor, index: Tensor, seed: int, epoch: int) -> Tensor:
        """Transform uint8 images of shape (batch, channels, height, width); draws depend on (seed, epoch, index)."""


@register("transform")
class RandomCrop(TransformConfig):
    """Pad with black, then cut a window of the old size at a random place."""

    name: Literal["random_crop"] = "random_crop"
    padding: int = Field(4, ge=1)
    """Pixels added on each side."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {"size": "the window has the images' own size"}

    def check(self, spec: DataSpec) -> None:
        height, width = spec.shape[-2:]
        if self.padding >= min(height, width):
            raise DataError(
                f"data.augment: random_crop: padding {self.padding} must be less than the images' sides "
                f"({height}x{width}), or some windows would be black"
            )

    def apply(self, inputs: Tensor, index: Tensor, seed: int, epoch: int) -> Tensor:
        height, width = inputs.shape[-2:]
        padded = functional.pad(inputs, (self.padding,) * 4)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)  # a view: (batch, channels, y, x, height, width)
        places = 2 * self.padding + 1
        y = (uniform(index, seed, "crop y", epoch) * places).long()
        x = (uniform(index, seed, "crop x", epoch) * places).long()
        return windows[torch.arange(len(index), device=index.device), :, y, x]


@register("transform")
class RandomHorizontalFlip(TransformConfig):
    """Mirror left and right. Not for digits or text."""

    name: Literal["random_horizontal_flip"] = "random_horizontal_flip"
    p: float = Field(0.5, ge=0, le=1)
    """Share of the samples that are mirrored."""

    def check(self, spec: DataSpec) -> None:
        pass

    def apply(self, inputs: Tensor, index: Tensor, seed: int, epoch: int) -> Tensor:
        chosen = uniform(index, seed, "flip", epoch) < self.p
        return torch.where(chosen[:, None, None, None], inputs.flip(-1), inputs)


Prepare = Callable[[Batch, int | None], Batch]
"""Makes a loader's batch ready for the model. The epoch is given when training and None in evaluation."""


def preparation(spec: DataSpec, augment: tuple[TransformConfig, ...], seed: int, device: torch.device) -> Prepare:
    """Build the `Prepare` of an experiment: move, augment, scale and normalise, all on the device.

    Raises:
        DataError: a transform does not fit the data.
    """
    for transform in augment:
        if not spec.image:
            raise DataError(f"data.augment: {transform.name} is for images, the data has none")
        transform.check(spec)
    per_value = (1, -1, 1, 1) if spec.image else (1, -1)
    mean = torch.tensor(spec.mean or (0.0,), dtype=torch.float64).view(per_value)
    std = torch.tensor(spec.std or (1.0,), dtype=torch.float64).view(per_value)
    # (x / 255 - mean) / std, and without the 255 for numbers, as one multiply-add
    scale = (1 / (std * 255 if spec.image else std)).float().to(device)
    shift = (-mean / std).float().to(device)

    def prepare(batch: Batch, epoch: int | None) -> Batch:
        batch = batch.to(device)
        inputs = batch.inputs
        if not spec.image:
            return batch._replace(inputs=torch.addcmul(shift, inputs, scale)) if spec.mean else batch
        if epoch is not None:
            for transform in augment:
                inputs = transform.apply(inputs, batch.index, seed, epoch)
        inputs = inputs.to(torch.float32, memory_format=torch.channels_last)
        return batch._replace(inputs=torch.addcmul(shift, inputs, scale))

    return prepare


def _distinct(augment: tuple[TransformConfig, ...]) -> tuple[TransformConfig, ...]:
    if len({type(transform) for transform in augment}) < len(augment):
        raise ValueError("the same transform twice")  # it would draw the same numbers twice
    return augment


class ImageDataConfig(DataConfig):
    """Base of the sources that hand out uint8 pictures."""

    normalize: Preset | Normalize = "none"
    """A preset's name, or `{mean: …, std: …}` in units of 0 … 1; `none` only scales the pixels to 0 … 1."""
    augment: Annotated[tuple[Annotated[TransformConfig, Component("transform")], ...], AfterValidator(_distinct)] = ()
    """Random transforms, applied to training batches only."""
