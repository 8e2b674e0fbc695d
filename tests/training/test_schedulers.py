from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    LRScheduler,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    StepLR,
)

from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.experiment.loading import load
from trainkit.training.schedulers import (
    ConstantConfig,
    CosineConfig,
    CosineRestartsConfig,
    CoslogConfig,
    ExponentialConfig,
    LinearConfig,
    MultistepConfig,
    OneCycleConfig,
    PlateauConfig,
    PolynomialConfig,
    Scheduler,
    SchedulerConfig,
    StepConfig,
)


def optimizer_with(lr: float = 1e-3) -> Optimizer:
    return SGD([nn.Parameter(torch.ones(()))], lr=lr)


def build(config: SchedulerConfig, optimizer: Optimizer, max_steps: int = 100, steps_per_epoch: int = 1) -> Scheduler:
    return config.build(optimizer, max_steps=max_steps, steps_per_epoch=steps_per_epoch, mode="min")


def rates(optimizer: Optimizer, scheduler: Scheduler | LRScheduler, steps: int) -> list[float]:
    """The learning rate that each step uses."""
    found = []
    for _ in range(steps):
        found.append(float(optimizer.param_groups[0]["lr"]))
        optimizer.step()
        scheduler.step()
    return found


def ours(config: SchedulerConfig, steps: int, lr: float = 1e-3, steps_per_epoch: int = 1) -> list[float]:
    optimizer = optimizer_with(lr)
    return rates(optimizer, build(config, optimizer, steps, steps_per_epoch), steps)


def test_constant() -> None:
    assert ours(ConstantConfig(), 10) == [1e-3] * 10
    assert build(ConstantConfig(), optimizer_with()).curve is None  # costs nothing per step


def test_step_equals_torch() -> None:
    optimizer = optimizer_with()
    expected = rates(optimizer, StepLR(optimizer, step_size=10, gamma=0.1), 100)
    found = ours(StepConfig(step_size=10), 100)
    assert found == pytest.approx(expected, rel=1e-12)
    assert [found[epoch] for epoch in (0, 9, 10, 19, 39, 90, 99)] == pytest.approx(
        [1e-3, 1e-3, 1e-4, 1e-4, 1e-6, 1e-12, 1e-12], rel=1e-12
    )


def test_step_counts_epochs_or_steps() -> None:
    found = ours(StepConfig(step_size=2, gamma=0.5), 12, lr=1.0, steps_per_epoch=3)
    assert found == [1.0] * 6 + [0.5] * 6
    found = ours(StepConfig(step_size=2, gamma=0.5, unit="step"), 6, lr=1.0, steps_per_epoch=3)
    assert found == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize("min_factor", [0.0, 0.1])
def test_cosine_equals_torch(min_factor: float) -> None:
    optimizer = optimizer_with()
    torchs = CosineAnnealingLR(optimizer, T_max=50, eta_min=1e-3 * min_factor)
    expected = rates(optimizer, torchs, 50)
    config = CosineConfig(min_factor=min_factor)
    assert ours(config, 50) == pytest.approx(expected, rel=1e-9)
    factor = config.lr_factor(max_steps=50, steps_per_epoch=1)
    assert factor(0) == 1.0
    assert factor(25) == pytest.approx((1 + min_factor) / 2)
    assert factor(50) == factor(60) == pytest.approx(min_factor)


