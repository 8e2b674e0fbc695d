from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import MakeExperiment
from tests.models.test_mlp import CIFAR, MNIST, parameters
from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers, Pictures
from trainkit.experiment import loading
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.models.cnn import CnnConfig
from trainkit.models.sequential import SequentialConfig
from trainkit.runs.run import train
from trainkit.tasks import Classification


def conv(out_channels: int, kernel_size: int, padding: int) -> dict[str, Any]:
    return {"name": "conv2d", "out_channels": out_channels, "kernel_size": kernel_size, "padding": padding}


def linear(out_features: int) -> dict[str, Any]:
    return {"name": "linear", "out_features": out_features}


def build(layers: list[Any], shape: tuple[int, ...], num_outputs: int = 10) -> nn.Sequential:
    kind = Pictures if len(shape) == 3 else Numbers
    spec = DataSpec(input=kind(shape=shape), task=Classification(size=num_outputs))
    return SequentialConfig.from_plain({"layers": layers}).build(spec, num_outputs)


def problem(layers: list[Any], shape: tuple[int, ...]) -> str:
    with pytest.raises(ConfigError) as caught:
        build(layers, shape)
    return str(caught.value)


POOL = {"name": "max_pool2d", "kernel_size": 2}
MNIST_CNN = [conv(32, 3, 1), "relu", POOL, conv(64, 3, 1), "relu", POOL, "flatten", linear(128), "relu", "linear"]


@pytest.mark.parametrize(
    ("layers", "shape", "outputs", "count"),
    [
        (MNIST_CNN, (1, 28, 28), (10,), 421_642),
        ([conv(16, 3, 1), "relu", POOL, conv(32, 3, 1), "relu", POOL], (3, 64, 48), (32, 16, 12), 5_088),
        (
            [conv(32, 5, 2), POOL, conv(32, 5, 2), POOL, conv(64, 5, 2), POOL, "flatten", linear(64), "linear"],
            (3, 32, 32),
            (10,),
            145_578,
        ),
        ([{"repeat": 3, "layers": [linear(128), "relu"]}], (128,), (128,), 49_536),
        (["flatten", "linear"], (3, 32, 32), (10,), 30_730),
        ([conv(32, 3, 1), "relu", POOL, "flatten", "linear"], (1, 28, 28), (10,), 63_050),
        (
            [conv(32, 5, 2), "relu", POOL, conv(64, 5, 2), "relu", POOL, "flatten", linear(1000), "linear"],
            (1, 28, 28),
            (10,),
            3_199_106,
        ),
        ([conv(6, 3, 0)], (3, 32, 32), (6, 30, 30), 168),
        ([{**POOL, "kernel_size": 3}], (3, 32, 32), (3, 10, 10), 0),
        ([{**POOL, "kernel_size": 3, "ceil_mode": True}], (3, 32, 32), (3, 11, 11), 0),
        (["sigmoid"], (3, 32, 32), (3, 32, 32), 0),
    ],
)
def test_parameters(layers: list[Any], shape: tuple[int, ...], outputs: tuple[int, ...], count: int) -> None:
    model = build(layers, shape)
    assert parameters(model) == count
    for batch in (64, 16, 2):
        assert model(torch.zeros(batch, *shape)).shape == (batch, *outputs)


def test_is_the_cnn_that_it_spells_out() -> None:
    torch.manual_seed(0)
    spelled = build(MNIST_CNN, MNIST.shape).state_dict()
    torch.manual_seed(0)
    named = CnnConfig(channels=(32, 64), hidden=(128,)).build(MNIST, 10).state_dict()
    assert list(spelled) == list(named)
    assert all(torch.equal(spelled[key], named[key]) for key in named)


