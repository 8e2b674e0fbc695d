"""The numbers that the tutorials claim, where no test of a component proves them already."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.command import ROOT
from tests.conftest import MakeExperiment
from tests.models.test_library import PHOTOS
from tests.models.test_mlp import CIFAR, MNIST, parameters
from tests.models.test_sequential import build, conv, linear
from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.data import Batch, DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.data.transforms.normalize import statistics
from trainkit.data.transforms.pipeline import preparation
from trainkit.experiment.loading import load
from trainkit.models import ModelConfig, register_model
from trainkit.models.cnn import CnnConfig
from trainkit.models.library import TorchvisionModelConfig
from trainkit.models.mlp import MlpConfig
from trainkit.models.sequential import SequentialConfig
from trainkit.runs.run import train
from trainkit.tasks import Regression
from trainkit.training.losses import CrossEntropyConfig, MseConfig

CPU = torch.device("cpu")
CONFIGS = ROOT / "configs"
REAL = os.environ.get("TRAINKIT_TEST_DATA")

GRID = torch.arange(12).view(3, 4)
TABLE = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
PICTURE = torch.tensor(
    [[1.0, 2, 0, 3, 1], [0, 1, 2, 3, 1], [1, 2, 1, 0, 0], [5, 2, 3, 1, 1], [2, 1, 0, 1, 1]],
)
KERNEL = torch.tensor([[1.0, 2, 1], [0, 1, 0], [2, 1, 0]])
SIGNS = torch.tensor([[1.0, -0.5], [-1.0, 3.0]])


@pytest.mark.parametrize(
    ("polynomial", "at", "value", "slope"),
    [(lambda x: x**2 + 3 * x + 1, 2.0, 11, 7), (lambda x: 2 * x**2, 3.0, 18, 12)],
)
def test_derivatives_of_polynomials(polynomial: Callable[[Tensor], Tensor], at: float, value: int, slope: int) -> None:
    x = torch.tensor(at, requires_grad=True)
    y = polynomial(x)
    y.backward()
    assert y == value
    assert x.grad == slope


def test_one_neuron_and_its_gradients() -> None:
    model = build(["linear"], (2,), num_outputs=1)
    model.load_state_dict({"0.weight": torch.tensor([[1.0, 2.0]]), "0.bias": torch.tensor([0.5])})
    batch = Batch(torch.tensor([[3.0, 4.0]]), torch.tensor([[10.0]]), torch.tensor([0]))
    outcome = MseConfig().build(Regression(size=1))(model, batch)
    assert (outcome.outputs.item(), outcome.loss.item()) == (11.5, 2.25)
    weight, bias = torch.autograd.grad(outcome.loss, list(model.parameters()))
    assert (weight.tolist(), bias.tolist()) == ([[9, 12]], [3])


def test_sums_and_products_of_vectors_and_matrices() -> None:
    a, b = torch.tensor([1, 2, 3]), torch.tensor([4, 5, 6])
    assert ((a + b).tolist(), a.dot(b).item()) == ([5, 7, 9], 32)
    a, b = torch.tensor([[1, 2], [3, 4]]), torch.tensor([[5, 6], [7, 8]])
    assert (a + b).tolist() == [[6, 8], [10, 12]]
    assert (a @ b).tolist() == [[19, 22], [43, 50]]
    assert (a * b).tolist() == [[5, 12], [21, 32]]


def test_reductions() -> None:
    assert TABLE.sum() == 21
    assert TABLE.sum(0).tolist() == [5, 7, 9]
    assert TABLE.sum(1).tolist() == [6, 15]
    assert TABLE.mean() == 3.5
    largest = TABLE.max(0)
    assert (largest.values.tolist(), largest.indices.tolist()) == ([4, 5, 6], [1, 1, 1])
    assert TABLE.std().item() == pytest.approx(1.8708, abs=5e-5)  # divides by n - 1
    assert TABLE.norm().item() == pytest.approx(9.5394, abs=5e-5)


def test_indexing() -> None:
    assert GRID[0, 1] == 1
    assert GRID[0].tolist() == [0, 1, 2, 3]
    assert GRID[:2, 1:3].tolist() == [[1, 2], [5, 6]]
    assert GRID[[0, 2]].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert GRID[GRID > 5].tolist() == [6, 7, 8, 9, 10, 11]
    assert GRID.gather(1, torch.tensor([[0, 1], [2, 3]])).tolist() == [[0, 1], [6, 7]]


def test_new_tensors() -> None:
    assert torch.arange(0, 10, 2).tolist() == [0, 2, 4, 6, 8]
    assert torch.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert torch.randint(0, 10, (1000,)).unique().tolist() == [*range(10)]  # 10 itself is left out
    diagonal = torch.sparse_coo_tensor(torch.arange(3).repeat(2, 1), torch.tensor([1, 2, 3]), check_invariants=True)
    assert torch.equal(diagonal.to_dense(), torch.tensor([1, 2, 3]).diag())
    with pytest.raises(NotImplementedError):
        torch.rand_like(GRID)


def test_shapes_of_joined_and_stretched_tensors() -> None:
    assert torch.bmm(torch.ones(10, 3, 4), torch.ones(10, 4, 5)).shape == (10, 3, 5)
    assert (torch.ones(3, 1, 5) + torch.ones(4, 5)).shape == (3, 4, 5)
    assert torch.cat([TABLE, TABLE]).shape == (4, 3)
    assert torch.stack([TABLE, TABLE]).shape == (2, 2, 3)
    assert torch.ones(1, 3, 1, 4).squeeze().shape == (3, 4)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[10, 12, 12], [18, 16, 16], [13, 9, 3]]),
        ({"stride": 2}, [[10, 12], [13, 3]]),
        (
            {"padding": 1},
            [[1, 3, 4, 10, 8], [5, 10, 12, 12, 6], [7, 18, 16, 16, 8], [11, 13, 9, 3, 4], [14, 13, 9, 7, 4]],
        ),
    ],
)
def test_convolution_by_hand(options: dict[str, int], expected: list[list[int]]) -> None:
    layer = {"name": "conv2d", "out_channels": 1, "kernel_size": 3, "bias": False, **options}
    model = build([layer], (1, 5, 5))
    model.load_state_dict({"0.weight": KERNEL[None, None]})
    assert model(PICTURE[None, None])[0, 0].tolist() == expected


@pytest.mark.parametrize(
    ("layer", "inputs", "expected"),
    [
        ({"name": "max_pool2d", "kernel_size": 3, "ceil_mode": True}, PICTURE, [[2, 3], [5, 1]]),
        ({"name": "max_pool2d", "kernel_size": 3}, PICTURE, [[2]]),
        ("relu", SIGNS, [[1, 0], [0, 3]]),
        ("sigmoid", SIGNS, [[0.7311, 0.3775], [0.2689, 0.9526]]),
    ],
)
def test_pooling_and_activation_by_hand(layer: Any, inputs: Tensor, expected: list[list[float]]) -> None:
    model = build([layer], (1, *inputs.shape))
    assert parameters(model) == 0
    torch.testing.assert_close(model(inputs[None, None])[0, 0], torch.tensor(expected).float(), atol=5e-5, rtol=0)


def test_absolute_errors_may_be_summed() -> None:
    """Only in torch: a loss of trainkit is a mean over samples."""
    outputs, targets = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 5.0])
    assert functional.l1_loss(outputs, targets, reduction="sum") == 2


@pytest.mark.parametrize(
    ("config", "spec"), [(CnnConfig(), MNIST), (MlpConfig(), MNIST), (CnnConfig(kernel_size=5), CIFAR)]
)
def test_an_untrained_network_guesses_among_ten(config: ModelConfig, spec: DataSpec) -> None:
    torch.manual_seed(0)
    batch = Batch(torch.rand(100, *spec.shape), torch.arange(100) % 10, torch.arange(100))
    loss = CrossEntropyConfig().build(spec.task)(config.build(spec, 10), batch).loss
    assert loss.item() == pytest.approx(math.log(10), abs=0.05)


def test_kl_divergence_takes_log_probabilities_first() -> None:
    p = torch.tensor([[0.7, 0.2, 0.1]])
    assert functional.kl_div(p.log(), p, reduction="batchmean").item() == pytest.approx(0, abs=1e-7)
    # No divergence is negative: this is what probabilities in both places give.
    assert functional.kl_div(p, p, reduction="batchmean").item() == pytest.approx(-1.3418, abs=5e-5)


def test_shapes_of_single_layers() -> None:
    assert build(["linear"], (128,), num_outputs=64)(torch.ones(32, 128)).shape == (32, 64)
    pool = {"name": "max_pool2d", "kernel_size": 3}
    assert build([pool], (3, 32, 32))(torch.ones(64, 3, 32, 32)).shape == (64, 3, 10, 10)


def test_what_joins_samples_goes_unnoticed_by_torch() -> None:
    """Six feature maps taken for two coloured pictures, and a whole batch flattened to one vector."""
    assert torch.ones(64, 6, 30, 30).reshape(-1, 3, 30, 30).shape == (128, 3, 30, 30)
    flat, layer = torch.ones(64, 3, 32, 32).flatten(), nn.Linear(196_608, 10)
    assert (flat.shape, layer(flat).shape, parameters(layer)) == ((196_608,), (10,), 1_966_090)


def layers(*plain: Any) -> SequentialConfig:
    return SequentialConfig.from_plain({"layers": plain})


@pytest.mark.parametrize(
    ("config", "shape", "counts"),
    [
        (MlpConfig(hidden=(256,)), MNIST.shape, [200_960, 2_570]),
        (MlpConfig(hidden=(500,)), MNIST.shape, [392_500, 5_010]),
        (MlpConfig(hidden=(128,)), MNIST.shape, [100_480, 1_290]),
        (CnnConfig(), MNIST.shape, [320, 18_496, 401_536, 1_290]),
        (CnnConfig(channels=(32,), hidden=()), MNIST.shape, [320, 62_730]),
        (CnnConfig(kernel_size=5, hidden=(1000,)), MNIST.shape, [832, 51_264, 3_137_000, 10_010]),
        (
            CnnConfig(channels=(32, 32, 64), kernel_size=5, hidden=(64,)),
            CIFAR.shape,
            [2_432, 25_632, 51_264, 65_600, 650],
        ),
        (layers(conv(16, 3, 1), conv(32, 3, 1)), CIFAR.shape, [448, 4_640]),
        (layers(conv(64, 3, 1), conv(128, 3, 1)), CIFAR.shape, [1_792, 73_856]),
        (layers({"repeat": 3, "layers": [linear(128), "relu"]}), (128,), [16_512] * 3),
        (layers(linear(64)), (128,), [8_256]),
    ],
)
def test_parameters_layer_by_layer(config: ModelConfig, shape: tuple[int, ...], counts: list[int]) -> None:
    """The parts of the totals that the tests of each model pin."""
    model = config.build(DataSpec(input=Numbers(shape=shape), task=MNIST.task), 10)
    assert [count for layer in model.children() if (count := parameters(layer))] == counts


def test_ten_classes_for_a_thousand_save_parameters_in_the_last_layer_only() -> None:
    with torch.device("meta"):
        model = TorchvisionModelConfig(arch="resnet18").build(PHOTOS, 1000)
    assert (parameters(model), parameters(model.get_submodule("fc"))) == (11_689_512, 513_000)
    assert 11_689_512 - 513_000 + parameters(nn.Linear(512, 10)) == 11_181_642


class Hidden(nn.Module):
    """Keeps its layers where torch does not look for them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = [nn.Linear(width, width) for _ in range(3)]

    def forward(self, inputs: Tensor) -> Tensor:
        for layer in self.layers:
            inputs = layer(inputs).relu()
        return inputs


