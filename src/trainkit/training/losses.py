"""Losses: what turns a model and a batch into the number that is minimised.

One file, since each loss is a few lines on what the first half says.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from trainkit.config import registry
from trainkit.config.base import Config
from trainkit.config.registry import register
from trainkit.core import nest
from trainkit.core.errors import ConfigError, DataError
from trainkit.core.nest import Nest
from trainkit.data import Batch
from trainkit.tasks import Classification, MultiLabel, Regression, Segmentation, Task
from trainkit.tasks.target_scale import TargetScale


class _LossAndOutputs(NamedTuple):
    loss: Tensor
    """What is minimised: the mean over the batch, shape ()."""
    outputs: Nest
    """The model's predictions, in the user's unit, shape (batch, num_outputs); or a nest of tensors, for metrics that
    take it."""


class LossOutput(_LossAndOutputs):
    """What a loss makes of one batch: a pair, as which users' losses take apart what they build upon.

    Args:
        count: over how many the loss is the mean, shape (), on its device, where these are no samples: pixels, say.
            Batches that make up a step, or an evaluation, are weighted by it. Where it is 0, the loss must be 0, too.
        in_unit: the loss in the user's unit, shape (), where it is minimised in another.
        parts: what the loss is made of, each of shape (), by names under which they are recorded beside it.
    """

    count: Tensor | None = None  # type: ignore[assignment]  # hides tuple.count, which no one calls on it
    in_unit: Tensor | None = None
    parts: Mapping[str, Tensor] = MappingProxyType({})

    def __new__(
        cls,
        loss: Tensor,
        outputs: Nest,
        *,
        count: Tensor | None = None,
        in_unit: Tensor | None = None,
        parts: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> LossOutput:
        made = super().__new__(cls, loss, outputs)
        made.count, made.in_unit, made.parts = count, in_unit, parts
        return made

    @classmethod
    def of_sum(cls, total: Tensor, count: Tensor, outputs: Nest) -> LossOutput:
        """The mean of what sums to `total`, shape (); 0 where nothing counts, such as in a batch of ignored pixels."""
        return cls(total / torch.where(count > 0, count, 1), outputs, count=count)

    @property
    def reported(self) -> Tensor:
        """The loss that a person sees, shape (), in the user's unit; not finite where the one minimised is not."""
        return self.loss if self.in_unit is None else self.in_unit

    @property
    def recorded(self) -> Tensor:
        """The same without gradients, and behind it the parts where there are any: shape (), or (1 + parts,)."""
        reported = self.loss if self.in_unit is None else self.in_unit
        return (torch.stack([reported, *self.parts.values()]) if self.parts else reported).detach()


LossFn = Callable[[nn.Module, Batch], LossOutput]
"""Where it is an `nn.Module`, its parameters are trained with the model's, and stand in checkpoints."""


class Together(nn.Module):
    """A model and a loss with parameters of its own, as one module. It is never called."""

    def __init__(self, model: nn.Module, loss: nn.Module) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.training = loss.training


class Given(nn.Module):
    """A model whose outputs are known already, whatever it is called with."""

    def __init__(self, outputs: Nest) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, *inputs: Nest) -> Nest:
        return self.outputs


