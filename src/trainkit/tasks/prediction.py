"""What a model says of one input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainkit.tasks.base import Task

Cell = str | float
"""Of a table of predictions."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the model says of one input, in the words of its task."""

    input: str
    """The file; of several in one file `file:row`, which is a line of CSV, or a place in an array, from 0 on."""
    task: Task
    answer: tuple[str, ...]
    """The class, or those of the labels that the model finds; empty for numbers."""
    values: Mapping[str, float]
    """The probability of every class or label, or the numbers, or each class's share of the pixels, by their names."""
    file: str = ""
    """What was written beside it, such as a mask; empty where nothing was."""
    kept: Mapping[str, str] = field(default_factory=dict)
    """What stood in columns of its row that were to be kept."""

    @property
    def kind(self) -> str:
        """The name of the task."""
        return self.task.name

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable classes or labels, and how probable they are."""
        # Where two are equally probable, the decision comes first.
        return sorted(self.values.items(), key=lambda item: (-item[1], item[0] not in self.answer))[:count]

    def to_plain(self, top: int | None = None) -> dict[str, Any]:
        """For JSON; of probabilities all, or the highest."""
        kept = {"kept": dict(self.kept)} if self.kept else {}
        return {"input": self.input, **kept, **self.task.plain(self, top)}
