"""Predicted against true classes of pixels: IoU, dice, precision and recall of each class, over a whole split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from trainkit.tasks.class_scores import ClassScore, ClassTally, share


class PixelTally(ClassTally):
    """Of the pixels that count: `counts` is (classes, classes), a row for every true class, a column for the predicted
    one.

    Args:
        names: of the classes.
        decide: gives the class of each pixel, shape (batch, height, width), of a model's outputs.
        ignore_index: the target of pixels that do not count.
    """

    def __init__(
        self, names: Sequence[str], decide: Callable[[Tensor], Tensor], ignore_index: int, device: torch.device
    ) -> None:
        super().__init__(names, decide, device)
        self.ignore_index = ignore_index
        # One more, for what is ignored: to leave it out would mean to wait for the device.
        self.every = torch.zeros(len(names) ** 2 + 1, dtype=torch.int64, device=device)
        self.counts = self.every[:-1].view(len(names), len(names))

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        cells = self.cells(self.decide(outputs), targets)
        self.every.scatter_add_(0, cells, torch.ones_like(cells))

    def cells(self, predicted: Tensor, targets: Tensor) -> Tensor:
        cells = super().cells(predicted.long(), targets.long())
        return cells.masked_fill(targets == self.ignore_index, len(self.every) - 1).flatten()

    def merge(self, other: PixelTally) -> None:  # type: ignore[override]
        self.every += other.every.to(self.every.device)

    def reset(self) -> None:
        self.every.zero_()

    def scores(self) -> tuple[PixelScore, ...]:
        numbers = (total.tolist() for total in self.totals())
        return tuple(PixelScore(*each) for each in zip(self.names, *numbers, strict=True))

    def to_plain(self) -> dict[str, Any]:
        return {**super().to_plain(), "ignored_pixels": int(self.every[-1])}


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
