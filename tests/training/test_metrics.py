from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import sklearn.metrics
import torch
from pydantic import ValidationError
from torch import Tensor

from trainkit.config import registry
from trainkit.core.errors import ConfigError
from trainkit.tasks import Classification, MultiLabel, Regression, Task
from trainkit.training.metrics import (
    AccuracyConfig,
    AurocConfig,
    AveragePrecisionConfig,
    F1Config,
    MaeConfig,
    MetricConfig,
    MseConfig,
    PrecisionConfig,
    R2Config,
    RecallConfig,
    RmseConfig,
    default_metrics,
    metric_of,
)

CPU = torch.device("cpu")
THREE = Classification(size=3)
BINARY = Classification(size=2)
LABELS = MultiLabel(size=3)
NUMBERS = Regression(size=2)

# Class 0: 2 of 3 found, nothing else called so. Class 1: 1 of 2, one false. Class 2: 1 of 1, one false.
TARGETS = torch.tensor([0, 0, 0, 1, 1, 2])
PREDICTED = torch.tensor([0, 0, 1, 1, 2, 2])
LOGITS = torch.nn.functional.one_hot(PREDICTED, 3) * 2.0 - 1.0


def value(config: MetricConfig, target: Task, outputs: Tensor, targets: Tensor, batch: int = 100) -> float:
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
    assert value(AccuracyConfig(), Classification(size=4), outputs, torch.tensor([1, 0, 2])) == 1.0


def test_top_k() -> None:
    four = Classification(size=4)
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


@pytest.mark.parametrize("batch", [1, 7, 60])
@pytest.mark.parametrize("num_outputs", [1, 2])
def test_scores_of_the_second_class_equal_scikit_learn(batch: int, num_outputs: int) -> None:
    torch.manual_seed(0)
    outputs, targets = torch.randn(60, num_outputs), torch.randint(2, (60,))
    margins = outputs[:, 0] if num_outputs == 1 else outputs[:, 1] - outputs[:, 0]
    expected = sklearn.metrics.precision_recall_fscore_support(targets, margins > 0, average="binary")
    for config, score in zip((PrecisionConfig, RecallConfig, F1Config), expected, strict=False):
        assert value(config(average="binary"), BINARY, outputs, targets, batch) == pytest.approx(score)
    average = sklearn.metrics.average_precision_score(targets, margins)
    assert value(AveragePrecisionConfig(), BINARY, outputs, targets, batch) == pytest.approx(average)


def test_multilabel_accuracy_is_over_labels() -> None:
    outputs = torch.tensor([[1.0, -1.0, 1.0], [-1.0, -1.0, 1.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]])
    assert value(AccuracyConfig(), LABELS, outputs, targets, 1) == pytest.approx(4 / 6)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_errors_of_numbers(batch: int) -> None:
    outputs, targets = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), torch.tensor([[1.0, 0], [2, 0], [5, 0]])
    assert value(MaeConfig(), NUMBERS, outputs, targets, batch) == pytest.approx(2 / 6)
    assert value(MseConfig(), NUMBERS, outputs, targets, batch) == pytest.approx(4 / 6)
    assert value(RmseConfig(), NUMBERS, outputs, targets, batch) == pytest.approx((4 / 6) ** 0.5)


SCORES: list[tuple[type[MetricConfig], Callable[..., Any]]] = [
    (PrecisionConfig, sklearn.metrics.precision_score),
    (RecallConfig, sklearn.metrics.recall_score),
    (F1Config, sklearn.metrics.f1_score),
]


@pytest.mark.parametrize("average", ["macro", "micro", "weighted"])
@pytest.mark.parametrize(("config_class", "reference"), SCORES)
def test_decisions_equal_scikit_learn(
    config_class: type[MetricConfig], reference: Callable[..., float], average: str
) -> None:
    config = config_class.from_plain({"average": average})
    torch.manual_seed(0)
    outputs, targets = torch.randn(50, 3), torch.randint(3, (50,))
    expected = reference(targets, outputs.argmax(1), average=average)
    assert value(config, THREE, outputs, targets, 7) == pytest.approx(expected, rel=1e-5)
    # Logits between 0 and 1 look like probabilities, but are not.
    outputs, labels = torch.randn(50, 3) / 100 + 0.01, torch.randint(2, (50, 3)).float()
    expected = reference(labels, outputs > 0, average=average)
    assert value(config, LABELS, outputs, labels, 1) == pytest.approx(expected, rel=1e-5)


