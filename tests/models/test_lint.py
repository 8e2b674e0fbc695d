from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainkit.core.errors import ConfigError
from trainkit.models import lint

INPUTS = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def conv(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups)


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Flatten(), nn.Linear(192, 64), nn.Linear(64, 10)],
        [nn.Flatten(), nn.Linear(192, 64), nn.Dropout(), nn.Linear(64, 10)],
        [conv(3, 8), nn.BatchNorm2d(8), conv(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)],
        [conv(3, 8), nn.AvgPool2d(8), nn.Flatten(), nn.Linear(8, 4)],
    ],
)
def test_two_linear_layers_are_one(layers: list[nn.Module]) -> None:
    [found] = lint.diagnostics(nn.Sequential(*layers).eval(), INPUTS)
    assert "nothing but linear steps from" in found.text


@pytest.mark.parametrize(
    "layers",
    [
        [nn.Flatten(), nn.Linear(192, 64), nn.ReLU(inplace=True), nn.Linear(64, 10)],
        [nn.Flatten(), nn.Linear(192, 5), nn.Linear(5, 10)],  # a bottleneck: rank 5
        [conv(3, 6, groups=3), conv(6, 8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10)],  # depthwise, then across
        [conv(3, 8), nn.MaxPool2d(2), conv(8, 8), nn.GELU(), nn.Flatten(), nn.Linear(128, 10)],
    ],
)
def test_what_is_no_mistake(layers: list[nn.Module]) -> None:
    assert lint.diagnostics(nn.Sequential(*layers).eval(), INPUTS) == []


class Functional(nn.Module):
    """Activations without modules."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(192, 64), nn.Linear(64, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.two(functional.relu(self.one(inputs.flatten(1))))
        return outputs


def test_activations_without_modules_count() -> None:
    class InPlace(Functional):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.two(self.one(inputs.flatten(1)).relu_())
            return outputs

    with torch.no_grad():
        assert lint.diagnostics(Functional(), INPUTS) == []
        assert lint.diagnostics(InPlace(), INPUTS) == []


@pytest.mark.parametrize(
    ("last", "name"), [(nn.Softmax(1), "a softmax"), (nn.LogSoftmax(1), "a log-softmax"), (nn.Sigmoid(), "a sigmoid")]
)
def test_endings_that_losses_apply_themselves(last: nn.Module, name: str) -> None:
    for first in (nn.Sequential(nn.Flatten(), nn.Linear(192, 10)), nn.Conv2d(3, 10, 1)):
        [found] = lint.diagnostics(nn.Sequential(first, last), INPUTS)
        assert found.text == (
            f"model: ends with {name}, but losses here take logits and apply it themselves; leave it out"
        )


class Hiding(nn.Module):
    """Layers and a tensor where torch does not see them."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [nn.Linear(192, 192)]
        self.memory = torch.zeros(3)
        self.head = nn.Linear(192, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.head(inputs.flatten(1).relu())
        return outputs


def test_what_torch_does_not_see_in_a_module() -> None:
    assert list(map(str, lint.diagnostics(Hiding(), INPUTS))) == [
        "model: the layers in blocks are in a plain list and are not trained; use nn.ModuleList",
        (
            "model: memory is a plain tensor, which does not move with the model and is in no checkpoint; "
            "use self.register_buffer('memory', …)"
        ),
    ]


def test_parameters_that_outputs_do_not_depend_on() -> None:
    class Unused(Functional):
        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.one(inputs.flatten(1))
            return outputs

    class Detached(Functional):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs).detach()

    assert lint.unreached(Functional(), INPUTS) == []
    assert lint.unreached(Unused(), INPUTS) == ["two.weight", "two.bias"]
    with pytest.raises(ConfigError, match="model: the outputs do not depend on any parameter; is there a detach"):
        lint.unreached(Detached(), INPUTS)


def test_what_a_norm_computes_is_no_hidden_tensor() -> None:
    model = nn.Sequential(nn.Flatten(), nn.utils.parametrizations.spectral_norm(nn.Linear(192, 10)))
    assert lint.diagnostics(model, INPUTS) == []
    old = nn.Linear(192, 10)
    old._parameters["weight_orig"] = old._parameters.pop("weight")
    vars(old)["weight"] = torch.zeros(10, 192)  # as torch.nn.utils.spectral_norm does it
    assert lint.diagnostics(nn.Sequential(nn.Flatten(), old), INPUTS) == []


def test_outputs_may_be_a_nest() -> None:
    class Nested(Functional):
        def forward(self, inputs: dict[str, Tensor]) -> dict[str, object]:  # type: ignore[override]
            return {"labels": torch.tensor([1]), "scores": [self.one(inputs["picture"].flatten(1))]}

    model = Nested().eval()
    assert lint.diagnostics(model, {"picture": INPUTS}) == []
    assert lint.unreached(model, {"picture": INPUTS}) == ["two.weight", "two.bias"]
    with pytest.raises(ConfigError, match="do not depend on any parameter"):
        lint.unreached(type("Fixed", (Nested,), {"forward": lambda self, inputs: {"labels": torch.ones(1)}})(), INPUTS)
