"""Schedulers: how the learning rate moves during a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from trainkit.config import Config
from trainkit.errors import ConfigError
from trainkit.registry import register

Curve = Callable[[int], float]
"""The factor on the learning rate for the update that follows so many steps."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """What the loop steps: a curve over the steps, and for `plateau` a reaction to evaluations."""

    curve: LambdaLR | None = None
    curve_steps: int | None = None
    """After so many steps the curve lets go of the learning rate; None: never."""
    plateau: ReduceLROnPlateau | None = None

    def step(self) -> None:
        """After every optimizer step."""
        if self.curve and self._curve_rules():
            self.curve.step()

    def observe(self, value: float) -> None:
        """After every evaluation, with the monitored metric. A warm-up is not disturbed."""
        if self.plateau and not self._curve_rules():
            self.plateau.step(value)

    def _curve_rules(self) -> bool:
        return self.curve is not None and (self.curve_steps is None or self.curve.last_epoch < self.curve_steps)

    def state_dict(self) -> dict[str, Any]:
        """Plain values. The learning rate itself is part of the optimizer's state."""
        parts = {"curve": self.curve, "plateau": self.plateau}
        return {key: part.state_dict() for key, part in parts.items() if part}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`, for a scheduler built from the same config."""
        if self.curve:
            self.curve.load_state_dict(state["curve"])
        if self.plateau:
            self.plateau.load_state_dict(state["plateau"])


class SchedulerConfig(Config):
    """Base of every scheduler."""

    name: str
    warmup_steps: int = Field(0, ge=0)
    """The learning rate first rises in a straight line over so many steps."""

    depends_on_total: ClassVar[bool] = False
    """Whether a longer run would have had another curve from the beginning."""

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve | None:
        """The factor as a function of the steps done, not counting the warm-up; None: constant."""
        return None

    def lr_factor(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        """Warm-up and curve in one.

        Raises:
            ConfigError: the warm-up is as long as the run.
        """
        if self.warmup_steps and self.warmup_steps >= max_steps:
            raise ConfigError(f"scheduler.warmup_steps: must be < the run's {max_steps} steps, got {self.warmup_steps}")
        after = self.curve(max_steps=max_steps - self.warmup_steps, steps_per_epoch=steps_per_epoch)

        def factor(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / (self.warmup_steps + 1)
            return after(step - self.warmup_steps) if after else 1.0

        return factor

    def build(
        self, optimizer: Optimizer, *, max_steps: int, steps_per_epoch: int, mode: Literal["min", "max"]
    ) -> Scheduler:
        """Build the scheduler. `mode` says whether the monitored metric should fall (`min`) or rise (`max`).

        Raises:
            ConfigError: the warm-up is as long as the run.
        """
        factor = self.lr_factor(max_steps=max_steps, steps_per_epoch=steps_per_epoch)
        if self.curve(max_steps=max_steps, steps_per_epoch=steps_per_epoch):
            return Scheduler(LambdaLR(optimizer, factor))
        return Scheduler(LambdaLR(optimizer, factor), self.warmup_steps) if self.warmup_steps else Scheduler()


@register("scheduler")
class ConstantConfig(SchedulerConfig):
    """The learning rate stays as it is, after a warm-up on request."""

    name: Literal["constant"] = "constant"


@register("scheduler")
class StepConfig(SchedulerConfig):
    """Multiply the learning rate by `gamma` every `step_size` epochs (torch's StepLR)."""

    name: Literal["step"] = "step"
    step_size: int = Field(ge=1)
    """How long the rate stays the same, in the unit below."""
    gamma: float = Field(0.1, gt=0, le=1)
    """Factor at each drop."""
    unit: Literal["epoch", "step"] = "epoch"
    """What `step_size` counts."""

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        size = self.step_size * (steps_per_epoch if self.unit == "epoch" else 1)
        return lambda step: self.gamma ** (step // size)


@register("scheduler")
class CosineConfig(SchedulerConfig):
    """Half a cosine from the learning rate down to `min_factor` of it at the last step (arXiv:1608.03983)."""

    name: Literal["cosine"] = "cosine"
    min_factor: float = Field(0.0, ge=0, lt=1)
    """What is left of the learning rate at the end, as a share."""

    depends_on_total: ClassVar[bool] = True
    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "eta_min": "min_factor is the end as a share of lr",
        "T_max": "the curve always spans the run",
    }

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        def factor(step: int) -> float:
            half_cosine = (1 + math.cos(math.pi * min(step / max_steps, 1.0))) / 2
            return self.min_factor + (1 - self.min_factor) * half_cosine

        return factor


@register("scheduler")
class PlateauConfig(SchedulerConfig):
    """Multiply the learning rate by `factor` when the monitored metric has stopped improving (ReduceLROnPlateau)."""

    name: Literal["plateau"] = "plateau"
    factor: float = Field(0.1, gt=0, lt=1)
    """Factor at each drop."""
    patience: int = Field(3, ge=0)
    """Evaluations without improvement that are let pass before a drop."""
    min_lr: float = Field(0.0, ge=0)
    """The learning rate never falls below it."""

    def build(
        self, optimizer: Optimizer, *, max_steps: int, steps_per_epoch: int, mode: Literal["min", "max"]
    ) -> Scheduler:
        warmup = super().build(optimizer, max_steps=max_steps, steps_per_epoch=steps_per_epoch, mode=mode)
        plateau = ReduceLROnPlateau(
            optimizer, mode=mode, factor=self.factor, patience=self.patience, min_lr=self.min_lr
        )
        return replace(warmup, plateau=plateau)
