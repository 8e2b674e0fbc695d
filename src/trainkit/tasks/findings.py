"""What the predictions of a split show beside its metrics: for a terminal, for JSON, and for a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from trainkit.core.nest import Nest
from trainkit.plots.figures import LineChart

if TYPE_CHECKING:
    from trainkit.data import Batch


class Line(NamedTuple):
    """A line of text for a terminal."""

    text: str
    strong: bool = False


class Details(Protocol):
    """What a split shows beside its metrics, such as how well each class is found. Counts batch by batch."""

    def update(self, outputs: Nest, targets: Nest, batch: Batch) -> None:
        """Count one batch in, as a metric does. Must not wait for the device.

        Args:
            batch: what else is known of it, such as the lengths of sequences and the samples' indices.
        """

    def merge(self, other: Self) -> None:
        """Count in what another share of the split has counted."""

    def to_plain(self) -> dict[str, Any]:
        """For JSON, by the keys under which it stands beside the metrics."""
        ...

    def lines(self) -> list[Line]:
        """For a terminal."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for a page."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[Sequence[str]]


@dataclass(slots=True)
class Findings:
    """What the predictions of a split show, as plain data that a page draws."""

    tables: list[Table] = field(default_factory=list)
    charts: list[LineChart] = field(default_factory=list)
    confusion: Sequence[Sequence[int]] = ()
    """Samples by true class (rows) and predicted class (columns); empty where there are no classes."""
    first: bool = False
    """Whether they say more than the curves of the training, and stand before them."""
