"""A linear model on the rows of a table, against scikit-learn by hand."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from trainkit.checks.linear_model import linear_model
from trainkit.data import Data, Split, TensorSource
from trainkit.data.inputs import Numbers
from trainkit.data.spec import DataSpec
from trainkit.tasks import Classification, MultiLabel, Regression, Segmentation, Task
from trainkit.training.metrics import metric_of

ROWS = torch.randn(60, 3, generator=torch.Generator().manual_seed(1)) * torch.tensor([1.0, 100.0, 0.0]) + 5


def data_of(task: Task, targets: Tensor, inputs: Tensor = ROWS) -> tuple[Data, Split]:
    source = TensorSource(inputs, targets)
    val = Split(source, torch.arange(40, 60))
    spec = DataSpec(input=Numbers(shape=tuple(inputs.shape[1:])), task=task)
    return Data(spec, Split(source, torch.arange(40)), val, None), val


def test_numbers() -> None:
    data, val = data_of(Regression(size=2), torch.stack([ROWS[:, 0] * 3 - 1, ROWS[:, 1] / 7], 1))
    found = linear_model(data, [metric_of("r2"), metric_of("mae")], val)
    assert found["r2"] == pytest.approx(1, abs=1e-4)
    assert found["mae"] < 0.02
    one, val = data_of(Regression(size=1), ROWS[:, :1])
    assert linear_model(one, [metric_of("r2")], val)["r2"] == pytest.approx(1, abs=1e-4)


def test_classes() -> None:
    targets = (ROWS[:, 0] > 5).long() * 2  # class 1 has no sample
    data, val = data_of(Classification(size=3), targets)
    found = linear_model(data, [metric_of("accuracy")], val)
    rows = (ROWS - ROWS[:40].mean(0)) / torch.tensor([*ROWS[:40, :2].std(0, correction=0).tolist(), 1])
    by_hand = LogisticRegression().fit(rows[:40].numpy(), targets[:40].numpy())
    assert found["accuracy"] == pytest.approx(by_hand.score(rows[40:].numpy(), targets[40:].numpy()))
    data, val = data_of(Classification(size=3), torch.full((60,), 2))
    assert linear_model(data, [metric_of("accuracy")], val) == {"accuracy": 1.0}


def test_labels() -> None:
    targets = torch.stack([ROWS[:, 0] > 5, ROWS[:, 1] > 5, torch.ones(60) > 0], 1).float()
    data, val = data_of(MultiLabel(size=3), targets)
    assert linear_model(data, [metric_of("accuracy")], val)["accuracy"] > 0.9


def test_what_has_none() -> None:
    data, val = data_of(Regression(size=1), ROWS[:, :1], ROWS.view(60, 1, 3))
    assert linear_model(data, [metric_of("mae")], val) == {}
    data, val = data_of(Regression(size=1), ROWS[:, :1], ROWS.long())
    assert linear_model(data, [metric_of("mae")], val) == {}
    data, val = data_of(Segmentation(size=2), torch.zeros(60, 1, 1, dtype=torch.uint8))
    assert linear_model(data, [], val) == {}
