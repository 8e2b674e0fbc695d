from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.command import ROOT, warm
from tests.conftest import MakeExperiment
from trainkit.checks.checking import first_update
from trainkit.checks.model_summary import Layer, summarize, summary, summary_lines
from trainkit.data import Batch, Split, TensorSource
from trainkit.experiment.building import build, open_data
from trainkit.experiment.loading import load
from trainkit.training.losses import LossOutput

RNN = {"name": "lstm", "hidden_size": 8}


def test_the_network_of_the_tutorials_by_hand() -> None:
    found = summarize(load(ROOT / "configs/mnist_cnn.yaml"))
    conv, pool, *_ = found.layers
    assert conv == Layer("0", "Conv2d", (1, 28, 28), (32, 28, 28), 320, 320, 32 * 9 * 28 * 28, 4 * 32 * 28 * 28)
    assert (pool.kind, pool.outputs, pool.parameters, pool.multiply_adds) == ("MaxPool2d", (32, 14, 14), 0, 0)
    assert found.parameters == found.trained == 421_642
    assert found.multiply_adds == 225_792 + 64 * 32 * 9 * 14 * 14 + 3136 * 128 + 128 * 10
    assert (found.samples, found.batch_size) == (55_000, 64)
    assert found.weights_bytes == 4 * 421_642
    # gradients, and Adam's two averages with a counter for each of the 8 parameters
    assert found.training_bytes == 3 * found.weights_bytes + 8 * 4


def test_activations_grow_with_the_batch(make: MakeExperiment) -> None:
    small, large = (summarize(make(loader={"batch_size": size})) for size in (16, 32))
    assert large.activation_bytes == 2 * small.activation_bytes > 0
    # More than the convolution's output, which the pooling keeps; less than all that is ever made.
    assert small.activation_bytes > 16 * small.layers[0].output_bytes


def test_sequences_and_averages(make: MakeExperiment) -> None:
    data = {"name": "synthetic", "shape": [12, 3], "size": 4, "samples": 40, "min_length": 5}
    found = summarize(make(data=data, model={"name": "lstm", "hidden_size": 8}, train={"ema": 0.9}))
    [lstm] = [layer for layer in found.layers if layer.kind == "LSTM"]
    assert lstm.parameters == 4 * (3 * 8 + 8 * 8 + 2 * 8)
    plain = summarize(make(data=data, model={"name": "lstm", "hidden_size": 8}))
    other = summarize(make(data=data | {"seed": 5}, model={"name": "lstm", "hidden_size": 8}))
    assert other.activation_bytes == plain.activation_bytes
    assert found.training_bytes - plain.training_bytes == 4 * found.parameters


def test_every_parameter_is_in_one_row(make: MakeExperiment) -> None:
    """Also those of attention, which runs none of its children."""
    data = {"name": "synthetic", "shape": [12, 3], "size": 4, "samples": 40, "min_length": 5}
    found = summarize(make(data=data, model="transformer"))
    assert sum(layer.parameters for layer in found.layers) == found.parameters
    assert sum(layer.multiply_adds for layer in found.layers) == pytest.approx(found.multiply_adds, rel=0.01)
    assert "MultiheadAttention" in {layer.kind for layer in found.layers}


def test_frozen_parameters_are_marked(make: MakeExperiment, tmp_path: Path) -> None:
    experiment = make(model={"name": "mlp", "hidden": [8]})
    found = summarize(experiment)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 4))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    frozen = summarize(make(model={"name": "mlp", "hidden": [8], "weights": "w.pt", "freeze": "backbone"}))
    assert (frozen.parameters, frozen.trained) == (found.parameters, 8 * 4 + 4)
    text = "\n".join(summary_lines(frozen))
    assert "520 frozen" in text
    assert "556, 36 of them trained; 4.34 for each of 128 training samples" in text
    assert frozen.training_bytes < found.training_bytes