def test_layers_in_a_plain_list_are_no_parameters(make: MakeExperiment, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = Hidden(128)
    assert (parameters(hidden), parameters(nn.ModuleList(hidden.layers))) == (0, 49_536)
    monkeypatch.setitem(registry._families, "model", dict(registry._families["model"]))
    register_model("hidden")(Hidden)
    experiment = make(data={"shape": [128], "size": 128}, model={"name": "hidden", "width": 128})
    with pytest.raises(ConfigError, match=r"^model: has no parameters to train; are its layers in a plain list"):
        train(experiment)


def test_branches_by_key() -> None:
    branches = nn.ModuleDict({"small": nn.Conv2d(3, 64, 3, padding=1), "large": nn.Conv2d(64, 128, 3, padding=1)})
    assert parameters(branches) == 75_648
    assert branches["small"](torch.ones(2, 3, 8, 8)).shape == (2, 64, 8, 8)


@pytest.mark.parametrize("channels", [1, 3])
def test_half_normalisation_makes_black_and_white_minus_and_plus_one(channels: int) -> None:
    mean, std = statistics("half", channels)
    spec = DataSpec(input=Pictures(shape=(channels, 1, 2), mean=mean, std=std), task=MNIST.task)
    pictures = torch.tensor([0, 255], dtype=torch.uint8).expand(1, channels, 1, 2)
    prepared = preparation(spec, (), 0, CPU)(Batch(pictures, torch.zeros(1), torch.zeros(1)), None)
    torch.testing.assert_close(prepared.inputs, torch.tensor([-1.0, 1.0]).expand(1, channels, 1, 2))


@pytest.mark.skipif(REAL is None, reason="TRAINKIT_TEST_DATA names no folder with MNIST/raw")
def test_two_epochs_of_the_mlp_get_95_percent_of_mnist_right() -> None:
    files = [f"data.root={REAL}", "data.download=false", "data.fallback=null", "log.tensorboard=false"]
    experiment = load(CONFIGS / "mnist_mlp.yaml", files)
    assert (experiment.seed, experiment.train.epochs, experiment.loader.batch_size) == (42, 2, 64)
    assert train(experiment, quiet=True).metrics["test/accuracy"] > 0.95
