"""Data in which there is nothing to tell apart: it trains all the same, and nothing is divided by zero."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import records
from trainkit.experiment.schema import ExperimentConfig
from trainkit.inference.evaluation import evaluate_checkpoint
from trainkit.runs.run import train

COUNT = 40
NOISE = torch.randn(COUNT, 3, generator=torch.Generator().manual_seed(0))
HALVES = torch.arange(COUNT) % 2
CNN = {"name": "cnn", "channels": [4], "norm": "batch", "hidden": []}


@pytest.mark.parametrize(
    ("inputs", "targets", "sections", "exact"),
    [
        (NOISE, torch.zeros(COUNT, dtype=torch.int64), {}, {}),
        (NOISE, torch.full((COUNT,), 2), {}, {}),
        (torch.full((COUNT, 3), 7.0), HALVES, {}, {"auroc": 0.5}),  # equal inputs, equal logits
        (torch.full((COUNT, 1, 8, 8), 9, dtype=torch.uint8), HALVES, {"model": CNN}, {"auroc": 0.5}),
        (NOISE, torch.zeros(COUNT, 3), {"loss": "bce_with_logits"}, {}),
        (NOISE, torch.ones(COUNT, 3), {"loss": "bce_with_logits"}, {}),
        (NOISE, torch.full((COUNT,), 0.5), {"loss": "mse", "metrics": ["r2", "mae"]}, {}),
    ],
    ids=["one class", "one class of three", "equal inputs", "equal pictures", "no label", "every label", "one number"],
)
def test_what_cannot_be_told_apart(inputs: Tensor, targets: Tensor, sections: dict[str, Any], exact: Any) -> None:
    torch.save({"inputs": inputs, "targets": targets}, "data.pt")
    plain = {
        "data": {"name": "tensors", "file": "data.pt", "val": 8, "test": 0.2},
        "model": {"name": "mlp", "hidden": []},
        "loader": {"batch_size": 8},
        "optimizer": {"name": "adam", "lr": 0.1},
        "metrics": ["accuracy", "f1", "auroc"],
        "train": {"epochs": 3},
        "log": {"tensorboard": False},
        **sections,
    }
    result = train(ExperimentConfig.from_plain(plain), run_dir=Path("run"), quiet=True)
    losses = [record["loss"] for record in records(Path("run")) if "loss" in record]
    assert all(map(math.isfinite, losses))
    assert losses[-1] < losses[0]
    assert all(math.isfinite(value) for name, value in result.metrics.items() if "auroc" not in name)
    assert {name: result.metrics[f"test/{name}"] for name in exact} == pytest.approx(exact)
    assert evaluate_checkpoint(result.checkpoint).metrics["loss"] == pytest.approx(result.metrics["test/loss"])
