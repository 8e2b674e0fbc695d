"""Losses, metrics, optimizers and schedulers of one's own, each a class or a function registered in one line.

One file, since all four are the same idea, and what an author of one looks for.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial, wraps
from numbers import Real
from types import MethodType
from typing import Any, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from trainkit.config.from_constructor import OwnConfig, own_code, register_own
from trainkit.config.signature import Owner, constructor_of, place_of, title_of
from trainkit.core import nest
from trainkit.core.errors import ConfigError
from trainkit.core.nest import Nest
from trainkit.core.suggestions import did_you_mean
from trainkit.data import Batch
from trainkit.tasks import Task
from trainkit.training.losses import LossConfig, LossFn, LossOutput, forwarded
from trainkit.training.metrics import Mean, Metric, MetricConfig
from trainkit.training.optimizers import Decay, OptimizerConfig, Rate
from trainkit.training.schedulers import Curve, Scheduler, SchedulerConfig

F = TypeVar("F", bound=Owner)

FACTS: dict[str, Callable[[Task, int], Any]] = {
    "num_classes": lambda task, num_outputs: task.size,
    "num_outputs": lambda task, num_outputs: num_outputs,
    "class_counts": lambda task, num_outputs: task.counts,
}
"""What the data supplies to a loss or metric that names one of these as an argument: the classes, labels or numbers of
a target, the outputs of a model for them, and the training samples of each class."""


class OwnLossConfig(OwnConfig, LossConfig):
    """Base of the losses that are made of a class or a function."""

    _section: ClassVar = "loss"
    _takes_model: ClassVar[bool]

    def build(self, task: Task) -> LossFn:
        owner = self._constructor.owner
        num_outputs = self.num_outputs(task)

        def supply(fact: str) -> Any:
            return FACTS[fact](task, num_outputs)

        if inspect.isclass(owner):
            criterion = self._make(supply)
        else:
            criterion = partial(owner, **self._constructor.arguments(self, supply))
        if isinstance(criterion, nn.Module) and any(True for _ in (*criterion.parameters(), *criterion.buffers())):
            return LossModule(criterion, owner, takes_model=self._takes_model)
        return partial(_loss_of, criterion, owner, self._takes_model)


class LossModule(nn.Module):
    """A loss with parameters or buffers of its own."""

    def __init__(self, criterion: nn.Module, owner: Owner, *, takes_model: bool) -> None:
        super().__init__()
        self.criterion, self.owner, self.takes_model = criterion, owner, takes_model

    def forward(self, model: nn.Module, batch: Batch) -> LossOutput:
        return _loss_of(self.criterion, self.owner, self.takes_model, model, batch)


def _loss_of(
    criterion: Callable[..., Any], owner: Owner, takes_model: bool, model: nn.Module, batch: Batch
) -> LossOutput:
    if takes_model:
        with own_code("loss", owner):
            return _loss_output(criterion(model, batch), None, owner)
    outputs, targets, predicted = forwarded(model, batch)
    with own_code("loss", owner):
        return _loss_output(criterion(nest.floats(outputs), targets), predicted, owner)


def _loss_output(made: Any, outputs: Nest | None, owner: Owner) -> LossOutput:
    if isinstance(made, LossOutput):
        return made
    numbers = dict(made) if isinstance(made, Mapping) else {"": made}
    if outputs is None or not numbers or not all(isinstance(one, Tensor) and one.ndim == 0 for one in numbers.values()):
        what = "a LossOutput" if outputs is None else "the mean over the batch, a tensor of shape (), or a dict of such"
        given = f"a tensor of shape {tuple(made.shape)}" if isinstance(made, Tensor) else nest.described(made)
        raise ConfigError(f"loss: {title_of(owner)} gives {given}, expected {what}{place_of(owner)}")
    loss = torch.stack([*numbers.values()]).sum() if isinstance(made, Mapping) else made
    if not loss.requires_grad and any(one.requires_grad for one in nest.tensors(outputs)):
        why = "it is detached, or made of what has none, such as argmax"
        raise ConfigError(f"loss: {title_of(owner)} gives a loss without a gradient: {why}{place_of(owner)}")
    return LossOutput(loss, outputs, parts=numbers if isinstance(made, Mapping) else {})


def register_loss(name: str, *, sizes: Mapping[str, str] | None = None, divisible: bool = True) -> Callable[[F], F]:
    """Decorator: make a function or a class a loss that a YAML file can name.

    A function `(outputs, targets, …)` gives the mean over the batch, a tensor of shape (), or a dict of such, whose sum
    is minimised and of which each is recorded as `loss_NAME`. Its other arguments are the config's keys, with their
    types and defaults. Of a class, those of the constructor are; its objects are called with outputs and targets. Of an
    `nn.Module`, parameters are trained with the model's, and stand in checkpoints.

    Outputs are those of the model, floating-point ones in float32, (batch, num_outputs) as a rule; targets as batches
    have them: class numbers (batch,), int64, or numbers and flags (batch, size), float32. What is called `(model,
    batch)` gets these instead, and gives a `LossOutput`.

    Args:
        sizes: the arguments to which the data supplies `num_classes`, `num_outputs` or `class_counts` under another
            name.
        divisible: False where the loss of a batch is not the mean of those of its parts, so that batches cannot be
            accumulated.

    Raises:
        ConfigError: a config cannot give an argument that has no default.
    """

    def add(owner: F) -> F:
        called: Any = owner
        if inspect.isclass(owner):
            called = getattr(owner, "forward" if issubclass(owner, nn.Module) else "__call__", None)
        names = [*inspect.signature(called).parameters][inspect.isclass(owner) :][:2] if called else []
        first = () if inspect.isclass(owner) else ("outputs", "targets")
        constructor = constructor_of(owner, FACTS, sizes, base=LossConfig, first=first)
        config = register_own("loss", name, constructor, OwnLossConfig)
        config._takes_model = names == ["model", "batch"]
        config.divisible = divisible
        return owner

    return add


class OwnMetricConfig(OwnConfig, MetricConfig):
    """Base of the metrics that are made of a class or a function."""

    _section: ClassVar = "metrics"

    def build(self, task: Task, num_outputs: int, device: torch.device) -> Metric:
        owner = self._constructor.owner

        def supply(fact: str) -> Any:
            return device if fact == "device" else FACTS[fact](task, num_outputs)

        if not inspect.isclass(owner):
            return Mean(partial(_score, owner, self._constructor.arguments(self, supply)), device)
        metric: Metric = self._make(supply)
        if missing := [name for name in ("update", "compute", "reset") if not hasattr(metric, name)]:
            raise ConfigError(f"metrics: {title_of(owner)} has no {missing[0]} method{place_of(owner)}")
        # Those of torchmetrics are modules.
        return OwnMetric(metric.to(device) if isinstance(metric, nn.Module) else metric, owner)


class OwnMetric:
    """An object of a class of one's own; what it raises is told with its place."""

    def __init__(self, metric: Any, owner: Owner) -> None:
        self.metric, self.owner = metric, owner

    def reset(self) -> None:
        with own_code("metrics", self.owner):
            self.metric.reset()

    def update(self, outputs: Nest, targets: Nest) -> None:
        with own_code("metrics", self.owner):
            self.metric.update(outputs, targets)

    def compute(self) -> Tensor:
        with own_code("metrics", self.owner):
            return torch.tensor(float(self.metric.compute()), dtype=torch.float64)

    def merge(self, other: OwnMetric) -> None:
        """Count in what another one has counted, where the class can."""
        self.metric.merge(other.metric)


