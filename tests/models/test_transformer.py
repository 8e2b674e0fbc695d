from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from tests.conftest import MakeExperiment
from tests.models.test_mlp import MNIST, parameters
from tests.models.test_rnn import SEQUENCES, TOY, check_padding
from trainkit.core.errors import ConfigError, DataError
from trainkit.models.transformer import TransformerClassifier, TransformerConfig, sinusoids
from trainkit.runs.run import train


def build(**options: Any) -> TransformerClassifier:
    model = TransformerConfig(**options).build(SEQUENCES, 10)
    assert isinstance(model, TransformerClassifier)
    return model


def test_parameters() -> None:
    model = build(d_model=128, nhead=4, dim_feedforward=512, num_layers=3, norm_first=False)
    layer = model.encoder.layers[0]
    assert parameters(layer) == 198_272
    assert parameters(layer.self_attn) == 66_048
    embedding, positions, head = 64 * 128 + 128, 9 * 128, 128 * 10 + 10
    assert parameters(model) == embedding + positions + 3 * 198_272 + head
    sinusoidal = build(num_layers=3, norm_first=True, positions="sinusoidal")
    assert parameters(sinusoidal) == embedding + 3 * 198_272 + 2 * 128 + head


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_every_kind_learns_and_comes_back(norm_first: bool, positions: Any, activation: Any) -> None:
    def fresh() -> TransformerClassifier:
        return build(d_model=6, nhead=3, norm_first=norm_first, positions=positions, activation=activation)

    model, other = fresh(), fresh()
    outputs = model(torch.rand(4, 9, 64))
    assert outputs.shape == (4, 10)
    outputs.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert ("positions" in model.state_dict()) == (positions == "learned")
    other.load_state_dict(model.state_dict())
    inputs = torch.rand(2, 9, 64)
    assert torch.equal(model.eval()(inputs), other.eval()(inputs))


def test_order_matters_only_by_the_positions() -> None:
    model = build().eval()
    inputs = torch.rand(2, 9, 64)
    assert not torch.allclose(model(inputs), model(inputs.flip(1)), atol=1e-4)
    model.positions.data.zero_()
    torch.testing.assert_close(model(inputs), model(inputs.flip(1)))


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_padding_is_not_attended_to(norm_first: bool, positions: Any) -> None:
    check_padding(build(d_model=8, nhead=2, dropout=0.0, norm_first=norm_first, positions=positions))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_sequences_longer_than_the_model(positions: Any) -> None:
    model = build(positions=positions)
    model(torch.zeros(2, 9, 64), torch.tensor([9, 1]))
    with pytest.raises(DataError) as caught:
        model(torch.zeros(2, 10, 64), torch.tensor([10, 1]))
    assert str(caught.value) == (
        "data: a sequence of 10 steps is longer than the 9 for which the model was built; it has no positions for the "
        "rest"
    )


def test_layers_begin_with_different_weights() -> None:
    one, other = build(num_layers=2).encoder.layers
    assert not torch.equal(one.linear1.weight, other.linear1.weight)


@pytest.mark.parametrize("dim", [6, 7])
def test_sinusoids(dim: int) -> None:
    positions = sinusoids(5, dim)
    assert positions.shape == (5, dim)
    for place in range(5):
        for i in range(dim):
            angle = place / 10_000 ** ((i - i % 2) / dim)
            expected = math.cos(angle) if i % 2 else math.sin(angle)
            assert float(positions[place, i]) == pytest.approx(expected, abs=1e-6)


def test_heads_share_the_dimension() -> None:
    with pytest.raises(ValidationError, match="d_model must be a multiple of nhead, got 10 and 4"):
        TransformerConfig(d_model=10)


def test_needs_sequences() -> None:
    with pytest.raises(ConfigError) as caught:
        TransformerConfig().build(MNIST, 10)
    assert (
        str(caught.value)
        == "model: transformer needs sequences (length, features) or texts, the data has shape (1, 28, 28)"
    )


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_learns(make: MakeExperiment, positions: str) -> None:
    model = {"name": "transformer", "d_model": 16, "nhead": 2, "dim_feedforward": 32, "positions": positions}
    assert train(make(data=TOY, model=model), quiet=True).metrics["test/accuracy"] > 0.9
