"""Metrics: named numbers about quality, accumulated on the device and read once per evaluation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from trainkit.config import Config
from trainkit.data import Kind, TargetSpec
from trainkit.errors import ConfigError
from trainkit.registry import register


class Metric(Protocol):
    """What torchmetrics objects are, too."""

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch in: outputs (batch, num_outputs), targets as in `Batch`. Must not wait for the device."""

    def compute(self) -> Tensor:
        """The value over all batches since the last reset, shape ()."""
        ...

    def reset(self) -> None:
        """Forget all batches."""


class MetricConfig(Config):
    """Base of every metric."""

    name: str

    kinds: ClassVar[tuple[Kind, ...]] = ()
    """The kinds of target that it is defined for."""
    mode: ClassVar[Literal["min", "max"]] = "max"
    """Which direction is better."""

    @property
    def label(self) -> str:
        """The name under which values are recorded."""
        return self.name

    def check(self, target: TargetSpec) -> None:
        """Compare with the data.

        Raises:
            ConfigError: the metric is not defined for such targets.
        """
        if target.kind not in self.kinds:
            raise ConfigError(f"metrics: {self.label!r} is for {' or '.join(self.kinds)} targets, not {target.kind}")

    @abstractmethod
    def build(self, target: TargetSpec, num_outputs: int, device: torch.device) -> Metric:
        """Build the object that counts."""


class Mean:
    """A mean over samples: the scores of all batches, summed up and divided once.

    Args:
        score: gives one number per sample, shape (batch,), of outputs and targets.
    """

    def __init__(self, score: Callable[[Tensor, Tensor], Tensor], device: torch.device) -> None:
        self.score = score
        self.total = torch.zeros((), device=device, dtype=torch.float32 if device.type == "mps" else torch.float64)
        self.count = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.total += self.score(outputs, targets).sum()
        self.count += len(targets)

    def compute(self) -> Tensor:
        return self.total / max(self.count, 1)

    def reset(self) -> None:
        self.total.zero_()
        self.count = 0


@register("metric")
class AccuracyConfig(MetricConfig):
    """Share of samples whose class is right (among the `top_k` most likely); of labels, for multi-label data."""

    # Our own sum: torchmetrics takes 4 s to import, as long as an epoch of MNIST.
    name: Literal["accuracy"] = "accuracy"
    top_k: int = Field(1, ge=1)
    """How many guesses count."""

    kinds: ClassVar[tuple[Kind, ...]] = ("class", "multilabel")

    @property
    def label(self) -> str:
        return "accuracy" if self.top_k == 1 else f"top{self.top_k}_accuracy"

    def check(self, target: TargetSpec) -> None:
        super().check(target)
        if self.top_k > 1 and (target.kind != "class" or self.top_k >= target.size):
            raise ConfigError(
                f"metrics: top_k {self.top_k} needs more than {self.top_k} classes, "
                f"the targets of the data are {target.size} {'classes' if target.kind == 'class' else 'labels'}"
            )

    def build(self, target: TargetSpec, num_outputs: int, device: torch.device) -> Metric:
        if target.kind == "multilabel":
            return Mean(lambda outputs, targets: ((outputs > 0) == (targets > 0.5)).float().mean(1), device)
        if num_outputs == 1:
            return Mean(lambda outputs, targets: (outputs[:, 0] > 0) == (targets > 0), device)
        if self.top_k == 1:
            return Mean(lambda outputs, targets: outputs.argmax(1) == targets, device)
        return Mean(lambda outputs, targets: (outputs.topk(self.top_k).indices == targets[:, None]).any(1), device)


class TorchmetricsClassConfig(MetricConfig):
    """Base of the class metrics that torchmetrics computes."""

    average: Literal["macro", "micro", "weighted"] = "macro"
    """`macro`: mean over the classes; `micro`: over the samples; `weighted`: over the classes by their size."""

    kinds: ClassVar[tuple[Kind, ...]] = ("class",)
    function: ClassVar[str]

    def build(self, target: TargetSpec, num_outputs: int, device: torch.device) -> Metric:
        import torchmetrics.classification

        metric_class = getattr(torchmetrics.classification, f"Multiclass{self.function}")
        metric = metric_class(num_classes=target.size, average=self.average, validate_args=False).to(device)
        return _OneOutput(metric) if num_outputs == 1 else metric


class _OneOutput:
    """Lets a multi-class metric read the single logit of a two-class model."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.compute, self.reset = metric.compute, metric.reset

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.metric.update((outputs[:, 0] > 0).long(), targets)


@register("metric")
class PrecisionConfig(TorchmetricsClassConfig):
    """Of the samples called a class, the share that is of it."""

    name: Literal["precision"] = "precision"
    function: ClassVar[str] = "Precision"


@register("metric")
class RecallConfig(TorchmetricsClassConfig):
    """Of the samples of a class, the share that is found."""

    name: Literal["recall"] = "recall"
    function: ClassVar[str] = "Recall"


@register("metric")
class F1Config(TorchmetricsClassConfig):
    """Harmonic mean of precision and recall."""

    name: Literal["f1"] = "f1"
    function: ClassVar[str] = "F1Score"


@register("metric")
class MaeConfig(MetricConfig):
    """Mean absolute error, in the targets' unit."""

    name: Literal["mae"] = "mae"
    kinds: ClassVar[tuple[Kind, ...]] = ("number",)
    mode: ClassVar[Literal["min", "max"]] = "min"

    def build(self, target: TargetSpec, num_outputs: int, device: torch.device) -> Metric:
        return Mean(lambda outputs, targets: (outputs - targets).abs().mean(1), device)


class RootMean(Mean):
    """The square root of the mean."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()


@register("metric")
class RmseConfig(MetricConfig):
    """Root of the mean squared error, in the targets' unit."""

    name: Literal["rmse"] = "rmse"
    kinds: ClassVar[tuple[Kind, ...]] = ("number",)
    mode: ClassVar[Literal["min", "max"]] = "min"

    def build(self, target: TargetSpec, num_outputs: int, device: torch.device) -> Metric:
        return RootMean(lambda outputs, targets: (outputs - targets).square().mean(1), device)


DEFAULT: dict[Kind, MetricConfig] = {
    "class": AccuracyConfig(),
    "multilabel": AccuracyConfig(),
    "number": MaeConfig(),
}
