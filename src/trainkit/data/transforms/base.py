"""The base of all random transforms of training batches, and their random numbers."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from trainkit.config.base import Config
from trainkit.core.errors import DataError
from trainkit.core.seeding import uniform
from trainkit.data.spec import DataSpec

REPEAT_BITS = 40
"""Above these, an index has room for how often a sample has come before."""


def numbered(index: Tensor, repeat: Tensor | None) -> Tensor:
    """One number for each sample: one that comes again is another one to what is random. Both of shape (batch,)."""
    return index if repeat is None else index + (repeat << REPEAT_BITS)


@dataclass(frozen=True, slots=True)
class SampleRandom:
    """The random numbers of a batch. Each depends on (seed, key, epoch) and its sample's index, and on nothing else."""

    index: Tensor
    """The samples' indices in their source, and how often each has come before in the epoch, as one number; on the CPU.
    Shape (batch,), int64."""
    seed: int
    epoch: int
    device: torch.device

    def on_host(self, key: str) -> Tensor:
        """A number in [0, 1) for each sample, on the CPU, where reading it waits for nothing. Shape (batch,)."""
        return uniform(self.index, self.seed, key, self.epoch)

    def __call__(self, key: str, low: float = 0.0, high: float = 1.0) -> Tensor:
        """A number in [low, high) for each sample, on the device. Shape (batch,), float32."""
        return (low + (high - low) * self.on_host(key)).to(self.device, non_blocking=True)


class TransformConfig(Config):
    """Base of every random transform, used for training only: a `PictureTransform` or a `BatchMix`."""

    name: str

    def check(self, spec: DataSpec) -> None:
        """Compare with the data.

        Raises:
            DataError: the transform does not fit it.
        """


class PictureTransform(TransformConfig):
    """Base of the transforms of pictures, with random numbers of its own for every sample."""

    def check_grey_or_rgb(self, spec: DataSpec) -> None:
        """Raise DataError for pictures that have neither 1 nor 3 channels."""
        if spec.shape[0] not in (1, 3):
            text = f"data.augment: {self.name} is for pictures with 1 or 3 channels (grey or RGB)"
            raise DataError(f"{text}, the images have {spec.shape[0]}")

    @abstractmethod
    def apply(self, inputs: Tensor, draws: SampleRandom) -> Tensor:
        """Transform uint8 pictures of shape (batch, channels, height, width), and give as many of the same shape."""

    def apply_to_masks(self, masks: Tensor, draws: SampleRandom, fill: int) -> Tensor:
        """Move the masks of pictures as `apply` with the same draws moves the pictures; one for colours leaves them.

        Args:
            masks: a class for each pixel, shape (batch, height, width), uint8.
            fill: what a mask holds where nothing is left of the picture.
        """
        return masks


def ordered(pair: tuple[float, float]) -> tuple[float, float]:
    """Refuse a range whose ends are swapped."""
    if pair[0] > pair[1]:
        raise ValueError(f"expected [min, max], got [{pair[0]:g}, {pair[1]:g}]")
    return pair
