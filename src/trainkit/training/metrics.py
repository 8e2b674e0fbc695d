"""Metrics: named numbers about quality, accumulated on the device and read once per evaluation.

One file, since each metric is a few lines on what the first hundred say.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from trainkit.config import registry
from trainkit.config.base import Config
from trainkit.config.registry import register
from trainkit.core.errors import ConfigError
from trainkit.core.nest import Nest
from trainkit.tasks import Classification, MultiLabel, Regression, Task, task_class
from trainkit.tasks.binary_scores import average_precision
from trainkit.tasks.categorical import Categorical
from trainkit.tasks.class_scores import Tally
from trainkit.tasks.kind import current_name
from trainkit.tasks.ranked import Ranked

if TYPE_CHECKING:
    from torchmetrics import Metric as TorchMetric

Ratio = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
Score = Callable[[Nest, Nest], Tensor]
"""Gives one number for each sample, shape (batch,), of outputs and targets."""


class Metric(Protocol):
    """What torchmetrics objects are, too.

    Those of trainkit also have `merge(other)`, which counts in what another one of the same kind has counted. It is
    optional: only a run that divides a split among processes needs it.
    """

    def update(self, outputs: Nest, targets: Nest) -> None:
        """Count one batch in: outputs (batch, num_outputs), or what else the loss calls outputs; targets as in `Batch`.
        Must not wait for the device."""

    def compute(self) -> Tensor:
        """The value over all batches since the last reset, shape ()."""
        ...

    def reset(self) -> None:
        """Forget all batches."""


class MetricConfig(Config):
    """Base of every metric."""

    name: str

    works_on: ClassVar[tuple[type[Task], ...]] = (Task,)
    """The tasks that it is defined for, and those derived from them."""
    kinds: ClassVar[tuple[str, ...]] = ()
    """The same by their names, as metrics for trainkit 0.1 have it."""
    mode: ClassVar[Literal["min", "max"]] = "max"
    """Which direction is better."""

    @property
    def label(self) -> str:
        """The name under which values are recorded."""
        return self.name

    def check(self, task: Task) -> None:
        """Compare with the data.

        Raises:
            ConfigError: the metric is not defined for such a task.
        """
        works_on = tuple(task_class(str(current_name(kind))) for kind in self.kinds) or self.works_on
        if not isinstance(task, works_on):
            wanted = " or ".join(str(wanted.model_fields["name"].default) for wanted in works_on)
            raise ConfigError(f"metrics: {self.label!r} is for {wanted} targets, not {task.name}")

    def is_share(self, task: Task) -> bool:
        """Whether it is the share of samples that are right, each or not at all, so that its interval is known."""
        return False

    def running(self, task: Task) -> Score | None:
        """What scores the samples of a training batch, from 0 to 1, where the metric is shown as training goes on."""
        return None

    @abstractmethod
    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        """Build the object that counts."""


def sum_dtype(device: torch.device) -> torch.dtype:
    """Of sums over many samples."""
    return torch.float32 if device.type == "mps" else torch.float64  # mps has no doubles


class Mean:
    """A mean over samples: the scores of all batches, summed up and divided once.

    Args:
        score: of each sample.
    """

    def __init__(self, score: Score, device: torch.device) -> None:
        self.score = score
        self.total = torch.zeros((), device=device, dtype=sum_dtype(device))
        self.count = 0

    def update(self, outputs: Nest, targets: Nest) -> None:
        scores = self.score(outputs, targets)
        self.total += scores.sum()
        self.count += len(scores)

    def merge(self, other: Mean) -> None:
        """Count in what another one has counted."""
        self.total += other.total
        self.count += other.count

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
    """How many of the most likely classes count."""

    works_on: ClassVar = (Classification, MultiLabel)

    @property
    def label(self) -> str:
        return "accuracy" if self.top_k == 1 else f"top{self.top_k}_accuracy"

    def check(self, task: Task) -> None:
        super().check(task)
        if self.top_k > 1 and (not isinstance(task, Classification) or self.top_k >= task.size):
            there = f"the targets of the data are {task.size} {task.noun[1]}"
            raise ConfigError(f"metrics: top_k {self.top_k} needs more than {self.top_k} classes, {there}")

    def is_share(self, task: Task) -> bool:
        return isinstance(task, Classification)

    def running(self, task: Task) -> Score | None:
        assert isinstance(task, Ranked)
        return task.right if self.top_k == 1 else None

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        if self.top_k == 1:
            assert isinstance(task, Ranked)
            return Mean(task.right, device)
        return Mean(lambda outputs, targets: (outputs.topk(self.top_k).indices == targets[:, None]).any(1), device)


class ClassMean:
    """Precision, recall or F1 of the classes or labels, averaged as torchmetrics does, which takes 4 s to import.

    Args:
        all_count: whether all count that there are, or those alone that occur.
        ratio: numerator and denominator of it, from samples that are of a class, are said to be, and rightly are.
    """

    def __init__(self, tally: Tally, average: str, *, all_count: bool, ratio: Ratio) -> None:
        self.tally, self.average, self.all_count, self.ratio = tally, average, all_count, ratio
        self.update, self.reset = tally.update, tally.reset

    def merge(self, other: ClassMean) -> None:
        self.tally.merge(other.tally)

    def compute(self) -> Tensor:
        support, predicted, right = self.tally.totals()
        if self.average == "micro":
            return _divided(*self.ratio(support.sum(), predicted.sum(), right.sum()))
        weights = support if self.average == "weighted" else (support + predicted > 0).float()
        if self.average == "macro" and self.all_count:
            weights = torch.ones_like(weights)
        scores = _divided(*self.ratio(support, predicted, right))
        if self.average == "binary":
            return scores[1]
        return _divided(weights * scores, weights.sum()).sum()


def _divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """In float32, 0 where the denominator is."""
    return torch.where(denominator != 0, numerator.float() / denominator.float(), 0.0)


class ClassMeanConfig(MetricConfig):
    """Base of the metrics of the classes or labels that a model decides for."""

    average: Literal["macro", "micro", "weighted", "binary"] = "macro"
    """`macro`: mean over the classes or labels; `micro`: over all decisions; `weighted`: over the classes or labels by
    their number of samples; `binary`: that of the second of two classes alone."""

    works_on: ClassVar = (Classification, MultiLabel)
    ratio: ClassVar[Ratio]

    def check(self, task: Task) -> None:
        super().check(task)
        if self.average == "binary":
            _check_binary(f"{self.name} with average: binary", task)

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        assert isinstance(task, Categorical)
        all_count = isinstance(task, MultiLabel)  # classes that never occur say nothing
        return ClassMean(task.tally(device), self.average, all_count=all_count, ratio=type(self).ratio)


def _check_binary(what: str, task: Task) -> None:
    if not task.binary:
        raise ConfigError(f"metrics: {what} is of the second of two classes, and the data has {task.size}")


@register("metric")
class PrecisionConfig(ClassMeanConfig):
    """Of the samples said to be of a class or to have a label, the share that is right."""

    name: Literal["precision"] = "precision"
    ratio: ClassVar[Ratio] = staticmethod(lambda support, predicted, right: (right, predicted))


@register("metric")
class RecallConfig(ClassMeanConfig):
    """Of the samples that are of a class or have a label, the share that is found."""

    name: Literal["recall"] = "recall"
    ratio: ClassVar[Ratio] = staticmethod(lambda support, predicted, right: (right, support))


@register("metric")
class F1Config(ClassMeanConfig):
    """Harmonic mean of precision and recall."""

    name: Literal["f1"] = "f1"
    ratio: ClassVar[Ratio] = staticmethod(lambda support, predicted, right: (2 * right, support + predicted))


@register("metric")
class AurocConfig(MetricConfig):
    """Area under the ROC curve: the chance that a sample of a class or with a label is ranked above one without.

    For more than two classes each is compared with all others. Keeps the outputs of all samples until it is read.
    """

    name: Literal["auroc"] = "auroc"
    average: Literal["macro", "weighted"] = "macro"
    """`macro`: mean over the classes or labels; `weighted`: by their number of samples. Two classes have one curve."""

    works_on: ClassVar = (Classification, MultiLabel)

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        from torchmetrics.classification import BinaryAUROC, MulticlassAUROC, MultilabelAUROC

        # One number is only ranked. Unlike sigmoid, softsign keeps large logits apart.
        precise = sum_dtype(device)

        def rank(outputs: Tensor) -> Tensor:
            return (functional.softsign(outputs.to(precise)) + 1) / 2

        weighted = self.average == "weighted"
        options: Any = {"average": "none", "validate_args": False}
        if isinstance(task, MultiLabel):
            labels = MultilabelAUROC(num_labels=task.size, **options).to(device)
            return _Auroc(labels, lambda outputs, targets: (rank(outputs), (targets > 0.5).long()), weighted)
        if task.size == 2:
            binary = BinaryAUROC(validate_args=False).to(device)
            if num_outputs == 1:
                return _Auroc(binary, lambda outputs, targets: (rank(outputs[:, 0]), targets), weighted)
            return _Auroc(binary, lambda outputs, targets: (rank(outputs[:, 1] - outputs[:, 0]), targets), weighted)
        classes = MulticlassAUROC(num_classes=task.size, **options).to(device)
        return _Auroc(classes, lambda outputs, targets: (outputs.to(precise).softmax(1), targets), weighted, task.size)


class _Auroc:
    """The mean over the classes or labels that samples with and without are there of, NaN where there is no such one.

    torchmetrics counts the others as 0, which is no statement about the model. It would also guess from every batch
    anew whether floats are logits or probabilities: `read` gives it what leaves no doubt.
    """

    def __init__(
        self,
        metric: TorchMetric,
        read: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
        weighted: bool,
        classes: int = 0,
    ) -> None:
        self.metric, self.read, self.weighted, self.classes = metric, read, weighted, classes
        self.positives, self.count = torch.zeros(()), 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        scores, targets = self.read(outputs, targets)
        self.metric.update(scores, targets)
        rows = targets.view(len(targets), -1)
        # Not `bincount`, for which the host waits for a GPU.
        self.positives = self.positives + (functional.one_hot(targets, self.classes) if self.classes else rows).sum(0)
        self.count += len(targets)

    def merge(self, other: _Auroc) -> None:
        """Count in what another one has counted."""
        self.metric.merge_state(other.metric)
        self.positives = self.positives + other.positives
        self.count += other.count

    def compute(self) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the classes that are left out below
            values: Tensor = self.metric.compute().view(-1)
        mixed = (self.positives > 0) & (self.positives < self.count)
        shares = self.positives[mixed] if self.weighted else mixed[mixed]
        return (values[mixed] * shares).sum() / shares.sum()

    def reset(self) -> None:
        self.metric.reset()
        self.positives, self.count = torch.zeros(()), 0


@register("metric")
class AveragePrecisionConfig(MetricConfig):
    """Of the second of two classes, over all thresholds: the mean of the precisions, weighted by how much recall each
    adds, as scikit-learn has it. Keeps an output of every sample until it is read."""

    name: Literal["average_precision"] = "average_precision"
    works_on: ClassVar = (Classification,)

    def check(self, task: Task) -> None:
        super().check(task)
        _check_binary(self.name, task)

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        assert isinstance(task, Classification)
        return _AveragePrecision(task.margins)


class _AveragePrecision:
    """Keeps the logit of the second class of every sample."""

    def __init__(self, margins: Callable[[Tensor], Tensor]) -> None:
        self.margins = margins
        self._kept: list[tuple[Tensor, Tensor]] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self._kept.append((self.margins(outputs).detach().float(), targets == 1))

    def merge(self, other: _AveragePrecision) -> None:
        """Count in what another one has counted."""
        self._kept += other._kept

    def compute(self) -> Tensor:
        margins, there = map(torch.cat, zip(*self._kept, strict=True))
        return torch.tensor(average_precision(margins, there))

    def reset(self) -> None:
        self._kept.clear()


class ErrorConfig(MetricConfig):
    """Base of the metrics that measure how far numbers are off."""

    works_on: ClassVar = (Regression,)
    mode: ClassVar[Literal["min", "max"]] = "min"


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """One number per sample, shape (batch,): the mean over its squared errors."""
    return (outputs - targets).square().mean(1)


@register("metric")
class MaeConfig(ErrorConfig):
    """Mean absolute error, in the targets' unit."""

    name: Literal["mae"] = "mae"

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(lambda outputs, targets: (outputs - targets).abs().mean(1), device)