PER_EPOCH: list[tuple[SchedulerConfig, Callable[[Optimizer], LRScheduler]]] = [
    (StepConfig(step_size=3, gamma=0.5), lambda it: StepLR(it, step_size=3, gamma=0.5)),
    (MultistepConfig(milestones=(2, 3, 9), gamma=0.2), lambda it: MultiStepLR(it, milestones=[2, 3, 9], gamma=0.2)),
    (ExponentialConfig(gamma=0.9), lambda it: ExponentialLR(it, gamma=0.9)),
]
PER_STEP: list[tuple[SchedulerConfig, Callable[[Optimizer], LRScheduler]]] = [
    (CosineConfig(min_factor=0.1), lambda it: CosineAnnealingLR(it, T_max=40, eta_min=0.05)),
    (LinearConfig(), lambda it: LinearLR(it, 1.0, 0.0, total_iters=40)),
    (LinearConfig(end_factor=0.2), lambda it: LinearLR(it, 1.0, 0.2, total_iters=40)),
    (PolynomialConfig(), lambda it: PolynomialLR(it, total_iters=40)),
    (PolynomialConfig(power=2.5), lambda it: PolynomialLR(it, total_iters=40, power=2.5)),
    (CosineRestartsConfig(T_0=7, unit="step"), lambda it: CosineAnnealingWarmRestarts(it, T_0=7)),
    (
        CosineRestartsConfig(T_0=2, T_mult=2, min_factor=0.1),
        lambda it: CosineAnnealingWarmRestarts(it, T_0=8, T_mult=2, eta_min=0.05),
    ),
    (CosineRestartsConfig(T_0=1, T_mult=3, unit="step"), lambda it: CosineAnnealingWarmRestarts(it, 1, T_mult=3)),
    (OneCycleConfig(), lambda it: OneCycleLR(it, max_lr=0.5, total_steps=41, cycle_momentum=False)),
    (
        OneCycleConfig(pct_start=0.01, anneal_strategy="linear", div_factor=5, final_div_factor=10),
        lambda it: OneCycleLR(
            it,
            max_lr=0.5,
            total_steps=41,
            pct_start=0.01,
            anneal_strategy="linear",
            div_factor=5,
            final_div_factor=10,
            cycle_momentum=False,
        ),
    ),
    (
        OneCycleConfig(pct_start=0.9, div_factor=1),
        lambda it: OneCycleLR(it, max_lr=0.5, total_steps=41, pct_start=0.9, div_factor=1, cycle_momentum=False),
    ),
]


@pytest.mark.parametrize(("config", "torchs"), PER_EPOCH)
def test_equals_torch_at_every_epoch(config: SchedulerConfig, torchs: Callable[[Optimizer], LRScheduler]) -> None:
    optimizer = optimizer_with(0.5)
    expected = rates(optimizer, torchs(optimizer), 12)
    found = ours(config, 48, lr=0.5, steps_per_epoch=4)
    assert found == pytest.approx([rate for rate in expected for _ in range(4)], rel=1e-12)
    per_step = config.model_copy(update={"unit": "step"})
    assert ours(per_step, 12, lr=0.5, steps_per_epoch=4) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("config", "torchs"), PER_STEP)
def test_equals_torch_at_every_step(config: SchedulerConfig, torchs: Callable[[Optimizer], LRScheduler]) -> None:
    optimizer = optimizer_with(0.5)
    expected = rates(optimizer, torchs(optimizer), 41)
    # OneCycleLR is at its end at the last step, the others after it.
    max_steps = 41 if isinstance(config, OneCycleConfig) else 40
    factor = config.lr_factor(max_steps=max_steps, steps_per_epoch=4)
    assert [0.5 * factor(step) for step in range(41)] == pytest.approx(expected, rel=1e-9, abs=1e-15)
    assert ours(config, max_steps, lr=0.5, steps_per_epoch=4) == pytest.approx(
        expected[:max_steps], rel=1e-9, abs=1e-15
    )


def test_one_cycle_where_torch_divides_by_zero() -> None:
    # The first step is the peak.
    factor = OneCycleConfig(pct_start=0.1).lr_factor(max_steps=10, steps_per_epoch=1)
    assert factor(0) == 1.0
    assert factor(9) == factor(10) == pytest.approx(1 / 25e4)
    assert all(factor(step) > factor(step + 1) for step in range(9))
    assert OneCycleConfig().lr_factor(max_steps=1, steps_per_epoch=1)(0) == pytest.approx(1 / 25e4)


