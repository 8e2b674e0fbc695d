from __future__ import annotations

from collections import defaultdict

import pytest
import torch
from torch import Tensor, nn

from tests.models.test_mlp import CIFAR
from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.models import register_layer
from trainkit.models.sequential import SequentialConfig


@pytest.fixture(autouse=True)
def own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    copies = {family: dict(classes) for family, classes in registry._families.items()}
    monkeypatch.setattr(registry, "_families", defaultdict(dict, copies))


class Squeeze(nn.Module):
    """Weighs channels by what is in them."""

    def __init__(self, dim: int, reduction: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(dim, dim // reduction), nn.ReLU(), nn.Linear(dim // reduction, dim))

    def forward(self, inputs: Tensor) -> Tensor:
        weighed: Tensor = inputs * self.layers(inputs.mean((2, 3))).sigmoid()[:, :, None, None]
        return weighed


def test_layers_of_a_class_and_of_a_function() -> None:
    register_layer("squeeze", sizes={"in_channels": "dim"})(Squeeze)
    register_layer("mish")(nn.Mish)

    @register_layer("wide")
    def wide(in_features: int, times: int = 2) -> nn.Module:
        return nn.Linear(in_features, times * in_features)

    conv = {"name": "conv2d", "out_channels": 8, "kernel_size": 3}
    squeeze = {"name": "squeeze", "reduction": 2}
    repeated = {"repeat": 2, "layers": ["mish", "wide"]}
    pool = {"name": "adaptive_avg_pool2d", "output_size": 1}
    layers = [conv, squeeze, pool, "flatten", repeated, "linear"]
    config = SequentialConfig.from_plain({"name": "sequential", "layers": layers})
    model = config.build(CIFAR, 10)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    assert isinstance(model[1], Squeeze)
    assert model[1].layers[0].out_features == 4
    assert [module.out_features for module in model if isinstance(module, nn.Linear)] == [16, 32, 10]
    assert SequentialConfig.from_plain(config.to_plain()) == config


def test_what_makes_no_layer_is_told_with_its_place() -> None:
    register_layer("none")(lambda in_features: None)  # type: ignore[type-var]
    config = SequentialConfig.from_plain({"name": "sequential", "layers": ["flatten", "none", "linear"]})
    with pytest.raises(ConfigError, match=r"^model.layers\[1\]: .*<lambda> gives a NoneType, expected a torch"):
        config.build(CIFAR, 10)

    register_layer("broken")(type("Broken", (nn.Module,), {"__init__": lambda self, in_features: 1 / 0}))
    config = SequentialConfig.from_plain({"name": "sequential", "layers": ["flatten", "broken", "linear"]})
    with pytest.raises(ConfigError, match=r"^model.layers\[1\]: Broken raised ZeroDivisionError: .*py:\d+\)$"):
        config.build(CIFAR, 10)
