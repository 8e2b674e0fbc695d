"""Predicted against true classes or labels: the confusion matrix, precision, recall and F1 of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.cells import cell_len, set_cell_size
from torch import Tensor

from trainkit.core.text import aligned, format_metric
from trainkit.data import TargetSpec

WIDTH = 80
MOST_ROWS = 20
MOST_COLUMNS = 12
SHORTEST_NAME = 12


def decisions(outputs: Tensor, target: TargetSpec) -> Tensor:
    """What a model decides for: the index of a class, shape (batch,), or 0 and 1 for every label, shape (batch, size).

    A single output for two classes is the logit of class 1.
    """
    if target.kind == "multilabel":
        return (outputs > 0).long()
    return (outputs[:, 0] > 0).long() if outputs.shape[1] == 1 else outputs.argmax(1)


class Tally:
    """Counts what is predicted for what, on the device.

    Of classes `counts` is (classes, classes): a row for every true class, a column for the predicted one. Of labels
    it is (labels, 2, 2): a row for whether the label is there, a column for whether it is predicted.
    """

    def __init__(self, target: TargetSpec, device: torch.device) -> None:
        self.target = target
        shape = (target.size, target.size) if target.kind == "classification" else (target.size, 2, 2)
        self.counts = torch.zeros(shape, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch in, as a metric does. Does not wait for the device."""
        predicted = decisions(outputs, self.target)
        if self.target.kind == "classification":
            cell = targets * self.target.size + predicted
        else:
            label = torch.arange(self.target.size, device=predicted.device)
            cell = (label * 4 + (targets > 0.5) * 2 + predicted).flatten()
        self.counts.view(-1).scatter_add_(0, cell, torch.ones_like(cell))

    def merge(self, other: Tally) -> None:
        """Count in what another one has counted."""
        self.counts += other.counts

    def reset(self) -> None:
        """Forget all batches."""
        self.counts.zero_()

    def confusion(self) -> list[list[int]] | None:
        """Samples by true class (rows) and predicted class (columns); None for labels."""
        return self.counts.tolist() if self.target.kind == "classification" else None

    def totals(self) -> tuple[Tensor, Tensor, Tensor]:
        """Samples that are of each class or have each label, those predicted to, and those rightly; shape (size,)."""
        if self.target.kind == "classification":
            return self.counts.sum(1), self.counts.sum(0), self.counts.diagonal()
        return self.counts[:, 1].sum(1), self.counts[:, :, 1].sum(1), self.counts[:, 1, 1]

    def scores(self) -> tuple[ClassScore, ...]:
        """One for every class or label, in their order. Waits for the device."""
        numbers = (total.tolist() for total in self.totals())
        return tuple(ClassScore(*each) for each in zip(class_names(self.target), *numbers, strict=True))


@dataclass(frozen=True, slots=True)
class ClassScore:
    """How well one class or label is found. A share of nothing is 0."""

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

    def to_plain(self) -> dict[str, str | int | float]:
        """For JSON."""
        keys = ("name", "support", "predicted", "true_positives", "precision", "recall", "f1")
        return {key: getattr(self, key) for key in keys}


def class_names(target: TargetSpec) -> tuple[str, ...]:
    """Of the classes or labels; their numbers where they have no names."""
    return target.names or tuple(map(str, range(target.size)))


def table(scores: Sequence[ClassScore]) -> tuple[list[str], str | None]:
    """The scores as lines of text in columns, of many classes the worst only; and which of them is the worst class."""
    if not scores:
        return [], None
    ranked = sorted((score for score in scores if score.support), key=lambda score: score.f1)
    shown = list(scores) if len(scores) <= MOST_ROWS else ranked[:MOST_ROWS]
    rows = [["name", "samples", "precision", "recall", "F1"]]
    for score in shown:
        shares = (
            (score.precision, score.predicted),
            (score.recall, score.support),
            (score.f1, score.support + score.predicted),
        )
        rows.append([score.name, f"{score.support:,}", *(_share(value, of) for value, of in shares)])
    lines = _columns(rows)
    worst = lines[1 + shown.index(ranked[0])] if ranked and ranked[0].f1 < 1 else None
    if len(shown) < len(scores):
        lines.append(f"These are the {len(shown)} worst of {len(scores)} by F1; --json has all.")
    return ["", *lines], worst


def _share(value: float, of: int) -> str:
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
