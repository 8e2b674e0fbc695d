"""Predicted against true classes or labels: the confusion matrix, precision, recall and F1 of each."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from rich.cells import cell_len, set_cell_size
from torch import Tensor

from trainkit.core.text import aligned, format_metric
from trainkit.tasks.findings import Line

if TYPE_CHECKING:
    from trainkit.data import Batch

WIDTH = 80
MOST_ROWS = 20
MOST_COLUMNS = 12
SHORTEST_NAME = 12


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well one class or label is found. A share of nothing is 0."""

    heads: ClassVar[tuple[str, ...]] = ("samples", "precision", "recall", "F1")
    """Of a table: what is counted, and the `shares`."""
    ranked_by: ClassVar[str] = "F1"

    name: str
    support: int
    """Samples that are of the class or have the label."""
    predicted: int
    """Samples that are predicted to."""
    true_positives: int
    """Samples that are rightly predicted to."""

    @property
    def precision(self) -> float:
        return self.true_positives / max(self.predicted, 1)

    @property
    def recall(self) -> float:
        return self.true_positives / max(self.support, 1)

    @property
    def f1(self) -> float:
        return 2 * self.true_positives / max(self.support + self.predicted, 1)

    @property
    def rank(self) -> float:
        """By which the worst is found; 1 where everything is right."""
        return self.f1

    def shares(self) -> list[str]:
        """Precision, recall and F1 as text; a dash for a share of nothing."""
        return [
            share(self.precision, self.predicted),
            share(self.recall, self.support),
            share(self.f1, self.support + self.predicted),
        ]

    def to_plain(self) -> dict[str, str | int | float]:
        """For JSON."""
        keys = ("name", "support", "predicted", "true_positives", "precision", "recall", "f1")
        return {key: getattr(self, key) for key in keys}


