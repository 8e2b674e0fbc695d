"""What all tasks of classes and labels have in common: names that are decided for, counted and shown in a table."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from trainkit.core.diagnostics import Diagnostic
from trainkit.tasks.base import Task
from trainkit.tasks.class_scores import Tally
from trainkit.tasks.findings import Details, Findings, Table

MOST_ROWS = 20
"""Of the table of a page."""


class Categorical(Task):
    """Base of the tasks whose outputs are logits, one for each name."""

    logits: ClassVar = True
    missing: ClassVar[str]
    """What no training sample does, where there is none of a class or with a label."""

    @abstractmethod
    def decisions(self, outputs: Tensor) -> Tensor:
        """What a model decides for: the index of a class, or 0 and 1 for every label, shape (batch, …)."""

    @abstractmethod
    def tally(self, device: torch.device) -> Tally:
        """What counts how often each is predicted for each."""

    def details(self, device: torch.device) -> Tally:
        return self.tally(device)

    def diagnostics(self, targets: Tensor, *, pictures: bool) -> Iterator[Diagnostic]:
        if 0 in self.counts:
            name = (self.names or range(self.size))[self.counts.index(0)]
            yield Diagnostic("missing-class", f"data: no training sample {self.missing} {name!r}")
        folded: dict[str, str] = {}
        for name in self.names:
            if (other := folded.setdefault(name.casefold(), name)) != name:
                text = f"data: {other!r} and {name!r} are two classes, though only upper and lower case differ"
                yield Diagnostic("class-names", text)

    def findings(self, details: Details | None, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        """How well each is found."""
        assert isinstance(details, Tally)
        return Findings([self.table(details, split)], confusion=details.confusion() or ())

    def table(
        self, tally: Tally, split: str, more_heads: Sequence[str] = (), more: Sequence[Sequence[str]] = ()
    ) -> Table:
        """A row for each, of many the worst; with further columns."""
        scores = tally.scores()
        title, shown = "Class by class", list(range(self.size))
        counted, *shares = scores[0].heads
        if self.size > MOST_ROWS:
            title = f"The {MOST_ROWS} worst of {self.size} classes by {scores[0].ranked_by}"
            shown = sorted(shown, key=lambda number: scores[number].rank)[:MOST_ROWS]
        rows = []
        for number in shown:
            score, trained = scores[number], f"{self.counts[number]:,}" if self.counts else ""
            rows.append([score.name, trained, f"{score.support:,}", *score.shares(), *(more[number] if more else ())])
        pixels = f"{self.counted_in} " if self.counted_in else ""
        return Table(title, ("name", f"{pixels}trained on", f"{split} {counted}", *shares, *more_heads), rows)

    def confusion(self, details: Details | None) -> list[list[int]]:
        found = details.confusion() if isinstance(details, Tally) else None
        return super().confusion(details) if found is None else found

    def text(self, number: float) -> str:
        return f"{number:.2%}".replace("%", " %")
