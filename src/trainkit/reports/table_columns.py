"""The columns of a table for its page: which there are, how much each is needed, what stands in a row."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from trainkit.data import Data, Split, TensorSource
from trainkit.data.sources.sklearn import SklearnTableConfig
from trainkit.data.sources.sklearn_files import feature_names
from trainkit.data.tables.columns import Column, ColumnFacts
from trainkit.experiment.rules import monitored
from trainkit.inference.importance import importances
from trainkit.inference.restoring import Restored

FAR = 2.998
"""A number that was clipped to more than this, of 3, was a hundred times the usual: float32 keeps two digits of it."""


@dataclass(slots=True)
class Columns:
    """What is known of them; empty where the data is no table."""

    metric: str = ""
    """By which it is judged how much one is needed."""
    facts: list[tuple[ColumnFacts, float | None]] = field(default_factory=list)
    """Of all, each with how much the metric gets worse without it; those first that the model needs most."""
    seen: tuple[Column, ...] = ()
    """Those that the model sees, in the order of its inputs."""

    @property
    def shares(self) -> list[float]:
        """How much each of `facts` is needed, as a share of what is needed most."""
        needed = [max(0.0, worse or 0.0) for _, worse in self.facts]
        return [one / (max(needed) or 1) for one in needed]

    def row(self, inputs: Tensor, most: int) -> dict[str, str]:
        """What stands in a row, of the columns that the model needs most.

        Args:
            inputs: as they are in their source, shape (inputs,).
        """
        rest = iter(inputs.tolist())
        words = {column.name: words_of(column, [next(rest) for _ in range(column.width)]) for column in self.seen}
        names = [fact.name for fact, _ in self.facts if fact.name in words]
        return {name: words[name] for name in names[:most]}


def columns_of(restored: Restored, data: Data) -> Columns:
    """The columns of a file, or of one of scikit-learn's tables."""
    config, spec, facts = restored.experiment.data, restored.spec, list(data.columns)
    if isinstance(config, SklearnTableConfig):
        if not spec.columns:
            spec = spec.with_input(columns=tuple(Column(name=name) for name in feature_names(config.name)))
        facts = list(_facts(data.train, spec.columns, standardized=bool(config.standardize)))
    if not facts:
        return Columns()
    metric, worse = "", {}
    if data.val is not None and spec.columns:
        metric, mode = monitored(restored.experiment, spec)
        changes = importances(restored.parts, data.val, spec, metric, restored.experiment.loader)
        worse = {name: -change if mode == "max" else change for name, change in changes.items()}
    judged = [(fact, worse.get(fact.name)) for fact in facts]
    judged.sort(key=lambda one: -math.inf if one[1] is None else one[1], reverse=True)
    return Columns(metric, judged, spec.columns)


def _facts(train: Split, columns: Sequence[Column], *, standardized: bool) -> Iterator[ColumnFacts]:
    """Of numbers without gaps, one input each."""
    assert isinstance(train.source, TensorSource)
    assert isinstance(train.source.inputs, Tensor)
    for column, values in zip(columns, train.source.inputs.T, strict=True):
        ends = [words_of(column, [float(end)]) for end in (values.min(), values.max())]
        becomes = "the number, standardised" if standardized else "the number, as it is"
        different = len(values.unique())
        yield ColumnFacts(column.name, "number", "number", 0, different, " … ".join(ends), 1, becomes)


def words_of(column: Column, inputs: Sequence[float]) -> str:
    """What a column's inputs say, as far as they still tell: a number has four digits, a rare word no name."""
    if column.categories is not None:
        known = [word for word, value in zip(column.categories, inputs, strict=False) if value > 0.5]
        return (known[0] or "(missing)") if known else "(another)"
    if column.marked and inputs[-1] > 0.5:
        return "(missing)"
    if column.kind == "flag":
        return "yes" if inputs[0] > 0.5 else "no"
    numbers = list(inputs[: column.width - column.marked])
    if column.clip:
        numbers = [z / math.sqrt(max(1 - (z / 3) ** 2, 1e-12)) for z in numbers]
    if column.center:
        scaling = zip(numbers, column.scale, column.center, strict=True)
        numbers = [_undone(*one) for one in scaling]
    if column.kind != "date":
        return f"{numbers[0]:.{2 if column.clip and abs(inputs[0]) > FAR else 4}g}"
    return ", ".join(f"{part} {number:.6g}" for part, number in zip(column.parts, numbers, strict=True))


def _undone(number: float, scale: float, center: float) -> float:
    """Before it was scaled; what is nearly 0 there is 0 but for rounding."""
    before = number * scale + center
    return before if abs(before) > 1e-5 * scale else 0.0