class Tally(ABC):
    """Counts what is predicted for what, on the device.

    Args:
        names: of the classes or labels.
        decide: gives what a model decides for, of its outputs.
        shape: of `counts`.
        ignored: whether one more cell counts what is ignored: to leave that out would mean to wait for the device.
    """

    score: ClassVar[type[ClassScore]] = ClassScore

    def __init__(
        self,
        names: Sequence[str],
        decide: Callable[[Tensor], Tensor],
        device: torch.device,
        shape: tuple[int, ...],
        *,
        ignored: bool = False,
    ) -> None:
        self.names, self.decide = names, decide
        cells = math.prod(shape)
        self.every = torch.zeros(cells + ignored, dtype=torch.int64, device=device)
        self.counts = self.every[:cells].view(shape)

    @abstractmethod
    def cells(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Which of all cells grow, shape (any,), int64."""

    @abstractmethod
    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Samples that are of each class or have each label, those predicted to, and those rightly; shape (size,)."""

    def update(self, outputs: Tensor, targets: Tensor, batch: Batch | None = None) -> None:
        """Count one batch in, as a metric does. Does not wait for the device."""
        cells = self.cells(self.decide(outputs), targets)
        self.every.scatter_add_(0, cells, torch.ones_like(cells))

    def merge(self, other: Tally) -> None:
        """Count in what another share of the split has counted."""
        self.every += other.every.to(self.every.device)

    def reset(self) -> None:
        """Forget all batches."""
        self.every.zero_()

    def confusion(self) -> list[list[int]] | None:
        """Samples by true class (rows) and predicted class (columns); None for labels."""
        return None

    def scores(self) -> tuple[ClassScore, ...]:
        """One for every class or label, in their order. Waits for the device."""
        numbers = (total.tolist() for total in self.totals())
        return tuple(self.score(*each) for each in zip(self.names, *numbers, strict=True))

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        plain: dict[str, Any] = {"per_class": [score.to_plain() for score in self.scores()]}
        confusion = self.confusion()
        return plain | ({"confusion": confusion} if confusion else {})

    def lines(self) -> list[Line]:
        """A table of the classes or labels, the worst of them strong, and the confusion matrix."""
        texts, worst = table(self.scores())
        texts += matrix(self.confusion(), self.names)
        return [Line(text, text == worst) for text in texts]


class ClassTally(Tally):
    """Of classes: `counts` is (classes, classes), a row for every true class, a column for the predicted one."""

    def __init__(
        self,
        names: Sequence[str],
        decide: Callable[[Tensor], Tensor],
        device: torch.device,
        *,
        ignored: bool = False,
    ) -> None:
        super().__init__(names, decide, device, (len(names), len(names)), ignored=ignored)

    def cells(self, predicted: Tensor, targets: Tensor) -> Tensor:
        return targets * len(self.names) + predicted

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.counts.sum(1), self.counts.sum(0), self.counts.diagonal()

    def confusion(self) -> list[list[int]]:
        counts: list[list[int]] = self.counts.tolist()
        return counts


class LabelTally(Tally):
    """Of labels: `counts` is (labels, 2, 2), a row for whether the label is there, a column for whether it is
    predicted."""

    def __init__(self, names: Sequence[str], decide: Callable[[Tensor], Tensor], device: torch.device) -> None:
        super().__init__(names, decide, device, (len(names), 2, 2))

    def cells(self, predicted: Tensor, targets: Tensor) -> Tensor:
        label = torch.arange(len(self.names), device=predicted.device)
        return (label * 4 + (targets > 0.5) * 2 + predicted).flatten()

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.counts[:, 1].sum(1), self.counts[:, :, 1].sum(1), self.counts[:, 1, 1]


def table(scores: Sequence[ClassScore]) -> tuple[list[str], str | None]:
    """The scores as lines of text in columns, of many classes the worst only; and which of them is the worst class."""
    if not scores:
        return [], None
    ranked = sorted((score for score in scores if score.support), key=lambda score: score.rank)
    shown = list(scores) if len(scores) <= MOST_ROWS else ranked[:MOST_ROWS]
    rows = [["name", *scores[0].heads]]
    for score in shown:
        rows.append([score.name, f"{score.support:,}", *score.shares()])
    lines = _columns(rows)
    worst = lines[1 + shown.index(ranked[0])] if ranked and ranked[0].rank < 1 else None
    if len(shown) < len(scores):
        lines.append(f"These are the {len(shown)} worst of {len(scores)} by {scores[0].ranked_by}; --json has all.")
    return ["", *lines], worst


def share(value: float, of: int) -> str:
    """As text; a dash for a share of nothing."""
    return format_metric("recall", value).removeprefix("recall ") if of else "-"


def matrix(confusion: Sequence[Sequence[int]] | None, names: Sequence[str]) -> list[str]:
    """A confusion matrix as lines of text; none for more classes than a line has room for."""
    if not confusion or len(confusion) > MOST_COLUMNS:
        return []
    cells = [[str(count) if count else "." for count in row] for row in confusion]
    rows = [["", *names], *([name, *row] for name, row in zip(names, cells, strict=True))]
    if max(map(cell_len, _columns(rows))) > WIDTH:  # then the columns get numbers for names
        heads = [str(number) for number in range(len(names))]
        labels = [f"{number} {name}" for number, name in enumerate(names)]
        rows = [["", *heads], *([label, *row] for label, row in zip(labels, cells, strict=True))]
    return ["", *_columns(rows), "Rows: the true class. Columns: the predicted class."]


def _columns(rows: list[list[str]]) -> list[str]:
    """Lines of equal columns: names to the left, cut where a line would become too long, numbers to the right."""
    first, *others = (max(map(cell_len, column)) for column in zip(*rows, strict=True))
    first = min(first, max(WIDTH - sum(others) - 2 * len(others), SHORTEST_NAME))
    short = [name if cell_len(name) <= first else set_cell_size(name, first - 3) + "..." for name, *_ in rows]
    cells = [[name, *row[1:]] for name, row in zip(short, rows, strict=True)]
    return aligned(cells, right=range(1, len(cells[0])))
