"""Losses that segmentation asks for beside cross-entropy: dice and focal."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from trainkit.config.registry import register
from trainkit.data import Batch
from trainkit.tasks import Segmentation, Task
from trainkit.training.losses import (
    ClassLossConfig,
    LossConfig,
    LossFn,
    LossOutput,
    class_weight,
    per_pixel,
    supervised,
    weighted,
)

SMALLEST = 1e-6
"""Of numbers by which is divided, or whose power is derived."""


@register("loss")
class DiceConfig(LossConfig):
    """1 minus the soft Dice coefficient (Milletari et al., 2016, arXiv:1606.04797, without squares), the mean over the
    classes that occur in the batch: small ones count as much as large ones. 0 for a batch of ignored pixels."""

    name: Literal["dice"] = "dice"

    works_on: ClassVar = (Segmentation,)
    divisible: ClassVar = False

    def build(self, task: Task) -> LossFn:
        assert isinstance(task, Segmentation)

        def loss_fn(model: nn.Module, batch: Batch) -> LossOutput:
            outputs, targets = model(*batch.arguments), batch.targets
            loss = weighted(lambda part: dice_loss(part, targets, task.ignore_index), outputs, task)
            return LossOutput(loss, task.main(outputs))

        return loss_fn


def dice_loss(outputs: Tensor, targets: Tensor, ignore_index: int) -> Tensor:
    """The mean over the classes that occur of 1 - 2 |P T| / (|P| + |T|), shape (); 0 where none does.

    Args:
        outputs: logits, shape (batch, classes, height, width), float32.
        targets: shape (batch, height, width).
    """
    classes = torch.arange(outputs.shape[1], device=outputs.device).view(1, -1, 1, 1)
    counts = (targets != ignore_index)[:, None]
    probabilities, true = outputs.softmax(1) * counts, (targets[:, None] == classes) & counts
    pixels = true.sum((0, 2, 3))
    both, either = (probabilities * true).sum((0, 2, 3)), probabilities.sum((0, 2, 3)) + pixels
    occurs = pixels > 0
    return ((1 - 2 * both / either.clamp(min=SMALLEST)) * occurs).sum() / occurs.sum().clamp(min=1)


@register("loss")
class FocalConfig(ClassLossConfig):
    """Cross-entropy in which what is easy counts less: times (1 - p)^gamma, where p is the probability of the right
    class (Lin et al., 2017, arXiv:1708.02002, equation 5). Their sigmoid is the softmax of two classes, and their alpha
    a `weight` of [1 - alpha, alpha]."""

    name: Literal["focal"] = "focal"
    gamma: float = Field(2.0, ge=0)
    """0 is cross-entropy."""

    def build(self, task: Task) -> LossFn:
        weight, gamma = class_weight(self.weight, task), self.gamma
        if isinstance(task, Segmentation):
            ignored = task.ignore_index
            return per_pixel(lambda outputs, targets: focal_loss(outputs, targets, gamma, weight, ignored), task)
        return supervised(lambda outputs, targets: focal_loss(outputs.float(), targets, gamma, weight).mean())


def focal_loss(
    outputs: Tensor, targets: Tensor, gamma: float, weight: Tensor | None = None, ignore_index: int = -100
) -> Tensor:
    """The loss of each sample or pixel, shape (batch, …); 0 for those ignored.

    Args:
        outputs: logits, shape (batch, classes, …), float32.
        targets: classes, shape (batch, …), int64; or of mixed samples the share of each, (batch, classes), float32.
        weight: of each class, shape (classes,).
    """
    weight = torch.ones(outputs.shape[1]) if weight is None else weight
    weight = weight.to(outputs.device)
    if targets.is_floating_point():
        costs = -outputs.log_softmax(1)
        return (targets * weight * _hard(costs, gamma) * costs).sum(1)
    costs = functional.cross_entropy(outputs, targets, ignore_index=ignore_index, reduction="none")
    return weight[targets.clamp(max=len(weight) - 1)] * _hard(costs, gamma) * costs


def _hard(costs: Tensor, gamma: float) -> Tensor:
    """(1 - p)^gamma, of -log p."""
    return (1 - costs.neg().exp()).clamp(min=SMALLEST) ** gamma
