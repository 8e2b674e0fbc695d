"""The second of two classes: precision, recall and F1 from a probability on, and average precision."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trainkit.core.text import aligned
from trainkit.tasks.class_scores import ClassTally, share
from trainkit.tasks.findings import Line, Table

LEAST = 1e-6
"""No threshold is nearer to 0 or 1."""
HEADS = ("", "threshold", "precision", "recall", "F1")


@dataclass(frozen=True, slots=True)
class PositiveScore:
    """How well the class is found by all samples whose probability is above a threshold."""

    threshold: float
    precision: float
    recall: float
    f1: float


class BinaryTally(ClassTally):
    """Keeps how probable the second class is, too, sample by sample.

    Args:
        margins: gives its logit, shape (batch,), of a model's outputs.
        threshold: a probability that was chosen on the val split; None where none was.
    """

    def __init__(
        self,
        names: Sequence[str],
        decide: Callable[[Tensor], Tensor],
        margins: Callable[[Tensor], Tensor],
        threshold: float | None,
        device: torch.device,
    ) -> None:
        super().__init__(names, decide, device)
        self.margins, self.threshold = margins, threshold
        self._kept: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor, batch: object = None) -> None:
        super().update(outputs, targets)
        self._kept.append((self.margins(outputs).detach().float(), targets == 1))

    def merge(self, other: BinaryTally) -> None:  # type: ignore[override]  # of its own kind
        super().merge(other)
        self._kept += other._kept

    def reset(self) -> None:
        super().reset()
        self._kept.clear()

    def kept(self) -> tuple[Tensor, Tensor]:
        """The logit of every sample, and whether it is of the class; shape (n,), on the CPU. Waits for the device."""
        margins, there = zip(*self._kept, strict=True)
        return torch.cat(margins).cpu(), torch.cat(there).cpu()

    def positive(self) -> tuple[list[PositiveScore], float]:
        """Its scores at 0.5 and at the threshold that was chosen, and the average precision."""
        margins, there = self.kept()
        thresholds = [0.5] if self.threshold is None else [0.5, self.threshold]
        return [scored(margins, there, one) for one in thresholds], average_precision(margins, there)

    def to_plain(self) -> dict[str, Any]:
        if not self._kept:
            return super().to_plain()
        scores, average = self.positive()
        positive = {"name": self.names[1], "average_precision": average, "thresholds": [asdict(one) for one in scores]}
        return {**super().to_plain(), "positive": positive}

    def table(self) -> Table | None:
        """The same for a page; None of no samples."""
        if not self._kept:
            return None
        scores, average = self.positive()
        title = f"{self.names[1]} against {self.names[0]}: average precision {average:.4f}"
        return Table(title, HEADS, [_row(one, self.threshold) for one in scores])

    def lines(self) -> list[Line]:
        found = super().lines()
        if table := self.table():
            found += [Line(""), Line(table.title), *map(Line, aligned([table.heads, *table.rows], right=range(1, 5)))]
        return found


def _row(score: PositiveScore, chosen: float | None) -> list[str]:
    how = "best F1 on val" if score.threshold == chosen else "by default"
    return [how, f"{score.threshold:.4g}", *(share(one, 1) for one in (score.precision, score.recall, score.f1))]


def logit(probability: float) -> float:
    """Of a probability between 0 and 1."""
    return math.log(probability / (1 - probability))


def scored(margins: Tensor, there: Tensor, threshold: float) -> PositiveScore:
    """How well a threshold finds those that are there. A share of nothing is 0.

    Args:
        margins: logits, shape (n,).
        there: shape (n,), bool.
    """
    found = margins > logit(threshold)
    right, predicted, support = (int(one.sum()) for one in (found & there, found, there))
    f1 = 2 * right / max(predicted + support, 1)
    return PositiveScore(threshold, right / max(predicted, 1), right / max(support, 1), f1)


def _steps(margins: Tensor, there: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """From the highest logit down, each different one: it, how many samples are as high, and how many of these are
    there."""
    order = margins.argsort(descending=True)
    values, right = margins[order], there[order].cumsum(0)
    last = torch.cat([values[1:] != values[:-1], there.new_ones(1)])
    return values[last], (torch.arange(len(values), device=values.device) + 1)[last], right[last]


def average_precision(margins: Tensor, there: Tensor) -> float:
    """The mean of the precisions at each threshold, weighted by how much recall each adds, as scikit-learn has it; NaN
    where none is there."""
    _, predicted, right = _steps(margins, there)
    gained = right.diff(prepend=right.new_zeros(1))
    return float((gained * (right / predicted)).sum() / right[-1])


def best_threshold(margins: Tensor, there: Tensor) -> float | None:
    """The probability above which to answer with the class, so that its F1 is highest: in the middle between two
    samples, and of several the nearest to 0.5. None where all samples are of one class, or a logit is not finite.

    Args:
        margins, there: as of `scored`.
    """
    if not len(there) or there.all() or not there.any() or not margins.isfinite().all():
        return None
    values, predicted, right = _steps(margins.double(), there)
    f1 = 2 * right / (predicted + right[-1])
    below = torch.cat([values[1:], values[-1:] - 1])
    between = ((values + below) / 2).sigmoid().clamp(LEAST, 1 - LEAST)
    best = between[f1 == f1.max()]
    return float(best[(best - 0.5).abs().argmin()])
