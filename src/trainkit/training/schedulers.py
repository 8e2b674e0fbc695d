"""Schedulers: how the learning rate moves during a run.

One file, since each is one formula on the base that gives all of them their warm-up.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, ReduceLROnPlateau

from trainkit.config.base import Config
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError

Gamma = Annotated[float, Field(gt=0, le=1, description="Factor at each drop.")]
EndFactor = Annotated[float, Field(ge=0, lt=1, description="What is left of the learning rate at the end, as a share.")]
Curve = Callable[[int], float]
"""The factor on the learning rate for the update that follows so many steps."""


@dataclass(frozen=True, slots=True)
class Scheduler:
    """What the loop steps: a curve over the steps, and for `plateau` a reaction to evaluations."""

    curve: LRScheduler | None = None
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


class StepDecayConfig(SchedulerConfig):
    """Base of the schedulers that multiply the learning rate by `gamma` every now and then."""

    gamma: Gamma = 0.1
    unit: Literal["epoch", "step"] = "epoch"
    """What is counted, from the end of the warm-up; in between the rate stays the same."""

    @abstractmethod
    def drops(self, elapsed: int) -> int:
        """How many times the rate has dropped after so many epochs or steps."""

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        length = steps_per_epoch if self.unit == "epoch" else 1
        return lambda step: self.gamma ** self.drops(step // length)


@register("scheduler")
class StepConfig(StepDecayConfig):
    """Multiply the learning rate by `gamma` every `step_size` epochs (torch's StepLR)."""

    name: Literal["step"] = "step"
    step_size: int = Field(ge=1)
    """How long the rate stays the same, in the unit."""

    def drops(self, elapsed: int) -> int:
        return elapsed // self.step_size


@register("scheduler")
class MultistepConfig(StepDecayConfig):
    """Multiply the learning rate by `gamma` at certain epochs (torch's MultiStepLR)."""

    name: Literal["multistep"] = "multistep"
    milestones: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)]
    """After how many epochs or steps the rate drops, rising: `[30, 60]`."""

    @field_validator("milestones")
    @classmethod
    def _milestones_rise(cls, milestones: tuple[int, ...]) -> tuple[int, ...]:
        for earlier, later in pairwise(milestones):
            if earlier >= later:
                raise ValueError(f"must rise, but {later} follows {earlier}")
        return milestones

    def drops(self, elapsed: int) -> int:
        return bisect_right(self.milestones, elapsed)


@register("scheduler")
class ExponentialConfig(StepDecayConfig):
    """Multiply the learning rate by `gamma` after every epoch (torch's ExponentialLR)."""

    name: Literal["exponential"] = "exponential"
    gamma: Gamma = 0.95

    def drops(self, elapsed: int) -> int:
        return elapsed


def half_cosine(share: float, start: float, end: float) -> float:
    """From `start` to `end` along half a cosine, as `share` goes from 0 to 1 (SGDR, arXiv:1608.03983, equation 5)."""
    return end + (start - end) * ((1 + math.cos(math.pi * share)) / 2)


def straight_line(share: float, start: float, end: float) -> float:
    """From `start` to `end`, as `share` goes from 0 to 1."""
    return start + (end - start) * share


class WholeRunConfig(SchedulerConfig):
    """Base of the schedulers whose curve spans the run, moving at every step."""

    depends_on_total: ClassVar[bool] = True
    unknown_key_hints: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("T_max", "total_iters", "total_steps"), "the curve always spans the run"
    ) | {"eta_min": "min_factor is the end as a share of lr"}

    @abstractmethod
    def factor(self, share: float) -> float:
        """The factor when such a share of the run, from 0 to 1, is done."""

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        return lambda step: self.factor(min(step / max_steps, 1.0))


@register("scheduler")
class CosineConfig(WholeRunConfig):
    """Half a cosine from the learning rate down to `min_factor` of it at the last step (torch's CosineAnnealingLR)."""

    name: Literal["cosine"] = "cosine"
    min_factor: EndFactor = 0.0

    def factor(self, share: float) -> float:
        return half_cosine(share, 1.0, self.min_factor)


