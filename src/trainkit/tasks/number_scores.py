"""How far numbers are off: MAE, RMSE, R², and what the residuals are like, for each of the numbers predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from trainkit.core.text import aligned
from trainkit.tasks.findings import Line, Table

MOST_ROWS = 20
HEADS = ("", "samples", "MAE", "RMSE", "R2", "bias", "median error", "90 % below", "largest")


@dataclass(frozen=True, slots=True)
class NumberScore:
    """Of one number, over a split; residuals are predictions minus targets, in the targets' unit."""

    name: str
    samples: int
    mae: float
    rmse: float
    r2: float
    """NaN where the targets are all the same."""
    bias: float
    """The mean residual: above 0, too much is predicted."""
    median: float
    """Half of the predictions are off by less…"""
    p90: float
    """…and nine in ten by less than this."""
    largest: float

    def row(self) -> list[str]:
        """As text."""
        numbers = (self.mae, self.rmse, self.r2, self.bias, self.median, self.p90, self.largest)
        return [self.name, f"{self.samples:,}", *(f"{number:.4g}" for number in numbers)]


def score_of(name: str, outputs: Tensor, targets: Tensor) -> NumberScore:
    """Of one number of each sample, shape (n,)."""
    targets, residuals = targets.double(), outputs.double() - targets.double()
    off, spread = residuals.abs(), (targets - targets.mean()).square().sum()
    median, p90 = torch.quantile(off, off.new_tensor([0.5, 0.9])).tolist() if len(off) < 10**7 else (torch.nan,) * 2
    return NumberScore(
        name=name,
        samples=len(off),
        mae=float(off.mean()),
        rmse=float(residuals.square().mean().sqrt()),
        r2=float(1 - residuals.square().sum() / spread) if spread > 0 else torch.nan,
        bias=float(residuals.mean()),
        median=median,
        p90=p90,
        largest=float(off.max()),
    )


class NumberTally:
    """Keeps predictions and targets of a split.

    Args:
        names: of the numbers.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self._kept: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor, batch: object = None) -> None:
        """Count one batch in, shapes (batch, size). Does not wait for the device."""
        self._kept.append((outputs.detach(), targets))

    def merge(self, other: NumberTally) -> None:
        """Count in what another share of the split has counted."""
        self._kept += other._kept

    def scores(self) -> list[NumberScore]:
        """One for every number. Waits for the device."""
        if not self._kept:
            return []
        outputs, targets = (torch.cat(each).cpu().T for each in zip(*self._kept, strict=True))
        return [score_of(*each) for each in zip(self.names, outputs, targets, strict=True)]

    def to_plain(self) -> dict[str, Any]:
        """For JSON."""
        return {"per_number": [asdict(score) for score in self.scores()]}

    def table(self) -> Table:
        """A row for each number, of many those with the lowest R2."""
        scores, title = self.scores(), "Number by number"
        if len(scores) > MOST_ROWS:
            title = f"The {MOST_ROWS} of {len(scores)} numbers with the lowest R2"
            scores = sorted(scores, key=lambda score: score.r2)[:MOST_ROWS]
        return Table(title, HEADS, [score.row() for score in scores])

    def lines(self) -> list[Line]:
        """The same for a terminal."""
        table = self.table()
        title = [Line(table.title)] if len(self.names) > MOST_ROWS else []
        return [Line(""), *title, *map(Line, aligned([table.heads, *table.rows], right=range(1, len(HEADS))))]
