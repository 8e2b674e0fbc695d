from __future__ import annotations

import torch
from torch import nn

from trainkit.ema import Ema


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