def test_multilabel_worked_example() -> None:
    # Label 0: both found. Label 1: one found, one missed. Label 2: one found, one wrong.
    outputs = torch.tensor([[1.0, 1.0, 1.0], [1.0, -1.0, 1.0]])
    targets = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    found = [value(config(), LABELS, outputs, targets, 1) for config in (PrecisionConfig, RecallConfig, F1Config)]
    assert found == pytest.approx([(1 + 1 + 1 / 2) / 3, (1 + 1 / 2 + 1) / 3, (1 + 2 / 3 + 2 / 3) / 3])


def test_auroc_worked_example() -> None:
    # Of the four pairs of a true and a false sample, three are in order.
    outputs, targets = torch.tensor([[0.1], [0.4], [0.35], [0.8]]), torch.tensor([0, 0, 1, 1])
    assert value(AurocConfig(), BINARY, outputs, targets, 3) == 0.75
    assert value(AurocConfig(), BINARY, torch.cat([-outputs, outputs], 1), targets, 3) == 0.75
    assert value(AurocConfig(), BINARY, outputs * 200, targets, 1) == 0.75  # large logits are not the same
    assert value(AurocConfig(), BINARY, -outputs, targets) == 0.25


@pytest.mark.parametrize("average", ["macro", "weighted"])
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_auroc_equals_scikit_learn(average: str, scale: float) -> None:
    config = AurocConfig.from_plain({"average": average})
    reference = sklearn.metrics.roc_auc_score
    torch.manual_seed(0)
    outputs, targets = torch.randn(60, 3) * scale, torch.randint(3, (60,))
    expected = reference(targets, outputs.double().softmax(1), multi_class="ovr", average=average)
    assert value(config, THREE, outputs, targets, 7) == pytest.approx(expected, rel=1e-5)
    labels = torch.randint(2, (60, 3)).float()
    assert value(config, LABELS, outputs, labels, 7) == pytest.approx(
        reference(labels, outputs, average=average), rel=1e-5
    )
    two = (targets > 0).long()
    assert value(config, BINARY, outputs[:, :1], two, 7) == pytest.approx(reference(two, outputs[:, 0]), rel=1e-5)


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_r2_worked_example(batch: int) -> None:
    # First number: residuals 0, 0, 2; deviations from the mean 8/3. Second: constant and right.
    outputs, targets = torch.tensor([[1.0, 4.0], [2.0, 4.0], [3.0, 4.0]]), torch.tensor([[1.0, 4], [2, 4], [5, 4]])
    total = 1 + 4 + 25 - 64 / 3
    assert value(R2Config(), NUMBERS, outputs, targets, batch) == pytest.approx((1 - 4 / total + 1) / 2)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (1e-4, 0.0), (10.0, 2000.0), (1.0, 1e5)])
def test_r2_equals_scikit_learn(scale: float, shift: float) -> None:
    torch.manual_seed(0)
    targets = torch.randn(100, 2) * scale + shift
    outputs = targets + torch.randn(100, 2) * scale * 0.5
    expected = sklearn.metrics.r2_score(targets.double(), outputs.double())
    assert value(R2Config(), NUMBERS, outputs, targets, 7) == pytest.approx(expected, rel=1e-9)