@pytest.mark.parametrize(
    ("config", "after"),
    [
        (MultistepConfig(milestones=(1, 3), gamma=0.5), [1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]),
        (ExponentialConfig(gamma=0.5), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]),
        (LinearConfig(), [1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        (PolynomialConfig(power=2.0), [(1 - step / 8) ** 2 for step in range(8)]),
        (CosineRestartsConfig(T_0=2, unit="step"), [1.0, 0.5] * 4),
        (CosineRestartsConfig(T_0=2, T_mult=2, unit="step"), [1.0, 0.5, 1.0, 0.853553, 0.5, 0.146447, 1.0, 0.961940]),
    ],
)
def test_every_curve_begins_after_the_warm_up(config: SchedulerConfig, after: list[float]) -> None:
    warmed = config.model_copy(update={"warmup_steps": 3})
    found = ours(warmed, 11, lr=1.0, steps_per_epoch=2)
    assert found == pytest.approx([0.25, 0.5, 0.75, *after], abs=1e-6)


def test_warm_up_is_a_straight_line() -> None:
    for config in (
        ConstantConfig(warmup_steps=4),
        StepConfig(step_size=100, warmup_steps=4),
        PlateauConfig(warmup_steps=4),
    ):
        assert ours(config, 10, lr=1.0) == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 6])
    with_cosine = ours(CosineConfig(warmup_steps=4), 24, lr=1.0)
    assert with_cosine[:4] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert with_cosine[4:] == pytest.approx(ours(CosineConfig(), 20, lr=1.0))


def test_warm_up_must_end() -> None:
    for config in (ConstantConfig(warmup_steps=10), PlateauConfig(warmup_steps=10)):
        with pytest.raises(ConfigError, match=r"^scheduler.warmup_steps: must be < the run's 10 steps, got 10$"):
            build(config, optimizer_with(), max_steps=10)
        build(config, optimizer_with(), max_steps=11)


VALUES = [3.0, 2.0, 2.5, 2.2, 2.1, 1.9, 1.95, 1.92, 1.91, 1.90001, 1.99, 2.0, 0.5, 0.6, 0.7, 0.8]


def drive(scheduler: Scheduler, optimizer: Optimizer, values: list[float], steps_between: int = 3) -> list[float]:
    found = []
    for value in values:
        for _ in range(steps_between):
            optimizer.step()
            scheduler.step()
        scheduler.observe(value)
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_equals_torch(mode: Any) -> None:
    reference, optimizer = optimizer_with(1.0), optimizer_with(1.0)
    torchs = ReduceLROnPlateau(reference, mode=mode, factor=0.5, patience=1, min_lr=0.1)
    config = PlateauConfig(factor=0.5, patience=1, min_lr=0.1)
    scheduler = config.build(optimizer, max_steps=100, steps_per_epoch=1, mode=mode)
    expected = []
    for value in VALUES:
        torchs.step(value)
        expected.append(float(reference.param_groups[0]["lr"]))
    assert drive(scheduler, optimizer, VALUES) == expected
    assert len(set(expected)) > 2


def test_plateau_after_a_warm_up_equals_torch() -> None:
    reference, optimizer = optimizer_with(1.0), optimizer_with(1.0)
    torchs = ReduceLROnPlateau(reference, factor=0.5, patience=1)
    scheduler = build(PlateauConfig(factor=0.5, patience=1, warmup_steps=7), optimizer)
    found = drive(scheduler, optimizer, VALUES)
    assert found[:2] == pytest.approx([4 / 8, 7 / 8])  # a bad value cannot disturb the warm-up
    expected = []
    for value in VALUES[2:]:
        torchs.step(value)
        expected.append(float(reference.param_groups[0]["lr"]))
    assert found[2:] == expected
    assert min(found) < 0.1


