"""What classification and labels have in common: names that are found or not, counted, ranked and drawn alike."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainkit.core.diagnostics import Diagnostic
from trainkit.plots.figures import COLOURS, LineChart, Series
from trainkit.tasks.base import Cell, Findings, Table, Task
from trainkit.tasks.class_scores import ClassScore, Tally

MOST_LINES = len(COLOURS)
"""Names in one chart."""
MOST_ROWS = 20
"""Of the table of a page."""


class Categorical(Task):
    """Base of the tasks whose outputs are logits, one for each name."""

    default_metrics: ClassVar = ("accuracy",)
    memorised: ClassVar = "accuracy"
    logits: ClassVar = True
    mixes: ClassVar = True
    ranked: ClassVar = True
    missing: ClassVar[str]
    """What no training sample does, where there is none of a class or with a label."""

    @abstractmethod
    def decisions(self, outputs: Tensor) -> Tensor:
        """What a model decides for: the index of a class, shape (batch,), or 0 and 1 for every label, (batch, size)."""

    def probabilities(self, outputs: Tensor) -> Tensor:
        """Of every class or label, shape (n, size)."""
        return outputs.sigmoid()

    @abstractmethod
    def has(self, targets: Tensor, number: int) -> Tensor:
        """Which samples are of this class or have this label, shape (n,), bool."""

    @abstractmethod
    def tally(self, device: torch.device) -> Tally:
        """What counts how often each is predicted for each."""

    def details(self, device: torch.device) -> Tally:
        return self.tally(device)

    def combined(self, outputs: Tensor) -> Tensor:
        """Probabilities are averaged and given as logits again. Those of members that agree come out as they are."""
        return functional.logsigmoid(outputs).logsumexp(0) - functional.logsigmoid(-outputs).logsumexp(0)

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Minus the log-probability of what is true."""
        rows = targets.view(len(targets), -1).float()
        return functional.binary_cross_entropy_with_logits(outputs, rows, reduction="none").mean(1)

    def diagnostics(self, targets: Tensor, *, pictures: bool) -> Iterator[Diagnostic]:
        if 0 in self.counts:
            name = (self.names or range(self.size))[self.counts.index(0)]
            yield Diagnostic("missing-class", f"data: no training sample {self.missing} {name!r}")
        folded: dict[str, str] = {}
        for name in self.names:
            if (other := folded.setdefault(name.casefold(), name)) != name:
                text = f"data: {other!r} and {name!r} are two classes, though only upper and lower case differ"
                yield Diagnostic("class-names", text)

    def curves(self, outputs: Tensor, targets: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        probabilities = self.probabilities(outputs).T.cpu()
        for number, name in enumerate(self.known_names):
            yield name, self.has(targets, number).cpu(), probabilities[number]

    def findings(self, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        """How well each is found: a table, and curves."""
        from sklearn import metrics  # a second, for those who ask for a page

        tally = self.tally(targets.device)
        tally.update(outputs, targets)
        rows: list[tuple[ClassScore, list[str]]] = []
        recalls: dict[int, Series] = {}
        rocs: dict[int, Series] = {}
        averages: dict[int, float] = {}
        for (number, score), (name, positive, chance) in zip(
            enumerate(tally.scores()), self.curves(outputs, targets), strict=True
        ):
            there, probability = positive.numpy(), chance.double().numpy()
            areas = ["-", "-"]
            if there.any() and not there.all():
                averages[number] = float(metrics.average_precision_score(there, probability))
                areas = [f"{averages[number]:.4f}", f"{metrics.roc_auc_score(there, probability):.4f}"]
                recalls[number], rocs[number] = precision_and_roc(name, there, probability)
            trained = f"{self.counts[number]:,}" if self.counts else ""
            rows.append((score, [score.name, trained, f"{score.support:,}", *score.shares(), *areas]))
        title = "Class by class"
        if len(rows) > MOST_ROWS:
            title = f"The {MOST_ROWS} worst of {len(rows)} classes by F1"
            rows = sorted(rows, key=lambda row: row[0].f1)[:MOST_ROWS]
        heads = ("trained on", f"{split} samples", "precision", "recall", "F1", "average precision", "ROC AUC")
        drawn, note = sorted(averages, key=lambda number: averages[number]), ""
        if len(drawn) > 2 * MOST_LINES:
            drawn, note = drawn[:MOST_LINES], f"The {MOST_LINES} of {self.size} with the lowest average precision."
        drawn.sort()
        each = self.noun[0]
        charts = [
            LineChart(
                f"Precision against recall, {each} by {each}",
                [recalls[number] for number in drawn],
                "recall",
                "precision",
                unit=True,
                note=note,
            ),
            LineChart(
                f"ROC curve, {each} by {each}",
                [rocs[number] for number in drawn],
                "share of the others taken for it",
                "share of it that is found",
                unit=True,
                note=note,
            ),
        ]
        return Findings([Table(title, ("name", *heads), [row for _, row in rows])], charts if drawn else [])

    def text(self, number: float) -> str:
        return f"{number:.2%}".replace("%", " %")

    def _ranked_heads(self, top: int | None) -> list[str]:
        first = (self.noun[0], "probability")
        ranks = range(1, min(top or 1, self.size) + 1)
        return [f"{head}_{rank}" if rank > 1 else head for rank in ranks for head in first]


def ranked(pairs: Sequence[tuple[str, float]]) -> list[Cell]:
    """Names with their probabilities, side by side."""
    return [cell for pair in pairs for cell in pair]


def precision_and_roc(name: str, there: NDArray[np.bool_], probability: NDArray[np.float64]) -> tuple[Series, Series]:
    """Precision against recall, and the ROC curve.

    Args:
        there: which samples are of the name, shape (n,).
        probability: that they are, shape (n,).
    """
    from sklearn import metrics

    precision, recall, _ = metrics.precision_recall_curve(there, probability)
    wrongly, rightly, _ = metrics.roc_curve(there, probability)
    return Series(name, recall.tolist(), precision.tolist()), Series(name, wrongly.tolist(), rightly.tolist())
