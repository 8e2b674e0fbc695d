from __future__ import annotations

import pytest
import torch
from torch import nn

from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.models.mlp import MlpConfig
from trainkit.tasks import Classification, Regression

MNIST = DataSpec(input=Pictures(shape=(1, 28, 28)), task=Classification(size=10))
CIFAR = DataSpec(input=Pictures(shape=(3, 32, 32)), task=Classification(size=10))


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("hidden", "spec", "count"),
    [((128,), MNIST, 101_770), ((256,), MNIST, 203_530), ((500,), MNIST, 397_510), ((), CIFAR, 30_730)],
)
def test_parameters(hidden: tuple[int, ...], spec: DataSpec, count: int) -> None:
    model = MlpConfig(hidden=hidden).build(spec, 10)
    assert parameters(model) == count
    assert model(torch.zeros(16, *spec.shape)).shape == (16, 10)


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 4, 4)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    spec = DataSpec(input=Numbers(shape=shape), task=Regression(size=2))
    assert MlpConfig(hidden=(4, 3)).build(spec, 2)(torch.zeros(1, *shape)).shape == (1, 2)


def test_without_hidden_layers_it_is_linear() -> None:
    model = MlpConfig(hidden=()).build(MNIST, 10).double()
    first, second, zero = torch.rand(3, 1, 1, 28, 28, dtype=torch.float64).unbind()
    zero = zero * 0
    torch.testing.assert_close(model(first + second), model(first) + model(second) - model(zero))


def test_activation_and_dropout_between_layers_only() -> None:
    model = MlpConfig(hidden=(8, 8), activation="gelu", dropout=0.3).build(MNIST, 10)
    kinds = [type(module).__name__ for module in model.children()]
    assert kinds == ["Flatten", *["Linear", "GELU", "Dropout"] * 2, "Linear"]
    inputs = torch.rand(4, 1, 28, 28)
    assert not torch.equal(model(inputs), model(inputs))
    model.eval()
    assert torch.equal(model(inputs), model(inputs))
