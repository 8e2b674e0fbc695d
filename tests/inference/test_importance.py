"""How much a model needs each column, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import MakeExperiment
from trainkit.core.seeding import permutation
from trainkit.data import Data, TensorSource
from trainkit.experiment.building import build_eval
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.importance import MOST_ROWS, SHUFFLES, importances
from trainkit.training.loop import EvalParts

CPU = torch.device("cpu")


def linear(experiment: ExperimentConfig, data: Data, weights: list[float]) -> EvalParts:
    """A linear model with these weights."""
    parts = build_eval(experiment, data.spec, CPU)
    with torch.no_grad():
        [layer] = [module for module in parts.model.modules() if isinstance(module, nn.Linear)]
        layer.weight.copy_(torch.tensor([weights]))
        layer.bias.zero_()
    return parts


def sums(make: MakeExperiment, rows: int = 50) -> tuple[ExperimentConfig, Data]:
    """a + 2 if b is q, and a column that has nothing to do with it."""
    lines = [f"{n * n % 17},{'pq'[n % 2]},{n * 7 % 13},{n * n % 17 + 2 * (n % 2)}.0\n" for n in range(rows)]
    Path("t.csv").write_text("a,b,c,y\n" + "".join(lines))
    data = {
        "name": "csv", "path": "t.csv", "target": "y", "task": "regression", "standardize": False, "test": None,
        "val": 0, "target_transform": "none",
    }  # fmt: skip
    experiment = make(data=data, model={"name": "mlp", "hidden": []}, loss="mse", metrics=["mae"])
    return experiment, experiment.data.open(0)


def test_what_a_column_is_worth(make: MakeExperiment) -> None:
    experiment, data = sums(make)
    parts = linear(experiment, data, [1, 0, 2, 0])
    found = importances(parts, data.train, data.spec, "mae", experiment.loader)
    a, b = data.train.take(permutation(50, 0, "importance")).inputs[:, [0, 2]].T
    by_hand = {"a": 0.0, "b": 0.0, "c": 0.0}
    for number in range(SHUFFLES):
        by_hand["a"] += float((a[permutation(50, number, "importance", "a")] - a).abs().mean()) / SHUFFLES
        by_hand["b"] += 2 * float((b[permutation(50, number, "importance", "b")] - b).abs().mean()) / SHUFFLES
    assert list(found) == ["a", "b", "c"]
    assert found == pytest.approx(by_hand, abs=1e-5)
    assert by_hand["a"] > by_hand["b"] > 0.5


def test_the_loss_will_do(make: MakeExperiment) -> None:
    experiment, data = sums(make)
    parts = linear(experiment, data, [0, 0, 2, 0])
    found = importances(parts, data.train, data.spec, "loss", experiment.loader)
    assert found["a"] == pytest.approx(0, abs=1e-9)
    assert found["c"] == pytest.approx(0, abs=1e-9)
    assert found["b"] > 0


def test_columns_are_shuffled_as_a_whole_and_the_rows_stay_as_they_are(make: MakeExperiment) -> None:
    """Both inputs of b say the same: one alone would not be missed."""
    experiment, data = sums(make)
    before = data.train.take(torch.arange(50)).inputs.clone()
    found = importances(linear(experiment, data, [1, -1, 1, 0]), data.train, data.spec, "mae", experiment.loader)
    again = importances(linear(experiment, data, [1, -1, 1, 0]), data.train, data.spec, "mae", experiment.loader)
    assert found == again
    assert torch.equal(data.train.take(torch.arange(50)).inputs, before)
    assert isinstance(data.train.source, TensorSource)


def test_of_many_rows_some_are_enough(make: MakeExperiment) -> None:
    experiment, data = sums(make, rows=MOST_ROWS + 100)
    seen = 0
    parts = linear(experiment, data, [1, 0, 2, 0])

    def count(module: nn.Module, inputs: tuple[torch.Tensor, ...], outputs: torch.Tensor) -> None:
        nonlocal seen
        seen += len(outputs)

    parts.model.register_forward_hook(count)
    importances(parts, data.train, data.spec, "mae", experiment.loader)
    assert seen == MOST_ROWS * (1 + 3 * SHUFFLES)