def _some_count(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not any(weights):
        raise ValueError("all are 0, so that nothing is learned; at least one must be above 0")
    return weights


Weights = (
    Annotated[tuple[Annotated[float, Field(ge=0)], ...], Field(min_length=1), AfterValidator(_some_count)]
    | Literal["balanced"]
)


class LossConfig(Config):
    """Base of every loss."""

    name: str

    works_on: ClassVar[tuple[type[Task], ...]] = (Task,)
    """The tasks that it is for, and those derived from them."""
    divisible: ClassVar[bool] = True
    """Whether the loss of a batch is the mean of those of its parts. One that is not, such as a dice loss over all
    pixels of a batch, cannot be accumulated, and in evaluation depends on the batch size."""

    @property
    def takes_transformed(self) -> bool:
        """Whether the model may learn transformed targets: the loss then transforms them, and undoes it for all that a
        person sees. Other losses get targets and outputs in the user's unit."""
        return False

    def num_outputs(self, task: Task) -> int:
        """How many numbers per sample the model must give.

        Raises:
            ConfigError: the loss is not for such a task.
        """
        if not isinstance(task, self.works_on):
            nouns = dict.fromkeys(wanted.noun[1] for wanted in self.works_on)
            phrases = [wanted.phrase for wanted in self.works_on]
            raise self._unsuitable(task, " or ".join(phrases if task.noun[1] in nouns else nouns))
        return task.num_outputs

    @abstractmethod
    def build(self, task: Task) -> LossFn:
        """The function that the loop calls on every batch."""

    def _unsuitable(self, task: Task, needs: str) -> ConfigError:
        return ConfigError(
            f"loss: {self.name!r} needs {needs}, the targets of the data are {task.phrase} ({task.size}); "
            f"use loss={task.default_loss}, or change data"
        )

    def _check_length(self, key: str, weights: Weights | None, size: int, what: str) -> None:
        if isinstance(weights, tuple) and len(weights) != size:
            values = "1 value" if size == 1 else f"{size} values"
            raise ConfigError(f"loss.{key}: expected {values}, one for each {what}, got {len(weights)}")


def supervised(criterion: Callable[[Nest, Nest], Tensor]) -> LossFn:
    """The ordinary case: a function of the model's outputs and the targets."""

    def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
        outputs, targets, predicted = forwarded(model, batch)
        return LossOutput(criterion(outputs, targets), predicted)

    return loss_fn


def forwarded(model: nn.Module, batch: Batch) -> tuple[Nest, Nest, Nest]:
    """A model's outputs for a batch, the targets that go with them, and its prediction of each sample.

    In training, a model of several members gives (batch, members, num_outputs): each is to be right by itself.
    """
    outputs: Nest = model(*batch.arguments)
    if not isinstance(outputs, Tensor) or outputs.ndim != 3:
        return outputs, batch.targets, outputs
    return outputs.flatten(0, 1), batch.targets.repeat_interleave(outputs.shape[1], 0), outputs.mean(1)


AUXILIARY = 0.5
"""How much outputs count that a model has in training alone, as in torchvision's reference for segmentation."""


def per_pixel(each: Callable[[Tensor, Tensor], Tensor], task: Segmentation) -> LossFn:
    """The mean over the pixels that count; 0 where none does.

    Args:
        each: gives the loss of each pixel, shape (batch, height, width), 0 for what is ignored, of outputs
            (batch, size, height, width), float32, and targets (batch, height, width), int64.
    """

    def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
        outputs, targets = model(*batch.arguments), batch.targets.long()
        total = weighted(lambda part: each(part, targets).sum(), outputs, task)
        return LossOutput.of_sum(total, (targets != task.ignore_index).sum(), task.main(outputs))

    return loss_fn


def weighted(criterion: Callable[[Tensor], Tensor], outputs: Nest, task: Task) -> Tensor:
    """A loss of the outputs that count, in float32, and with less weight of the auxiliary ones."""
    main: Tensor = task.main(outputs)
    others = [part for part in nest.tensors(outputs) if part is not main]
    loss = criterion(main.float())
    return loss + AUXILIARY * torch.stack([criterion(part.float()) for part in others]).sum() if others else loss


def elementwise(criterion: Callable[[Tensor, Tensor], Tensor]) -> LossFn:
    """A comparison number by number: outputs and targets of the same shape (batch, size).

    Raises:
        DataError: the shapes differ. Torch would broadcast (n,) against (n, 1) to (n, n) and learn nonsense.
    """

    def compare(outputs: Tensor, targets: Tensor) -> Tensor:
        _check_shapes(outputs, targets)
        return criterion(outputs, targets.float())

    return supervised(compare)


Criterion = nn.MSELoss | nn.L1Loss | nn.SmoothL1Loss | nn.HuberLoss


def standardised(
    criterion: Callable[[Literal["mean", "none"]], Criterion], degree: Literal[1, 2], scale: TargetScale
) -> LossFn:
    """The mean of a comparison number by number in standard deviations of the targets.

    Args:
        criterion: makes one that gives the mean, or a loss for every number, shape (batch, size).
        degree: by which power of the standard deviation that loss grows when it is computed in the user's unit.

    Raises:
        DataError: as `elementwise`.
    """
    mean, each = criterion("mean"), criterion("none")

    def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
        outputs, wanted, predicted = forwarded(model, batch)
        _check_shapes(outputs, wanted)
        targets, predicted = scale.transform(wanted), scale.undo(predicted.detach())
        if scale.log:
            return LossOutput(mean(outputs.float(), targets), predicted)
        unit = scale.unit(outputs.device, degree)
        if len(unit) == 1:
            loss = mean(outputs.float(), targets)
            return LossOutput(loss, predicted, in_unit=loss.detach() * unit[0])
        columns = each(outputs.float(), targets).mean(0)
        return LossOutput(columns.mean(), predicted, in_unit=(columns.detach() * unit).mean())

    return loss_fn


def _check_shapes(outputs: Tensor, targets: Tensor) -> None:
    if outputs.shape != targets.shape:
        raise DataError(
            f"data: targets of shape {tuple(targets.shape)} for outputs of shape {tuple(outputs.shape)}; "
            "the source must give (batch, size)"
        )


def on_device_of_outputs(criterion: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """A criterion with weights inside, moved to where the outputs are: a config knows no device."""
    return lambda outputs, targets: criterion.to(outputs.device)(outputs, targets)


def class_weight(given: Weights | None, task: Task) -> Tensor | None:
    """How much each class counts, shape (size,), float32; None where all count the same."""
    if given != "balanced":
        return None if given is None else torch.tensor(given)
    counts = torch.tensor(_samples_of_each(task))
    return (task.samples if isinstance(task, Classification) else counts.sum()) / (task.size * counts)


def _samples_of_each(task: Task) -> tuple[int, ...]:
    """The training samples of each class or label.

    Raises:
        DataError: one has none, so that nothing balances it.
    """
    if 0 in task.counts:
        name = task.known_names[task.counts.index(0)]
        raise DataError(f"loss: balanced, but no training sample has the {task.noun[0]} {name!r}")
    return task.counts


class ClassLossConfig(LossConfig):
    """Base of the losses of one class of several, of a sample or of each pixel."""

    weight: Weights | None = None
    """How much each class counts, in the order of the classes; `balanced`: in inverse proportion to its training
    samples or pixels, so that the weights of all of them have mean 1. The mean is over samples or pixels: torch divides
    by the sum of their weights instead, which makes the loss of a sample depend on what else is in its batch."""

    works_on: ClassVar = (Classification, Segmentation)

    def num_outputs(self, task: Task) -> int:
        size = super().num_outputs(task)
        self._check_length("weight", self.weight, size, "class")
        return size


@register("loss")
class CrossEntropyConfig(ClassLossConfig):
    """Negative log-likelihood of the right class, of a sample or of each pixel. The model gives logits: no softmax at
    its end."""

    name: Literal["cross_entropy"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Share of the target spread evenly over all classes (Szegedy et al., 2016, arXiv:1512.00567)."""

    def build(self, task: Task) -> LossFn:
        weight, smoothing = class_weight(self.weight, task), self.label_smoothing
        if isinstance(task, Segmentation):
            each = nn.CrossEntropyLoss(
                weight, ignore_index=task.ignore_index, label_smoothing=smoothing, reduction="none"
            )
            return per_pixel(on_device_of_outputs(each), task)
        if weight is None:
            return supervised(nn.CrossEntropyLoss(label_smoothing=smoothing))
        of_each = on_device_of_outputs(nn.CrossEntropyLoss(weight, label_smoothing=smoothing, reduction="none"))
        return supervised(lambda outputs, targets: of_each(outputs, targets).mean())


@register("loss")
class BceWithLogitsConfig(LossConfig):
    """Binary cross-entropy for several labels that may all be true, or for two classes with a single output."""

    name: Literal["bce_with_logits"] = "bce_with_logits"
    pos_weight: Weights | None = None
    """How much a true label counts against a false one, in the order of the labels; a single value for two classes.
    `balanced`: as often as the training samples have it false for every time that they have it true."""

    works_on: ClassVar = (MultiLabel, Classification)

    def num_outputs(self, task: Task) -> int:
        if isinstance(task, MultiLabel):
            num_outputs, what = task.size, "label"
        elif isinstance(task, Classification) and task.size == 2:
            num_outputs, what = 1, "output"
        else:
            raise self._unsuitable(task, "labels or two classes")
        self._check_length("pos_weight", self.pos_weight, num_outputs, what)
        return num_outputs

    def build(self, task: Task) -> LossFn:
        criterion: Callable[[Tensor, Tensor], Tensor] = nn.BCEWithLogitsLoss()
        if self.pos_weight is not None:
            criterion = on_device_of_outputs(nn.BCEWithLogitsLoss(pos_weight=self._pos_weight(self.pos_weight, task)))
        if isinstance(task, Classification):
            # Mixed samples have a row of shares, of which the second is that of class 1.
            return supervised(
                lambda outputs, targets: criterion(
                    outputs, targets[:, 1:] if targets.ndim == 2 else targets.unsqueeze(1).float()
                )
            )
        return elementwise(criterion)

    def _pos_weight(self, given: Weights, task: Task) -> Tensor:
        if given != "balanced":
            return torch.tensor(given)
        counts = _samples_of_each(task)
        true = torch.tensor(counts[1:] if isinstance(task, Classification) else counts)
        return (task.samples - true) / true


Threshold = Annotated[
    float,
    Field(
        gt=0,
        description="Where the two parts meet: in standard deviations of the target; in the targets' unit with "
        "`data.target_transform=none`.",
    ),
]


class ElementwiseLossConfig(LossConfig):
    """Base of the losses that compare number by number, and are one class of torch's with the fields of the config."""

    works_on: ClassVar = (Regression,)
    torch_class: ClassVar[type[Criterion]]
    degree: ClassVar[Literal[1, 2]]
    """The power of a unit that the loss is in: 2 for a squared error."""

    @property
    def takes_transformed(self) -> bool:
        return type(self).build is ElementwiseLossConfig.build  # what a user has built otherwise may want the unit

    def criterion(self, reduction: Literal["mean", "none"]) -> Criterion:
        return self.torch_class(reduction=reduction, **self.model_dump(exclude={"name"}))

    def build(self, task: Task) -> LossFn:
        if not task.transformed:
            return elementwise(self.criterion("mean"))
        assert isinstance(task, Regression)
        return standardised(self.criterion, self.degree, TargetScale(task))


@register("loss")
class MseConfig(ElementwiseLossConfig):
    """Mean squared error."""

    name: Literal["mse"] = "mse"
    torch_class: ClassVar[type[Criterion]] = nn.MSELoss
    degree: ClassVar[Literal[1, 2]] = 2


@register("loss")
class L1Config(ElementwiseLossConfig):
    """Mean absolute error: less moved by outliers."""

    name: Literal["l1"] = "l1"
    torch_class: ClassVar[type[Criterion]] = nn.L1Loss
    degree: ClassVar[Literal[1, 2]] = 1


@register("loss")
class SmoothL1Config(ElementwiseLossConfig):
    """Squared error near zero, absolute error beyond `beta` (Girshick, 2015, arXiv:1504.08083)."""

    name: Literal["smooth_l1"] = "smooth_l1"
    beta: Threshold = 1.0
    torch_class: ClassVar[type[Criterion]] = nn.SmoothL1Loss
    degree: ClassVar[Literal[1, 2]] = 1


@register("loss")
class HuberConfig(ElementwiseLossConfig):
    """Half the squared error up to `delta`, growing in a straight line beyond it (Huber, 1964): `delta` x smooth_l1."""

    name: Literal["huber"] = "huber"
    delta: Threshold = 1.0
    torch_class: ClassVar[type[Criterion]] = nn.HuberLoss
    degree: ClassVar[Literal[1, 2]] = 2


def default_loss(task: Task) -> LossConfig:
    """What suits a task of which nothing is said."""
    found = registry.find("loss", task.default_loss)()
    assert isinstance(found, LossConfig)
    return found