CONFIGS: list[SchedulerConfig] = [
    ConstantConfig(),
    ConstantConfig(warmup_steps=10),
    StepConfig(step_size=2, warmup_steps=5),
    CosineConfig(min_factor=0.01),
    PlateauConfig(factor=0.5, patience=0),
    PlateauConfig(factor=0.5, patience=1, warmup_steps=20),
    MultistepConfig(milestones=(1, 5), warmup_steps=5),
    ExponentialConfig(),
    CosineRestartsConfig(T_0=1, T_mult=2),
    LinearConfig(),
    PolynomialConfig(power=2.0),
    OneCycleConfig(),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("stop", [0, 1, 3, 7, 10])
def test_state_round_trip(config: SchedulerConfig, stop: int) -> None:
    optimizer = optimizer_with()
    scheduler = build(config, optimizer, steps_per_epoch=4)
    drive(scheduler, optimizer, VALUES[:stop])
    state, optimizer_state = scheduler.state_dict(), optimizer.state_dict()
    assert_plain(state)
    expected = drive(scheduler, optimizer, VALUES[stop:])

    resumed_optimizer = optimizer_with()
    resumed = build(config, resumed_optimizer, steps_per_epoch=4)
    resumed_optimizer.load_state_dict(optimizer_state)
    resumed.load_state_dict(state)
    assert drive(resumed, resumed_optimizer, VALUES[stop:]) == expected
    assert resumed.state_dict() == scheduler.state_dict()


def assert_plain(value: object) -> None:
    assert type(value) in (dict, list, int, float, str, bool, type(None))
    for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_plain(child)


def test_coslog() -> None:
    """Cycles of lengths 1, 2, 4, 8 fifteenths of the run, each from 0 up to the rate and down to 0."""
    found = ours(CoslogConfig(), 1500)
    assert [found[step] for step in (0, 100, 300, 700)] == pytest.approx([0, 0, 0, 0], abs=1e-12)
    tops = [round(100 * (2 ** (cycle + 0.5) - 1)) for cycle in range(4)]
    assert [found[step] for step in tops] == pytest.approx([1e-3] * 4, rel=1e-3)
    assert found[-1] < 1e-8
    assert ours(CoslogConfig(cycles=1), 1000)[414] == pytest.approx(1e-3, rel=1e-4)


def test_which_curves_depend_on_the_runs_length() -> None:
    found = {name: registry.find("scheduler", name) for name in registry.names("scheduler")}
    dependent = [
        name for name, config in found.items() if issubclass(config, SchedulerConfig) and config.depends_on_total
    ]
    assert dependent == ["cosine", "coslog", "linear", "polynomial", "one_cycle"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{name: multistep, milestones: [10, 10]}", "milestones: must rise, but 10 follows 10"),
        ("{name: multistep, milestones: [1, 30, 20]}", "milestones: must rise, but 20 follows 30"),
        ("{name: multistep, milestones: []}", "milestones: expected 1 or more values, got 0"),
        ("{name: multistep, milestones: [0, 1]}", "milestones[0]: must be >= 1, got 0"),
        ("{name: multistep, milestones: 30}", "milestones: expected a list, got 30; write [30]"),
        ("{name: multistep}", "milestones: value is missing"),
        ("{name: exponential, gamma: 1.1}", "gamma: must be <= 1, got 1.1"),
        ("{name: exponential, unit: batch}", "unit: expected epoch or step, got 'batch'"),
        (
            "{name: linear, start_factor: 0.1}",
            "start_factor: unknown key for 'linear'; the line starts at lr, after warmup_steps",
        ),
        ("{name: polynomial, power: 0}", "power: must be > 0, got 0"),
        (
            "{name: polynomial, total_iters: 5}",
            "total_iters: unknown key for 'polynomial'; the curve always spans the run",
        ),
        ("{name: cosine, T_max: 5}", "T_max: unknown key for 'cosine'; the curve always spans the run"),
        ("{name: cosine_restarts, T_0: 0}", "T_0: must be >= 1, got 0"),
        ("{name: cosine_restarts, T_0: 1, T_mult: 1.5}", "T_mult: expected a whole number, got 1.5"),
        ("{name: one_cycle, max_lr: 1}", "max_lr: unknown key for 'one_cycle'; the peak is optimizer.lr"),
        ("{name: one_cycle, pct_start: 1}", "pct_start: must be < 1, got 1"),
        ("{name: one_cycle, warmup_steps: 5}", "one_cycle has its own rise, pct_start; leave warmup_steps out"),
    ],
)
def test_bad_values_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "cfg.yaml"
    path.write_text(f"data: digits\nmodel: mlp\nscheduler: {text}\n")
    with pytest.raises(ConfigError) as caught:
        load(path)
    (told,) = caught.value.problems
    assert re.sub(r"^\S+ scheduler[.:] ?", "", told) == problem
