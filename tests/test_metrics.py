from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from trainkit.data import TargetSpec
from trainkit.errors import ConfigError
from trainkit.metrics import (
    DEFAULT,
    AccuracyConfig,
    F1Config,
    MaeConfig,
    MetricConfig,
    PrecisionConfig,
    RecallConfig,
    RmseConfig,
)

CPU = torch.device("cpu")
THREE = TargetSpec(kind="class", size=3)
BINARY = TargetSpec(kind="class", size=2)
LABELS = TargetSpec(kind="multilabel", size=3)
NUMBERS = TargetSpec(kind="number", size=2)

# Class 0: 2 of 3 found, nothing else called so. Class 1: 1 of 2, one false. Class 2: 1 of 1, one false.
TARGETS = torch.tensor([0, 0, 0, 1, 1, 2])
PREDICTED = torch.tensor([0, 0, 1, 1, 2, 2])
LOGITS = torch.nn.functional.one_hot(PREDICTED, 3) * 2.0 - 1.0


def value(config: MetricConfig, target: TargetSpec, outputs: Tensor, targets: Tensor, batch: int = 100) -> float:
    config.check(target)
    metric = config.build(target, outputs.shape[1], CPU)
    metric.update(outputs, targets)
    metric.reset()
    with torch.inference_mode():
        for start in range(0, len(outputs), batch):
            metric.update(outputs[start : start + batch], targets[start : start + batch])
        return float(metric.compute())


@pytest.mark.parametrize("batch", [1, 2, 4, 6])
@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (AccuracyConfig(), 4 / 6),
        (PrecisionConfig(), (1 + 1 / 2 + 1 / 2) / 3),
        (PrecisionConfig(average="micro"), 4 / 6),
        (PrecisionConfig(average="weighted"), (3 * 1 + 2 / 2 + 1 / 2) / 6),
        (RecallConfig(), (2 / 3 + 1 / 2 + 1) / 3),
        (RecallConfig(average="micro"), 4 / 6),
        (F1Config(), (4 / 5 + 1 / 2 + 2 / 3) / 3),
    ],
)
def test_worked_example(config: MetricConfig, expected: float, batch: int) -> None:
    assert value(config, THREE, LOGITS, TARGETS, batch) == pytest.approx(expected)


def test_accuracy_of_the_tutorial() -> None:
    outputs = torch.tensor([[0.1, 0.8, 0.05, 0.05], [0.7, 0.1, 0.1, 0.1], [0.05, 0.05, 0.8, 0.1]])
    assert value(AccuracyConfig(), TargetSpec(kind="class", size=4), outputs, torch.tensor([1, 0, 2])) == 1.0


def test_top_k() -> None:
    four = TargetSpec(kind="class", size=4)
    outputs = torch.tensor([[4.0, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1], [1, 2, 3, 4]])
    targets = torch.tensor([0, 1, 2, 3])
    assert [value(AccuracyConfig(top_k=k), four, outputs, targets, 3) for k in (1, 2, 3)] == [0.5, 0.75, 1.0]
    assert AccuracyConfig(top_k=5).label == "top5_accuracy"


@pytest.mark.parametrize("batch", [1, 3, 4])
def test_binary_with_one_output(batch: int) -> None:
    outputs, targets = torch.tensor([[0.5], [-0.5], [2.0], [-2.0]]), torch.tensor([1, 0, 0, 0])
    assert value(AccuracyConfig(), BINARY, outputs, targets, batch) == 0.75
    # The same as with two logits.
    two = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    for config in (PrecisionConfig(), RecallConfig(), F1Config()):
        assert value(config, BINARY, outputs, targets, batch) == pytest.approx(value(config, BINARY, two, targets))


def test_multilabel_accuracy_is_over_labels() -> None:
    outputs = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert value(AccuracyConfig(), LABELS, outputs, targets, 1) == pytest.approx(4 / 6)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_errors_of_numbers(batch: int) -> None:
    outputs, targets = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), torch.tensor([[1.0, 0], [2, 0], [5, 0]])
    assert value(MaeConfig(), NUMBERS, outputs, targets, batch) == pytest.approx(2 / 6)
    assert value(RmseConfig(), NUMBERS, outputs, targets, batch) == pytest.approx((4 / 6) ** 0.5)


def test_a_million_samples_are_counted_exactly() -> None:
    metric = AccuracyConfig().build(BINARY, 2, CPU)
    outputs, targets = torch.tensor([[0.0, 1.0]]).expand(100_000, 2), torch.ones(100_000, dtype=torch.int64)
    for _ in range(300):
        metric.update(outputs, targets)
    metric.update(outputs[:1], torch.zeros(1, dtype=torch.int64))
    assert float(metric.compute()) == pytest.approx(30_000_000 / 30_000_001, rel=1e-12)


@pytest.mark.parametrize(
    ("config", "target", "message"),
    [
        (MaeConfig(), THREE, "metrics: 'mae' is for number targets, not class"),
        (AccuracyConfig(), NUMBERS, "metrics: 'accuracy' is for class or multilabel targets, not number"),
        (F1Config(), LABELS, "metrics: 'f1' is for class targets, not multilabel"),
        (
            AccuracyConfig(top_k=3),
            THREE,
            "metrics: top_k 3 needs more than 3 classes, the targets of the data are 3 classes",
        ),
        (
            AccuracyConfig(top_k=2),
            LABELS,
            "metrics: top_k 2 needs more than 2 classes, the targets of the data are 3 labels",
        ),
    ],
)
def test_misfits(config: MetricConfig, target: TargetSpec, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check(target)
    assert str(caught.value) == message


def test_defaults_fit_their_kind_of_target() -> None:
    kinds: dict[Any, TargetSpec] = {"class": THREE, "multilabel": LABELS, "number": NUMBERS}
    assert set(DEFAULT) == set(kinds)
    for kind, config in DEFAULT.items():
        config.check(kinds[kind])
    assert (MaeConfig.mode, RmseConfig.mode, AccuracyConfig.mode) == ("min", "min", "max")


def test_the_default_metric_does_not_import_torchmetrics() -> None:
    script = """
import sys, torch
from trainkit.data import TargetSpec
from trainkit.metrics import AccuracyConfig
target = TargetSpec(kind="class", size=3)
AccuracyConfig().build(target, 3, torch.device("cpu"))
assert "torchmetrics" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
