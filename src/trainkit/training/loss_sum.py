"""A weighted sum of losses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from trainkit.config.base import Component, Config
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.data import Batch
from trainkit.tasks import Task
from trainkit.training.losses import Given, LossConfig, LossFn, LossOutput

Summands = Sequence[tuple[float, LossFn]]
"""Each with its weight."""


class Summand(Config):
    """One of the losses."""

    loss: Annotated[LossConfig, Component("loss")]
    """Its name, or a mapping with its name and options."""
    weight: float = Field(1.0, gt=0, allow_inf_nan=False)
    """By which it is multiplied."""


@register("loss")
class SumConfig(LossConfig):
    """A weighted sum of losses, such as cross-entropy and dice: the model is asked once for all of them. They must be
    means over the same: samples, or pixels."""

    name: Literal["sum"] = "sum"
    of: Annotated[tuple[Summand, ...], Field(min_length=1)]
    """The losses: `[{loss: cross_entropy}, {loss: {name: focal, gamma: 1}, weight: 0.5}]`."""

    @property
    def divisible(self) -> bool:  # type: ignore[override]  # what a class knows of others, only its object can know here
        return all(one.loss.divisible for one in self.of)

    @property
    def takes_transformed(self) -> bool:
        return all(one.loss.takes_transformed for one in self.of)

    def num_outputs(self, task: Task) -> int:
        sizes = {one.loss.to_plain()["name"]: one.loss.num_outputs(task) for one in self.of}
        if len({*sizes.values()}) > 1:
            found = ", ".join(f"{name} {size}" for name, size in sizes.items())
            raise ConfigError(f"loss.of: they need different numbers of outputs: {found}")
        return next(iter(sizes.values()))

    def build(self, task: Task) -> LossFn:
        summands = [(one.weight, one.loss.build(task)) for one in self.of]
        if any(isinstance(part, nn.Module) for _, part in summands):
            return SumModule(summands)
        return partial(_sum, summands)


class SumModule(nn.Module):
    """A sum of losses of which some have parameters of their own."""

    def __init__(self, summands: Summands) -> None:
        super().__init__()
        self.summands = summands
        self.own = nn.ModuleList(part for _, part in summands if isinstance(part, nn.Module))

    def forward(self, model: nn.Module, batch: Batch) -> LossOutput:
        return _sum(self.summands, model, batch)


def _sum(summands: Summands, model: nn.Module, batch: Batch) -> LossOutput:
    given = Given(model(*batch.arguments))
    found = [(weight, part(given, batch)) for weight, part in summands]
    first = found[0][1]
    in_unit = None
    if any(one.in_unit is not None for _, one in found):
        in_unit = sum_of([(weight, one.reported) for weight, one in found])
    # Of a loss that is none over pixels, the sum is none either.
    count = first.count if all(one.count is not None for _, one in found) else None
    total = sum_of([(weight, one.loss) for weight, one in found])
    return LossOutput(total, first.outputs, count=count, in_unit=in_unit)


def sum_of(weighted: Sequence[tuple[float, Tensor]]) -> Tensor:
    """Numbers, each times its weight."""
    return torch.stack([weight * number for weight, number in weighted]).sum()