def test_r2_without_variance() -> None:
    constant = torch.full((4, 2), 0.1)
    assert value(R2Config(), NUMBERS, constant, constant, 3) == 1.0
    assert value(R2Config(), NUMBERS, constant + 1, constant, 3) == 0.0
    assert math.isnan(value(R2Config(), NUMBERS, constant[:1], constant[:1]))
    assert math.isnan(value(R2Config(), NUMBERS, torch.full((4, 2), math.nan), torch.randn(4, 2)))


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
        (MaeConfig(), THREE, "metrics: 'mae' is for regression targets, not classification"),
        (AccuracyConfig(), NUMBERS, "metrics: 'accuracy' is for classification or multilabel targets, not regression"),
        (F1Config(), NUMBERS, "metrics: 'f1' is for classification or multilabel targets, not regression"),
        (AurocConfig(), NUMBERS, "metrics: 'auroc' is for classification or multilabel targets, not regression"),
        (
            F1Config(average="binary"),
            THREE,
            "metrics: f1 with average: binary is of the second of two classes, and the data has 3",
        ),
        (
            AveragePrecisionConfig(),
            THREE,
            "metrics: average_precision is of the second of two classes, and the data has 3",
        ),
        (R2Config(), THREE, "metrics: 'r2' is for regression targets, not classification"),
        (MseConfig(), LABELS, "metrics: 'mse' is for regression targets, not multilabel"),
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
def test_targets_that_do_not_suit(config: MetricConfig, target: Task, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.check(target)
    assert str(caught.value) == message


def test_defaults_fit_their_kind_of_target() -> None:
    for task in (THREE, LABELS, NUMBERS):
        for config in (*default_metrics(task), metric_of(task.memorised)):
            config.check(task)
    found = {name: registry.find("metric", name) for name in registry.names("metric")}
    ours = {name: config for name, config in found.items() if config.__module__.startswith("trainkit.")}
    lower = [name for name, config in ours.items() if issubclass(config, MetricConfig) and config.mode == "min"]
    assert lower == ["mae", "mse", "rmse"]


def test_torchmetrics_is_imported_only_where_it_counts() -> None:
    script = """
import sys, torch
from trainkit.tasks import Classification, Regression
from trainkit.training.metrics import AccuracyConfig, MaeConfig, MseConfig, R2Config, RmseConfig
cpu = torch.device("cpu")
AccuracyConfig().build(Classification(size=3), 3, cpu)
for config in (MaeConfig(), MseConfig(), RmseConfig(), R2Config()):
    config.build(Regression(size=1), 1, cpu)
assert "torchmetrics" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("config_class", "fields", "problem"),
    [
        (AurocConfig, {"average": "micro"}, "Input should be 'macro' or 'weighted'"),
        (F1Config, {"average": "none"}, "Input should be 'macro', 'micro', 'weighted' or 'binary'"),
        (R2Config, {"adjusted": 1}, "Extra inputs are not permitted"),
    ],
)
def test_bad_values_are_refused(config_class: type[MetricConfig], fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        config_class.from_plain(fields)


@pytest.mark.parametrize("config", [F1Config(average="binary"), AveragePrecisionConfig()], ids=repr)
def test_shares_of_two_classes_are_merged(config: MetricConfig) -> None:
    torch.manual_seed(0)
    merged, whole = in_shares(config, BINARY, torch.randn(60, 2), torch.randint(2, (60,)), 3)
    assert merged == whole


def test_auroc_leaves_out_what_cannot_be_told_apart() -> None:
    metric = AurocConfig().build(MultiLabel(size=3), 3, torch.device("cpu"))
    outputs = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 0.0, 5.0], [1.0, 0.0, 3.0]])
    targets = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])  # nobody has the second label
    metric.update(outputs, targets)
    assert float(metric.compute()) == 1.0
    metric.reset()
    metric.update(outputs[:1], targets[:1])
    assert metric.compute().isnan()


@pytest.mark.parametrize("shares", [1, 2, 3])
@pytest.mark.parametrize("config", [AccuracyConfig(), AccuracyConfig(top_k=2), F1Config(), AurocConfig()], ids=repr)
@pytest.mark.parametrize("target", [THREE, LABELS, BINARY], ids=lambda target: target.noun[1] + str(target.size))
def test_shares_of_classes_are_merged(config: MetricConfig, target: Task, shares: int) -> None:
    torch.manual_seed(0)
    outputs = torch.randn(60, target.size)
    labels = target.kind == "multilabel"
    targets = torch.randint(2, (60, 3)).float() if labels else torch.randint(target.size, (60,))
    if getattr(config, "top_k", 1) < target.size and not (labels and config.label.startswith("top")):
        merged, whole = in_shares(config, target, outputs, targets, shares)
        assert merged == whole


@pytest.mark.parametrize("shares", [1, 2, 3])
@pytest.mark.parametrize("config", [MaeConfig(), MseConfig(), RmseConfig(), R2Config()], ids=repr)
@pytest.mark.parametrize("shift", [0.0, 1e4])
def test_shares_of_numbers_are_merged(config: MetricConfig, shares: int, shift: float) -> None:
    torch.manual_seed(0)
    targets = torch.randn(60, 2) + shift + torch.arange(60).unsqueeze(1)  # every share has another mean
    merged, whole = in_shares(config, NUMBERS, targets + torch.randn(60, 2), targets, shares)
    assert merged == pytest.approx(whole, rel=1e-12)


def in_shares(config: MetricConfig, target: Task, outputs: Tensor, targets: Tensor, shares: int) -> tuple[float, float]:
    """What several count together, with one among them, the first, that has no batch; and what one counts alone."""
    alone, *several = (config.build(target, outputs.shape[1], CPU) for _ in range(shares + 2))
    for number, batch in enumerate(torch.arange(60).split(7)):
        for metric in (alone, several[1 + number % shares]):
            metric.update(outputs[batch], targets[batch])
    for order in (several, several[::-1]):
        merged: Any = config.build(target, outputs.shape[1], CPU)
        for metric in order:
            merged.merge(metric)
        if order is several:
            first = float(merged.compute())
    assert first == pytest.approx(float(merged.compute()), rel=1e-12)
    return first, float(alone.compute())