@register("metric")
class MseConfig(ErrorConfig):
    """Mean squared error."""

    name: Literal["mse"] = "mse"

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return Mean(squared_error, device)


class RootMean(Mean):
    """The square root of the mean."""

    def compute(self) -> Tensor:
        return super().compute().sqrt()


@register("metric")
class RmseConfig(ErrorConfig):
    """Root of the mean squared error, in the targets' unit."""

    name: Literal["rmse"] = "rmse"

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return RootMean(squared_error, device)


class R2:
    """The share of the targets' variance that outputs explain, the mean over `size` numbers per sample.

    As scikit-learn's r2_score: constant targets give 1 where every output is right, else 0; a single sample NaN.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.zero = torch.zeros(size, device=device, dtype=sum_dtype(device))
        self.origin = self.residual = self.sum = self.squares = self.zero
        self.count = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        targets = targets.to(self.zero.dtype)
        if self.count == 0:
            self.origin = targets[0]  # sums of squares far from 0 would cancel out
        centered = targets - self.origin
        self.residual = self.residual + (targets - outputs).square().sum(0)
        self.sum, self.squares = self.sum + centered.sum(0), self.squares + centered.square().sum(0)
        self.count += len(targets)

    def merge(self, other: R2) -> None:
        """Count in what another one has counted."""
        if self.count == 0:
            self.origin = other.origin
        shift = other.origin - self.origin
        self.residual = self.residual + other.residual
        self.squares = self.squares + other.squares + 2 * shift * other.sum + other.count * shift.square()
        self.sum = self.sum + other.sum + other.count * shift
        self.count += other.count

    def compute(self) -> Tensor:
        if self.count < 2:
            return self.zero.new_tensor(torch.nan)
        total = self.squares - self.sum.square() / self.count
        return torch.where(total > 0, 1 - self.residual / total, (self.residual == 0).to(total.dtype)).mean()

    def reset(self) -> None:
        self.origin = self.residual = self.sum = self.squares = self.zero
        self.count = 0


@register("metric")
class R2Config(MetricConfig):
    """Share of the targets' variance that is explained: 1 is perfect, 0 no better than their mean."""

    # Our own sums: torchmetrics calls targets constant whose squared deviations sum to less than 1e-4, and right
    # whatever is said of them.
    name: Literal["r2"] = "r2"
    works_on: ClassVar = (Regression,)

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        return R2(task.size, device)


def default_metrics(task: Task) -> tuple[MetricConfig, ...]:
    """What suits a task of which nothing is said; the first is monitored."""
    return tuple(metric_of(name) for name in task.default_metrics)


def metric_of(name: str) -> MetricConfig:
    """A metric by its name."""
    found = registry.find("metric", name)()
    assert isinstance(found, MetricConfig)
    return found