def test_the_command() -> None:
    Path("my.yaml").write_text("data: {name: digits, size: 8}\nmodel: {name: cnn, channels: [4], hidden: []}\n")
    table = warm.run(["summary", "my.yaml"]).stdout.splitlines()
    assert table[:4] == [
        "layer  kind       input  output  parameters  multiply-adds  output/batch",
        "0      Conv2d     1x8x8  4x8x8           40          2,304       65.5 KB",
        "1      MaxPool2d  4x8x8  4x4x4                                   16.4 KB",
        "2      ReLU       4x4x4  4x4x4                                   16.4 KB",
    ]
    plain: dict[str, Any] = json.loads(warm.run(["summary", "my.yaml", "--json"]).stdout)
    assert plain["layers"][0]["outputs"] == [4, 8, 8]
    assert plain["total_bytes"] == plain["weights_bytes"] + plain["training_bytes"] + plain["activation_bytes"]


def test_what_cannot_be_built_is_an_error_with_its_place() -> None:
    Path("my.yaml").write_text("data: iris\nmodel: cnn\n")
    ended = warm.run(["summary", "my.yaml"])
    assert ended.code == 2
    assert ended.stderr == (
        "error: my.yaml:2:8: model: cnn needs pictures (channels, height, width), the data has shape (4,)\n"
    )


@pytest.mark.parametrize("arch", ["resnet18", "vgg16"])
def test_architectures_of_others(arch: str, make: MakeExperiment) -> None:
    data = {"name": "synthetic", "shape": [3, 32, 32], "size": 10, "samples": 20, "test_samples": 10}
    found = summarize(make(data=data, model={"name": "torchvision", "arch": arch}))
    assert found.parameters == {"resnet18": 11_181_642, "vgg16": 134_301_514}[arch]
    assert sum(layer.parameters for layer in found.layers) == found.parameters


def test_a_loss_that_the_config_leaves_to_the_data() -> None:
    Path("t.csv").write_text("size,price\n" + "".join(f"{n * n % 97},{n}.5\n" for n in range(40)))
    Path("my.yaml").write_text("data: {name: csv, path: t.csv, target: price}\nmodel: {name: mlp, hidden: [4]}\n")
    found = summarize(load(Path("my.yaml")))
    assert found.parameters == 4 * 1 + 4 + 4 + 1


class Nested(nn.Module):
    """It takes and gives several tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(64, 4)

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, object]:
        return {"logits": self.layer(inputs["picture"].flatten(1)), "sizes": (inputs["size"], None)}


def test_shapes_of_nests_are_shown_by_summary_and_check(make: MakeExperiment) -> None:
    experiment, data, _ = open_data(make())
    parts, _ = build(experiment, data, torch.device("cpu"))
    plain = summary(parts, data, 16)
    assert plain.inputs == plain.outputs == ""
    assert not any(line.startswith(("inputs", "outputs")) for line in summary_lines(plain))
    assert first_update(parts, data) == []

    def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
        outputs = model(batch.inputs)
        return LossOutput(nn.functional.cross_entropy(outputs["logits"], batch.targets), outputs)

    model = Nested()
    inputs = {"picture": torch.rand(16, 8, 8), "size": torch.arange(16)}
    nested = replace(
        parts,
        model=model,
        loss_fn=loss_fn,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        prepare=lambda batch, epoch: batch,
    )
    data = replace(data, train=Split.whole(TensorSource(inputs, torch.arange(16) % 4)))
    lines = summary_lines(summary(nested, data, 16))
    assert lines[3:5] == [
        "inputs         {picture: (2, 8, 8), size: (2,)}",
        "outputs        {logits: (2, 4), sizes: ((2,), NoneType)}",
    ]
    [found] = first_update(nested, data)
    assert found.to_text() == (
        "fine[shapes]: model: takes {picture: (2, 8, 8), size: (2,)}, gives {logits: (2, 4), sizes: ((2,), NoneType)}"
    )
    assert found.to_github("my.yaml").startswith("::notice file=my.yaml")
