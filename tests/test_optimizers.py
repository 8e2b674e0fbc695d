from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn
from torch.optim import Optimizer

from trainkit import registry
from trainkit.optimizers import (
    AdadeltaConfig,
    AdagradConfig,
    AdamConfig,
    AdamwConfig,
    OptimizerConfig,
    RmspropConfig,
    SgdConfig,
    trainable,
)

CPU = torch.device("cpu")

ALL: list[OptimizerConfig] = [
    SgdConfig(),
    SgdConfig(momentum=0.9, nesterov=True, weight_decay=1e-2),
    AdamConfig(weight_decay=1e-2),
    AdamConfig(amsgrad=True),
    AdamwConfig(),
    RmspropConfig(momentum=0.5, centered=True),
    AdagradConfig(lr_decay=0.1),
    AdadeltaConfig(),
]


class Weight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(1.0))


@pytest.mark.parametrize(
    ("config", "first", "second"),
    [
        (SgdConfig(lr=0.1), 0.8, 0.64),
        (SgdConfig(lr=0.1, momentum=0.9), 0.8, 0.46),
        (AdamConfig(lr=0.1), 0.9, 0.800412),
        (AdamwConfig(lr=0.1), 0.899, 0.798519),
        (RmspropConfig(lr=0.1), 0.0, 0.0),
        (AdagradConfig(lr=0.1), 0.9, 0.833104),
        (AdadeltaConfig(lr=0.1), 0.999684, 0.999359),
    ],
)
def test_first_steps(config: OptimizerConfig, first: float, second: float) -> None:
    model = Weight()
    optimizer = config.build(model, CPU)
    for expected in (first, second):
        optimizer.zero_grad()
        model.w.square().backward()
        optimizer.step()
        assert model.w.item() == pytest.approx(expected, abs=1e-6)


def trained(model: nn.Module, optimizer: Optimizer) -> list[torch.Tensor]:
    torch.manual_seed(1)
    inputs, targets = torch.randn(32, 6), torch.randn(32, 2)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(inputs), targets).backward()
        optimizer.step()
    return list(model.parameters())


@pytest.mark.parametrize("config", ALL)
def test_fused_equals_unfused(config: OptimizerConfig) -> None:
    def model() -> nn.Module:
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 2))

    ours, plain = model(), model()
    optimizer = config.build(ours, CPU)
    has_kernel = isinstance(config, SgdConfig | AdamConfig | AdamwConfig | AdagradConfig)
    assert optimizer.defaults.get("fused", None) is (True if has_kernel else None)
    options = {
        key: value for key, value in optimizer.defaults.items() if key not in ("fused", "decoupled_weight_decay")
    }
    unfused = type(optimizer)(plain.parameters(), **options)
    for a, b in zip(trained(ours, optimizer), trained(plain, unfused), strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("config", ALL)
def test_every_field_reaches_torch(config: OptimizerConfig) -> None:
    optimizer = config.build(Weight(), CPU)
    for key, value in config.model_dump(exclude={"name"}).items():
        assert optimizer.defaults[key] == value, key


def test_no_kernel_elsewhere() -> None:
    meta = SgdConfig().build(Weight().to("meta"), torch.device("meta"))
    assert not meta.defaults["fused"]


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_unknown_arguments_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="extra_forbidden"):
        registry.find("optimizer", name).model_validate_json(f'{{"name": "{name}", "maximize": true}}')


@pytest.mark.parametrize("name", registry.names("optimizer"))
def test_defaults_are_not_unusual(name: str) -> None:
    config = registry.find("optimizer", name)()
    assert isinstance(config, OptimizerConfig)
    low, high = config.usual_lr
    assert low <= config.lr <= high


def test_nesterov_needs_momentum() -> None:
    with pytest.raises(ValidationError, match="nesterov needs momentum > 0"):
        SgdConfig(nesterov=True)


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    assert trainable(model) == list(model[1].parameters())