def _score(owner: Owner, arguments: Mapping[str, Any], outputs: Nest, targets: Nest) -> Tensor:
    with own_code("metrics", owner):
        scores, samples = owner(outputs, targets, **arguments), nest.num_samples(targets)
        if isinstance(scores, Real):
            scores = torch.tensor(float(scores), device=nest.tensors(targets)[0].device)
        elif isinstance(scores, Tensor) and scores.numel() == 1:
            scores = scores.reshape(())
        if not isinstance(scores, Tensor) or tuple(scores.shape) not in ((), (samples,)):
            given = f"shape {tuple(scores.shape)}" if isinstance(scores, Tensor) else f"type {type(scores).__name__}"
            wanted = f"a number for each sample, a tensor of shape ({samples},), or their mean, of shape ()"
            raise ConfigError(f"metrics: {title_of(owner)} gives {given}, expected {wanted}{place_of(owner)}")
        return scores.expand(samples)


def register_metric(
    name: str, *, mode: Literal["min", "max"] = "max", sizes: Mapping[str, str] | None = None
) -> Callable[[F], F]:
    """Decorator: make a function or a class a metric that a YAML file can name.

    A function `(outputs, targets, …)` gives a number for each sample, shape (batch,), of which the mean over all is
    recorded; or their mean, shape () or a plain number. Its other arguments are the config's keys. An object of a class
    has `update`, `compute` and `reset`, as those of torchmetrics have, and may have `merge` (see `Metric`).

    Args:
        mode: which direction is better.
        sizes: the arguments to which the data supplies `num_classes`, `num_outputs` or `class_counts` under another
            name, or the `device`.

    Raises:
        ConfigError: a config cannot give an argument that has no default, or there is no such mode.
    """
    if mode not in ("min", "max"):
        hint = did_you_mean(str(mode), ("min", "max"))
        wanted = "expected 'max' where larger values are better, or 'min' where smaller ones are"
        raise ConfigError(f"register_metric({name!r}): mode: {wanted}, got {mode!r}{hint}")

    def add(owner: F) -> F:
        first = () if inspect.isclass(owner) else ("outputs", "targets")
        constructor = constructor_of(owner, [*FACTS, "device"], sizes, base=MetricConfig, first=first)
        register_own("metric", name, constructor, OwnMetricConfig).mode = mode
        return owner

    return add