@register("scheduler")
class CoslogConfig(WholeRunConfig):
    """Up to the learning rate and down to 0 several times, every cycle twice as long as the one before (Holzmüller et
    al., 2024, arXiv:2407.04491, section 3): good weights come early, and again and again."""

    name: Literal["coslog"] = "coslog"
    cycles: int = Field(4, ge=1, le=30)
    """How many times the rate rises and falls; the last cycle takes about half of the run."""

    def factor(self, share: float) -> float:
        # Equation of the paper: (1 - cos(2 pi log2(1 + (2^cycles - 1) share))) / 2.
        return half_cosine(2 * math.log2(1 + (2**self.cycles - 1) * share), 0.0, 1.0)


@register("scheduler")
class LinearConfig(WholeRunConfig):
    """A straight line from the learning rate down to `end_factor` of it at the last step (torch's LinearLR)."""

    name: Literal["linear"] = "linear"
    end_factor: EndFactor = 0.0

    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        **WholeRunConfig.unknown_key_hints,
        "min_factor": "the end is end_factor",
        "eta_min": "the end is end_factor, as a share of lr",
        "start_factor": "the line starts at lr, after warmup_steps",
    }

    def factor(self, share: float) -> float:
        return straight_line(share, 1.0, self.end_factor)


@register("scheduler")
class PolynomialConfig(WholeRunConfig):
    """A power of what is left of the run, down to 0 at the last step (torch's PolynomialLR)."""

    name: Literal["polynomial"] = "polynomial"
    power: float = Field(1.0, gt=0)
    """1 is a straight line; the higher, the faster the rate falls at first."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {**WholeRunConfig.unknown_key_hints, "eta_min": "the end is 0"}

    def factor(self, share: float) -> float:
        return float((1 - share) ** self.power)


@register("scheduler")
class CosineRestartsConfig(SchedulerConfig):
    """Half cosines one after the other, each from the full learning rate (torch's CosineAnnealingWarmRestarts)."""

    name: Literal["cosine_restarts"] = "cosine_restarts"
    T_0: int = Field(ge=1)
    """Length of the first cosine, in the unit."""
    T_mult: int = Field(1, ge=1)
    """Each cosine is so many times as long as the one before."""
    min_factor: float = Field(0.0, ge=0, lt=1)
    """What is left of the learning rate at the end of each cosine, as a share."""
    unit: Literal["epoch", "step"] = "epoch"
    """What `T_0` counts, from the end of the warm-up; the rate moves at every step."""

    unknown_key_hints: ClassVar[Mapping[str, str]] = {"eta_min": "min_factor is the end as a share of lr"}

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        first = self.T_0 * (steps_per_epoch if self.unit == "epoch" else 1)

        def factor(step: int) -> float:
            length, position = first, step
            if self.T_mult == 1:
                position %= length
            while position >= length:
                position, length = position - length, length * self.T_mult
            return half_cosine(position / length, 1.0, self.min_factor)

        return factor


@register("scheduler")
class OneCycleConfig(SchedulerConfig):
    """Up to the learning rate and down to almost nothing over the run (torch's OneCycleLR; Smith and Topin, 2018,
    arXiv:1708.07120). The momentum stays as it is."""

    name: Literal["one_cycle"] = "one_cycle"
    pct_start: float = Field(0.3, gt=0, lt=1)
    """Share of the steps in which the rate rises."""
    anneal_strategy: Literal["cos", "linear"] = "cos"
    """Along half cosines or straight lines, at every step."""
    div_factor: float = Field(25.0, ge=1)
    """The rate begins at `lr / div_factor`."""
    final_div_factor: float = Field(1e4, ge=1)
    """The last step's rate is that of the first divided by it."""

    depends_on_total: ClassVar[bool] = True
    unknown_key_hints: ClassVar[Mapping[str, str]] = {
        "max_lr": "the peak is optimizer.lr",
        "total_steps": "the curve always spans the run",
        "cycle_momentum": "the momentum stays as it is",
    }

    @model_validator(mode="after")
    def _rises_by_itself(self) -> Self:
        if self.warmup_steps:
            raise ValueError("one_cycle has its own rise, pct_start; leave warmup_steps out")
        return self

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve:
        anneal = half_cosine if self.anneal_strategy == "cos" else straight_line
        first, final = 1 / self.div_factor, 1 / (self.div_factor * self.final_div_factor)
        last = max_steps - 1
        peak = self.pct_start * max_steps - 1  # as torch has it, also where that lies before the first step

        def factor(step: int) -> float:
            if step >= last:
                return final
            if step <= peak:
                return anneal(step / peak, first, 1.0) if peak else 1.0
            return anneal((step - peak) / (last - peak), 1.0, final)

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
