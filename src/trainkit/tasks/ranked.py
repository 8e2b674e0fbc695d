"""What classification and labels have in common: a probability for each name, by which samples are ranked."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trainkit.plots.figures import COLOURS, LineChart, Series
from trainkit.tasks.categorical import Categorical
from trainkit.tasks.class_scores import Tally
from trainkit.tasks.findings import Details, Findings
from trainkit.tasks.prediction import Cell

MOST_LINES = len(COLOURS)
"""Names in one chart."""


class Ranked(Categorical):
    """Base of the tasks that find names for a whole sample."""

    default_metrics: ClassVar = ("accuracy",)
    memorised: ClassVar = "accuracy"
    mixes: ClassVar = True
    ranked: ClassVar = True

    @abstractmethod
    def probabilities(self, outputs: Tensor) -> Tensor:
        """Of every class or label, shape (n, size)."""

    def right(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The share of the decisions about each sample that are right, shape (n,). Does not wait for the device."""
        return ~self.wrong(outputs, targets)

    @abstractmethod
    def has(self, targets: Tensor, number: int) -> Tensor:
        """Which samples are of this class or have this label, shape (n,), bool."""

    def curves(self, outputs: Tensor, targets: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
        probabilities = self.probabilities(outputs).T.cpu()
        for number, name in enumerate(self.known_names):
            yield name, self.has(targets, number).cpu(), probabilities[number]

    def findings(self, details: Details | None, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        """How well each is found, with the areas under its curves, and the curves."""
        from sklearn import metrics  # a second, for those who ask for a page

        areas = [("-", "-")] * self.size
        recalls: dict[int, Series] = {}
        rocs: dict[int, Series] = {}
        averages: dict[int, float] = {}
        for number, (name, positive, chance) in enumerate(self.curves(outputs, targets)):
            there, probability = positive.numpy(), chance.double().numpy()
            if there.any() and not there.all():
                averages[number] = float(metrics.average_precision_score(there, probability))
                areas[number] = f"{averages[number]:.4f}", f"{metrics.roc_auc_score(there, probability):.4f}"
                recalls[number], rocs[number] = precision_and_roc(name, there, probability)
        drawn, note = sorted(averages, key=lambda number: averages[number]), ""
        if len(drawn) > 2 * MOST_LINES:
            drawn, note = drawn[:MOST_LINES], f"The {MOST_LINES} of {self.size} with the lowest average precision."
        drawn.sort()
        each = self.noun[0]
        curves = (
            ("Precision against recall", recalls, "recall", "precision"),
            ("ROC curve", rocs, "share of the others taken for it", "share of it that is found"),
        )
        charts = [
            LineChart(f"{what}, {each} by {each}", [series[number] for number in drawn], x, y, unit=True, note=note)
            for what, series, x, y in (curves if drawn else ())
        ]
        assert isinstance(details, Tally)
        table = self.table(details, split, ("average precision", "ROC AUC"), areas)
        return Findings([table], charts, details.confusion() or ())

    def ranked_heads(self, top: int | None) -> list[str]:
        """What stands above `ranked_cells`."""
        first = (self.noun[0], "probability")
        ranks = range(1, min(top or 1, self.size) + 1)
        return [f"{head}_{rank}" if rank > 1 else head for rank in ranks for head in first]


def ranked_cells(pairs: Sequence[tuple[str, float]]) -> list[Cell]:
    """Names with their probabilities, side by side."""
    return [cell for pair in pairs for cell in pair]


def mean_of_softmax(outputs: Tensor) -> Tensor:
    """The mean of the members' probabilities of classes, as logits again; those of members that agree come out as they
    are. From shape (members, batch, classes) to (batch, classes)."""
    mean = outputs.log_softmax(2).logsumexp(0) - math.log(len(outputs))
    return mean + outputs.logsumexp(2, keepdim=True).mean(0)


def mean_of_sigmoid(outputs: Tensor) -> Tensor:
    """The same of labels, each by itself."""
    return functional.logsigmoid(outputs).logsumexp(0) - functional.logsigmoid(-outputs).logsumexp(0)


def cross_entropy_of_flags(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the log-probability of what is true, the mean over a sample's flags, shape (n,)."""
    rows = targets.view(len(targets), -1).float()
    return functional.binary_cross_entropy_with_logits(outputs, rows, reduction="none").mean(1)


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
