"""What answers cost that look at no input: the marks against which a loss is held."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainkit.data import Batch, Split, TargetSpec
from trainkit.losses import LossFn
from trainkit.seeding import permutation

ENOUGH = 10_000
"""Targets, for a mean."""


class Constant(nn.Module):
    """The same answer to everything.

    Args:
        answer: shape (num_outputs,).
    """

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, inputs: Tensor) -> Tensor:
        return self.answer.expand(len(inputs), -1)


def guessing(loss_fn: LossFn, split: Split, target: TargetSpec, num_outputs: int) -> float:
    """The loss of the best constant answer: how frequent each class or label is, or the mean of the numbers."""
    targets = _some_targets(split)
    if target.kind == "number":
        answer = targets.float().mean(0)
    elif target.kind == "class" and num_outputs > 1:
        answer = (targets.bincount(minlength=target.size) / len(targets)).clamp(min=1e-6).log()
    else:
        answer = targets.view(len(targets), -1).float().mean(0).clamp(1e-6, 1 - 1e-6).logit()
    return _loss(loss_fn, answer, targets)


def untrained(loss_fn: LossFn, split: Split, num_outputs: int) -> float:
    """The loss of outputs that are all 0, as those of a fresh network nearly are: ln C for C classes."""
    return _loss(loss_fn, torch.zeros(num_outputs), _some_targets(split))


def _some_targets(split: Split) -> Tensor:
    targets = split.targets
    return targets[permutation(len(targets), 0, "baseline")[:ENOUGH]]


def _loss(loss_fn: LossFn, answer: Tensor, targets: Tensor) -> float:
    nothing = torch.zeros(len(targets), 1)
    return float(loss_fn(Constant(answer), Batch(nothing, targets, torch.arange(len(targets)))).loss)