SHAPES = {"1d": (4, 9), "2d": (4, 9, 9), "3d": (4, 9, 9, 9)}
OPTIONS: dict[str, dict[str, Any]] = {
    "conv": {"out_channels": 6, "kernel_size": 3, "padding": "same", "bias": False},
    "max_pool": {"kernel_size": 3, "stride": 1, "padding": 1},
    "avg_pool": {"kernel_size": 3, "count_include_pad": False},
    "group_norm": {"num_groups": 2},
    "layer_norm": {"normalized_shape": [9, 9]},
    "linear": {"out_features": 3},
}


@pytest.mark.parametrize("name", sorted({*registry.names("layer")} - {"repeat", "embedding"}))
def test_every_layer(name: str) -> None:
    shape = SHAPES.get(name[-2:], SHAPES["2d"])
    options = OPTIONS.get(name) or OPTIONS.get(name[:-2], {})
    config = SequentialConfig.from_plain({"layers": [{"name": name, **options}]})
    assert SequentialConfig.from_plain(config.to_plain()) == config
    spec = DataSpec(input=Numbers(shape=shape), task=Classification(size=3))
    (layer,) = config.build(spec, 3)
    assert type(layer).__name__.lower() == name.replace("_", "")
    assert type(layer).__module__.startswith("torch.nn.modules")
    assert layer.training
    assert layer(torch.rand(5, *shape)).shape[0] == 5


def test_short_and_long_forms_are_equal() -> None:
    short = SequentialConfig.from_plain({"layers": ["relu", {"repeat": 2, "layers": ["tanh"]}]})
    long = {
        "name": "sequential",
        "weights": "none",
        "freeze": "none",
        "layers": [{"name": "relu"}, {"name": "repeat", "repeat": 2, "layers": [{"name": "tanh"}]}],
    }
    assert short.to_plain() == long
    assert SequentialConfig.from_plain(long) == short


def test_repeats_within_repeats_have_weights_of_their_own() -> None:
    inner = {"repeat": 2, "layers": [linear(3), "relu"]}
    model = build([{"repeat": 2, "layers": [inner, "tanh"]}, "linear"], (3,))
    assert [type(module).__name__ for module in model] == [*[*["Linear", "ReLU"] * 2, "Tanh"] * 2, "Linear"]
    assert len({id(module) for module in model}) == len(model)
    state = model.state_dict()
    assert not torch.equal(state["0.weight"], state["2.weight"])


def test_building_leaves_statistics_and_random_stream_alone() -> None:
    torch.manual_seed(0)
    model = build(["batch_norm1d", {"name": "dropout", "p": 0.9}, {"name": "leaky_relu", "negative_slope": 0.3}], (3,))
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(0)))
    assert isinstance(model[0], nn.BatchNorm1d)
    assert model[0].num_batches_tracked == 0
    assert all(parameter.requires_grad and not parameter.is_inference() for parameter in model.parameters())
    assert [module.extra_repr() for module in model][1:] == ["p=0.9, inplace=False", "negative_slope=0.3"]


@pytest.mark.parametrize(
    ("layers", "shape", "expected"),
    [
        (
            ["relu", "relu", {**conv(4, 3, 1), "in_channels": 3}],
            (1, 8, 8),
            "model.layers[2]: conv2d wants 3 channels, 1 came in",
        ),
        (
            ["flatten", {"name": "linear", "in_features": 10}],
            (1, 8, 8),
            "model.layers[1]: linear wants 10 features, 64 came in",
        ),
        (
            [{"name": "batch_norm2d", "num_features": 2}],
            (1, 8, 8),
            "model.layers[0]: batch_norm2d wants 2 features, 1 came in",
        ),
        (
            ["flatten", conv(4, 3, 1)],
            (1, 8, 8),
            "model.layers[1]: conv2d wants inputs (channels, height, width), (64,) came in",
        ),
        (
            [{"repeat": 4, "layers": ["relu", POOL]}],
            (1, 8, 8),
            (
                "model.layers[0].layers[1]: max_pool2d does not take inputs (1, 1, 1): "
                "Given input size: (1x1x1). Calculated output size: (1x0x0). Output size is too small"
            ),
        ),
        (
            [{"name": "group_norm", "num_groups": 3}],
            (4, 8),
            "model.layers[0]: group_norm does not take inputs (4, 8): num_channels",
        ),
        (
            [{"name": "linear"}, "relu", "linear"],
            (4,),
            "model.layers[0]: linear needs out_features; only the last one takes it from the data",
        ),
        (
            [{"name": "flatten", "start_dim": 0}],
            (4, 2),
            "model.layers[0]: flatten mixes the samples of a batch; the first axis must stay",
        ),
        (
            [{"name": "flatten", "start_dim": 5}],
            (4, 2),
            (
                "model.layers[0]: flatten does not take inputs (4, 2): "
                "Dimension out of range (expected to be in range of [-3, 2], but got 5)"
            ),
        ),
    ],
)
def test_sizes_that_do_not_fit(layers: list[Any], shape: tuple[int, ...], expected: str) -> None:
    assert problem(layers, shape).startswith(expected)  # torch's own words may change


