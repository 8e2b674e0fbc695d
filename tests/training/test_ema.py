from __future__ import annotations

import torch
from torch import nn

from trainkit.training.ema import Ema


def test_average_follows_the_weights() -> None:
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(1.0)
    ema = Ema(model, decay=0.9)
    expected = 1.0
    for step in range(1, 200):
        model.weight.data.fill_(float(step))
        ema.update(step)
        keep = min(0.9, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * step
        assert abs(float(ema.model.get_parameter("weight")) - expected) < 1e-3 * expected
    assert keep == 0.9


def test_buffers_are_the_models_and_frozen_weights_stay() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    model[0].requires_grad_(False)
    ema = Ema(model, decay=0.5)
    model(torch.randn(8, 2))
    model.get_parameter("1.weight").data.add_(1.0)
    ema.update(100)
    averaged, own = ema.model.state_dict(), model.state_dict()
    assert torch.equal(averaged["1.running_mean"], own["1.running_mean"])
    assert int(averaged["1.num_batches_tracked"]) == 1
    assert torch.equal(averaged["0.weight"], own["0.weight"])
    assert averaged["1.weight"].tolist() == [1.5] * 3
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


class Replacing(nn.Module):
    """A running mean that `forward` replaces, and a buffer that is there only after the first time."""

    mean: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("last", None)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.mean = self.mean * 0.5 + inputs.mean(0)
        self.last = inputs[: len(inputs)]
        outputs: torch.Tensor = self.layer(inputs - self.mean)
        return outputs


def test_buffers_that_forward_replaces() -> None:
    model = Replacing()
    ema = Ema(model, decay=0.5)
    for step, rows in enumerate((3, 2), start=1):
        model(torch.full((rows, 2), float(step)))
        ema.update(step)
    own, averaged = model.state_dict(), ema.model.state_dict()
    assert averaged["mean"].tolist() == own["mean"].tolist() == [2.5, 2.5]
    assert torch.equal(averaged["last"], torch.full((2, 2), 2.0))
    model.mean += 1
    assert averaged["mean"].tolist() == [2.5, 2.5]
