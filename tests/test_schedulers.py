from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, ReduceLROnPlateau, StepLR

from trainkit.errors import ConfigError
from trainkit.schedulers import (
    ConstantConfig,
    CosineConfig,
    PlateauConfig,
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


def test_only_the_cosine_depends_on_the_runs_length() -> None:
    assert [config.depends_on_total for config in CONFIGS] == [False, False, False, True, False, False]