def test_embedding_wants_whole_numbers() -> None:
    layer = {"name": "embedding", "num_embeddings": 5, "embedding_dim": 3}
    assert problem([layer], (4,)).startswith("model.layers[0]: embedding does not take inputs (4,): Expected tensor")


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("[]", "command line: model.layers: expected 1 or more layers, got []"),
        ("[conv3]", "command line: model.layers[0].name: unknown layer 'conv3'; did you mean 'conv3d'?"),
        ("[relu, 3]", "command line: model.layers[1]: expected a mapping or a name, got 3"),
        ("[max_pool2d]", "command line: model.layers[0].kernel_size: value is missing"),
        ("[{name: dropout, p: 1.5}]", "command line: model.layers[0].p: must be < 1, got 1.5"),
        ("[{name: linear, out_feature: 5}]",
         "command line: model.layers[0].out_feature: unknown key for 'linear'; did you mean 'out_features'?"),
        ("[{repeat: 2, layers: [{name: relu, inplace: true}]}]",
         "command line: model.layers[0].layers[0].inplace: unknown key for 'relu'; known: "),
        ("[{repeat: 0, layers: [relu]}]", "command line: model.layers[0].repeat: must be >= 1, got 0"),
        ("[{repeat: 2, layers: [relu], conv2d: 1}]",
         "command line: model.layers[0].conv2d: unknown key for 'repeat'; write {name: conv2d, …}"),
    ],
)  # fmt: skip
def test_wrong_files(layers: str, expected: str) -> None:
    Path("my.yaml").write_text("data: {name: synthetic, shape: [1, 8, 8]}\nmodel: {name: sequential}\n")
    with pytest.raises(ConfigError) as caught:
        loading.load(Path("my.yaml"), [f"model.layers={layers}"])
    assert str(caught.value) == expected


@pytest.mark.parametrize("change", [lambda state: state, lambda state: dict(reversed(state.items()))])
def test_state_dict_round_trip(change: Callable[[Any], Any]) -> None:
    layers = [conv(4, 3, 1), "batch_norm2d", "relu", "flatten", "linear"]
    one, other = build(layers, CIFAR.shape).eval(), build(layers, CIFAR.shape).eval()
    other.load_state_dict(change(one.state_dict()))
    inputs = torch.rand(2, *CIFAR.shape)
    assert torch.equal(one(inputs), other(inputs))


def test_learns(make: MakeExperiment) -> None:
    layers = [conv(4, 3, 1), "batch_norm2d", "relu", POOL, "flatten", linear(16), "relu", "linear"]
    result = train(make(model={"name": "sequential", "layers": layers}, train={"epochs": 4}), quiet=True)
    assert result.metrics["test/accuracy"] > 0.9
    metrics = evaluate_checkpoint(result.checkpoint).metrics  # builds the model from the checkpoint's config
    assert metrics["accuracy"] == result.metrics["test/accuracy"]