class OwnOptimizerConfig(OwnConfig, OptimizerConfig):
    """Base of the optimizers that are made of a class or a function."""

    _section: ClassVar = "optimizer"
    usual_lr: ClassVar[tuple[float, float]] = (0.0, math.inf)

    def build(self, model: nn.Module, device: torch.device) -> Optimizer:
        title, taken = title_of(self._constructor.owner), self._constructor.own
        needed = {key: key for key in ("lr", "weight_decay")} | {"head_lr": "lr", "decay_bias_and_norm": "weight_decay"}
        for key, argument in needed.items():
            if argument not in taken and getattr(self, key) != type(self).model_fields[key].default:
                raise ConfigError(f"optimizer.{key}: {title} has no argument {argument!r}")
        groups = self.groups(model)
        optimizer = self._make(_nothing, groups if len(groups) > 1 else groups[0]["params"])
        if not isinstance(optimizer, Optimizer):
            given = type(optimizer).__name__
            raise ConfigError(f"optimizer: {title} gives a {given}, expected a torch.optim.Optimizer")
        with own_code("optimizer", self._constructor.owner):
            optimizer.state_dict()  # old ones leave out what torch's own base has
        _tell_of_step(optimizer, self._constructor.owner)
        return optimizer


def _tell_of_step(optimizer: Optimizer, owner: Owner) -> None:
    """What its `step` raises is told with its place. As a method, which torch's schedulers wrap again."""
    once, own = type(optimizer).step, vars(optimizer).get("step")  # which a function may have set

    @wraps(once)
    def step(self: Optimizer, *args: Any, **options: Any) -> Any:
        with own_code("optimizer", owner):
            return once(self, *args, **options) if own is None else own(*args, **options)

    optimizer.step = MethodType(step, optimizer)  # type: ignore[method-assign]


def _nothing(fact: str) -> Any:
    raise KeyError(fact)


