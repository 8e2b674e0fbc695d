from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import MakeExperiment
from tests.models.test_mlp import MNIST, parameters
from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.data import DataSpec
from trainkit.data.inputs import Numbers
from trainkit.experiment.loading import load
from trainkit.models.rnn import GruConfig, RecurrentClassifier, RecurrentConfig
from trainkit.runs.run import train
from trainkit.tasks import Classification

SEQUENCES = DataSpec(input=Numbers(shape=(9, 64)), task=Classification(size=10))
TOY = {"name": "synthetic", "shape": [12, 6], "size": 4, "samples": 400, "test_samples": 100}


CELLS = ["rnn", "gru", "lstm"]


def build(name: str = "lstm", **options: Any) -> RecurrentClassifier:
    config_class = registry.find("model", name)
    assert issubclass(config_class, RecurrentConfig)
    model = config_class(**options).build(SEQUENCES, 10)
    assert isinstance(model, RecurrentClassifier)
    return model


@pytest.mark.parametrize(
    ("name", "options", "count"),
    [
        ("rnn", {}, 24_832),
        ("gru", {}, 74_496),
        ("lstm", {}, 99_328),
        ("lstm", {"num_layers": 2, "bidirectional": True}, 593_920),
    ],
)
def test_parameters(name: str, options: dict[str, Any], count: int) -> None:
    model = build(name, hidden_size=128, **options)
    assert parameters(model.rnn) == count
    assert parameters(model.head) == 128 * (2 if model.rnn.bidirectional else 1) * 10 + 10
    for batch in (1, 16):
        assert model(torch.zeros(batch, 9, 64)).shape == (batch, 10)


@pytest.mark.parametrize("name", CELLS)
def test_answers_from_the_last_state_of_each_direction(name: str) -> None:
    model = build(name, hidden_size=5, num_layers=2, bidirectional=True)
    inputs = torch.rand(3, 9, 64)
    states, _ = model.rnn(inputs)  # (batch, length, forward and backward)
    last = torch.cat([states[:, -1, :5], states[:, 0, 5:]], dim=1)
    torch.testing.assert_close(model(inputs), model.head(last))


def test_dropout_between_layers_and_before_the_output() -> None:
    assert build(num_layers=2, dropout=0.3).rnn.dropout == 0.3
    single = build(dropout=0.3)  # torch warns about dropout between the layers of one layer
    inputs = torch.rand(3, 9, 64)
    assert not torch.equal(single(inputs), single(inputs))
    assert torch.equal(single.eval()(inputs), single(inputs))


def test_state_dict_round_trip() -> None:
    one, other = build(bidirectional=True), build(bidirectional=True)
    assert set(one.state_dict()) > {"rnn.weight_ih_l0", "rnn.weight_ih_l0_reverse", "head.weight"}
    other.load_state_dict(one.state_dict())
    inputs = torch.rand(2, 9, 64)
    assert torch.equal(one(inputs), other(inputs))


def check_padding(model: nn.Module) -> None:
    """Outputs and gradients are those of the sequences one by one, whatever follows these and however much."""
    lengths = torch.tensor([3, 7, 1, 7])
    sequences = [torch.randn(length, 64, requires_grad=True) for length in lengths.tolist()]
    factors = torch.randn(4, 10)

    def with_gradients(outputs: Tensor) -> list[Tensor]:
        return [outputs, *torch.autograd.grad((outputs * factors).sum(), [*sequences, *model.parameters()])]

    def padded(filler: float, longest: int) -> Tensor:
        rows = [torch.cat([sequence, torch.full((longest - len(sequence), 64), filler)]) for sequence in sequences]
        return torch.stack(rows)

    alone = with_gradients(torch.cat([model(sequence.unsqueeze(0)) for sequence in sequences]))
    for longest in (7, 9):
        zeros = with_gradients(model(padded(0.0, longest), lengths))
        torch.testing.assert_close(zeros, alone, rtol=1e-4, atol=1e-5)
        other = with_gradients(model(padded(1e4, longest), lengths))
        assert all(torch.equal(one, another) for one, another in zip(zeros, other, strict=True))
        with torch.inference_mode():
            evaluated = model.eval()(padded(1e4, longest), lengths)
        torch.testing.assert_close(evaluated, alone[0], rtol=1e-4, atol=1e-5)
        model.train()


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_padding_is_never_read(name: str, bidirectional: bool) -> None:
    check_padding(build(name, hidden_size=5, num_layers=2, bidirectional=bidirectional))


def test_needs_sequences() -> None:
    with pytest.raises(ConfigError) as caught:
        GruConfig().build(MNIST, 10)
    assert str(caught.value) == "model: gru needs sequences (length, features) or texts, the data has shape (1, 28, 28)"


def test_the_cell_is_the_name() -> None:
    problems = [
        f"model.cell: unknown key for '{name}'; the cell is the name of the model: rnn, gru or lstm" for name in CELLS
    ]
    for name, problem in zip(CELLS, problems, strict=True):
        Path("my.yaml").write_text(f"data: digits\nmodel: {{name: {name}, cell: lstm}}\n")
        with pytest.raises(ConfigError) as caught:
            load(Path("my.yaml"))
        assert str(caught.value).endswith(problem)


@pytest.mark.parametrize("name", CELLS)
def test_learns(make: MakeExperiment, name: str) -> None:
    assert train(make(data=TOY, model={"name": name, "hidden_size": 16}), quiet=True).metrics["test/accuracy"] > 0.9


def test_learns_from_sequences_of_different_lengths(make: MakeExperiment) -> None:
    """The class is the feature that is on the whole the largest."""
    random = torch.Generator().manual_seed(0)
    lengths, classes = torch.randint(1, 9, (160,), generator=random), torch.randint(4, (160,), generator=random)
    inputs = [torch.randn(int(length), 4, generator=random) for length in lengths]
    for sequence, label in zip(inputs, classes, strict=True):
        sequence[:, label] += 5
    data = {"name": "tensors", "inputs": [one.tolist() for one in inputs], "targets": classes.tolist(), "val": 32}
    models: list[dict[str, Any]] = [
        {"name": "gru", "hidden_size": 16},
        {"name": "transformer", "d_model": 16, "dim_feedforward": 32, "num_layers": 1},
    ]
    for model in models:
        result = train(make(data=data, model=model, train={"epochs": 4}), quiet=True)
        assert result.metrics["val/accuracy"] > 0.9


def test_is_made_of_torch_modules() -> None:
    assert [type(build(name).rnn) for name in CELLS] == [nn.RNN, nn.GRU, nn.LSTM]
