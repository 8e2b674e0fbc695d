"""One class of several for each pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, Self

import torch
from torch import Tensor

from trainkit.config.registry import register
from trainkit.tasks.categorical import Categorical
from trainkit.tasks.class_scores import Tally


@register("task")
class Segmentation(Categorical):
    """A class for each pixel. Targets: shape (batch, height, width), uint8. Outputs: a logit for each class at each
    pixel, shape (batch, size, height, width)."""

    name: Literal["segmentation"] = "segmentation"
    ignore_index: int = 255
    """Of pixels that count for nothing."""
    colours: tuple[tuple[int, int, int], ...] = ()
    """Of the classes, for masks that are written and drawn; empty: those of a fixed palette."""

    noun: ClassVar = ("class", "classes")
    phrase: ClassVar = "a class for each pixel"
    default_loss: ClassVar = "cross_entropy"
    mixes: ClassVar = False
    missing: ClassVar = "has a pixel of the class"

    @classmethod
    def of(cls, targets: Tensor, names: Sequence[str] = ()) -> Self:
        return cls(size=len(names) or int(targets[targets != 255].max()) + 1, names=tuple(names))

    @property
    def mask_fill(self) -> int:
        return self.ignore_index

    def count(self, targets: Tensor) -> tuple[int, ...]:
        counts = torch.zeros(256, dtype=torch.int64)
        for some in targets.split(100):
            counts += some.flatten().bincount(minlength=256)
        return tuple(counts[: self.size].tolist())

    def decisions(self, outputs: Tensor) -> Tensor:
        return outputs.argmax(1)

    def has(self, targets: Tensor, number: int) -> Tensor:
        return targets == number

    def tally(self, device: torch.device) -> Tally:
        raise NotImplementedError