def register_optimizer(name: str, *, closure: bool | None = None) -> Callable[[F], F]:
    """Decorator: make an optimizer, or a function that returns one, such as a wrapped one, known to YAML files:
    `register_optimizer("lion")(Lion)`.

    It is called with the parameters, or torch's groups of them where `head_lr` or `decay_bias_and_norm` divide them;
    its other arguments are the config's keys. One with `train()` and `eval()`, as schedule-free ones have, is
    evaluated with the weights of the latter.

    Args:
        closure: whether its `step` takes a function that evaluates the loss again, as those of L-BFGS and SAM do; by
            default where it cannot do without.

    Raises:
        ConfigError: a config cannot give an argument that has no default.
    """

    def add(owner: F) -> F:
        known = {"lr": (Rate, 1e-3), "weight_decay": (Decay, 0.0)}
        constructor = constructor_of(owner, base=OptimizerConfig, first=("params",), shared=known)
        register_own("optimizer", name, constructor, OwnOptimizerConfig)._closure = closure
        return owner

    return add


@dataclass(frozen=True)
class OwnScheduler(Scheduler):
    """One of torch's kind; what it raises is told with its place."""

    owner: Owner = LRScheduler

    def step(self) -> None:
        with own_code("scheduler", self.owner):
            super().step()


class OwnSchedulerConfig(OwnConfig, SchedulerConfig):
    """Base of the schedulers that are made of a class or a function."""

    _section: ClassVar = "scheduler"
    _is_curve: ClassVar[bool]

    def curve(self, *, max_steps: int, steps_per_epoch: int) -> Curve | None:
        if not self._is_curve:
            return None
        owner = self._constructor.owner
        arguments = self._constructor.arguments(self, self._facts(max_steps, steps_per_epoch).__getitem__)

        def factor(step: int) -> float:
            with own_code("scheduler", owner):
                made = float(owner(step, **arguments))
            if not 0 <= made < math.inf:
                wanted = "expected a factor of at least 0"
                raise ConfigError(
                    f"scheduler: {title_of(owner)} gives {made} at step {step}, {wanted}{place_of(owner)}"
                )
            return made

        return factor

    def build(
        self, optimizer: Optimizer, *, max_steps: int, steps_per_epoch: int, mode: Literal["min", "max"]
    ) -> Scheduler:
        if self._is_curve:
            return super().build(optimizer, max_steps=max_steps, steps_per_epoch=steps_per_epoch, mode=mode)
        title = title_of(self._constructor.owner)
        if self.warmup_steps:
            raise ConfigError(f"scheduler.warmup_steps: is for curves over the steps, which {title} is not")
        made = self._make(self._facts(max_steps, steps_per_epoch).__getitem__, optimizer)
        if not isinstance(made, LRScheduler) or isinstance(made, ReduceLROnPlateau):
            wanted = "a torch.optim.lr_scheduler.LRScheduler that is stepped without a metric"
            raise ConfigError(f"scheduler: {title} gives a {type(made).__name__}, expected {wanted}")
        return OwnScheduler(made, owner=self._constructor.owner)

    def _facts(self, max_steps: int, steps_per_epoch: int) -> dict[str, int]:
        return {"max_steps": max_steps, "total_steps": max_steps, "steps_per_epoch": steps_per_epoch}


def register_scheduler(name: str, *, sizes: Mapping[str, str] | None = None) -> Callable[[F], F]:
    """Decorator: make a function or a class a scheduler that a YAML file can name.

    A function `(step, …)` gives the factor on the learning rate for the update that follows so many steps. A class, or
    a function whose first argument is called `optimizer`, makes a scheduler of torch's kind, stepped after each update.
    `max_steps` (or `total_steps`) and `steps_per_epoch` are supplied to arguments of these names; the others are the
    config's keys.

    Args:
        sizes: the arguments to which they are supplied under another name, such as `{"max_steps": "T_max"}`.

    Raises:
        ConfigError: a config cannot give an argument that has no default.
    """

    def add(owner: F) -> F:
        names = [*inspect.signature(owner).parameters][:1]
        is_curve = not inspect.isclass(owner) and names != ["optimizer"]
        first = ("step",) if is_curve else ("optimizer",)
        facts = ("max_steps", "total_steps", "steps_per_epoch")
        constructor = constructor_of(owner, facts, sizes, base=SchedulerConfig, first=first)
        config = register_own("scheduler", name, constructor, OwnSchedulerConfig)
        config._is_curve = is_curve
        config.depends_on_total = not constructor.facts.isdisjoint(facts[:2])
        return owner

    return add
