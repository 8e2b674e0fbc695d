"""Numbers for each sample."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from trainkit.config.registry import register
from trainkit.core.diagnostics import Diagnostic
from trainkit.plots.figures import COLOURS, LineChart, Series
from trainkit.tasks.base import Task
from trainkit.tasks.findings import Details, Findings
from trainkit.tasks.linear_models import Fitted, ridge
from trainkit.tasks.number_scores import NumberTally, score_of
from trainkit.tasks.target_scale import TargetScale, Transform, described, scaled

LARGE = 1000.0
"""Numbers to be predicted beyond this are worth a warning."""
MOST_POINTS = 2000
"""In a chart."""


@register("task")
class Regression(Task):
    """Numbers. Targets: shape (batch, size), float32, in the user's unit. Outputs: as many."""

    name: Literal["regression"] = "regression"
    transform: Transform = "none"
    """What was done to targets before a model learned them; its outputs have to be undone accordingly."""
    mean: tuple[float, ...] = ()
    """Of the training targets, or of their logarithms: one for each number; empty where nothing was done."""
    std: tuple[Annotated[float, Field(gt=0)], ...] = ()
    skewness: tuple[float, ...] = ()
    """Of the training targets as they are, by which it was decided."""

    noun: ClassVar = ("number", "numbers")
    phrase: ClassVar = "numbers"
    default_loss: ClassVar = "mse"
    default_metrics: ClassVar = ("mae",)
    memorised: ClassVar = "r2"
    can_transform: ClassVar = True

    @model_validator(mode="after")
    def _one_of_each_number(self) -> Self:
        expected = 0 if self.transform == "none" else self.size
        if {len(self.mean), len(self.std), len(self.skewness)} != {expected}:
            raise ValueError("what was measured of the targets does not go with them")
        return self

    def measured(self, targets: Tensor, index: Tensor, transform: str) -> Self:
        found = super().measured(targets, index, transform)
        if transform == "none" or targets.ndim != 2:  # of another shape, a loss of the user's own has a word to say
            return found
        return found.model_copy(update=scaled(targets, index, self.names, transform)._asdict())

    def transformed_like(self, other: Task) -> Self:
        assert isinstance(other, Regression)
        keys = ("transform", "mean", "std", "skewness")
        return self.model_copy(update={key: getattr(other, key) for key in keys})

    def untransformed(self) -> Self:
        return self.transformed_like(Regression(size=self.size))

    @property
    def transformed(self) -> bool:
        return self.transform != "none"

    @property
    def described(self) -> str:
        return described(self)

    def diagnostics(self, targets: Tensor, *, pictures: bool) -> Iterator[Diagnostic]:
        if len(targets) > 1:
            rows = targets.view(len(targets), -1)
            for column in (rows == rows[0]).all(0).nonzero()[:1].flatten().tolist():
                name = f" of {self.names[column]!r}" if self.names else ""
                text = f"data: the target{name} is {float(rows[0, column]):g} for every training sample"
                yield Diagnostic("constant-target", f"{text}; there is nothing to learn")
        if not self.transformed and (largest := float(targets.abs().max())) > LARGE:
            text = f"targets reach {largest:.4g}, far from a network's first answers; try data.target_transform=auto"
            yield Diagnostic("large-targets", f"data: {text}")

    def untransform(self, outputs: Tensor) -> Tensor:
        return TargetScale(self).undo(outputs) if self.transformed else outputs

    def constant(self, targets: Tensor, num_outputs: int) -> Tensor:
        return super().constant(targets, num_outputs) if self.transformed else targets.float().mean(0)

    def constants(self, targets: Tensor, num_outputs: int) -> dict[str, Tensor]:
        if not self.answered_by(num_outputs):
            return {}
        numbers = {"mean": targets.double().mean(0).float(), "median": targets.median(0).values}
        if self.size > 1:
            return {f"always the {name}": each for name, each in numbers.items()}
        return {f"always the {name}, {self.words(each)}": each for name, each in numbers.items()}

    def linear(self, inputs: Tensor, targets: Tensor) -> Fitted:
        return ridge(inputs, targets)

    @property
    def knows_nothing_at_0(self) -> bool:
        return self.transformed  # otherwise it may be far off, in whatever unit

    def errors(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean over a sample's squared errors."""
        return (outputs - targets).square().mean(1)

    def details(self, device: torch.device) -> NumberTally:
        return NumberTally(self.known_names)

    def findings(self, details: Details | None, outputs: Tensor, targets: Tensor, split: str) -> Findings:
        """How far each number is off, and always the mean; predictions against targets, and residuals."""
        step = math.ceil(len(targets) / MOST_POINTS)
        true, said = (each.view(len(each), -1)[::step].T for each in (targets, outputs))
        names, off = self.known_names[: len(COLOURS)], (said - true).tolist()
        level = Series("", [float(said.min()), float(said.max())], [0.0, 0.0], "faint")
        tables = [details.table()] if isinstance(details, NumberTally) else []
        if tables and self.transformed and self.size == 1:
            mean, what = self.untransform(torch.zeros(1)), "geometric mean" if self.transform == "log" else "mean"
            always = score_of(f"always the {what}, {self.words(mean)}", mean.expand(len(targets)), targets.view(-1))
            tables[0] = replace(tables[0], rows=[*tables[0].rows, always.row()])
        return Findings(
            first=True,
            tables=tables,
            charts=[
                LineChart("Predictions against targets", _points(names, true.tolist(), said.tolist()), "target",
                          "prediction", diagonal=True),
                LineChart("Residuals", [*_points(names, said.tolist(), off), level], "prediction",
                          "prediction minus target"),
            ],
        )  # fmt: skip


def _points(names: Sequence[str], x: Sequence[Sequence[float]], y: Sequence[Sequence[float]]) -> list[Series]:
    """A cloud for each number."""
    return [Series(name, of_x, of_y, "points") for name, of_x, of_y in zip(names, x, y, strict=False)]
