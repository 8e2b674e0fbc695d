"""MixUp and CutMix: augmentation that mixes the samples of a training batch with each other, targets included."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from random import Random
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.errors import DataError
from trainkit.data.base import Batch
from trainkit.data.spec import DataSpec
from trainkit.data.transforms.base import TransformConfig
from trainkit.tasks import Task


class BatchMix(TransformConfig):
    """Base of what mixes every sample of a normalised batch with the one before it (the first with the last).

    Targets become soft: a row of shares, one for each class or label. A loss for classes must take such rows.
    """

    alpha: float = Field(1.0, gt=0)
    """Of the Beta(alpha, alpha) distribution from which a batch's share is drawn: 1 makes every share as likely, less
    makes samples more alike to one of their two sources."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "num_classes": "the data tells it",
        "p": "it is applied to every batch; with mixup and cutmix both, each batch gets one of the two",
    }

    def check(self, spec: DataSpec) -> None:
        if not spec.task.mixes:
            text = f"data.augment: {self.name} needs classes or labels, the targets of the data are"
            raise DataError(f"{text} {spec.task.phrase}; leave it out")

    def mix(self, batch: Batch, task: Task, random: Random) -> Batch:
        """The mixed batch: inputs of the same shape, targets (batch, task.size), float32."""
        share = random.betavariate(self.alpha, self.alpha)
        inputs, share = self.blend(batch.inputs, share, random)
        return batch._replace(inputs=inputs, targets=task.mixed(batch.targets, share))

    @abstractmethod
    def blend(self, inputs: Tensor, share: float, random: Random) -> tuple[Tensor, float]:
        """Keep a share of every sample, and take the rest from the one before it; gives the share really kept."""


def _lerp(values: Tensor, share: float) -> Tensor:
    return torch.lerp(values.roll(1, 0), values, share)


@register("transform")
class MixUp(BatchMix):
    """Weighted means of two pictures and of their targets (Zhang et al., 2018, arXiv:1710.09412)."""

    name: Literal["mixup"] = "mixup"

    def blend(self, inputs: Tensor, share: float, random: Random) -> tuple[Tensor, float]:
        return _lerp(inputs, share), share


@register("transform")
class CutMix(BatchMix):
    """Pictures with a box from another one, the targets by area (Yun et al., 2019, arXiv:1905.04899)."""

    name: Literal["cutmix"] = "cutmix"

    def blend(self, inputs: Tensor, share: float, random: Random) -> tuple[Tensor, float]:
        height, width = inputs.shape[-2:]
        half = 0.5 * (1 - share) ** 0.5
        rows, columns = (_stretch(size, int(half * size), random) for size in (height, width))
        mixed = inputs.clone()
        mixed[:, :, rows, columns] = inputs[:, :, rows, columns].roll(1, 0)
        # A box is cut off at the sides of the picture: the targets follow what is really there.
        area = (rows.stop - rows.start) * (columns.stop - columns.start)
        return mixed, 1 - area / (height * width)


def _stretch(size: int, half: int, random: Random) -> slice:
    """The pixels up to `half` away from a random one."""
    middle = random.randrange(size)
    return slice(max(0, middle - half), min(size, middle + half))
