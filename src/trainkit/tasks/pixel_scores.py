"""Predicted against true classes of pixels: IoU, dice, precision and recall of each class, over a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainkit.tasks.class_scores import ClassScore, ClassTally, share


@dataclass(frozen=True, slots=True)
class PixelScore(ClassScore):
    """How well the pixels of one class are found: `support`, `predicted` and `true_positives` are pixels."""

    heads: ClassVar[tuple[str, ...]] = ("pixels", "IoU", "dice", "precision", "recall")
    ranked_by: ClassVar[str] = "IoU"

    @property
    def iou(self) -> float:
        """Intersection over union, the Jaccard index."""
        return self.true_positives / max(self.support + self.predicted - self.true_positives, 1)

    @property
    def dice(self) -> float:
        """The Dice coefficient, which is F1 of the pixels."""
        return self.f1

    @property
    def rank(self) -> float:
        return self.iou

    def shares(self) -> list[str]:
        """IoU, dice, precision and recall as text; a dash for a share of nothing."""
        there = self.support + self.predicted
        return [
            share(self.iou, there),
            share(self.dice, there),
            share(self.precision, self.predicted),
            share(self.recall, self.support),
        ]

    def to_plain(self) -> dict[str, str | int | float]:
        keys = ("name", "support", "predicted", "true_positives", "iou", "dice", "precision", "recall")
        return {key: getattr(self, key) for key in keys}


class PixelTally(ClassTally):
    """Of the pixels that count: `counts` is (classes, classes), a row for every true class, a column for the predicted
    one.

    Args:
        names: of the classes.
        decide: gives the class of each pixel, shape (batch, height, width), of a model's outputs.
        ignore_index: the target of pixels that do not count.
    """

    score: ClassVar = PixelScore

    def __init__(
        self, names: Sequence[str], decide: Callable[[Tensor], Tensor], ignore_index: int, device: torch.device
    ) -> None:
        super().__init__(names, decide, device, ignored=True)
        self.ignore_index = ignore_index

    def cells(self, predicted: Tensor, targets: Tensor) -> Tensor:
        cells = super().cells(predicted.long(), targets.long())
        return cells.masked_fill(targets == self.ignore_index, len(self.every) - 1).flatten()

    def to_plain(self) -> dict[str, Any]:
        return {**super().to_plain(), "ignored_pixels": int(self.every[-1])}
