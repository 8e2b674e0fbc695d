from __future__ import annotations

import math

import pytest
import torch

from trainkit.data import Split, TensorSource
from trainkit.tasks import Classification, MultiLabel, Regression, Task
from trainkit.training.baseline_loss import constant_prediction, untrained
from trainkit.training.losses import BceWithLogitsConfig, CrossEntropyConfig, L1Config, LossConfig, MseConfig


def split(targets: torch.Tensor) -> Split:
    return Split(TensorSource(torch.zeros(len(targets), 1), targets), torch.arange(len(targets)))


CLASSES = torch.tensor([0, 0, 0, 1])
COUNTED = Classification(size=2, counts=(3, 1), samples=4)
ENTROPY = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))


@pytest.mark.parametrize(
    ("loss", "target", "targets", "guess", "zero"),
    [
        (CrossEntropyConfig(), Classification(size=2), CLASSES, ENTROPY, math.log(2)),
        (BceWithLogitsConfig(), Classification(size=2), CLASSES, ENTROPY, math.log(2)),
        (
            BceWithLogitsConfig(),
            MultiLabel(size=2),
            torch.tensor([[1.0, 0], [1, 1], [0, 1], [0, 1]]),
            (math.log(2) + ENTROPY) / 2,
            math.log(2),
        ),
        # Both classes count the same: the best answer is 0.
        (CrossEntropyConfig(weight="balanced"), COUNTED, CLASSES, math.log(2), math.log(2)),
        (L1Config(), Regression(size=1), torch.tensor([[1.0], [2.0], [9.0]]), 8 / 3, 4.0),
        (MseConfig(), Regression(size=1), torch.tensor([[1.0], [3.0]]), 1.0, 5.0),
    ],
)
def test_by_hand(loss: LossConfig, target: Task, targets: torch.Tensor, guess: float, zero: float) -> None:
    loss_fn, outputs = loss.build(target), loss.num_outputs(target)
    assert constant_prediction(loss_fn, split(targets), target, outputs) == pytest.approx(guess, rel=1e-3)
    assert untrained(loss_fn, split(targets), target, outputs) == pytest.approx(zero, rel=1e-5)


def test_balanced_draws_make_every_class_as_frequent() -> None:
    target, loss_fn = (
        Classification(size=2),
        CrossEntropyConfig().build(Classification(size=2)),
    )
    many = split(CLASSES.repeat(500))
    assert constant_prediction(loss_fn, many, target, 2, balanced=True) == pytest.approx(math.log(2), rel=0.01)
