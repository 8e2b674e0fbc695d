from __future__ import annotations

from itertools import product
from typing import Any, get_args

import pytest
import torch
from torch import nn

from tests.models.test_mlp import CIFAR, MNIST, parameters
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.models.base import Activation
from trainkit.models.cnn import CnnConfig
from trainkit.tasks import Classification


@pytest.mark.parametrize(
    ("options", "spec", "count"),
    [
        ({"channels": (32, 64), "hidden": (128,)}, MNIST, 421_642),
        ({}, MNIST, 421_642),
        ({"channels": (32,), "hidden": ()}, MNIST, 63_050),
        ({"channels": (32, 64), "kernel_size": 5, "hidden": (1000,)}, MNIST, 3_199_106),
        ({"channels": (32, 32, 64), "kernel_size": 5, "hidden": (64,)}, CIFAR, 145_578),
        # Each convolution loses its biases and gains a scale and a shift per channel.
        ({"channels": (32, 64), "hidden": (128,), "norm": "batch"}, MNIST, 421_642 + 32 + 64),
    ],
)
def test_parameters(options: dict[str, Any], spec: DataSpec, count: int) -> None:
    model = CnnConfig(**options).build(spec, 10)
    assert parameters(model) == count
    for batch in (64, 16, 2):
        assert model(torch.zeros(batch, *spec.shape)).shape == (batch, 10)


@pytest.mark.parametrize(
    ("activation", "pool", "norm"), [*product(get_args(Activation), ["max", "avg", "none"], ["batch", "none"])]
)
def test_every_kind_of_stage_learns(activation: Any, pool: Any, norm: Any) -> None:
    config = CnnConfig(channels=(3, 4), hidden=(5,), activation=activation, pool=pool, norm=norm, dropout=0.1)
    spec = DataSpec(input=Pictures(shape=(2, 9, 11)), task=Classification(size=3))
    model = config.build(spec, 3)
    outputs = model(torch.rand(4, 2, 9, 11))
    assert outputs.shape == (4, 3)
    outputs.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_relu_after_pooling_gives_the_same_bits(memory_format: torch.memory_format) -> None:
    torch.manual_seed(0)
    ours = CnnConfig(channels=(8, 16), hidden=(32,)).build(CIFAR, 10)
    conv1, pool1, relu1, conv2, pool2, relu2, *head = ours.children()
    assert [type(module) for module in (pool1, relu1)] == [nn.MaxPool2d, nn.ReLU]
    textbook = nn.Sequential(conv1, relu1, pool1, conv2, relu2, pool2, *head)
    ours.to(memory_format=memory_format)
    inputs = torch.randn(8, 3, 32, 32).to(memory_format=memory_format)

    def values_and_gradients(model: nn.Module) -> list[torch.Tensor]:
        model.zero_grad()
        leaf = inputs.clone().requires_grad_()
        outputs = model(leaf)
        outputs.square().sum().backward()
        assert leaf.grad is not None
        return [
            outputs,
            leaf.grad,
            *(parameter.grad.clone() for parameter in ours.parameters() if parameter.grad is not None),
        ]

    pairs = list(zip(values_and_gradients(ours), values_and_gradients(textbook), strict=True))
    assert len(pairs) == 2 + 8
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("activation", ["gelu", "silu"])
def test_what_is_not_monotonic_comes_before_pooling(activation: Any) -> None:
    model = CnnConfig(channels=(4,), hidden=(), activation=activation).build(MNIST, 10)
    kinds = [type(module) for module in model.children()]
    assert kinds.index(nn.MaxPool2d) == 2


def test_dropout_is_in_the_head_only() -> None:
    model = CnnConfig(dropout=0.5).build(MNIST, 10)
    assert [type(module) for module in model.children()].count(nn.Dropout) == 1


def test_too_many_stages() -> None:
    assert CnnConfig(channels=(4,) * 4, hidden=()).build(MNIST, 10)(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    with pytest.raises(ConfigError) as caught:
        CnnConfig(channels=(4,) * 5).build(MNIST, 10)
    assert str(caught.value) == (
        "model.channels: 5 stages of pooling by 2 leave nothing of a 28x28 picture; use fewer stages or larger pictures"
    )
    CnnConfig(channels=(4,) * 5, pool="none", hidden=()).build(MNIST, 10)


def test_needs_pictures() -> None:
    table = DataSpec(input=Numbers(shape=(20,)), task=Classification(size=2))
    with pytest.raises(
        ConfigError, match=r"^model: cnn needs pictures \(channels, height, width\), the data has shape \(20,\)$"
    ):
        CnnConfig().build(table, 2)


def test_even_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="must be odd, so that padding keeps the picture's size, got 4"):
        CnnConfig(kernel_size=4)
