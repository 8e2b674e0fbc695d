from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.conftest import MakeExperiment
from tests.models.test_mlp import MNIST, parameters
from trainkit.data import DataSpec, TargetSpec
from trainkit.errors import ConfigError
from trainkit.models.rnn import RecurrentClassifier, RnnConfig
from trainkit.run import train

SEQUENCES = DataSpec(shape=(9, 64), target=TargetSpec(kind="class", size=10))
TOY = {"name": "synthetic", "shape": [12, 6], "size": 4, "samples": 400, "test_samples": 100}


def build(**options: Any) -> RecurrentClassifier:
    model = RnnConfig(**options).build(SEQUENCES, 10)
    assert isinstance(model, RecurrentClassifier)
    return model


@pytest.mark.parametrize(
    ("options", "count"),
    [
        ({"cell": "rnn"}, 24_832),
        ({"cell": "gru"}, 74_496),
        ({"cell": "lstm"}, 99_328),
        ({"cell": "lstm", "num_layers": 2, "bidirectional": True}, 593_920),
    ],
)
def test_parameters(options: dict[str, Any], count: int) -> None:
    model = build(hidden_size=128, **options)
    assert parameters(model.rnn) == count
    assert parameters(model.head) == 128 * (2 if model.rnn.bidirectional else 1) * 10 + 10
    for batch in (1, 16):
        assert model(torch.zeros(batch, 9, 64)).shape == (batch, 10)


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_answers_from_the_last_state_of_each_direction(cell: Any) -> None:
    model = build(cell=cell, hidden_size=5, num_layers=2, bidirectional=True)
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


def test_needs_sequences() -> None:
    with pytest.raises(ConfigError) as caught:
        RnnConfig().build(MNIST, 10)
    assert str(caught.value) == "model: rnn needs sequences (length, features), the data has shape (1, 28, 28)"


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_learns(make: MakeExperiment, cell: str) -> None:
    model = {"name": "rnn", "cell": cell, "hidden_size": 16}
    assert train(make(data=TOY, model=model), quiet=True).metrics["test/accuracy"] > 0.9


def test_is_made_of_torch_modules() -> None:
    assert [type(build(cell=cell).rnn) for cell in ("rnn", "lstm", "gru")] == [nn.RNN, nn.LSTM, nn.GRU]
