"""Schedulers: how the learning rate moves during a run."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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
    plateau: ReduceLROnPlateau | None = None
    curve_steps: int | None = None
    """After so many steps the curve lets go of the learning rate; None: never."""

    def step(self) -> None:
        """After every optimizer step."""
        if self.curve and (self.curve_steps is None or self.curve.last_epoch < self.curve_steps):
            self.curve.step()

    def observe(self, value: float) -> None:
        """After every evaluation, with the monitored metric."""
        if self.plateau:
            self.plateau.step(value)

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; the curve itself is rebuilt from the config."""
        state: dict[str, Any] = {}
        if self.curve:
            state["curve"] = {"last_epoch": self.curve.last_epoch, "last_lr": self.curve.get_last_lr()}
        if self.plateau:
            keys = ("best", "num_bad_epochs", "cooldown_counter", "last_epoch", "_last_lr")
            state["plateau"] = {key: getattr(self.plateau, key) for key in keys}
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`. The learning rate itself is part of the optimizer's state."""
        if self.curve:
            self.curve.last_epoch = state["curve"]["last_epoch"]
            self.curve._step_count = self.curve.last_epoch + 1
            self.curve._last_lr = state["curve"]["last_lr"]
        if self.plateau:
            self.plateau.__dict__.update(state["plateau"])


class SchedulerConfig(Config):
    """Base of every scheduler."""

    warmup_steps: int = Field(0, ge=0)
    """The learning rate first rises in a straight line over so many steps."""

    @abstractmethod
    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve | None:
        """The factor as a function of the steps done, not counting the warm-up; None: constant."""

    @property
    def depends_on_total(self) -> bool:
        """Whether a longer run would have had another curve from the beginning."""
        return False

    def lr_factor(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        """Warm-up and curve in one.

        Raises:
            ConfigError: the warm-up is longer than the run.
        """
        if self.warmup_steps and self.warmup_steps >= max_steps:
            raise ConfigError(f"scheduler.warmup_steps: {self.warmup_steps} exceeds the total of {max_steps} steps")
        after = self.curve(max_steps=max_steps - self.warmup_steps, steps_per_epoch=steps_per_epoch)

        def factor(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / (self.warmup_steps + 1)
            return after(step - self.warmup_steps) if after else 1.0

        return factor

    def build(self, optimizer: Optimizer, *, max_steps: int, steps_per_epoch: int, mode: str) -> Scheduler:
        """Build the scheduler. `mode` says whether the monitored metric should fall (`min`) or rise (`max`)."""
        factor = self.lr_factor(max_steps=max_steps, steps_per_epoch=steps_per_epoch)
        return Scheduler(LambdaLR(optimizer, factor))


@register("scheduler")
class ConstantConfig(SchedulerConfig):
    """The learning rate stays as it is, after a warm-up on request."""

    name: Literal["constant"] = "constant"

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve | None:
        return None

    def build(self, optimizer: Optimizer, *, max_steps: int, steps_per_epoch: int, mode: str) -> Scheduler:
        if not self.warmup_steps:
            return Scheduler()
        return super().build(optimizer, max_steps=max_steps, steps_per_epoch=steps_per_epoch, mode=mode)


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

    @property
    def depends_on_total(self) -> bool:
        return True

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

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve | None:
        return None

    def build(self, optimizer: Optimizer, *, max_steps: int, steps_per_epoch: int, mode: str) -> Scheduler:
        factor = self.lr_factor(max_steps=max_steps, steps_per_epoch=steps_per_epoch)
        warmup = LambdaLR(optimizer, factor) if self.warmup_steps else None
        plateau = ReduceLROnPlateau(
            optimizer,
            mode="min" if mode == "min" else "max",
            factor=self.factor,
            patience=self.patience,
            min_lr=self.min_lr,
        )
        return Scheduler(warmup, plateau, self.warmup_steps)
